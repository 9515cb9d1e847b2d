"""The lane of a table's writes, updates and deletes: gather, count, freeze, send, settle; and what follows an error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from lakequeue import wire
from lakequeue.jobs import Delete, Update
from lakequeue.keys import Lane
from lakequeue.problems import Problems

from tasks import statements
from tasks.batches import Limits, payload_bytes
from tasks.fold import Folded, Found
from tasks.prepared import LARGEST_BYTES, Key
from tasks.records import Committed, Member
from tasks.sql import Statement
from tasks.verdicts import Failure
from worker import lines
from worker.entries import Entry, Refusal, bare_entry, refused_by
from worker.lane import Desk, Turn
from worker.lookup import Lookup
from worker.plan import Plan, Planner
from worker.proof import Prover
from worker.recent import Recent
from worker.store import NOT_FOUND, Frozen, Head, Place
from worker.tables import Tables
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)


NOTHING: Mapping[str, int] = {}
NO_PLACES: Mapping[str, Sequence[int]] = {}

PLENTY = 1000
"""So many jobs in a lane wait for no others to join them."""


@dataclass(slots=True)
class Counts:
    """What the table holds of the keys that a batch looks for, kept up to date as parts of it are committed.

    `stale` once a part was committed that added rows without looking for any: its keys are not known.
    """

    found: dict[Key, Found] = field(default_factory=dict)
    stale: bool = False


class WriteLane:
    """Runs the write lane of any table, a batch at a time; shared by all threads of a worker."""

    def __init__(self, desk: Desk, tables: Tables, execute: Callable[[Statement], Answer]) -> None:
        self._desk = desk
        self._tables = tables
        self._execute = execute
        self._seen: Recent[Lane, tuple[str, float]] = Recent()
        settings = desk.settings
        limits = Limits(settings.max_batch_rows, settings.max_batch_jobs, settings.max_batch_bytes)
        self._planner = Planner(desk, tables, limits)
        self._lookup = Lookup(execute)
        self._prover = Prover(
            desk,
            tables,
            execute,
            self._planner,
            repeat=self._repeat,
            halve=self._cut,
            failed=self._unexplained,
            committed=self._committed,
        )
        self._suspects = desk.troubles.suspects

    def run(self, place: Place, head: Head) -> Turn:
        """Run one batch, or go on with the frozen one."""
        if head.frozen is not None:
            return self._prover.resume(place, head, head.frozen)
        self._prover.begin_anew(place)
        if (wait := self._lingers(place, head)) > 0:
            return Turn.after(wait)
        attempt = head.waiting.attempts + 1 if head.waiting else 1
        plan = self._planner.plan(place, self._narrowed(place, head))
        if plan.failure is not None:
            return self._unavailable(place, plan, plan.failure, attempt=attempt)
        try:
            self._lookup.leave_out(plan, broke_us=head.broke_us)
        except StatementFailed as exc:
            failure = exc.failure
            if failure.cause in ("shape", "missing") and self._changed(place, plan):
                failure = replace(failure, verdict="transient", cause="session")
            if failure.verdict != "permanent":
                return self._unavailable(place, plan, failure, attempt=attempt)
            self._lookup.refuse(plan, failure, broke_us=head.broke_us)
        return self._run(place, plan, attempt=attempt, told=head.counted)

    def _unavailable(self, place: Place, plan: Plan, failure: Failure, *, attempt: int, replaces: str = "") -> Turn:
        """The table could not be described, created or counted this time: nothing of it was changed."""
        members = [entry.member for entry in plan.entries]
        frozen, _ = self._desk.freeze(place, members, span=plan.span, attempt=attempt, replaces=replaces)
        return Turn.after(self._desk.postpone(place, frozen, members, failure, attempts=attempt))

    def _run(
        self,
        place: Place,
        plan: Plan,
        *,
        attempt: int,
        replaces: str = "",
        again: Frozen | None = None,
        counts: Counts | None = None,
        told: Mapping[str, int] = NOTHING,
    ) -> Turn:
        """Count, freeze, send and settle a plan.

        Args:
            again: the batch frozen before, of which this is the guarded repeat.
            counts: what a count for a larger plan said; without it a plan with keys is counted.
            told: the rows of jobs, by id, as they were counted before a statement that may have been committed: that is
                what their outcomes say.
        """
        if plan.table is None or not plan.jobs:
            frozen, _ = self._desk.freeze(
                place,
                [],
                span=plan.span,
                attempt=attempt,
                replaces=replaces,
                again=again,
                refused=plan.refusals,
                done=plan.done,
            )
            return Turn.of(self._desk.settle(place, frozen, remove=plan.span))
        try:
            counts = self._count(plan) if counts is None else counts
        except StatementFailed as exc:
            held = again.batch if again else replaces
            if exc.failure.verdict != "permanent":  # a count changes nothing: lost or late, it is asked again
                return self._unavailable(place, plan, exc.failure, attempt=attempt, replaces=held)
            members = [entry.member for entry in plan.joined()]
            frozen, _ = self._desk.freeze(
                place, members, span=plan.span, attempt=attempt, replaces=held, refused=plan.refusals, done=plan.done
            )
            return self._failed(place, plan, frozen, members, exc.failure, told=told)
        plan, folded, frozen = self._freeze(
            place, plan, counts, attempt=attempt, replaces=replaces, again=again, told=told
        )
        members = [entry.member for entry in plan.joined()]
        started_at = wire.isoformat(datetime.now(UTC))
        statement = plan.batch.statement(
            folded, stamp_us=frozen.stamp_us, start_by_us=frozen.start_by_us, guarded=again is not None
        )
        if statement is not None and payload_bytes(statement) > LARGEST_BYTES:
            if len(plan.jobs) > 1:
                return self._halved(place, plan, frozen, counts, told)
            return Turn.of(self._desk.settle(place, frozen, remove=plan.span, refused=[_too_large(plan)]))
        answer = None
        if statement is not None:
            try:
                answer = self._execute(statement)
            except StatementFailed as exc:
                return self._failed(place, plan, frozen, members, exc.failure, counts, told)
        counts.found.update(folded.after)
        counts.stale = counts.stale or not plan.batch.key_columns
        notes = [] if again is None else ["sent again after its first answer was lost"]
        sent = None if plan.batch.key_columns or again is not None else sum(folded.counts.values())
        if answer is not None and sent is not None and answer.affected != sent:
            notes.append(f"the warehouse counted {answer.affected} rows, {sent} were sent")
            log.error("batch=%s table=%s rows=%d affected=%s", frozen.batch, place.table, sent, answer.affected)
        return self._committed(place, plan, frozen, frozen.counted(), answer, started_at, notes, folded.missing)

    def _count(self, plan: Plan) -> Counts:
        """What the table holds of the keys that the jobs look for."""
        batch = plan.batch
        if not (keys := batch.keys()):
            return Counts()
        answer = self._execute(batch.count_statement(keys))
        return Counts({keys[int(i)]: Found(int(live), int(deleted)) for i, live, deleted in answer.rows})

    def _freeze(
        self,
        place: Place,
        plan: Plan,
        counts: Counts,
        *,
        attempt: int,
        replaces: str,
        again: Frozen | None,
        told: Mapping[str, int],
    ) -> tuple[Plan, Folded, Frozen]:
        """Freeze what the jobs come to; without those that turn out to be finished or cancelled, if there are any."""
        assert plan.table is not None
        while True:
            folded = plan.batch.fold(counts.found)
            members = [entry.member for entry in plan.joined()]
            frozen, excluded = self._desk.freeze(
                place,
                members,
                span=plan.span,
                attempt=attempt,
                identity=plan.table.identity,
                counts=[told.get(member.id, folded.counts.get(member.id, NOT_FOUND)) for member in members],
                replaces=replaces,
                again=again,
                refused=plan.refusals,
                done=plan.done,
                whole=True,
            )
            plan.refusals, plan.done = [], []
            if not excluded:
                return plan, folded, frozen
            plan = plan.without(excluded)
            replaces = frozen.batch

    def _repeat(self, place: Place, plan: Plan, frozen: Frozen) -> Turn:
        return self._run(place, plan, attempt=frozen.attempt + 1, again=frozen, told=frozen.counted())

    def _cut(self, place: Place, plan: Plan, frozen: Frozen, told: Mapping[str, int]) -> Turn:
        return self._halved(place, plan, frozen, None, told)

    def _committed(
        self,
        place: Place,
        plan: Plan,
        frozen: Frozen,
        counts: Mapping[str, int],
        answer: Answer | None,
        started_at: str,
        notes: Sequence[str],
        missing: Mapping[str, Sequence[int]] = NO_PLACES,
    ) -> Turn:
        found_none = [entry for entry in plan.entries if counts.get(entry.member.id) == NOT_FOUND]
        refused = [_not_found(entry, missing.get(entry.member.id, ())) for entry in found_none]
        ids = set(frozen.ids) - {refusal.entry.member.id for refusal in refused}
        found = (entry.member for entry in plan.entries if entry.member.id in ids)
        members = list({member.id: member for member in found}.values())
        receipt = self._desk.receipt(
            frozen,
            jobs=len(members),
            rows=sum(rows for rows in counts.values() if rows != NOT_FOUND),
            answer=answer,
            started_at=started_at,
        )
        shared = {**receipt, "notes": list(notes)} if notes else receipt
        committed = Committed(shared, finished_at=receipt["finished_at"])
        tries = self._desk.tries(members, before=frozen.attempt)
        left = self._desk.settle(
            place,
            frozen,
            remove=plan.span,
            members=members,
            outcomes=[committed.outcome(m, counts.get(m.id), tries.get(m.id, ())) for m in members],
            refused=refused,
        )
        self._suspects.committed(place.lane, frozen.ids, frozen.attempt)
        if left >= 0:
            told = {"rows": receipt["batch_rows"], "statement": receipt["statement"], "ms": receipt["warehouse_ms"]}
            lines.done(place, members, frozen, **told)
        return Turn.of(left)

    def _failed(
        self,
        place: Place,
        plan: Plan,
        frozen: Frozen,
        members: Sequence[Member],
        failure: Failure,
        counts: Counts | None = None,
        told: Mapping[str, int] = NOTHING,
    ) -> Turn:
        if failure.verdict == "unknown":
            self._log(logging.WARNING, place, frozen, members, failure, verdict="unknown")
            self._prover.note_lost(place, frozen, failure)
            self._desk.troubles.go_on(place, failure)
            return Turn.after(0.0)  # the batch stays frozen: the next turn proves it
        if failure.cause == "expired":
            self._read_clock()
        if failure.verdict == "transient" and failure.cause == "unlisted":
            if plan.table is not None and plan.table.stamp_column is not None:
                self._log(logging.WARNING, place, frozen, members, failure, verdict="failed")
                self._prover.note_ended(place, frozen, failure)
                return Turn.after(0.0)  # it may have been committed for all that: the next turn looks
            return self._unexplained(place, plan, frozen, failure)
        if failure.verdict == "transient":
            return Turn.after(self._desk.postpone(place, frozen, members, failure, attempts=frozen.attempt))
        if failure.cause in ("shape", "missing") and self._changed(place, plan):
            changed = replace(failure, verdict="transient", cause="session")
            return Turn.after(self._desk.postpone(place, frozen, members, changed, attempts=frozen.attempt))
        if failure.cause in ("row", "unlisted") and len(plan.jobs) > 1:
            self._log(logging.INFO, place, frozen, members, failure, parts=2)
            return self._halved(place, plan, frozen, counts, told if plan.unprovable else NOTHING)
        committed = "unknown" if told and plan.unprovable else "not_committed"
        refused = [refused_by(entry, failure, alone=len(members) == 1, committed=committed) for entry in plan.joined()]
        return Turn.of(self._desk.settle(place, frozen, remove=plan.span, refused=refused))

    def _unexplained(self, place: Place, plan: Plan, frozen: Frozen, failure: Failure) -> Turn:
        """A statement that was not committed failed by an error that says nothing of its jobs."""
        entries = plan.joined()
        members = [entry.member for entry in entries]
        away = self._desk.breaker.state != "closed"
        ids = [member.id for member in members]
        step = "wait" if away or not ids else self._suspects.failed(place.lane, ids, frozen.attempt)
        if step == "halve":
            self._log(logging.INFO, place, frozen, members, failure, parts=2)
            return self._halved(place, plan, frozen, None, NOTHING)
        if step == "convict":
            self._suspects.over(place.lane)
            committed = "unknown" if plan.unprovable else "not_committed"
            refused = [refused_by(entry, failure, alone=True, committed=committed) for entry in entries]
            return Turn.of(self._desk.settle(place, frozen, remove=plan.span, refused=[*plan.refusals, *refused]))
        refusals = plan.refusals
        return Turn.after(
            self._desk.postpone(place, frozen, members, failure, attempts=frozen.attempt, refused=refusals)
        )

    def _narrowed(self, place: Place, head: Head) -> Head:
        """The head, of which only one job is to be taken where that is to be run alone."""
        suspects = self._suspects.in_lane(place.lane)
        if suspects and head.messages and bare_entry(head.messages[0], place).member.id in suspects:
            return replace(head, limit=1)
        return head

    def _halved(self, place: Place, plan: Plan, frozen: Frozen, counts: Counts | None, told: Mapping[str, int]) -> Turn:
        """Run the halves one after the other. Nothing of the whole was committed, so its `counts` still hold."""
        first, second = plan.halves()
        turn = self._run(place, first, attempt=frozen.attempt, replaces=frozen.batch, counts=counts, told=told)
        if not turn.settled:
            return turn
        fresh = None if counts is None or counts.stale else counts
        return self._run(place, second, attempt=frozen.attempt, counts=fresh, told=told)

    def _changed(self, place: Place, plan: Plan) -> bool:
        """Describe the table again. True if it is not what the plan was made for, or fills in columns itself that were
        not known so: planning anew can help."""
        known = plan.table
        self._tables.forget(place.table)
        try:
            table = self._tables.get(place.table)
            return table != known or self._tables.filled(table) is not None
        except StatementFailed as exc:
            return exc.failure.cause == "missing"

    def _lingers(self, place: Place, head: Head) -> float:
        """For how many seconds more the lane's first job waits for others to join it."""
        linger = self._desk.settings.linger_s
        if linger <= 0 or head.waiting is not None or head.length >= PLENTY:
            return 0.0
        try:
            first = wire.decode(head.messages[0])
            waited = (datetime.now(UTC) - datetime.fromisoformat(first.enqueued_at)).total_seconds()
        except ValueError:
            return 0.0
        if waited < 0:  # the producer's clock is ahead: it has waited since it was first seen
            seen = self._seen.get(place.lane)
            if seen is None or seen[0] != first.id:
                seen = self._seen[place.lane] = first.id, time.monotonic()
            waited = time.monotonic() - seen[1]
        if waited >= linger:
            self._seen.pop(place.lane, None)
        return linger - waited

    def _read_clock(self) -> None:
        """Learn how far the warehouse's clock is from Redis', after a statement expired."""
        try:
            answer = self._execute(statements.who_and_when())
        except StatementFailed:
            return
        self._desk.learn_clock(answer.rows[0][1])

    def _log(
        self, level: int, place: Place, frozen: Frozen, members: Sequence[Member], failure: Failure, **more: Any
    ) -> None:
        lines.failed(level, place, members, failure, batch=frozen.batch, attempt=frozen.attempt, **more)


def _not_found(entry: Entry, missing: Sequence[int]) -> Refusal:
    """A job whose keys have to be in the table. `missing` are the places of those that are not, as far as known: of a
    batch whose owner died nobody knows them."""
    subject = f"{entry.member.task.removeprefix('records.')} {entry.member.table}"
    job = entry.job
    field = "rows" if isinstance(job, Update) else "keys"
    many = job.rows if isinstance(job, Update) else job.keys_ if isinstance(job, Delete) else None
    if many is None or not missing:
        told = "no row has this key" if many is None else "some of its keys are in no row"
        return Refusal(entry, f"{subject}: {told}, and must_exist is set; nothing was changed", {}, "ROW_NOT_FOUND")
    problems = Problems()
    for place in missing:
        problems.add("row_not_found", (field, place), "no row has this key")
    error = problems.as_invalid_job(subject)
    message = f"{error.message}, and must_exist is set; nothing was changed"
    return Refusal(entry, message, error.details, "ROW_NOT_FOUND")


def _too_large(plan: Plan) -> Refusal:
    (entry,) = plan.joined()
    message = f"the job does not fit one statement of {LARGEST_BYTES:,} bytes: split its rows over several jobs"
    return Refusal(entry, f"{entry.member.task} on {entry.member.table}: {message}", {}, "TOO_LARGE")
