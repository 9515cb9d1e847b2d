"""What Redis says, asked beside Flower's loop: its events are a window, the queue's records are the truth."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from lakequeue import LakequeueError, Queue
from lakequeue.operations import WorkerState

from worker.pages.seen import JobEvents
from worker.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST = 1000
"""Jobs that are asked about before a page is shown."""

AWAY_S = 2.0
"""So long a Redis that did not answer is not asked again: each time takes seconds, and a page asks more than once."""

_away_until = 0.0


@cache
def _queue() -> Queue:
    return Queue(Settings.from_env().redis_url)


async def asked(ask: Callable[..., T], *args: Any) -> T | None:
    """What `ask` learns with the queue, None if Redis does not answer; Flower's loop goes on meanwhile."""
    global _away_until
    if time.monotonic() < _away_until:
        return None
    try:
        return await asyncio.get_running_loop().run_in_executor(None, ask, _queue(), *args)
    except LakequeueError as exc:
        _away_until = time.monotonic() + AWAY_S
        log.warning("%s", exc.message)
        return None


async def refresh(state: JobEvents) -> None:
    """Correct the states of jobs that have not ended, as far as Flower knows."""
    wanted = state.unfinished(MOST)
    if not wanted:
        return
    histories = await asked(lambda queue: queue.operations.histories(wanted))
    if histories is not None:
        state.correct(wanted, histories)


async def alive() -> dict[str, WorkerState] | None:
    """The workers that hold their place in the queue, by name; of a restarted one, the new process."""
    found = await asked(lambda queue: queue.operations.workers())
    if found is None:
        return None
    return {each.name: each for each in sorted(found, key=lambda each: str(each.told.get("started_at", "")))}


def listed(
    state: JobEvents, members: dict[str, WorkerState] | None, *, purge_s: int | None
) -> dict[str, dict[str, Any]]:
    """Workers as Flower's page lists them, with the figures that they tell themselves: Celery's know nothing of
    batches, and events are thinned. One that is gone is offline until it was not heard of for `purge_s`."""
    rows: dict[str, dict[str, Any]] = {}
    members = members or {}
    now = time.time()
    for name, worker in state.workers.data.items():
        online = name in members or worker.alive
        last = max(worker.heartbeats) if worker.heartbeats else getattr(worker, "timestamp", None)
        if not online and purge_s is not None and (not last or now - last >= purge_s):
            continue
        counted = dict(state.counter.get(name, {}))
        rows[name] = {**counted, **{field: getattr(worker, field) for field in worker._fields}, "status": online}
    for name, member in members.items():
        row = rows.setdefault(name, {"hostname": name, "status": True, "loadavg": None})
        row["active"] = member.told.get("running_jobs", 0)
        ended = member.told.get("ended") or {}
        row["task-succeeded"], row["task-failed"] = ended.get("SUCCESS", 0), ended.get("FAILURE", 0)
        row["task-received"] = sum(ended.values())
    return rows
