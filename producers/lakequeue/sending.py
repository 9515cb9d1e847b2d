"""Enqueue any number of jobs, however long that takes, and wait for what becomes of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import inf

from lakequeue.client import Queue
from lakequeue.errors import QueueFull, QueueUnreachable
from lakequeue.handle import Handle
from lakequeue.jobs import Write
from lakequeue.listening import OUTAGE_PAUSE_S, OUTAGE_S
from lakequeue.outcomes import Status

ASKED_AT_ONCE = 500


def send_patiently(
    queue: Queue, source: Iterable[Write], on_full: Callable[[QueueFull], None]
) -> Iterator[tuple[Write, Handle]]:
    """Enqueue jobs in order and yield each with its handle; a full queue is told to `on_full` once and waited for.

    Raises:
        InvalidJob, JobConflict, QueueUnreachable: as `Queue.enqueue_many`.
    """
    unanswered: deque[Write] = deque()
    rest = iter(source)

    def feed() -> Iterator[Write]:
        for job in rest:
            unanswered.append(job)
            yield job

    try:
        for handle in queue.enqueue_many(feed()):
            yield unanswered.popleft(), handle
    except QueueFull as exc:
        on_full(exc)
        for handle in queue.enqueue_many(chain(tuple(unanswered), feed()), wait_s=inf):
            yield unanswered.popleft(), handle


def patient_statuses(queue: Queue, job_ids: list[str]) -> list[Status | None]:
    """`Queue.statuses`, waiting for a Redis that went away."""
    until = time.monotonic() + OUTAGE_S
    while True:
        try:
            return queue.statuses(job_ids)
        except QueueUnreachable:
            if time.monotonic() >= until:
                raise
            time.sleep(OUTAGE_PAUSE_S)
