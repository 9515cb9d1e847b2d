"""Settings of the client, and how a Redis connection is made."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError
from redis.retry import Retry

T = TypeVar("T")

DEFAULT_URL = "redis://localhost:6379/0"

PATIENCE_S = 3.0
"""So long a command is repeated when Redis is away: a restart or a failover takes about that."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`redis_url` may carry a user, a password and, as `rediss://`, TLS. Lengths are in jobs, sizes in bytes."""

    redis_url: str = DEFAULT_URL
    max_queue_length: int = 2_000_000
    max_job_bytes: int = 900_000
    timeout_s: float = 5.0
    result_expires_s: int = 86_400

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `LAKEQUEUE_REDIS_URL`, `LAKEQUEUE_MAX_QUEUE_LENGTH`, `LAKEQUEUE_MAX_JOB_BYTES` and
        `LAKEQUEUE_RESULT_EXPIRES_S` (how long a cancelled job is remembered).

        Raises:
            ValueError: naming the variable that cannot be used.
        """
        default = cls()
        return cls(
            redis_url=environ.get("LAKEQUEUE_REDIS_URL") or DEFAULT_URL,
            max_queue_length=_positive(environ, "LAKEQUEUE_MAX_QUEUE_LENGTH", default.max_queue_length),
            max_job_bytes=_positive(environ, "LAKEQUEUE_MAX_JOB_BYTES", default.max_job_bytes),
            result_expires_s=_positive(environ, "LAKEQUEUE_RESULT_EXPIRES_S", default.result_expires_s),
        )


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{name} must be a positive whole number, not {text!r}")
    return int(text)


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


def connect(url: str, *, timeout_s: float, patience_s: float = PATIENCE_S, **options: Any) -> redis.Redis:
    """A client that notices a dead peer within `timeout_s` (a half-open connection hangs for minutes otherwise)
    and repeats a command for `patience_s`: every script of ours may be repeated.

    Raises:
        ValueError: the URL is none. The message never quotes it: it may hold a password.
    """
    if not url.startswith("unix:"):
        options = {"socket_keepalive": True, "socket_connect_timeout": timeout_s, **options}
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            health_check_interval=5,
            retry=_Patient(patience_s),
            **options,
        )
        # redis-py notices an unknown `?option=` only when it makes the first connection, and as a TypeError.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError):
        raise ValueError(
            "the Redis URL cannot be used: expected redis://[user:password@]host:port/number; "
            "characters such as / # ? in a password are percent-encoded"
        ) from None
    return client
