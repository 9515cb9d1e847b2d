"""The lines of a worker's log that tell of its work: one a batch, and one a verdict, each with the ids to look for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from tasks.records import Member
from tasks.verdicts import Failure
from worker.entries import Refusal
from worker.logs import line
from worker.store import Frozen, Place

log = logging.getLogger(__name__)


def done(
    place: Place, members: Sequence[Member], frozen: Frozen, *, rows: int, statement: str | None, ms: float | None
) -> None:
    """A batch was done, in so many milliseconds of the warehouse."""
    told = {"batch": frozen.batch, "table": place.table, "rows": rows, "attempt": frozen.attempt}
    line(log, logging.INFO, **_named(members), **told, statement=statement, ms=ms)


def failed(
    level: int, place: Place, members: Sequence[Member], failure: Failure, *, batch: str, attempt: int, **more: Any
) -> None:
    """A batch came to nothing this time."""
    told = {"batch": batch, "table": place.table, "attempt": attempt, "statement": failure.statement}
    line(log, level, **_named(members), **told, error=failure.error_class, **more)


def refused(refusals: Iterable[Refusal], frozen: Frozen | None) -> None:
    """Jobs failed for good, by a batch or before they were in one."""
    for refusal in refusals:
        line(
            log,
            logging.WARNING,
            job=refusal.entry.member.id,
            batch=frozen.batch if frozen else None,
            table=refusal.entry.member.table,
            attempt=frozen.attempt if frozen else None,
            statement=refusal.statement,
            verdict="permanent",
            error=refusal.code,
            committed=refusal.committed,
        )


def _named(members: Sequence[Member]) -> dict[str, Any]:
    """The one job there is, else their number."""
    return {"job": members[0].id} if len(members) == 1 else {"jobs": len(members)}
