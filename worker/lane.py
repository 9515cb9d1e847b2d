"""What running any lane takes: freezing, postponing and settling what becomes of its jobs."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from lakequeue import wire
from lakequeue.keys import Lane

from tasks import records
from tasks.history import Try
from tasks.records import Member, Outcome
from tasks.verdicts import Failure, backoff_s
from worker import history, lines
from worker.breaker import Breaker
from worker.entries import Refusal, bare_entry, killed_worker, read_entry
from worker.freezing import Freezing
from worker.heads import Heads
from worker.settings import Settings
from worker.store import Frozen, Head, Place, Store, Waiting
from worker.troubles import Troubles
from worker.unread import Unread
from worker.warehouse import Answer

log = logging.getLogger(__name__)

DISCARDED = 500
"""Purged messages that are thrown away at once."""

DISCARDING_S = 1.0
"""For so long one turn goes on with it."""

CLOCK_S = 0.5
"""A difference between clocks that is not worth noting."""


class Notify(Protocol):
    """Told what happened to jobs: `received`, `started` (as part of a `batch`), `revoked`, `expired`, `purged` or
    `settled`; and that of what was no job a dead letter is `kept`."""

    def __call__(
        self, happened: str, members: Sequence[Member], outcomes: Sequence[Outcome], /, *, batch: str = ""
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """How a turn at a lane ended: `due_in_s` seconds from now it wants another, None when it is empty.

    `settled`: the batch is done with, so the messages behind it are at the head now. The next turn is to be
    taken while nothing else runs, if that comes within `quiet_s`.
    """

    due_in_s: float | None
    settled: bool = False
    quiet_s: float = 0.0

    @classmethod
    def after(cls, seconds: float) -> Turn:
        return cls(seconds)

    @classmethod
    def of(cls, left: int) -> Turn:
        """After a settling that left so many messages in the lane (-1: it had been settled before)."""
        return cls(0.0 if left > 0 else None, settled=left >= 0)


@dataclass(frozen=True, slots=True)
class Running:
    """A frozen batch, as an operator sees it; `since` is in Unix seconds."""

    batch: str
    place: Place
    task: str
    jobs: int
    rows: int
    since: float


class Desk:
    """Where both kinds of lane freeze and settle; shared by all threads of a worker."""

    def __init__(self, store: Store, settings: Settings, breaker: Breaker, *, worker: str, notify: Notify) -> None:
        self.store = store
        self.heads = Heads(store)
        self.settings = settings
        self.breaker = breaker
        self.clock_offset_us = 0
        self.troubles = Troubles(store, settings, breaker)
        self._worker = worker
        self._notify = notify
        self._running: dict[Lane, Running] = {}

    def running(self, places: Iterable[Place]) -> list[Running]:
        """The batches under way in the given lanes."""
        return [running for place in places if (running := self._running.get(place.lane))]

    def learn_clock(self, now: datetime) -> datetime:
        """Take note of the warehouse's clock, which has just said `now`; returns that, aware."""
        now = now.replace(tzinfo=now.tzinfo or UTC)
        offset_s = now.timestamp() - self.store.time()
        if abs(offset_s - self.clock_offset_us / 1e6) > CLOCK_S:
            log.warning("the warehouse's clock is %.1f s from Redis'", offset_s)
            self.clock_offset_us = int(offset_s * 1e6)
        return now

    def freeze(
        self,
        place: Place,
        members: Sequence[Member],
        *,
        span: int,
        attempt: int,
        identity: str = "",
        counts: Sequence[int] = (),
        replaces: str = "",
        again: Frozen | None = None,
        refused: Iterable[Refusal] = (),
        done: Sequence[tuple[Member, Outcome]] = (),
        whole: bool = False,
    ) -> tuple[Frozen, frozenset[str]]:
        """Freeze jobs for one statement; with `again`, the same batch and stamp once more. Returns also the ids of jobs
        that stay out of it; one that has to be `whole` does not begin without them, but is to be frozen anew.

        `refused` are jobs at the head that fail without it, `done` such as were committed long ago: they get their
        outcome here, for good.
        """
        batch = again.batch if again else uuid4().hex[:16]
        if again is None and attempt == 1 and not replaces:
            self._notify("received", members, ())
        expired = self._expire(members)
        refused = list(refused)
        failed = self._all_failed(refused)
        new = Freezing(
            batch=batch,
            span=span,
            started=history.started(self.store.client, members, batch=batch, worker=self._worker, attempt=attempt),
            attempt=attempt,
            identity=identity,
            counts=again.counts if again else tuple(counts),
            replaces=replaces,
            keep_stamp_us=again.stamp_us if again else None,
            settled=[*(outcome for _, outcome in done), *(outcome for _, outcome, _ in failed)],
            dead=[(member.id, letter) for member, _, letter in failed],
        )
        settings = self.settings
        frozen, excluded, revoked, before = self.store.freeze(
            place,
            new,
            start_within_s=settings.start_within_s,
            open_for_s=settings.statement_timeout_s + settings.proof_margin_s,
            clock_offset_us=self.clock_offset_us,
            expires_s=settings.result_expires_s,
        )
        told = [*done, *((member, outcome) for member, outcome, _ in failed)]
        known = [*members, *(member for member, _ in told)]
        if told := [(member, outcome) for member, outcome in told if member.id not in before]:
            self._notify("received", [member for member, _ in told], ())
            self._notify("settled", [member for member, _ in told], [outcome for _, outcome in told])
        lines.refused([refusal for refusal in refused if refusal.entry.member.id not in before], None)
        self._notify("revoked", [m for m in known if m.id in revoked - expired], ())
        if not (whole and excluded):
            self._notify("started", [m for m in members if m.id not in excluded], (), batch=batch)
        if frozen.ids:
            task, rows = members[0].task, sum(member.rows for member in members)
            self._running[place.lane] = Running(batch, place, task, len(frozen.ids), rows, time.time())
        return frozen, excluded

    def _expire(self, members: Sequence[Member]) -> frozenset[str]:
        """Revoke the jobs whose `expires` has passed; freezing leaves them out. Those that run already go on.

        Returns the ids of those that are revoked by it.
        """
        if not any(member.expires for member in members):
            return frozenset()
        revoked: list[Member] = []
        now = wire.isoformat(datetime.now(UTC))
        if late := [member for member in members if member.expires and member.expires <= now]:
            ids = [member.id for member in late]
            found = self.store.revoke(ids, reason="expired", expires_s=self.settings.result_expires_s)
            revoked = [member for member in late if found[member.id] in ("QUEUED", "RETRY")]
            self._notify("expired", revoked, ())
        return frozenset(member.id for member in revoked)

    def settle(
        self,
        place: Place,
        frozen: Frozen,
        *,
        remove: int,
        members: Sequence[Member] = (),
        outcomes: Sequence[Outcome] = (),
        refused: Iterable[Refusal] = (),
        waiting: Waiting | None = None,
    ) -> int:
        """Store what became of jobs (`members` and `outcomes` side by side) and of refused ones; see `Store.settle`."""
        told = list(zip(members, outcomes, strict=True))
        refused = list(refused)
        failed = self._all_failed(refused, frozen)
        told += [(member, outcome) for member, outcome, _ in failed]
        self._running.pop(place.lane, None)
        left = -1
        try:
            left = self.store.settle(
                place,
                frozen.batch,
                remove=remove,
                settled=[outcome for _, outcome in told],
                dead=[(member.id, letter) for member, _, letter in failed],
                expires_s=self.settings.result_expires_s,
                waiting=waiting,
            )
        finally:
            if left < 0:  # what was removed is not known
                self.heads.forget(place)
        self.heads.removed(place, remove)
        if left >= 0:
            self._notify("settled", [member for member, _ in told], [outcome for _, outcome in told])
            lines.refused(refused, frozen)
        return left

    def postpone(
        self,
        place: Place,
        frozen: Frozen,
        members: Sequence[Member],
        failure: Failure,
        *,
        attempts: int,
        done: Sequence[tuple[Member, Outcome]] = (),
        refused: Sequence[Refusal] = (),
    ) -> float:
        """Thaw a batch of which nothing, or only what is `done` or `refused`, has an outcome.

        Returns for how many seconds its lane waits.
        """
        assert failure.verdict != "permanent"
        at_once = failure.cause in ("session", "expired") and attempts <= 1
        delay = 0.0 if at_once else self.pause_s(failure, attempts)
        until = time.time() + delay
        failing = not done and self.troubles.go_on(place, failure)
        next_try = wire.isoformat(datetime.fromtimestamp(until, UTC))
        told = {"batch": frozen.batch, "error": failure.code, "next_try": next_try}
        outcomes = self.store.through_outage(
            lambda: history.retries(self.store.client, members, attempts=attempts, **told)
        )
        left = self.settle(
            place,
            frozen,
            remove=0,
            members=[*(member for member, _ in done), *members],
            outcomes=[*(outcome for _, outcome in done), *outcomes],
            refused=refused,
            waiting=Waiting(attempts, until, failure.code, failing),
        )
        if left >= 0 and members:
            told = {"verdict": failure.verdict, "next_try": next_try}
            lines.failed(logging.WARNING, place, members, failure, batch=frozen.batch, attempt=attempts, **told)
        return delay

    def pause_s(self, failure: Failure, attempts: int) -> float:
        """How long a lane waits after a failure: while the warehouse is away, for the next who asks for it."""
        asked_in_s = self.breaker.wait_s() if failure.cause in ("warehouse", "unlisted") else 0.0
        return asked_in_s or self._backoff_s(attempts)

    def _backoff_s(self, attempts: int) -> float:
        settings = self.settings
        return backoff_s(
            attempts,
            first_s=settings.backoff_first_s,
            longest_s=settings.backoff_longest_s,
            jitter=random.random(),
        )

    def tries(self, members: Sequence[Member], *, before: int) -> Mapping[str, Sequence[Try]]:
        """The tries of jobs, by id, that came to nothing before this one."""
        if before <= 1:
            return {}
        return self.store.through_outage(lambda: history.earlier(self.store.client, members, before=before))

    def _all_failed(
        self, refused: Iterable[Refusal], frozen: Frozen | None = None
    ) -> list[tuple[Member, Outcome, str]]:
        """Jobs that fail for good, by a batch or before they are in one."""
        if not (refusals := list(refused)):
            return []
        before = frozen.attempt if frozen else None
        members = [refusal.entry.member for refusal in refusals]
        tries = self.store.through_outage(lambda: history.earlier(self.store.client, members, before=before))
        return [self._failed(refusal, frozen, tries.get(refusal.entry.member.id, ())) for refusal in refusals]

    def _failed(self, refusal: Refusal, frozen: Frozen | None, tries: Sequence[Try]) -> tuple[Member, Outcome, str]:
        """A job that fails for good: its member, outcome and dead letter."""
        at = wire.isoformat(datetime.now(UTC))
        member = refusal.entry.member
        details = {"error": refusal.code, **refusal.details}
        tried = max((each["attempt"] for each in tries), default=0)
        outcome = records.failed(
            member,
            message=refusal.message,
            details=details,
            error=refusal.code,
            finished_at=at,
            batch=frozen.batch if frozen else None,
            attempts=frozen.attempt if frozen else tried + 1,
        )
        letter = records.dead_letter(
            member,
            message=refusal.entry.message,
            reason=refusal.message,
            details=details,
            committed=refusal.committed,
            at=at,
            batch=frozen.batch if frozen else None,
            attempts=frozen.attempt if frozen else tried,
            history=tries,
        )
        return member, outcome, letter

    def discard(self, place: Place) -> Turn:
        """Throw away jobs that were purged, for as long as one turn may."""
        until = time.monotonic() + DISCARDING_S
        self.heads.forget(place)
        while True:
            to_go, left, ended = self.store.discard(place, most=DISCARDED, expires_s=self.settings.result_expires_s)
            for happened, tried in (("revoked", True), ("purged", False)):
                some = [(job_id, task) for job_id, task, was_tried in ended if was_tried is tried]
                members = [Member(each, task, str(place.table), 0, "", "", each) for each, task in some]
                self._notify(happened, members, ())
            if not to_go:
                log.warning("table=%s purged", place.table)
            if not to_go or time.monotonic() > until:
                return Turn.of(left)

    def put_aside(self, place: Place, unread: Unread) -> Turn:
        """Take a lane's first message, which is too large to be read, to the dead letters as it is."""
        settings, now = self.settings, datetime.now(UTC)
        told, apart = unread.refusal(now, most_bytes=settings.max_message_bytes, table=str(place.table))
        args = [settings.result_expires_s, f"{time.time():.3f}", unread.size, unread.head, unread.tail]
        args += [told.id, told.record, told.letter_id, told.letter, apart.letter_id, apart.letter]
        left = self.store.aside(place, *args)
        log.warning("table=%s letter=%s error=MESSAGE_TOO_LARGE bytes=%d", place.table, told.letter_id, unread.size)
        if told.member is not None and told.outcome is not None:
            self._notify("settled", [told.member], [told.outcome])
        return Turn.of(left)

    def bury(self, place: Place, head: Head) -> None:
        """Take what makes every turn of a lane fail to the dead letters: its frozen batch, else its first message."""
        span = head.frozen.span if head.frozen else 1
        entries = [read_entry(message, place) for message in self.heads.first(place, head, span)]
        ids = set(head.frozen.ids) if head.frozen else set()
        refused = [
            Refusal(
                entry,
                f"{entry.member.task} on {entry.member.table}: the worker cannot handle this job; see its log",
                {},
                "INTERNAL_ERROR",
                "unknown" if entry.member.id in ids else "not_committed",
            )
            for entry in entries
        ]
        replaces = head.frozen.batch if head.frozen else ""
        frozen, _ = self.freeze(place, [], span=span, attempt=1, replaces=replaces, refused=refused)
        self.settle(place, frozen, remove=span)

    def bury_killer(self, place: Place, head: Head) -> Turn:
        """Take a lane's first job, with which workers died before they sent anything, to the dead letters."""
        entry = bare_entry(head.messages[0], place)
        committed = "unknown" if entry.member.id in head.counted else "not_committed"
        killer = killed_worker(entry, head, committed=committed)
        log.error("table=%s job=%s workers died with this job", place.table, killer.entry.member.id)
        frozen, _ = self.freeze(place, [], span=1, attempt=1, refused=[killer])
        return Turn.of(self.settle(place, frozen, remove=1))

    def receipt(
        self, frozen: Frozen, *, jobs: int, rows: int, answer: Answer | None, started_at: str
    ) -> dict[str, Any]:
        """What the receipts of a batch's jobs share."""
        return {
            "batch": frozen.batch,
            "batch_jobs": jobs,
            "batch_rows": rows,
            "statement": answer.statement_id if answer else None,
            "attempts": frozen.attempt,
            "started_at": started_at,
            "finished_at": wire.isoformat(datetime.now(UTC)),
            "warehouse_ms": round(answer.elapsed_s * 1000, 1) if answer else None,
        }
