"""kombu's Redis transport as these workers need it: it starts on a full Redis, and outlives one that refuses."""

from __future__ import annotations

from typing import Any

import redis
from celery.app import amqp
from kombu import Connection as KombuConnection
from kombu.transport import redis as kombu_redis
from redis.exceptions import ReadOnlyError, ResponseError


class _TakesRefusalForAbsence:
    """A server that says READONLY was demoted, and one that says MISCONF cannot save (it refuses even PING). To kombu
    either is an error of the one command, and ends a worker; taken as a lost connection, it is waited for and the
    connection made anew. So does redis-py for Sentinel (`redis/sentinel.py`, `SentinelManagedConnection`)."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as exc:
            if isinstance(exc, ReadOnlyError) or str(exc).startswith("MISCONF"):
                self.disconnect()  # type: ignore[attr-defined]
                raise redis.ConnectionError(str(exc)) from exc
            raise


class PlainConnection(_TakesRefusalForAbsence, redis.Connection):
    pass


class TlsConnection(_TakesRefusalForAbsence, redis.SSLConnection):
    pass


class SocketConnection(_TakesRefusalForAbsence, redis.UnixDomainSocketConnection):
    pass


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """Writes nothing of its own: a Redis at its maxmemory, or whose disk is full, would refuse that, and Celery takes
    the refusal for an error that ends the worker. kombu 5.7, `kombu/transport/redis.py`:

    - `on_poll_init` takes a lock to restore unacknowledged messages; no queue is consumed here, so there are none.
    - `_queue_bind` keeps a table of bindings, which is read for direct and topic exchanges; a fanout exchange, and
      remote control has no other, is published and subscribed to by its name (`_put_fanout`, `_subscribe`).
    """

    ack_emulation = False
    connection_class = PlainConnection
    connection_class_ssl = TlsConnection

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """kombu names redis-py's own class for a socket, where it takes ours for the other transports."""
        found: dict[str, Any] = super()._connparams(asynchronous)
        if "path" in found:
            found["connection_class"] = _waiting(found["connection_class"])
        return found

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = exchange, routing_key.replace("#", "*")
        else:
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def maybe_refresh_binding_expiry(self) -> None:
        """There is nothing to refresh; kombu would try every second."""


def _waiting(connection_class: type[redis.UnixDomainSocketConnection]) -> type[redis.UnixDomainSocketConnection]:
    if connection_class is redis.UnixDomainSocketConnection:
        return SocketConnection
    return type("Connection", (_TakesRefusalForAbsence, connection_class), {})


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    Channel = Channel


class Connection(KombuConnection):  # type: ignore[misc]
    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()
        return Transport if found is kombu_redis.Transport else found


class AMQP(amqp.AMQP):  # type: ignore[misc]
    """What makes the app's connections (`celery/app/base.py`, the argument `amqp` of `Celery`)."""

    Connection = Connection
