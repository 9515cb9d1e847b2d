"""The worker's side of Redis: leases, lanes, frozen batches, outcomes. Each change is one script, token checked."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, NewType, TypeVar

import redis
from lakequeue import keys, wire
from lakequeue.identifiers import TableName
from lakequeue.keys import Lane, Partition
from lakequeue.scripts import read_script
from redis.exceptions import ResponseError

from tasks.records import Outcome
from worker.freezing import Freezing

log = logging.getLogger(__name__)

Token = NewType("Token", str)
Lease = NewType("Lease", str)
"""What a script asks for to change a partition: the owner's token and the number of this lease."""


Asked = TypeVar("Asked")

SETTLE_S = 10.0
"""For so long an outage of Redis is waited out by who has an answer of the warehouse's to store."""

SETTLE_PAUSE_S = 0.2

NOT_FOUND = -1
"""The count of a job that must find a row and does not."""


class LeaseLost(Exception):
    """The partition has another owner now; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A lane in its partition, under the lease that it is run by."""

    partition: Partition
    lane: Lane
    lease: Lease

    @property
    def table(self) -> TableName:
        return TableName.parse(keys.table_of(self.lane))


@dataclass(frozen=True, slots=True)
class Frozen:
    """The one batch of a lane whose statement may be running or may have run.

    `span` messages at the head of the list belong to it; `ids` are those in the statement and `counts` the rows each
    of them comes to, counted before it was sent. `stamp_us` and `start_by_us` are microseconds since 1970, the latter
    on the warehouse's clock.
    """

    batch: str
    span: int
    identity: str
    attempt: int
    stamp_us: int
    start_by_us: int
    ids: tuple[str, ...]
    counts: tuple[int, ...] = ()
    open_until_us: int = 0
    """On the warehouse's clock: later it cannot commit any more."""

    def counted(self) -> dict[str, int]:
        """The rows each job comes to, NOT_FOUND where it has to find some and there are none.

        Empty if jobs turned out to be finished while it was frozen: then it was frozen anew before it was sent.
        """
        return dict(zip(self.ids, self.counts, strict=True)) if len(self.ids) == len(self.counts) else {}


@dataclass(frozen=True, slots=True)
class Waiting:
    """`failing`: by an error that says nothing of any job, see `Store.failing_since`."""

    attempts: int
    until: float
    error: str
    failing: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a lane: the first `messages` of `length`. No more than `limit` jobs are to be taken from it; `alone`
    counts the workers that died with its first job and nothing else in hand before they sent it, `unanswered` those
    that had sent it and had no answer yet; a `suspect` (above 0) is to be run with nothing beside it. Since `broke_us`
    (microseconds since 1970; 0 never) another server answers, which may have forgotten what the one before it
    confirmed. `counted` are rows of jobs, counted before a statement that may have been committed."""

    frozen: Frozen | None
    waiting: Waiting | None
    messages: list[bytes]
    length: int = 0
    limit: int = 0
    alone: int = 0
    unanswered: int = 0
    suspect: int = 0
    broke_us: int = 0
    instead: str = ""
    """`purge`: messages are to be thrown away; `paused`: nothing of this table is to be begun."""

    counted: Mapping[str, int] = field(default_factory=dict)
    large: tuple[int, bytes, bytes] | None = None
    """Where the first message is too large to be read: its bytes, and its two ends."""


@dataclass(frozen=True, slots=True)
class Share:
    fair: int
    alive: int
    owned: Mapping[Partition, Lease]


class Store:
    """Scripts by name; may be used by several threads. Every method may raise `redis.RedisError`."""

    def __init__(self, client: redis.Redis, token: Token, *, most_bytes: int = 8_000_000) -> None:
        """Messages of more than `most_bytes` are not read."""
        self.client, self._most_bytes = client, most_bytes
        self.token = token
        self._scripts = {
            name: client.register_script(read_script("worker", name))
            for name in (
                "look",
                "freeze",
                "settle",
                "lease",
                "release",
                "states",
                "unload",
                "remember",
                "discard",
                "aside",
            )
        }
        self._scripts["aside"] = client.register_script(read_script("worker", "aside"))
        self._scripts["revoke"] = client.register_script(read_script("lakequeue", "revoke"))

    def lease(self, *, ttl_s: float, only_mine: bool, leaving: bool = False) -> Share:
        """Renew what this worker owns and take its fair share of what is free, or of what was its own; nothing when
        `leaving`, nor does it count among the workers then."""
        free = "none" if leaving else "mine" if only_mine else "all"
        answer = self._run("lease", self.token, int(ttl_s * 1000), keys.PARTITIONS, free)
        owned = {Partition(int(p)): Lease(lease.decode()) for p, lease in zip(answer[2::2], answer[3::2], strict=True)}
        return Share(int(answer[0]), int(answer[1]), owned)

    def release(self, partitions: Iterable[Partition], *, leaving: bool) -> None:
        self._run("release", self.token, "leaving" if leaving else "staying", *partitions)

    def purged(self) -> set[Lane]:
        """The lanes of which messages are to be thrown away."""
        lanes: list[bytes] = self.client.hkeys(keys.PURGES)  # type: ignore[assignment]
        return {Lane(lane.decode(errors="replace")) for lane in lanes}

    def time(self) -> float:
        """Redis' clock, Unix seconds."""
        seconds, micros = self.client.time()
        return float(seconds) + float(micros) / 1e6

    def look(self, place: Place, *, known: int = 0, most_bytes: int) -> Head:
        """Read a lane: what stands before its messages, and those that come after the first `known`: no more bytes than
        `most_bytes`, or one message."""
        frozen, waiting, length, _, messages, *_ = self._look(place, known, "", "", most_bytes, self._most_bytes)
        return Head(_frozen(_hash(frozen)), _waiting(_hash(waiting)), messages, length=int(length))

    def take(self, place: Place, *, most: int, most_bytes: int, known: Sequence[bytes] = ()) -> Head:
        """Read a lane's head and note that this worker has it in hand, with `most` jobs or fewer at once.

        Settling lets it go, or `let_go`. A worker that does neither has died. `known` are messages that were at the
        head when this worker read or settled last: where they still are, they are not read again.
        """
        marks = (_mark(known[0]), _mark(known[-1])) if known else ("", "")
        bytes_left = max(0, most_bytes - sum(map(len, known)))
        answer = self._look(place, len(known), *marks, bytes_left, self._most_bytes, most)
        frozen, waiting, length, still, messages, limit, alone, unanswered, suspect, broke, counted, instead, *large = (
            answer
        )
        return Head(
            _frozen(_hash(frozen)),
            _waiting(_hash(waiting)),
            [*known, *messages] if int(still) else messages,
            length=int(length),
            limit=int(limit),
            alone=int(alone),
            unanswered=int(unanswered),
            suspect=int(suspect),
            broke_us=int(broke),
            instead=instead.decode(),
            counted={job_id: int(rows) for job_id, rows in _hash(counted).items()},
            large=tuple(large[0]) if large and large[0] else None,
        )

    def aside(self, place: Place, *args: Any) -> int:
        """See `lua/aside.lua`."""
        return int(self._run("aside", place.lease, place.partition, place.lane, *args))

    def _look(self, place: Place, *args: str | int) -> Any:
        return self._run("look", place.lease, place.partition, place.lane, *args)

    def let_go(self, place: Place, *, due_in_s: float | None = None) -> None:
        """Note that this worker has nothing more in hand there, whoever owns the partition now; and if it is still this
        worker, when the lane wants its next turn."""
        due = "" if due_in_s is None else f"{due_in_s:.6f}"
        self._run("unload", place.lease, place.partition, place.lane, due)

    def remember(self, place: Place, counted: Mapping[str, int]) -> None:
        """Keep rows of jobs, by id, until they have an outcome: see `Head.counted`."""
        self._run("remember", place.lease, place.partition, place.lane, *itertools.chain(*counted.items()))

    def failing_since(self, place: Place, *, gap_s: float) -> float:
        """Since when (Unix seconds) a lane's head fails by errors that say nothing of any job, which it has just done
        again. A settled batch ends it, and so does a time of `gap_s` without a try."""
        now = time.time()
        told: bytes | None = self.client.hget(keys.FAILING, place.lane)  # type: ignore[assignment]
        since, last = map(float, told.split()) if told else (now, now)
        if now - last > gap_s:
            since = now
        self.client.hset(keys.FAILING, place.lane, f"{since:.3f} {now:.3f}")
        return since

    def pause(self, place: Place, error: str) -> bool:
        """Begin no batch of a lane's table until an operator resumes it. False if it was paused before."""
        table = str(place.table)
        with self.client.pipeline() as pipe:
            pipe.hsetnx(keys.PAUSED, table, wire.isoformat(datetime.now(UTC)))
            pipe.hsetnx(keys.PAUSED_BY, table, error)
            paused, noted = pipe.execute()
        if noted and not paused:  # an operator did: that it fails as well is not why
            self.client.hdel(keys.PAUSED_BY, table)
        return bool(paused)

    def committed_s(self, place: Place) -> float:
        """How many seconds ago something was last committed in a lane's table; infinite if never."""
        at: bytes | None = self.client.hget(keys.COMMITS, str(place.table))  # type: ignore[assignment]
        return time.time() - float(at) if at else math.inf

    def states(self, job_ids: Sequence[str]) -> dict[str, str | None]:
        """The states of jobs by id; None for one that is not known."""
        if not job_ids:
            return {}
        found: list[bytes] = self._run("states", *job_ids)
        return {job_id: raw.decode() or None for job_id, raw in zip(job_ids, found, strict=True)}

    def freeze(
        self,
        place: Place,
        new: Freezing,
        *,
        start_within_s: float,
        open_for_s: float,
        clock_offset_us: int,
        expires_s: int,
    ) -> tuple[Frozen, frozenset[str], frozenset[str], frozenset[str]]:
        """Fix a batch. Returns it, the ids that stay out of it, being finished, of those the revoked that nobody was
        told of yet, and the `settled` ones that had an outcome before."""
        args: list[Any] = [place.lease, place.partition, place.lane, new.batch, new.replaces, new.span, new.identity]
        args += [new.attempt, int(start_within_s * 1e6), int(open_for_s * 1e6), clock_offset_us]
        args.append("" if new.keep_stamp_us is None else new.keep_stamp_us)
        args += [" ".join(map(str, new.counts)), expires_s, f"{time.time():.3f}", len(new.settled)]
        for outcome in new.settled:
            args += (outcome.id, outcome.record)
        args.append(len(new.dead))
        for job_id, letter in new.dead:
            args += (job_id, letter)
        for job_id, record in new.started:
            args += (job_id, record)
        stamp, start_by, open_until, out, revoked, before = self._run("freeze", *args)
        excluded = _texts(out)
        frozen = Frozen(
            batch=new.batch,
            span=new.span,
            identity=new.identity,
            attempt=new.attempt,
            stamp_us=int(stamp),
            start_by_us=int(start_by),
            ids=tuple(job_id for job_id, _ in new.started if job_id not in excluded),
            counts=new.counts,
            open_until_us=int(open_until),
        )
        return frozen, excluded, _texts(revoked), _texts(before)

    def discard(self, place: Place, *, most: int, expires_s: int) -> tuple[int, int, list[tuple[str, str, bool]]]:
        """Throw away as many messages at the head as were purged, and no more than `most`.

        Returns how many are still to go, how many messages there are then, and of each job that ends by it the id, the
        task and whether it had been tried.
        """
        at = wire.isoformat(datetime.now(UTC))
        answer = self._run("discard", place.lease, place.partition, place.lane, most, expires_s, at)
        told = [each.decode() for each in answer[2]]
        ended = [(job, task, bool(tried)) for job, task, tried in zip(told[::3], told[1::3], told[2::3], strict=True)]
        return int(answer[0]), int(answer[1]), ended

    def settle(
        self,
        place: Place,
        batch: str,
        *,
        remove: int,
        settled: Sequence[Outcome],
        dead: Sequence[tuple[str, str]],
        expires_s: int,
        waiting: Waiting | None = None,
    ) -> int:
        """Store outcomes, remove messages from the head and thaw the lane, which then may wait.

        Returns how many messages the lane still holds; -1 if this batch was settled before.
        """
        args: list[Any] = [place.lease, place.partition, place.lane, batch, remove, expires_s, f"{time.time():.3f}"]
        args += (waiting.attempts, int(waiting.until * 1000), waiting.error) if waiting else ("", "", "")
        args.append("1" if waiting and waiting.failing else "")
        args.append(len(settled))
        for outcome in settled:
            args += (outcome.id, "1" if outcome.final else "0", outcome.record)
        for job_id, letter in dead:
            args += (job_id, letter)
        # Settling twice is settling once.
        return int(self.through_outage(lambda: self._run("settle", *args)))

    def through_outage(self, ask: Callable[[], Asked]) -> Asked:
        """Ask Redis what it takes to settle. What the warehouse answered is known here and nowhere else, so an outage
        is waited out for a while."""
        until = time.monotonic() + SETTLE_S
        while True:
            try:
                return ask()
            except (redis.ConnectionError, redis.TimeoutError):
                if time.monotonic() > until:
                    raise
                time.sleep(SETTLE_PAUSE_S)

    def revoke(self, job_ids: Sequence[str], *, reason: str, expires_s: int) -> dict[str, str]:
        """Revoke jobs that are not running, also such as are not known yet.

        Returns what each was: QUEUED, RETRY or UNKNOWN, which are revoked now, or the state in which it is left.
        """
        at = wire.isoformat(datetime.now(UTC))
        answers = self._run("revoke", expires_s, at, reason, 1, *job_ids)
        return {job_id: answer.decode() for job_id, answer in zip(job_ids, answers, strict=True)}

    def _run(self, name: str, *args: Any) -> Any:
        try:
            return self._scripts[name](keys=[], args=args)
        except ResponseError as exc:
            if str(exc).startswith(("LEASELOST", "FROZEN")):
                raise LeaseLost(str(exc)) from exc
            raise


def _mark(message: bytes) -> str:
    """By what `lua/look.lua` knows a message again."""
    ends = b"%d " % len(message) + message[:500] + message[-2000:]
    return sha1(ends, usedforsecurity=False).hexdigest()


def _texts(told: list[bytes]) -> frozenset[str]:
    return frozenset(each.decode() for each in told)


def _hash(flat: list[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}


def _frozen(stored: dict[str, str]) -> Frozen | None:
    if not stored:
        return None
    return Frozen(
        batch=stored["batch"],
        span=int(stored["span"]),
        identity=stored["identity"],
        attempt=int(stored["attempt"]),
        stamp_us=int(stored["stamp"]),
        start_by_us=int(stored["start_by"]),
        ids=tuple(stored["ids"].split()),
        counts=tuple(int(count) for count in stored["counts"].split()),
        open_until_us=int(stored["open_until"]),
    )


def _waiting(stored: dict[str, str]) -> Waiting | None:
    if not stored:
        return None
    return Waiting(int(stored["attempts"]), int(stored["until"]) / 1000, stored["error"])
