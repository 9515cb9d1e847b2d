"""Connections to Redis: a pool that threads share and wait for, patient with a server that restarts."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError
from redis.retry import Retry

from lakequeue.address import RedisAddress
from lakequeue.errors import QueueClosed
from lakequeue.forks import reset_after_fork

T = TypeVar("T")

PATIENCE_S = 3.0
"""So long a command is repeated when Redis is away: a restart or a failover takes about that."""

MAX_CONNECTIONS = 32
"""Redis runs one command at a time: more would only wait there. `?max_connections=` in the URL changes it."""

POOL_WAIT_S = 30.0
"""So long a thread waits for a connection while others use all of them."""


class PoolExhausted(redis.ConnectionError):
    """All connections were in use for `POOL_WAIT_S`."""


class _Patient(Retry):
    """Repeats a command for a time, and once at least: each attempt on a connection of its own.

    READONLY is repeated, too: the server was demoted, and the same address leads to another one soon.
    """

    def __init__(self, patience_s: float) -> None:
        errors = (redis.ConnectionError, redis.TimeoutError, socket.timeout, ReadOnlyError)
        super().__init__(ExponentialWithJitterBackoff(cap=0.5, base=0.05), -1, errors)
        self._patience_s = patience_s

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        until = time.monotonic() + self._patience_s
        failures = 0
        while True:
            try:
                return do()
            except self._supported_errors as exc:
                if is_retryable and not is_retryable(exc):
                    raise
                failures += 1
                fail(*(exc, failures) if with_failure_count else (exc,))  # closes the connection
                if isinstance(exc, AuthenticationError) or (failures > 1 and time.monotonic() >= until):
                    raise
                time.sleep(self._backoff.compute(failures))


class _Pool(redis.BlockingConnectionPool):
    """Threads wait for a connection in place of an error; once closed it gives none."""

    closed = False

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if self.closed:
            raise QueueClosed("this Queue is closed: open another one")
        try:
            return super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ConnectionError as exc:
            if str(exc).startswith("No connection available"):  # redis-py has no class of its own for it
                raise PoolExhausted(str(exc)) from exc
            raise

    def release(self, connection: Any) -> None:
        if self.closed:
            connection.disconnect()
        super().release(connection)  # type: ignore[no-untyped-call]


class Client(redis.Redis):
    """A Redis client with the address that it is of. A forked child gets fresh connections and locks.

    redis-py's pools of 7.4 and 8.1 hang in a child forked while another thread holds their lock
    (`ConnectionPool.reset`), so a child keeps nothing of its parent's client.
    """

    def __init__(self, address: RedisAddress, options: Mapping[str, Any]) -> None:
        self.address = address
        self._given = {**options, **address.connection_options()}
        bounds = {"max_connections": MAX_CONNECTIONS, "timeout": POOL_WAIT_S}
        pool: Any = _Pool
        self._pool: _Pool = pool(**{**bounds, "connection_class": address.connection_class, **self._given})
        super().__init__(connection_pool=self._pool)
        reset_after_fork(self)

    def forked(self) -> None:
        if not self._pool.closed:
            Client.__init__(self, self.address, self._given)  # with it every lock of redis-py's

    @property
    def closed(self) -> bool:
        return self._pool.closed

    def close(self) -> None:
        """Close all connections. Later commands raise QueueClosed."""
        if not self._pool.closed:
            self._pool.closed = True
            self._pool.disconnect()

    def connection_of_its_own(self) -> Any:
        """A connection that is in no pool, not connected yet; the caller disconnects it. It repeats nothing."""
        options = {name: value for name, value in self._given.items() if name not in ("max_connections", "timeout")}
        # RESP2: what is published comes as any other answer. (RESP3 hands it to handlers.)
        # A health check would read what is published in the place of its answer.
        own = {"retry": Retry(NoBackoff(), 0), "protocol": 2, "health_check_interval": 0}
        return self.address.connection_class(**{**options, **own})


def connect(url: str, *, timeout_s: float, patience_s: float = PATIENCE_S, **options: Any) -> Client:
    """A client that notices a dead peer within `timeout_s` (a half-open connection hangs for minutes otherwise)
    and repeats a command for `patience_s`: every script of ours may be repeated. Connects to nothing yet.

    Raises:
        InvalidArgument: the URL is none. The message never quotes it: it may hold a password.
    """
    address = RedisAddress.parse(url)
    if address.transport != "unix":
        options = {"socket_keepalive": True, "socket_connect_timeout": timeout_s, **options}
    return Client(
        address,
        {"socket_timeout": timeout_s, "health_check_interval": 5, "retry": _Patient(patience_s), **options},
    )
