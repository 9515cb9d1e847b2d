"""What earlier attempts committed: rows are looked up by `_job_id` before a job runs that may have run already.

That is a job that was replayed, and one that was enqueued before another Redis server answered: after a restart or a
failover it may be in its list again although it was committed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from lakequeue import wire
from lakequeue.jobs import Write

from tasks import records, statements
from tasks.records import Member, Outcome
from tasks.sql import Statement
from tasks.table import JOB_ID
from tasks.verdicts import Failure
from worker.entries import Entry, refused_by
from worker.plan import Plan
from worker.warehouse import Answer

SKEW = timedelta(minutes=1)
"""So far a producer's clock may be ahead of Redis'."""

BEHIND = timedelta(hours=1)
"""So far it may be behind: rows that were written before a job was enqueued are none of its."""

NOTE = "an earlier attempt committed it; found by its _job_id in the table"


class Lookup:
    """Shared by all threads of a worker."""

    def __init__(self, execute: Callable[[Statement], Answer]) -> None:
        self._execute = execute

    def leave_out(self, plan: Plan, *, broke_us: int) -> None:
        """Take the jobs that were committed before out of a plan's statement, with their outcomes.

        Only writes can be looked up: `_job_id` names the job that inserted a row. What else was committed before is
        repeated.

        Raises:
            StatementFailed: it could not be looked up; nothing was changed.
        """
        if plan.table is None or not (doubtful := _all_doubtful(plan, broke_us)):
            return
        ids = sorted({each for entry in doubtful for each in (entry.member.id, *entry.member.replay_of)})
        answer = self._execute(statements.find_jobs(plan.table, ids, since=_since(doubtful)))
        found = {str(job_id): int(rows) for job_id, rows in answer.rows}
        rows_of = {e.member.id: sum(found.get(i, 0) for i in (e.member.id, *e.member.replay_of)) for e in doubtful}
        runs_keyed = False
        for job in plan.jobs:
            if not rows_of.get(job.job_id):
                runs_keyed = runs_keyed or job.keyed
            elif runs_keyed:  # what runs again before it may undo it: it is looked up after that
                plan.cut_before(job.job_id)
                break
        kept = {entry.member.id for entry in plan.entries}
        for entry in doubtful:
            if entry.member.id in kept and (rows := rows_of[entry.member.id]):
                plan.done.append((entry.member, _outcome(entry, rows)))
        done = frozenset(member.id for member, _ in plan.done)
        plan.jobs = [job for job in plan.jobs if job.job_id not in done]

    def refuse(self, plan: Plan, failure: Failure, *, broke_us: int) -> None:
        """Take the jobs that would have to be looked up out of a plan's statement: the warehouse will not have it."""
        doubtful = {entry.member.id: entry for entry in _all_doubtful(plan, broke_us)}
        alone = len(doubtful) == 1
        plan.refusals += [refused_by(entry, failure, alone=alone, committed="unknown") for entry in doubtful.values()]
        plan.jobs = [job for job in plan.jobs if job.job_id not in doubtful]


def _all_doubtful(plan: Plan, broke_us: int) -> list[Entry]:
    if plan.table is None or JOB_ID not in plan.table.audit:
        return []
    broke = datetime.fromtimestamp(broke_us / 1e6, UTC) + SKEW if broke_us else None
    waiting = {job.job_id for job in plan.jobs}
    return [
        entry
        for entry in plan.entries
        if entry.member.id in waiting and isinstance(entry.job, Write) and _doubtful(entry.member, broke)
    ]


def _doubtful(member: Member, broke: datetime | None) -> bool:
    if member.replay_of:
        return True
    enqueued_at = _moment(member)
    return broke is not None and (enqueued_at is None or enqueued_at <= broke)


def _since(doubtful: list[Entry]) -> datetime | None:
    """None if nothing is known of when the earliest attempt may have been."""
    moments = [_moment(entry.member, first=True) for entry in doubtful]
    known = [moment for moment in moments if moment is not None]
    return min(known) - BEHIND if len(known) == len(moments) else None


def _moment(member: Member, *, first: bool = False) -> datetime | None:
    """When a job was enqueued; of a replay, if asked for, the `first` of those it repeats."""
    try:
        moment = datetime.fromisoformat(member.replay_since if first and member.replay_of else member.enqueued_at)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _outcome(entry: Entry, rows: int) -> Outcome:
    assert isinstance(entry.job, Write)
    at = wire.isoformat(datetime.now(UTC))
    receipt: dict[str, Any] = {"batch": None, "statement": None, "attempts": 0, "started_at": at, "finished_at": at}
    count = rows if entry.job.mode == "insert_if_absent" else entry.job.row_count
    return records.Committed({**receipt, "notes": [NOTE]}, finished_at=at).outcome(entry.member, count)
