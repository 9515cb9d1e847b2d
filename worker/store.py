"""The worker's side of Redis: leases, lanes, frozen batches, outcomes. Each change is one script, token checked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NewType

import redis
from lakequeue import keys, outcomes
from lakequeue.keys import Lane, Partition
from redis.exceptions import ResponseError

from tasks.records import Outcome

Token = NewType("Token", str)


class LeaseLost(Exception):
    """The partition has another owner now; nothing was changed."""


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


@dataclass(frozen=True, slots=True)
class Waiting:
    attempts: int
    until: float
    error: str


@dataclass(frozen=True, slots=True)
class Head:
    frozen: Frozen | None
    waiting: Waiting | None
    messages: list[bytes]


@dataclass(frozen=True, slots=True)
class Freezing:
    """A batch about to be frozen: `started` are its jobs' ids and STARTED records."""

    batch: str
    span: int
    started: Sequence[tuple[str, str]]
    attempt: int
    identity: str = ""
    counts: tuple[int, ...] = ()
    replaces: str = ""
    keep_stamp_us: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    fair: int
    alive: int
    owned: frozenset[Partition]


class Store:
    """Scripts by name; may be used by several threads. Every method may raise `redis.RedisError`."""

    def __init__(self, client: redis.Redis, token: Token) -> None:
        self.client = client
        self.token = token
        folder = resources.files("worker").joinpath("lua")
        self._scripts = {
            name: client.register_script(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("look", "freeze", "settle", "lease", "release")
        }

    def lease(self, *, ttl_s: float, only_mine: bool) -> Share:
        """Renew what this worker owns and take its fair share of what is free."""
        answer = self._run("lease", self.token, int(ttl_s * 1000), keys.PARTITIONS, "mine" if only_mine else "all")
        return Share(int(answer[0]), int(answer[1]), frozenset(Partition(int(p)) for p in answer[2:]))

    def release(self, partitions: Iterable[Partition], *, leaving: bool) -> None:
        self._run("release", self.token, "leaving" if leaving else "staying", *partitions)

    def ready(self, partitions: Sequence[Partition]) -> list[tuple[Partition, Lane]]:
        """The lanes of the given partitions that hold messages."""
        with self.client.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.smembers(keys.ready(partition))
            found = pipe.execute()
        return [
            (partition, Lane(lane.decode()))
            for partition, lanes in zip(partitions, found, strict=True)
            for lane in sorted(lanes)
        ]

    def look(self, partition: Partition, lane: Lane, first: int, last: int) -> Head:
        frozen, waiting, messages = self._run("look", self.token, partition, lane, first, last)
        return Head(_frozen(_hash(frozen)), _waiting(_hash(waiting)), messages)

    def states(self, job_ids: Sequence[str]) -> dict[str, str | None]:
        """The states of jobs by id; None for one that is not known."""
        if not job_ids:
            return {}
        found = self.client.mget([keys.record(job_id) for job_id in job_ids])
        return {
            job_id: None if raw is None else str(outcomes.load(raw)["status"])
            for job_id, raw in zip(job_ids, found, strict=True)
        }

    def freeze(
        self, partition: Partition, lane: Lane, new: Freezing, *, start_within_s: float, clock_offset_us: int
    ) -> tuple[Frozen, frozenset[str]]:
        """Fix a batch. Returns it, and the ids that stay out of it because they are finished or cancelled."""
        args: list[Any] = [
            self.token,
            partition,
            lane,
            new.batch,
            new.replaces,
            new.span,
            new.identity,
            new.attempt,
        ]
        args += [
            int(start_within_s * 1e6),
            clock_offset_us,
            "" if new.keep_stamp_us is None else new.keep_stamp_us,
            " ".join(map(str, new.counts)),
        ]
        for job_id, record in new.started:
            args += (job_id, record)
        stamp, start_by, out = self._run("freeze", *args)
        excluded = frozenset(each.decode() for each in out)
        ids = tuple(job_id for job_id, _ in new.started if job_id not in excluded)
        frozen = Frozen(new.batch, new.span, new.identity, new.attempt, int(stamp), int(start_by), ids, new.counts)
        return frozen, excluded

    def settle(
        self,
        partition: Partition,
        lane: Lane,
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
        args: list[Any] = [self.token, partition, lane, batch, remove, expires_s, f"{time.time():.3f}"]
        args += (waiting.attempts, int(waiting.until * 1000), waiting.error) if waiting else ("", "", "")
        args.append(len(settled))
        for outcome in settled:
            args += (outcome.id, "1" if outcome.final else "0", outcome.record)
        for job_id, letter in dead:
            args += (job_id, letter)
        return int(self._run("settle", *args))

    def _run(self, name: str, *args: Any) -> Any:
        try:
            return self._scripts[name](keys=[], args=args)
        except ResponseError as exc:
            if str(exc).startswith(("LEASELOST", "FROZEN")):
                raise LeaseLost(str(exc)) from exc
            raise


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
    )


def _waiting(stored: dict[str, str]) -> Waiting | None:
    if not stored:
        return None
    return Waiting(int(stored["attempts"]), int(stored["until"]) / 1000, stored["error"])
