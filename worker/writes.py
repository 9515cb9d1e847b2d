"""The lane of a table's writes: gather, freeze, send, settle; and what follows an error or a lost answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lakequeue import wire
from lakequeue.errors import InvalidJob
from lakequeue.jobs import Write

from tasks import batches, statements
from tasks.batches import Gathering, Insertion, Limits
from tasks.records import Member, Written
from tasks.sql import Statement
from tasks.table import Table
from tasks.verdicts import Failure
from worker.lane import CHUNK, Desk, Entry, Place, Refusal, Turn, invalid, read_entry, refused_by
from worker.store import Frozen, Head
from worker.tables import Tables
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)

NOT_YET = InvalidJob(
    "this worker runs writes and reads only; updates and deletes come with a later release",
    {"errors": [{"type": "not_supported", "loc": [], "msg": "updates and deletes are not supported yet"}]},
)


@dataclass(slots=True)
class Plan:
    """The head of a lane, planned: the first `span` messages, of which some join one statement and others fail."""

    table: Table | None = None
    entries: list[Entry] = field(default_factory=list)
    insertions: list[Insertion] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    failure: Failure | None = None
    """Why the table could not be had this time; the first entry waits for it."""

    @property
    def span(self) -> int:
        return len(self.entries)

    def joined(self) -> list[Entry]:
        """The entries whose jobs are in the statement, in order."""
        ids = {each.job_id for each in self.insertions}
        found = {entry.member.id: entry for entry in self.entries if entry.member.id in ids}
        return list(found.values())

    def halves(self) -> tuple[Plan, Plan]:
        """Cut the statement in two; each message goes with the half before it."""
        middle = len(self.insertions) // 2
        first = self.insertions[middle].job_id
        cut = next(i for i, entry in enumerate(self.entries) if entry.member.id == first)
        head = {entry.member.id for entry in self.entries[:cut]}
        early = [r for r in self.refusals if r.entry.member.id in head]
        late = [r for r in self.refusals if r.entry.member.id not in head]
        return (
            Plan(self.table, self.entries[:cut], self.insertions[:middle], early),
            Plan(self.table, self.entries[cut:], self.insertions[middle:], late),
        )


class WriteLane:
    """Runs the write lane of any table, a batch at a time; shared by all threads of a worker."""

    def __init__(self, desk: Desk, tables: Tables, execute: Callable[[Statement], Answer]) -> None:
        self._desk = desk
        self._tables = tables
        self._execute = execute
        settings = desk.settings
        self._limits = Limits(
            max_rows=settings.max_batch_rows,
            max_bytes=settings.max_batch_bytes,
            max_jobs=settings.max_batch_jobs,
        )

    def run(self, place: Place, head: Head) -> Turn:
        """Run one batch, or go on with the frozen one."""
        if head.frozen is not None:
            return self._resume(place, head.frozen, head.messages)
        if (wait := self._lingers(head)) > 0:
            return Turn.after(wait)
        attempt = head.waiting.attempts + 1 if head.waiting else 1
        plan = self._plan(place, head.messages)
        if plan.failure is not None:
            return self._table_unavailable(place, plan, attempt)
        return self._run(place, plan, attempt=attempt)

    def _plan(self, place: Place, messages: list[bytes]) -> Plan:
        """Read entries from the head on until the statement is full or a job does not belong to it."""
        plan = Plan()
        gathering = Gathering(self._limits)
        missing: Failure | None = None
        position = 0
        seen: set[str] = set()
        while True:
            if position == len(messages):
                if position % CHUNK:
                    break
                messages = self._desk.more(place, messages, upto=position + CHUNK)
                if position == len(messages):
                    break
            entry = read_entry(messages[position], place)
            job = entry.job
            refusal: Refusal | None = None
            if entry.error is not None:
                refusal = invalid(entry, entry.error)
            elif not isinstance(job, Write):
                refusal = invalid(entry, NOT_YET)
            elif entry.member.id in seen:
                refusal = None  # the same message twice: enqueueing never does this; it goes with its batch
            else:
                try:
                    if missing is not None and not (job.auto_create and job.schema_definition):
                        raise StatementFailed(missing)
                    plan.table = self._tables.get_or_create(place.table, job)
                    missing = None
                    candidate = batches.insertion(entry.member.id, job, plan.table)
                    if not gathering.take(candidate):
                        break
                except InvalidJob as exc:
                    refusal = invalid(entry, exc)
                except StatementFailed as exc:
                    if exc.failure.verdict != "permanent":
                        if not plan.entries:
                            plan.entries.append(entry)
                            plan.failure = exc.failure
                        break
                    if exc.failure.cause == "missing":
                        missing = exc.failure
                    refusal = refused_by(entry, exc.failure, alone=True)
            seen.add(entry.member.id)
            plan.entries.append(entry)
            if refusal is not None:
                plan.refusals.append(refusal)
            position += 1
        plan.insertions = gathering.insertions
        return plan

    def _table_unavailable(self, place: Place, plan: Plan, attempt: int) -> Turn:
        """The table could not be described or created this time. DDL is IF NOT EXISTS: repeating it does no harm."""
        assert plan.failure is not None
        log.warning("table=%s attempt=%d verdict=transient error=%s", place.table, attempt, plan.failure.code)
        members = [entry.member for entry in plan.entries]
        frozen, _ = self._desk.freeze(place, members, span=plan.span, attempt=attempt)
        return Turn.after(self._desk.postpone(place, frozen, members, plan.failure, attempts=attempt))

    def _run(self, place: Place, plan: Plan, *, attempt: int, replaces: str = "", again: Frozen | None = None) -> Turn:
        """Freeze a plan, send its statement and settle it. `again`: the guarded repeat of a batch frozen before."""
        members = [entry.member for entry in plan.joined()]
        identity = plan.table.identity if plan.table else ""
        frozen, excluded = self._desk.freeze(
            place, members, span=plan.span, attempt=attempt, identity=identity, replaces=replaces, again=again
        )
        insertions = [each for each in plan.insertions if each.job_id not in excluded]
        members = [member for member in members if member.id not in excluded]
        if plan.table is None or not insertions:
            return Turn.of(self._desk.settle(place, frozen, remove=plan.span, refused=plan.refusals))
        rows = sum(each.rows for each in insertions)
        started_at = wire.isoformat(datetime.now(UTC))
        columns = [plan.table.by_name[name] for name in insertions[0].columns]
        statement = statements.insert(
            plan.table,
            columns,
            batches.parameter(insertions),
            stamp_us=frozen.stamp_us,
            start_by_us=frozen.start_by_us,
            guarded=again is not None,
        )
        try:
            answer = self._execute(statement)
        except StatementFailed as exc:
            return self._failed(place, plan, frozen, members, exc.failure)
        notes = []
        if answer.affected not in (None, rows) and again is None:
            notes.append(f"the warehouse counted {answer.affected} rows, {rows} were sent")
            log.error("batch=%s table=%s rows=%d affected=%s", frozen.batch, place.table, rows, answer.affected)
        if again is not None:
            notes.append("sent again after its first answer was lost, guarded by its stamp")
        self._log(place, frozen, len(members), rows, answer)
        return self._committed(place, plan, frozen, members, answer, started_at, notes)

    def _committed(
        self,
        place: Place,
        plan: Plan,
        frozen: Frozen,
        members: Sequence[Member],
        answer: Answer | None,
        started_at: str,
        notes: Sequence[str],
    ) -> Turn:
        receipt = self._desk.receipt(
            frozen, jobs=len(members), rows=sum(m.rows for m in members), answer=answer, started_at=started_at
        )
        written = Written({**receipt, "notes": list(notes)} if notes else receipt, finished_at=receipt["finished_at"])
        left = self._desk.settle(
            place,
            frozen,
            remove=plan.span,
            members=members,
            outcomes=[written.outcome(member) for member in members],
            refused=plan.refusals,
        )
        return Turn.of(left)

    def _failed(self, place: Place, plan: Plan, frozen: Frozen, members: Sequence[Member], failure: Failure) -> Turn:
        log.warning(
            "batch=%s table=%s jobs=%d attempt=%d verdict=%s error=%s",
            frozen.batch,
            place.table,
            len(members),
            frozen.attempt,
            failure.verdict,
            failure.error_class,
        )
        if failure.verdict == "unknown":
            return Turn.after(0.0)  # the batch stays frozen: the next turn proves it
        if failure.cause == "expired":
            self._read_clock()
        if failure.verdict == "transient":
            return Turn.after(self._desk.postpone(place, frozen, members, failure, attempts=frozen.attempt))
        if failure.cause in ("shape", "missing") and self._changed(place, plan):
            changed = Failure("transient", "session", failure.error_class, failure.sqlstate, failure.text)
            return Turn.after(self._desk.postpone(place, frozen, members, changed, attempts=frozen.attempt))
        if failure.cause in ("row", "unlisted") and len(plan.insertions) > 1:
            first, second = plan.halves()
            turn = self._run(place, first, attempt=frozen.attempt, replaces=frozen.batch)
            return self._run(place, second, attempt=frozen.attempt) if turn.settled else turn
        alone = len(members) == 1
        joined = {member.id for member in members}
        refused = [refused_by(e, failure, alone=alone) for e in plan.joined() if e.member.id in joined]
        return Turn.of(self._desk.settle(place, frozen, remove=plan.span, refused=[*plan.refusals, *refused]))

    def _resume(self, place: Place, frozen: Frozen, messages: list[bytes]) -> Turn:
        """Go on from a batch whose answer was lost or whose owner died: it committed, may yet, or never will."""
        messages = self._desk.more(place, messages, upto=frozen.span)[: frozen.span]
        ids = set(frozen.ids)
        entries = [read_entry(message, place) for message in messages]
        plan = Plan(entries=entries)
        plan.refusals = [invalid(e, e.error) for e in entries if e.error is not None]
        members = [entry.member for entry in entries if entry.member.id in ids]
        if not members:
            return Turn.of(self._desk.settle(place, frozen, remove=frozen.span, refused=plan.refusals))
        if not frozen.identity:  # it waited for its table: no statement of its own was sent
            anew = Failure("transient", "session", "OWNER_GONE", None, "")
            return Turn.after(self._desk.postpone(place, frozen, members, anew, attempts=frozen.attempt))
        try:
            self._tables.forget(place.table)
            plan.table = self._tables.get(place.table)
            if plan.table.identity != frozen.identity or plan.table.stamp_column is None:
                return self._unprovable(place, plan, frozen)
            proof = self._execute(statements.find_stamp(plan.table, frozen.stamp_us))
        except StatementFailed as exc:
            if exc.failure.cause == "missing" and frozen.identity:
                return self._unprovable(place, plan, frozen)
            # Only the proof failed. The batch stays frozen; nothing else of this table may run.
            log.warning("batch=%s table=%s proof error=%s", frozen.batch, place.table, exc.failure.code)
            return Turn.after(self._desk.settings.backoff_first_s)
        now, found = proof.rows[0][0], int(proof.rows[0][1])
        if found:
            log.info("batch=%s table=%s proved=committed", frozen.batch, place.table)
            at = wire.isoformat(datetime.now(UTC))
            notes = ["its answer was lost; found by its stamp in the table"]
            return self._committed(place, plan, frozen, members, None, at, notes)
        left = self._open_for(frozen, now)
        if left > 0:
            log.info("batch=%s table=%s proved=not_yet wait_s=%.1f", frozen.batch, place.table, left)
            return Turn.after(left)
        return self._repeat(place, plan, frozen)

    def _open_for(self, frozen: Frozen, now: datetime) -> float:
        """For how many seconds the statement may still commit, by the warehouse's clock."""
        settings = self._desk.settings
        last = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=frozen.start_by_us, seconds=settings.statement_timeout_s + settings.proof_margin_s
        )
        return (last - now.replace(tzinfo=now.tzinfo or UTC)).total_seconds()

    def _repeat(self, place: Place, plan: Plan, frozen: Frozen) -> Turn:
        """Send the whole statement once more, guarded by its own stamp: it cannot double what did commit after all."""
        assert plan.table is not None
        ids = set(frozen.ids)
        for entry in plan.entries:
            if entry.member.id in ids and isinstance(entry.job, Write):
                try:
                    plan.insertions.append(batches.insertion(entry.member.id, entry.job, plan.table))
                except InvalidJob as exc:  # the table's columns changed, and the statement did not run before they did
                    plan.refusals.append(invalid(entry, exc))
        return self._run(place, plan, attempt=frozen.attempt + 1, again=frozen)

    def _unprovable(self, place: Place, plan: Plan, frozen: Frozen) -> Turn:
        """The table keeps no stamp, or is another one by now: nobody can say whether the rows were written."""
        settings = self._desk.settings
        table = plan.table
        if settings.repeat_unprovable and table is not None and table.identity == frozen.identity:
            ends = frozen.start_by_us / 1e6 + settings.statement_timeout_s + settings.proof_margin_s
            if (left := ends - time.time() - self._desk.clock_offset_us / 1e6) > 0:
                return Turn.after(left)
            members = [entry.member for entry in plan.entries if entry.member.id in frozen.ids]
            lost = Failure("transient", "session", "ANSWER_LOST", None, "")
            return Turn.after(self._desk.postpone(place, frozen, members, lost, attempts=frozen.attempt))
        failure = Failure("unknown", "answer", "UNPROVABLE", None, "")
        ids = set(frozen.ids)
        refused = [
            refused_by(entry, failure, alone=False, committed="unknown")
            for entry in plan.entries
            if entry.member.id in ids
        ]
        log.error("batch=%s table=%s jobs=%d proved=unknown", frozen.batch, place.table, len(refused))
        return Turn.of(self._desk.settle(place, frozen, remove=frozen.span, refused=[*plan.refusals, *refused]))

    def _changed(self, place: Place, plan: Plan) -> bool:
        """Describe the table again. True if it is not what the plan was made for, so that planning anew can help."""
        known = plan.table
        self._tables.forget(place.table)
        try:
            return self._tables.get(place.table) != known
        except StatementFailed as exc:
            return exc.failure.cause == "missing"

    def _lingers(self, head: Head) -> float:
        """For how many seconds more the lane's first job waits for others to join it."""
        linger = self._desk.settings.linger_s
        if linger <= 0 or head.waiting is not None or len(head.messages) >= CHUNK:
            return 0.0
        try:
            enqueued_at = datetime.fromisoformat(wire.decode(head.messages[0]).enqueued_at)
        except ValueError:
            return 0.0
        return linger - (datetime.now(UTC) - enqueued_at).total_seconds()

    def _read_clock(self) -> None:
        """Learn how far the warehouse's clock is from Redis', after a statement expired."""
        try:
            answer = self._execute(statements.who_and_when())
        except StatementFailed:
            return
        now = answer.rows[0][1]
        offset = (now.replace(tzinfo=now.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        self._desk.clock_offset_us = int(offset * 1e6)
        log.warning("the warehouse's clock is %.1f s from ours", offset)

    def _log(self, place: Place, frozen: Frozen, jobs: int, rows: int, answer: Answer) -> None:
        log.info(
            "batch=%s table=%s jobs=%d rows=%d attempt=%d statement=%s ms=%.0f",
            frozen.batch,
            place.table,
            jobs,
            rows,
            frozen.attempt,
            answer.statement_id,
            answer.elapsed_s * 1000,
        )
