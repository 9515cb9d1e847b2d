"""What Flower's pages say of jobs, read from Redis. Values of rows are in none of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakequeue import Queue, UnknownJob

TOLD_OF_FAILURE = ("error", "error_class", "sqlstate")
"""Of a failure's details; its text and its message may quote values."""

HIDDEN = frozenset({"columns", "history"})


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Successes that are not shown: of the last minute, and since the workers that are alive started."""

    known: bool
    lately: int = 0
    total: int = 0

    @classmethod
    def unknown(cls) -> LeftOut:
        return cls(known=False)


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
        return cls(task.uuid, task.state, {name: getattr(task, name, None) for name in names})


def left_out(queue: Queue) -> LeftOut:
    told = [worker.told for worker in queue.operations.workers()]
    return LeftOut(
        known=True,
        lately=sum(int(each.get("left_out_lately", 0)) for each in told),
        total=sum(int(each.get("left_out", 0)) for each in told),
    )


def job_page(queue: Queue, job_id: str) -> JobPage | None:
    """None if no such job is known."""
    try:
        history = queue.operations.history(job_id)
    except (UnknownJob, ValueError):
        return None
    shown = {name: value for name, value in history.receipt.items() if name not in HIDDEN and value not in (None, [])}
    facts: dict[str, Any] = {"table": history.table, "op": history.op, "rows": history.rows}
    facts |= {"enqueued at": history.enqueued_at, **history.now}
    return JobPage(
        id=job_id,
        state=history.state,
        facts={name: value for name, value in facts.items() if value is not None},
        receipt=shown,
        tries=history.tries,
        replay_of=history.replay_of,
        replayed_as=history.replayed_as,
    )
