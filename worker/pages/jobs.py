"""What Flower's pages say of jobs, read from Redis. Values of rows are in none of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakequeue import Queue, UnknownJob
from lakequeue.table_states import Overview

from worker.pages.columns import told

HIDDEN = frozenset({"columns", "history"})
"""Of a receipt: the types of a read's columns, and what the page tells elsewhere."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not in the list: jobs that have not begun (`more`: these are not all), and successes that are left out,
    of the last minute and since the workers that are alive started."""

    known: bool
    queued: int = 0
    more: bool = False
    lately: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class JobPage:
    """A job as its page shows it: its state, the facts by name, the receipt, and the tries that came to nothing."""

    id: str
    state: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)
    tries: tuple[Mapping[str, Any], ...] = ()
    replay_of: tuple[str, ...] = ()
    replayed_as: str | None = None

    @classmethod
    def of_events(cls, task: Any) -> JobPage:
        """What Flower has seen of a job that Redis does not know any more, or cannot tell of now."""
        names = ("table", "op", "rows", "batch", "error", "retries")
        facts = {name: getattr(task, name, None) for name in names}
        origin = told(task.kwargs).get("replay_of")
        return cls(
            task.uuid,
            task.state,
            {name: value for name, value in facts.items() if value is not None},
            replay_of=(origin,) if isinstance(origin, str) else (),
        )


MOST_COUNTED = 1000
"""Tables whose jobs are counted for the list of jobs, and that the page of queues shows."""


def queues(queue: Queue) -> Overview:
    return queue.operations.overview(limit=MOST_COUNTED)


def waiting(queue: Queue) -> Waiting:
    said = [worker.told for worker in queue.operations.workers()]
    overview = queue.operations.overview(limit=MOST_COUNTED)
    return Waiting(
        known=True,
        queued=sum(table.queued for table in overview.tables) + overview.arriving + overview.delayed,
        more=overview.more > 0,
        lately=sum(int(each.get("left_out_lately", 0)) for each in said),
        total=sum(int(each.get("left_out", 0)) for each in said),
    )


def job_page(queue: Queue, job_id: str) -> JobPage | None:
    """None if no such job is known."""
    try:
        history = queue.operations.history(job_id)
    except (UnknownJob, ValueError):
        return None
    shown = {name: value for name, value in history.receipt.items() if name not in HIDDEN and value not in (None, [])}
    facts: dict[str, Any] = {"table": history.table, "op": history.op, "rows": history.rows, **history.now}
    facts |= {"enqueued at": history.enqueued_at, "ended at": history.ended_at}
    if facts.get("error_class") == facts.get("error"):
        facts.pop("error_class", None)
    return JobPage(
        id=job_id,
        state=history.state,
        facts={name: value for name, value in facts.items() if value is not None},
        receipt=shown,
        tries=history.tries,
        replay_of=history.replay_of,
        replayed_as=history.replayed_as,
    )
