"""What it means when Redis does not do what it is asked: one sentence with the address, the cause and the next step."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from lakequeue.connections import Client, PoolExhausted
from lakequeue.errors import LakequeueError, QueueFull, QueueUnreachable

_CLUSTER = "is a Redis Cluster, which lakequeue cannot use: give a server with cluster mode off"

_NAMED = re.compile(r"""^([A-Z][A-Z0-9_]{2,30})\b""")
"""The code at the front of an error that Redis answers."""

_REFUSALS: Sequence[tuple[str, str]] = (
    ("MISCONF", "{at} takes no writes, since it cannot save them: is its disk full?"),
    ("NOREPLICAS", "{at} takes no writes, since too few of its replicas are connected"),
    ("MASTERDOWN", "{at} is a replica that has lost its primary: the URL has to lead to the primary"),
    ("BUSY ", "{at} is busy with a script of somebody's that takes too long"),
    ("MOVED", "{at} " + _CLUSTER),
    ("CROSSSLOT", "{at} " + _CLUSTER),
    ("CLUSTERDOWN", "{at} " + _CLUSTER),
    ("max number of clients", "{at} has as many connections as its maxclients allows"),
    ("DB index is out of range", "{at} has no database of that number"),
    ("non local key in a cluster", "{at} " + _CLUSTER),
    ("SELECT is not allowed in cluster", "{at} " + _CLUSTER),
    ("unknown command", "{at} does not know a command that lakequeue needs: it takes Redis or Valkey 7 or newer"),
)


@contextmanager
def reachable(client: Client) -> Iterator[None]:
    """Turn what redis-py raises into QueueUnreachable, or QueueFull where memory is full."""
    try:
        yield
    except OutOfMemoryError as exc:
        raise QueueFull(
            f"Redis at {client.address} is at its maxmemory; try again when workers have caught up, "
            "or enqueue with wait_s"
        ) from exc
    except (RedisError, OSError) as exc:
        if isinstance(exc, LakequeueError):  # JobTimeout is an OSError
            raise
        raise unreachable(client, exc) from exc


def unreachable(client: Client, exc: Exception, ids: Sequence[str] = ()) -> QueueUnreachable:
    """The error that says why, `ids` being those of jobs of which it is not known whether they were queued."""
    return QueueUnreachable(explain(client, exc), {"ids": list(ids)} if ids else {})


def explain(client: Client, exc: BaseException) -> str:
    """Why Redis did not do it. Never holds the password, nor anything that was sent."""
    at = f"Redis at {client.address}"
    if isinstance(exc, PoolExhausted):
        return f"Redis did not answer: all connections of this Queue to {client.address} were in use for too long"
    if isinstance(exc, AuthenticationError) or str(exc).startswith(("NOAUTH", "WRONGPASS")):
        if client.address.password is None:
            return f"{at} wants a password, and the URL has none"
        return f"{at} refused the credentials in the URL: is the user's name or password another?"
    if isinstance(exc, NoPermissionError) or str(exc).startswith(("NOPERM", "ACL failure")):
        return f"{at} refused the user of the URL: {_missing_right(str(exc))}"
    if isinstance(exc, ClusterError | ClusterDownError | AskError):
        return f"{at} {_CLUSTER}"
    if isinstance(exc, ReadOnlyError):
        return f"{at} is a replica: after a failover the URL has to lead to the primary"
    if isinstance(exc, BusyLoadingError):
        return f"{at} is loading its data and answers when it has: try again"
    if isinstance(exc, ResponseError):
        return _refusal(at, str(exc))
    return f"Redis did not answer: {_silence(client, exc)}"


def _missing_right(text: str) -> str:
    """What an ACL lacks. Redis names commands and channels; keys it does not name."""
    if found := re.search(r"run the '([^']{1,60})' command", text):
        return f"it may not run the command {found[1]}; add +{found[1].split('|')[0]} to its rights"
    if "channel" in text:
        return "it may not use a channel; add &lakequeue:* and &celery-task-meta-* to its rights"
    return "it may not use a key; add ~lakequeue:* ~celery-task-meta-* and ~records to its rights"


def _refusal(at: str, text: str) -> str:
    for mark, told in _REFUSALS:
        if mark in text:
            return told.format(at=at)
    code = _NAMED.match(text)
    named = f" ({code[1]})" if code else ""
    return f"{at} refused what it was asked{named}: is the URL's database there, and may its user do this?"


def _silence(client: Client, exc: BaseException) -> str:
    address = client.address
    causes = list(_causes(exc))
    text = " ".join(str(each) for each in causes)
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes) or "CERTIFICATE_VERIFY" in text:
        reason = next((each.verify_message for each in causes if isinstance(each, ssl.SSLCertVerificationError)), "")
        told = f" ({reason})" if reason else ""
        return f"{address} has a certificate that is not trusted{told}; name its CA by ?ssl_ca_certs=FILE in the URL"
    if any(isinstance(each, ssl.SSLError) for each in causes) or "SSL" in text:
        return f"{address} speaks no TLS that is understood; if it speaks none, the URL begins with redis://"
    if any(isinstance(each, socket.gaierror) for each in causes) or "Name or service" in text or "Errno -" in text:
        return f"the host's name in {address} is not known"
    if any(isinstance(each, ConnectionRefusedError) for each in causes) or "refused" in text:
        return f"nothing listens at {address} (connection refused)"
    if any(isinstance(each, FileNotFoundError) for each in causes) or "No such file" in text:
        missing = "a file of the TLS options" if address.transport == "tls" else "the socket"
        return f"{missing} is not there ({address})"
    if any(isinstance(each, PermissionError) for each in causes) or "Permission denied" in text:
        return f"this process may not open {address} (permission denied)"
    if any(isinstance(each, redis.TimeoutError | TimeoutError) for each in causes):
        hint = "; if it speaks no TLS, the URL begins with redis://" if address.transport == "tls" else ""
        return f"{address} was silent for too long (timeout){hint}"
    if any(isinstance(each, InvalidResponse) for each in causes) or "Protocol Error" in text:
        return f"what listens at {address} is no Redis"
    if any(each in text for each in ("closed by server", "reset by peer", "Broken pipe", "closed")):
        if address.transport != "tcp":
            return f"{address} closed the connection"
        return f"{address} closed the connection; it is no Redis, or wants TLS: then the URL begins with rediss://"
    return f"{address}: {type(exc).__name__}"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__
