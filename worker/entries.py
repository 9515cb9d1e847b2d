"""The messages of a lane as they are read: the job in each, or why there is none, and how one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from lakequeue import wire
from lakequeue.errors import InvalidJob
from lakequeue.identifiers import check_job_id
from lakequeue.jobs import Job
from lakequeue.keys import table_of

from tasks.records import Member
from tasks.verdicts import Failure
from worker.store import Head, Place

MOST_DEATHS = 3
"""So many workers may die with a job in hand, nothing beside it, before it becomes a dead letter."""

MOST_DEATHS_SENT = 8
"""So many may while the warehouse has its statement, when a worker only waits: more likely they were killed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a lane: the job in it, or why there is none."""

    member: Member
    message: bytes
    job: Job | None
    error: InvalidJob | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that fails without a statement, or by one."""

    entry: Entry
    message: str
    details: dict[str, Any]
    code: str
    committed: str = "not_committed"
    statement: str | None = None
    """The one that failed it, if the warehouse gave it an id."""


def read_entry(message: bytes, place: Place) -> Entry:
    """Decode and validate a message. What is wrong with it is in the entry: it blocks nothing."""
    received = _received(message, place)
    if isinstance(received, Entry):
        return received
    table = table_of(place.lane)
    try:
        job = wire.to_job(received)
    except InvalidJob as exc:
        return Entry(_member(received, table, received.rows), message, None, exc)
    member = _member(received, table, job.row_count)
    if str(job.table_name) != table or (job.op == "read") != place.lane.startswith("r:"):
        wrong = InvalidJob(f"a {job.op} of {job.table_name} does not belong into this list", {"errors": []})
        return Entry(member, message, None, wrong)
    return Entry(member, message, job)


def bare_entry(message: bytes, place: Place) -> Entry:
    """Whose message it is; nothing of the job in it is looked at."""
    received = _received(message, place)
    if isinstance(received, Entry):
        return received
    return Entry(_member(received, table_of(place.lane), received.rows), message, None)


def _received(message: bytes, place: Place) -> wire.Received | Entry:
    try:
        received = wire.decode(message)
        check_job_id(received.id)
    except ValueError as exc:
        name = "unreadable-" + blake2b(message, digest_size=12).hexdigest()
        member = Member(name, "records.unknown", table_of(place.lane), 0, "", "", name)
        return Entry(member, message, None, InvalidJob(str(exc), {"errors": []}))
    return received


def _member(received: wire.Received, table: str, rows: int) -> Member:
    return Member(
        received.id,
        received.task,
        table,
        rows,
        received.digest,
        received.enqueued_at,
        received.root_id,
        received.parent_id,
        received.expires if isinstance(received.expires, str) else None,
        received.replay_of,
        received.replay_since,
    )


def invalid(entry: Entry, error: InvalidJob) -> Refusal:
    return Refusal(entry, error.message, error.details, "INVALID_JOB")


def refused_by(entry: Entry, failure: Failure, *, alone: bool, committed: str = "not_committed") -> Refusal:
    """A job that a failed statement fails. The warehouse's text may hold values: only a job alone gets to see it."""
    details: dict[str, Any] = {"error_class": failure.error_class, "sqlstate": failure.sqlstate}
    if alone:
        details["text"] = failure.text[:500]
    message = f"{entry.member.task.removeprefix('records.')} {entry.member.table}: {_advice(failure)}"
    return Refusal(entry, message, details, failure.code, committed, failure.statement)


def is_killer(head: Head) -> bool:
    """Whether so many workers died with the lane's first job that it is taken for the cause."""
    return head.alone >= MOST_DEATHS or head.unanswered >= MOST_DEATHS_SENT


def killed_worker(entry: Entry, head: Head, *, committed: str = "not_committed") -> Refusal:
    became = "whether it was committed is not known" if committed == "unknown" else "nothing of it was committed"
    told = f"{head.alone + head.unanswered} workers died with this job in hand and nothing beside it; {became}"
    return Refusal(entry, f"{entry.member.task} on {entry.member.table}: {told}", {}, "KILLED_WORKER", committed)


_ADVICE = {
    "unlisted": "its statement fails again and again, and those of other jobs do not ({code}); look at its values",
    "row": "a value does not fit the table ({code}); correct the row and enqueue it again",
    "shape": "the job does not fit the table ({code}); compare its columns with the table's",
    "missing": "the table does not exist ({code}); create it, or enqueue with auto_create and schema_definition",
    "permission": "the worker may not do this ({code}); grant it the privilege, then replay the job",
    "warehouse": "the warehouse gave no answer to it, again and again ({code}); it was not committed",
    "answer": "whether it was committed is not known ({code}); look for its _job_id in the table before replaying it",
}


_ADVICE_BY_CODE = {
    "HTTP_413": "a proxy before the warehouse takes no statement so large ({code}); split its rows over several jobs",
    "UNREADABLE_VALUE": "a value of the page cannot be read ({code}); leave its column out, or filter its row out",
}


def _advice(failure: Failure) -> str:
    advice = _ADVICE_BY_CODE.get(failure.code) or _ADVICE.get(failure.cause, "the warehouse refused it ({code})")
    return advice.format(code=failure.code)
