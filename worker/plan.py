"""The head of a lane of writes, read until its statement is full: which jobs join it, and which fail without one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from lakequeue.errors import InvalidJob
from lakequeue.jobs import Job, Write
from lakequeue.problems import Problems

from tasks.batches import Batch, Gathering, Limits
from tasks.prepared import LARGEST_BYTES, Prepared, Removal, prepare
from tasks.records import Member, Outcome
from tasks.table import Table
from tasks.verdicts import Failure
from worker.entries import Entry, Refusal, invalid, read_entry, refused_by
from worker.lane import Desk
from worker.store import Head, Place
from worker.tables import Tables
from worker.warehouse import StatementFailed

log = logging.getLogger(__name__)

LARGE_BYTES = 100_000
"""A message of more bytes is not read to find out that it does not fit, if those before it say so."""

MOST_BYTES = 16_000_000
"""Bytes of messages that one batch holds at most, with those of jobs that fail without a statement."""


@dataclass(slots=True)
class Plan:
    """The first `span` messages of a lane, of which some join one statement and others fail."""

    table: Table | None = None
    entries: list[Entry] = field(default_factory=list)
    jobs: list[Prepared] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """What fails without a statement. Freezing settles it, once and for all."""

    done: list[tuple[Member, Outcome]] = field(default_factory=list)
    """What was committed long ago. Freezing settles it likewise."""

    failure: Failure | None = None
    """Why the table could not be had this time; the first entry waits for it."""

    @property
    def span(self) -> int:
        return len(self.entries)

    @property
    def batch(self) -> Batch:
        assert self.table is not None
        return Batch(self.table, tuple(self.jobs))

    @property
    def unprovable(self) -> bool:
        """Whether the statement, once committed, may leave no stamp to be found."""
        table = self.table
        if table is None or table.stamp_column is None:
            return True
        return any(isinstance(job, Removal) and not job.soft for job in self.jobs)

    def cut_before(self, job_id: str) -> None:
        """Leave this job, and all that comes after it, to the next statement."""
        cut = next(i for i, entry in enumerate(self.entries) if entry.member.id == job_id)
        self.entries = self.entries[:cut]
        kept = {entry.member.id for entry in self.entries}
        self.jobs = [job for job in self.jobs if job.job_id in kept]
        self.refusals = [refusal for refusal in self.refusals if refusal.entry.member.id in kept]

    def joined(self) -> list[Entry]:
        """The entries whose jobs are in the statement, in order."""
        ids = {job.job_id for job in self.jobs}
        return list({entry.member.id: entry for entry in self.entries if entry.member.id in ids}.values())

    def without(self, ids: frozenset[str]) -> Plan:
        """The same messages, some jobs not in the statement."""
        return Plan(self.table, self.entries, [job for job in self.jobs if job.job_id not in ids])

    def halves(self) -> tuple[Plan, Plan]:
        """Cut the statement in two; each message goes with the half before it."""
        middle = len(self.jobs) // 2
        first = self.jobs[middle].job_id
        cut = next(i for i, entry in enumerate(self.entries) if entry.member.id == first)
        return (
            Plan(self.table, self.entries[:cut], self.jobs[:middle], self.refusals, self.done),
            Plan(self.table, self.entries[cut:], self.jobs[middle:]),
        )


class _TableChanged(Exception):
    """The jobs gathered so far were checked against columns that the table does not have any more."""


class Planner:
    def __init__(self, desk: Desk, tables: Tables, limits: Limits) -> None:
        self._desk = desk
        self._tables = tables
        self._limits = limits

    def plan(self, place: Place, head: Head) -> Plan:
        """Read entries from the head on until the statement is full, or a job does not belong to it, or there are as
        many as the head's limit, or as may be held at once."""
        plan = Plan()
        gathering = Gathering(self._limits)
        unavailable: Failure | None = None
        seen: set[str] = set()
        read = joined = 0
        while plan.span < min(head.limit, self._limits.max_jobs):
            if plan.span == len(head.messages):
                head = self._desk.heads.more(place, head)
                if plan.span == len(head.messages):
                    break
            message = head.messages[plan.span]
            read += len(message)
            if plan.entries and (read > MOST_BYTES or self._overflows(gathering, joined, len(message))):
                break
            entry = read_entry(message, place)
            try:
                if entry.member.id not in seen:  # else the same message twice, which goes with its twin
                    if not gathering.take(self._prepare(place, entry, gathering, unavailable)):
                        break
                    joined += len(message)
                    unavailable = None
            except _TableChanged:
                break
            except InvalidJob as exc:
                plan.refusals.append(invalid(entry, exc))
            except StatementFailed as exc:
                if exc.failure.verdict != "permanent":
                    if not plan.entries:
                        plan.entries.append(entry)
                        plan.failure = exc.failure
                    break
                unavailable = exc.failure
                plan.refusals.append(refused_by(entry, exc.failure, alone=True))
            seen.add(entry.member.id)
            plan.entries.append(entry)
        plan.jobs = gathering.jobs
        plan.table = gathering.table
        return plan

    def _overflows(self, gathering: Gathering, joined: int, size: int) -> bool:
        """Whether a large message does not fit any more, by what the `joined` bytes of messages before it came to."""
        if size < LARGE_BYTES or not joined:
            return False
        return gathering.bytes * (joined + 0.9 * size) / joined > self._limits.max_bytes

    def again(self, plan: Plan, ids: Sequence[str]) -> None:
        """Prepare the jobs of a frozen batch once more; one that does not fit the table any more is refused."""
        assert plan.table is not None
        wanted = set(ids)
        for entry in plan.entries:
            if entry.member.id in wanted and entry.job is not None:
                wanted.discard(entry.member.id)  # the same message twice is one job
                try:
                    plan.jobs.append(self._prepare_again(plan, entry.member.id, entry.job))
                except InvalidJob as exc:
                    plan.refusals.append(invalid(entry, exc))

    def _prepare_again(self, plan: Plan, job_id: str, job: Job) -> Prepared:
        assert plan.table is not None
        try:
            return prepare(job_id, job, plan.table)
        except InvalidJob:
            if not plan.table.required or (filled := self._tables.filled(plan.table)) is None:
                raise
            plan.table = filled
            return prepare(job_id, job, filled)

    def _prepare(self, place: Place, entry: Entry, gathering: Gathering, unavailable: Failure | None) -> Prepared:
        """Raises InvalidJob, StatementFailed. What made the table `unavailable` to the job before is not asked for."""
        if entry.error is not None:
            raise entry.error
        job = entry.job
        assert job is not None
        creates = isinstance(job, Write) and job.auto_create and job.schema_definition is not None
        if unavailable is not None and not (creates and unavailable.cause == "missing"):
            raise StatementFailed(unavailable)
        table = (
            self._tables.get_or_create(place.table, job) if isinstance(job, Write) else self._tables.get(place.table)
        )
        gathering.table = table
        try:
            prepared = prepare(entry.member.id, job, table)
            fresh = self._tables.filled(table) if gathering.mixes_numbers(prepared, job) else None
        except InvalidJob:
            fresh = self._tables.changed(table) or (self._tables.filled(table) if table.required else None)
            if fresh is None:
                raise
        if fresh is not None:
            if gathering.jobs:
                raise _TableChanged from None
            gathering.table = fresh
            prepared = prepare(entry.member.id, job, fresh)
        if prepared.bytes > LARGEST_BYTES:
            problems = Problems()
            told = f"the job's rows are {prepared.bytes:,} bytes encoded, a statement holds {LARGEST_BYTES:,}"
            problems.add("too_large", (), f"{told}: split them over several jobs")
            raise problems.as_invalid_job(f"{job.op} {place.table}")
        return prepared
