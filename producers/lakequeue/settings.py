"""Settings of the client, and how a Redis connection is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

DEFAULT_URL = "redis://localhost:6379/0"


@dataclass(frozen=True, slots=True)
class Settings:
    """`redis_url` may carry a user, a password and, as `rediss://`, TLS. Lengths are in jobs, sizes in bytes."""

    redis_url: str = DEFAULT_URL
    max_queue_length: int = 2_000_000
    max_job_bytes: int = 900_000
    timeout_s: float = 5.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `LAKEQUEUE_REDIS_URL`, `LAKEQUEUE_MAX_QUEUE_LENGTH` and `LAKEQUEUE_MAX_JOB_BYTES`.

        Raises:
            ValueError: naming the variable that cannot be used.
        """
        default = cls()
        return cls(
            redis_url=environ.get("LAKEQUEUE_REDIS_URL") or DEFAULT_URL,
            max_queue_length=_positive(environ, "LAKEQUEUE_MAX_QUEUE_LENGTH", default.max_queue_length),
            max_job_bytes=_positive(environ, "LAKEQUEUE_MAX_JOB_BYTES", default.max_job_bytes),
        )


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{name} must be a positive whole number, not {text!r}")
    return int(text)


def connect(url: str, *, timeout_s: float, **options: Any) -> redis.Redis:
    """A client that notices a dead peer within `timeout_s` (a half-open connection hangs for minutes otherwise)
    and repeats a command a few times: every script of ours may be repeated.

    Raises:
        ValueError: the URL is none. The message never quotes it: it may hold a password.
    """
    if not url.startswith("unix:"):
        options = {"socket_keepalive": True, "socket_connect_timeout": timeout_s, **options}
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            health_check_interval=10,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 3),
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
