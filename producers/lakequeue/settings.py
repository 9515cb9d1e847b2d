"""Settings of the client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lakequeue.errors import InvalidArgument

DEFAULT_URL = "redis://localhost:6379/0"


@dataclass(frozen=True, slots=True)
class Settings:
    """`redis_url` may carry a user, a password and, as `rediss://`, TLS: a repr leaves it out. Lengths are in jobs,
    sizes in bytes."""

    redis_url: str = field(default=DEFAULT_URL, repr=False)
    max_queue_length: int = 2_000_000
    max_job_bytes: int = 900_000
    timeout_s: float = 5.0
    result_expires_s: int = 86_400
    load_remembered_s: int = 7_776_000

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `LAKEQUEUE_REDIS_URL`, `LAKEQUEUE_MAX_QUEUE_LENGTH`, `LAKEQUEUE_MAX_JOB_BYTES`,
        `LAKEQUEUE_RESULT_EXPIRES_S` (how long a cancelled job is remembered) and `LAKEQUEUE_LOAD_REMEMBERED_S` (how
        long the load of a file is).

        Raises:
            InvalidArgument: naming the variable that cannot be used.
        """
        default = cls()
        return cls(
            redis_url=environ.get("LAKEQUEUE_REDIS_URL") or DEFAULT_URL,
            max_queue_length=_positive(environ, "LAKEQUEUE_MAX_QUEUE_LENGTH", default.max_queue_length),
            max_job_bytes=_positive(environ, "LAKEQUEUE_MAX_JOB_BYTES", default.max_job_bytes),
            result_expires_s=_positive(environ, "LAKEQUEUE_RESULT_EXPIRES_S", default.result_expires_s),
            load_remembered_s=_positive(environ, "LAKEQUEUE_LOAD_REMEMBERED_S", default.load_remembered_s),
        )


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise InvalidArgument(f"{name} must be a positive whole number, not {text!r}")
    return int(text)
