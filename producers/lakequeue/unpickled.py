"""Handles are pickled by their id: how one that comes from elsewhere finds a queue."""

from __future__ import annotations

import copyreg
import os
from functools import lru_cache
from typing import Any

from lakequeue.client import Queue
from lakequeue.errors import InvalidArgument
from lakequeue.handle import Handle


class _QueueOfEnvironment:
    """What unpickled handles ask: the queue of `LAKEQUEUE_REDIS_URL`, opened when the first of them asks."""

    def record(self, job_id: str) -> dict[str, Any]:
        return self._open().record(job_id)

    def wait(self, job_id: str, timeout_s: float | None = None) -> dict[str, Any]:
        return self._open().wait(job_id, timeout_s)

    def _open(self) -> Queue:
        url = os.environ.get("LAKEQUEUE_REDIS_URL")
        if not url:
            raise InvalidArgument(
                "this handle was unpickled and knows no queue: bind it by queue.job(handle), or set LAKEQUEUE_REDIS_URL"
            )
        return _queue_of(url)


@lru_cache(maxsize=4)
def _queue_of(url: str) -> Queue:
    return Queue(url)


def _unpickled(job_id: str, known: bool) -> Handle:
    return Handle(_QueueOfEnvironment(), job_id, known=known)


def register() -> None:
    """Have handles pickled so."""
    copyreg.pickle(Handle, lambda handle: (_unpickled, (handle.id, handle.known)))
