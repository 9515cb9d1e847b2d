"""Going on from a batch whose answer was lost or whose owner died: prove before you resend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from lakequeue import wire
from lakequeue.keys import Lane

from tasks import statements
from tasks.sql import Statement
from tasks.verdicts import Failure
from worker.entries import is_killer, killed_worker, read_entry, refused_by
from worker.lane import Desk, Turn
from worker.plan import Plan, Planner
from worker.recent import Recent
from worker.store import Frozen, Head, Place
from worker.tables import Tables
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOST_UNKNOWN = 3
"""So often a batch is sent whole when every answer to it is lost; then it is halved."""

MOST_LOST = 8
"""So often a job alone is sent to a warehouse that answers all but this statement."""


class Committed(Protocol):
    """Settles a plan as committed."""

    def __call__(
        self,
        place: Place,
        plan: Plan,
        frozen: Frozen,
        counts: Mapping[str, int],
        answer: Answer | None,
        started_at: str,
        notes: Sequence[str],
    ) -> Turn: ...


class Prover:
    """A frozen batch committed, may yet commit, or never will. Nothing else of its table runs until that is known."""

    def __init__(
        self,
        desk: Desk,
        tables: Tables,
        execute: Callable[[Statement], Answer],
        planner: Planner,
        *,
        repeat: Callable[[Place, Plan, Frozen], Turn],
        halve: Callable[[Place, Plan, Frozen, Mapping[str, int]], Turn],
        failed: Callable[[Place, Plan, Frozen, Failure], Turn],
        committed: Committed,
    ) -> None:
        self._desk = desk
        self._tables = tables
        self._execute = execute
        self._planner = planner
        self._repeat = repeat
        self._halve = halve
        self._failed = failed
        self._ended: Recent[Lane, tuple[str, Failure]] = Recent()
        self._tries: Recent[str, int] = Recent()
        self._lost: Recent[Lane, tuple[str, int, int]] = Recent()
        self._committed = committed

    def begin_anew(self, place: Place) -> None:
        """Nothing is frozen in the lane: what was lost before is over."""
        self._lost.pop(place.lane, None)
        self._ended.pop(place.lane, None)

    def note_ended(self, place: Place, frozen: Frozen, failure: Failure) -> None:
        """The warehouse said that the statement failed, by an error that does not say before or after its commit. It
        does not run any more: if it is not found now, it was not committed."""
        self._ended[place.lane] = frozen.batch, failure

    def _ended_by(self, place: Place, frozen: Frozen) -> Failure | None:
        batch, failure = self._ended.get(place.lane, ("", None))
        return failure if batch == frozen.batch else None

    def note_lost(self, place: Place, frozen: Frozen, failure: Failure) -> None:
        """The answer to a statement was lost. That a connection breaks, or a worker dies, is nothing against it: a
        statement that the warehouse had `taken` may be at fault itself."""
        _, lost, taken = self._losses(place, frozen)
        at_fault = failure.cause != "unlisted"  # else it may be about no job
        self._lost[place.lane] = frozen.batch, lost + at_fault, taken + failure.taken

    def _losses(self, place: Place, frozen: Frozen) -> tuple[str, int, int]:
        known = self._lost.get(place.lane)
        return known if known is not None and known[0] == frozen.batch else (frozen.batch, 0, 0)

    def resume(self, place: Place, head: Head, frozen: Frozen) -> Turn:
        """Look for the batch's stamp: if it is there, settle; else wait until it cannot commit any more and repeat."""
        messages = self._desk.heads.first(place, head, frozen.span)
        entries = [read_entry(message, place) for message in messages]
        plan = Plan(entries=entries)  # those that failed without a statement were settled when it was frozen
        ids = set(frozen.ids)
        members = [entry.member for entry in entries if entry.member.id in ids]
        if not members:
            return Turn.of(self._desk.settle(place, frozen, remove=frozen.span))
        if not frozen.identity or len(frozen.counts) != len(frozen.ids):
            # It waited for its table, or was about to be frozen anew: no statement of its own was sent.
            return self._thaw(place, plan, frozen, _anew("OWNER_GONE"))
        ended = self._ended_by(place, frozen)
        try:
            self._tables.forget(place.table)
            plan.table = self._tables.get(place.table)
            if plan.table.identity != frozen.identity:
                return self._unknown(place, plan, frozen) if ended is None else self._thaw(place, plan, frozen, ended)
            self._planner.again(plan, frozen.ids)
            if plan.table.stamp_column is None:
                return self._without_stamp(place, plan, head, frozen)
            proof = self._execute(statements.find_stamp(plan.table, frozen.stamp_us))
        except StatementFailed as exc:
            if exc.failure.cause == "missing":
                return self._unknown(place, plan, frozen) if ended is None else self._thaw(place, plan, frozen, ended)
            # Only the proof failed. The batch stays frozen; nothing else of this table may run.
            log.warning("batch=%s table=%s proof error=%s", frozen.batch, place.table, exc.failure.code)
            tries = self._tries[frozen.batch] = self._tries.get(frozen.batch, 0) + 1
            self._desk.troubles.go_on(place, exc.failure)
            return Turn.after(self._desk.pause_s(exc.failure, tries))
        self._tries.pop(frozen.batch, None)
        now, found = self._desk.learn_clock(proof.rows[0][0]), int(proof.rows[0][1])
        if found:
            log.info("batch=%s table=%s proved=committed", frozen.batch, place.table)
            notes = ["its answer was lost; found by its stamp in the table"]
            at = wire.isoformat(datetime.now(UTC))
            return self._committed(place, plan, frozen, frozen.counted(), None, at, notes)
        if ended is not None:
            self._ended.pop(place.lane, None)
            return self._failed(place, plan, frozen, ended)
        left = _open_for(frozen, now)
        if left > 0:
            log.info("batch=%s table=%s proved=not_yet wait_s=%.1f", frozen.batch, place.table, left)
            return Turn.after(left)
        return self._never_committed(place, plan, head, frozen)

    def _thaw(self, place: Place, plan: Plan, frozen: Frozen, failure: Failure) -> Turn:
        """Plan its jobs anew: nothing of the batch was committed, or ever will be."""
        ids = set(frozen.ids)
        members = [entry.member for entry in plan.entries if entry.member.id in ids]
        return Turn.after(self._desk.postpone(place, frozen, members, failure, attempts=frozen.attempt))

    def _never_committed(self, place: Place, plan: Plan, head: Head, frozen: Frozen) -> Turn:
        """Send it again, guarded by its stamp. A statement that is lost again and again, or with which workers die, is
        cut down to the job whose fault it is, and that job fails."""
        committed = "not_committed"
        if plan.unprovable:
            self._desk.store.remember(place, frozen.counted())
            committed = "unknown"
        if frozen.stamp_us <= head.broke_us:  # Redis may have forgotten what came of it, under another stamp
            return self._thaw(place, plan, frozen, _anew("REDIS_RESTARTED"))
        _, lost, taken = self._losses(place, frozen)
        jobs = len(plan.jobs)
        if jobs > 1 and (head.limit < jobs or lost >= MOST_UNKNOWN):
            return self._halve(place, plan, frozen, frozen.counted() if plan.unprovable else {})
        if is_killer(head):
            killers = [killed_worker(entry, head, committed=committed) for entry in plan.joined()]
            return Turn.of(self._desk.settle(place, frozen, remove=frozen.span, refused=[*plan.refusals, *killers]))
        if taken < MOST_UNKNOWN and lost < MOST_LOST:
            return self._repeat(place, plan, frozen)
        failure = Failure("unknown", "answer" if plan.unprovable else "warehouse", "ANSWER_LOST", None, "")
        refused = [refused_by(entry, failure, alone=False, committed=committed) for entry in plan.joined()]
        return Turn.of(self._desk.settle(place, frozen, remove=frozen.span, refused=[*plan.refusals, *refused]))

    def _without_stamp(self, place: Place, plan: Plan, head: Head, frozen: Frozen) -> Turn:
        """The table keeps no stamp. What does no harm twice is repeated after the wait; an append is not."""
        if not (plan.batch.repeatable or self._desk.settings.repeat_unprovable):
            return self._unknown(place, plan, frozen)
        # The clock that the statement goes by is asked for: neither ours nor what its owner knew of it will do.
        now = self._desk.learn_clock(self._execute(statements.who_and_when()).rows[0][1])
        left = _open_for(frozen, now)
        if left > 0:
            return Turn.after(left)
        return self._never_committed(place, plan, head, frozen)

    def _unknown(self, place: Place, plan: Plan, frozen: Frozen) -> Turn:
        """Nobody can say whether the batch was committed: each of its jobs becomes a dead letter."""
        failure = Failure("unknown", "answer", "UNPROVABLE", None, "")
        ids = set(frozen.ids)
        lost = [entry for entry in plan.entries if entry.member.id in ids]
        refused = [refused_by(entry, failure, alone=False, committed="unknown") for entry in lost]
        log.error("batch=%s table=%s jobs=%d proved=unknown", frozen.batch, place.table, len(lost))
        return Turn.of(self._desk.settle(place, frozen, remove=frozen.span, refused=refused))


def _anew(error: str) -> Failure:
    return Failure("transient", "session", error, None, "")


def _open_for(frozen: Frozen, now: datetime) -> float:
    """For how many seconds the statement may still commit, by the warehouse's clock."""
    return (_EPOCH + timedelta(microseconds=frozen.open_until_us) - now).total_seconds()
