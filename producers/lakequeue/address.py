"""Where a Redis is: one URL, in any of the spellings that Celery and redis-py take, read once for every program."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis

from lakequeue.errors import InvalidArgument

Transport = Literal["tcp", "tls", "unix"]

_TRANSPORTS: Mapping[str, Transport] = {
    "redis": "tcp",
    "rediss": "tls",
    "redis+tls": "tls",
    "unix": "unix",
    "redis+unix": "unix",
    "redis+socket": "unix",
    "socket": "unix",
}

_CONNECTIONS: Mapping[Transport, type[Any]] = {
    "tcp": redis.Connection,
    "tls": redis.SSLConnection,
    "unix": redis.UnixDomainSocketConnection,
}

_DATABASE = ("db", "virtual_host")
"""Options that name the database: redis-py's, and Celery's for a socket."""

_CERTIFICATE = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}

_NUMBERS = ("socket_timeout", "socket_connect_timeout", "timeout", "health_check_interval", "max_connections")
_WHOLE = ("health_check_interval", "max_connections", "protocol")
_FLAGS = ("ssl_check_hostname", "socket_keepalive", "retry_on_timeout")

_FORM = "expected redis://[user:password@]host:port/number, rediss://… for TLS, or unix:///path?db=number"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One Redis database and how it is reached. Its text and repr hold no password.

    `options` are those of the URL's query, as Python values by redis-py's names.
    """

    transport: Transport
    host: str
    port: int
    path: str
    """Of the socket; empty for the other transports."""
    database: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Read a URL.

        Raises:
            InvalidArgument: the URL is none, or has an option that is none. The text never quotes the URL, since that
                may hold a password.
        """
        if not isinstance(url, str):
            raise InvalidArgument(f"a Redis URL is a string, not {type(url).__name__}")
        scheme, mark, _ = url.partition("://")
        if not mark:
            raise InvalidArgument(f"the Redis URL cannot be used: it has no scheme; {_FORM}")
        transport = _TRANSPORTS.get(scheme.lower())
        if transport is None:
            told = "Sentinel is not supported" if "sentinel" in scheme.lower() else "its scheme is unknown"
            raise InvalidArgument(f"the Redis URL cannot be used: {told}; {_FORM}")
        try:
            # As of http: of other schemes urllib does not split the user from the host.
            parts = urlsplit("http" + url[len(scheme) :])
            host, port, path = parts.hostname or "", parts.port, unquote(parts.path)
        except ValueError:
            raise _unreadable() from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        named = [options.pop(name) for name in _DATABASE if name in options]
        if parts.fragment:
            raise _unreadable()
        if transport == "unix":
            if host or port or not path.strip("/"):
                raise InvalidArgument("the Redis URL cannot be used: of a socket, write unix:///path?db=number")
        elif path.strip("/"):
            named.append(path.strip("/"))
            path = ""
        address = cls(
            transport=transport,
            host="" if transport == "unix" else unquote(host) or "localhost",
            port=0 if transport == "unix" else port or 6379,
            path=path if transport == "unix" else "",
            database=_database(named),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            options={name: _option(name, text, transport) for name, text in options.items()},
        )
        address._try()
        return address

    def __str__(self) -> str:
        """`host:port/database`, or the socket's path."""
        if self.transport == "unix":
            return f"{self.path} (database {self.database})" if self.database else self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    @property
    def connection_class(self) -> type[Any]:
        return _CONNECTIONS[self.transport]

    def connection_options(self) -> dict[str, Any]:
        """Arguments of `connection_class`, and of a pool of such connections."""
        where = {"path": self.path} if self.transport == "unix" else {"host": self.host, "port": self.port}
        who = {"username": self.username, "password": self.password}
        return {**where, "db": self.database, **{name: text for name, text in who.items() if text}, **self.options}

    def tls_options(self) -> dict[str, Any]:
        """What Celery's `broker_use_ssl` and `redis_backend_use_ssl` take; empty without TLS."""
        if self.transport != "tls":
            return {}
        given = {name: value for name, value in self.options.items() if name.startswith("ssl_")}
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **given}

    def celery_url(self) -> str:
        """The URL in the one spelling that Celery's broker and result backend share; TLS is in `tls_options`."""
        user = quote(self.username or "", safe="")
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        login = f"{user}{secret}@" if user or secret else ""
        if self.transport == "unix":
            return f"redis+socket://{login}{quote(self.path)}?virtual_host={self.database}"
        host = f"[{self.host}]" if ":" in self.host else quote(self.host)
        return f"{'rediss' if self.transport == 'tls' else 'redis'}://{login}{host}:{self.port}/{self.database}"

    def _try(self) -> None:
        """redis-py notices an unknown option only when it makes the first connection."""
        pool_only = ("max_connections", "timeout")
        options = {name: value for name, value in self.connection_options().items() if name not in pool_only}
        try:
            self.connection_class(**options)
        except (TypeError, ValueError, redis.RedisError):
            names = ", ".join(sorted(self.options))
            raise InvalidArgument(
                f"the Redis URL cannot be used: of its options {names}, one is unknown to redis-py or has no such value"
            ) from None


def _unreadable() -> InvalidArgument:
    return InvalidArgument(
        f"the Redis URL cannot be used: {_FORM}; characters such as / # ? in a password are percent-encoded"
    )


def _database(named: list[str]) -> int:
    numbers = {text.strip("/") for text in named} - {""}
    if len(numbers) > 1:
        raise InvalidArgument("the Redis URL cannot be used: it names two databases")
    number = numbers.pop() if numbers else "0"
    if not (number.isascii() and number.isdecimal()):
        raise _unreadable()
    return int(number)


def _option(name: str, text: str, transport: Transport) -> Any:
    if name.startswith("ssl_") and transport != "tls":
        raise InvalidArgument(f"the Redis URL cannot be used: {name} is an option of TLS, which needs rediss://")
    try:
        if name == "ssl_cert_reqs":
            return _CERTIFICATE[text.lower().removeprefix("cert_")]
        if name in _FLAGS:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if name in _WHOLE:
            return int(text)
        return float(text) if name in _NUMBERS else text
    except (KeyError, ValueError):
        choices = " none, optional or required" if name == "ssl_cert_reqs" else " another value"
        raise InvalidArgument(f"the Redis URL cannot be used: its option {name} takes{choices}") from None
