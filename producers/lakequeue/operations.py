"""`Operations`: what an operator asks of the queue and does to it, at a cost that no backlog changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lakequeue import keys, outcomes, wire
from lakequeue.connections import Client
from lakequeue.errors import UnknownJob
from lakequeue.handle import Handle, id_of
from lakequeue.identifiers import TableName
from lakequeue.job_states import JobHistory, JobState, history_of, job_state
from lakequeue.keys import Lane
from lakequeue.overviews import Overviews
from lakequeue.scripts import read_script
from lakequeue.table_states import Overview, TableState, text_of
from lakequeue.unreachable import reachable

if TYPE_CHECKING:
    from lakequeue.client import Queue

SHOWN = 100
"""Tables of an overview, unless more are asked for."""

FIELDS_AT_ONCE = 2000
"""Fields of a hash that one command reads: Redis serves others between two of them."""

MOST_LISTED = 1000
"""Tables whose jobs are listed, if no table is named."""

KEPT_ERRORS_S = 259_200
KEPT_COSTS_S = 2_678_400


@dataclass(frozen=True)
class ErrorCount:
    """How many jobs of a table met an error of a class: `state` is FAILURE for good, RETRY if they wait. `example` is
    the last one's id, `last_at` the minute."""

    state: str
    error: str
    table: str
    count: int
    last_at: datetime
    example: str


@dataclass(frozen=True)
class WorkerState:
    """One worker. `renewed_s` is how many seconds ago it renewed its leases, which run for `lease_ttl_s`; `told` is
    what it last said of itself, as plain JSON; empty if it said nothing yet."""

    name: str
    token: str
    partitions: int
    renewed_s: float | None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a table cost: statements of any kind, the seconds that the warehouse took for them, and the jobs and rows
    that were done with them."""

    table: str
    statements: int
    warehouse_s: float
    jobs: int
    rows: int


class Operations:
    """Reads and changes of an operator; every one may raise QueueUnreachable."""

    def __init__(self, queue: Queue, client: Client) -> None:
        self._queue = queue
        self._redis = client

    @cached_property
    def _overviews(self) -> Overviews:
        return Overviews(self._redis)

    @cached_property
    def _jobs(self) -> Any:
        return self._redis.register_script(read_script("lakequeue", "jobs"))

    @cached_property
    def _records(self) -> Any:
        return self._redis.register_script(read_script("lakequeue", "records"))

    def overview(self, *, limit: int | None = SHOWN) -> Overview:
        """Tables that hold jobs or dead letters, are paused, or were ever written to: `limit` at most, or all if it is
        None. Of more tables those are left out that wait for a shorter time, or for nothing."""
        with reachable(self._redis):
            return self._overviews.read(limit)

    def table(self, name: str) -> TableState:
        """One table; one that nothing is known of has nothing in it."""
        with reachable(self._redis):
            return self._overviews.table(str(TableName.parse(name)))

    def jobs(
        self,
        *,
        table: str | None = None,
        states: frozenset[str] = frozenset(),
        since_s: float | None = None,
        limit: int = 50,
    ) -> Iterator[JobState]:
        """Jobs, table by table: those that wait, the oldest first, then those that ended, the newest first.

        Of each lane the first `limit` jobs are looked at, and of those that ended the last 500; records live as long as
        the workers keep them. Without a table, the first 1,000 tables of an overview are looked at.

        Args:
            states: of these states only; all if empty.
            since_s: only those that were enqueued, tried or ended within so many seconds.
        """
        after = None if since_s is None else datetime.fromtimestamp(time.time() - since_s, UTC)
        names = (
            [str(TableName.parse(table))] if table else [each.table for each in self.overview(limit=MOST_LISTED).tables]
        )
        for name in names:
            found = 0
            for job in self._jobs_of(name, 500 if states or after else limit):
                at = job.at or job.enqueued_at
                if (states and job.state not in states) or (after and (at is None or at < after)):
                    continue
                if found == limit:
                    break
                found += 1
                yield job

    def _jobs_of(self, table: str, most: int) -> list[JobState]:
        with reachable(self._redis):
            lists = self._jobs(keys=[], args=[table, most])
            ids = list(dict.fromkeys(each.decode(errors="replace") for some in lists for each in some))
            found: list[JobState] = []
            for first in range(0, len(ids), 100):
                some = ids[first : first + 100]
                for job_id, raw in zip(some, self._records(keys=[], args=some), strict=True):
                    if raw is not None:
                        found.append(job_state(job_id, raw))
        rank = {"STARTED": 0, "RETRY": 1, "QUEUED": 2}
        return sorted(found, key=lambda job: rank.get(job.state, 3))  # stable: within a state as it was

    def history(self, job: str | Handle) -> JobHistory:
        """What happened to a job.

        Raises:
            UnknownJob.
            InvalidArgument: no job can have this id.
        """
        job_id = id_of(job)
        with reachable(self._redis):
            (raw,) = self._records(keys=[], args=[job_id])
        letter = next(iter(self._queue.dead_letters.list(ids=[job_id]).letters), None)
        if raw is None and letter is None:
            raise UnknownJob(f"no job {job_id} is known: it was never enqueued here, or its result has expired")
        return history_of(job_id, outcomes.load(raw) if raw else {"status": "FAILURE"}, letter)

    def due(self, job: str | Handle) -> datetime | None:
        """When a delayed job may begin; None if it is not, or no longer, delayed."""
        job_id = id_of(job)
        with reachable(self._redis):
            at: float | None = self._redis.zscore(keys.ETA, job_id)
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def histories(self, job_ids: Sequence[str]) -> dict[str, JobHistory]:
        """What happened to jobs, by their records alone; those that are not known are left out."""
        found = {}
        with reachable(self._redis):
            for first in range(0, len(job_ids), 100):
                some = list(job_ids[first : first + 100])
                for job_id, raw in zip(some, self._records(keys=[], args=some), strict=True):
                    if raw is not None:
                        found[job_id] = history_of(job_id, outcomes.load(raw), None)
        return found

    def errors(self, *, since_s: float, table: str | None = None) -> list[ErrorCount]:
        """What jobs failed by or wait for, the most frequent first; kept for three days, counted by the minute."""
        now = int(time.time()) // 60
        first = now - int(min(since_s, KEPT_ERRORS_S)) // 60
        wanted = str(TableName.parse(table)) if table else None
        totals: dict[tuple[str, str, str], tuple[int, int, str]] = {}
        for minute, stored in self._buckets(range(first, now + 1), keys.errors):
            for name, number in stored.items():
                state, error, told = (*name.split(" ", 2), "", "")[:3]
                if state == "id" or (wanted is not None and told != wanted):
                    continue
                count, _, _ = totals.get((state, error, told), (0, 0, ""))
                totals[state, error, told] = count + int(number), minute, stored.get(f"id {name}", "")
        counts = [
            ErrorCount(*key, count, datetime.fromtimestamp(minute * 60, UTC), example)
            for key, (count, minute, example) in totals.items()
        ]
        return sorted(counts, key=lambda each: (each.state, -each.count, each.error, each.table))

    def costs(self, *, since_s: float, table: str | None = None) -> list[Cost]:
        """What was sent to the warehouse, by table, the dearest first; kept for a month, counted by the hour."""
        now = int(time.time()) // 3600
        first = now - int(min(since_s, KEPT_COSTS_S)) // 3600
        wanted = str(TableName.parse(table)) if table else None
        totals: dict[str, dict[str, float]] = {}
        for _, stored in self._buckets(range(first, now + 1), keys.costs):
            for name, number in stored.items():
                what, _, told = name.partition(" ")
                if wanted is None or told == wanted:
                    sums = totals.setdefault(told, {})
                    sums[what] = sums.get(what, 0.0) + float(number)
        costs = [
            Cost(
                name,
                int(sums.get("statements", 0)),
                sums.get("ms", 0.0) / 1000,
                int(sums.get("jobs", 0)),
                int(sums.get("rows", 0)),
            )
            for name, sums in totals.items()
        ]
        return sorted(costs, key=lambda each: (-each.warehouse_s, each.table))

    def _buckets(self, numbers: range, key: Any) -> Iterator[tuple[int, dict[str, str]]]:
        for first in range(numbers.start, numbers.stop, 500):
            some = range(first, min(first + 500, numbers.stop))
            with reachable(self._redis), self._redis.pipeline(transaction=False) as pipe:
                for number in some:
                    pipe.hlen(key(number))
                sizes = dict(zip(some, pipe.execute(), strict=True))
                small = [number for number in some if 0 < sizes[number] <= FIELDS_AT_ONCE]
                for number in small:
                    pipe.hgetall(key(number))
                found = dict(zip(small, pipe.execute(), strict=True))
                for number in (number for number in some if sizes[number] > FIELDS_AT_ONCE):
                    found[number] = dict(self._redis.hscan_iter(key(number), count=FIELDS_AT_ONCE))
            for number, stored in sorted(found.items()):
                yield number, {text_of(name): text_of(value) for name, value in stored.items()}

    def workers(self) -> list[WorkerState]:
        """The workers that are alive, by name."""
        with reachable(self._redis):
            now = time.time()
            alive: list[tuple[bytes, float]] = self._redis.zrange(keys.WORKERS, 0, -1, withscores=True)  # type: ignore[assignment]
            leases: list[bytes | None] = self._redis.mget(
                [keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)]
            )  # type: ignore[assignment]
            tokens = [token.decode() for token, _ in alive]
            told: list[bytes | None] = self._redis.mget([keys.worker(each) for each in tokens]) if tokens else []  # type: ignore[assignment]
        owned = [lease.decode().rpartition("#")[0] for lease in leases if lease]
        states = []
        for token, (_, until), raw in zip(tokens, alive, told, strict=True):
            said = json.loads(raw) if raw else {}
            ttl = said.get("lease_ttl_s")
            renewed = None if ttl is None else max(0.0, round(now - (until - ttl), 1))
            if until > now:
                states.append(WorkerState(token.partition("/")[0], token, owned.count(token), renewed, said))
        return sorted(states, key=lambda each: (each.name, each.token))

    def pause(self, table: str) -> TableState:
        """Begin no batch of a table until it is resumed; jobs are still taken in. What is under way is finished."""
        name = str(TableName.parse(table))
        script = self._redis.register_script(read_script("lakequeue", "pause"))
        with reachable(self._redis):
            script(keys=[], args=[name, wire.isoformat(datetime.now(UTC))])
        return self.table(name)

    def resume(self, table: str) -> bool:
        """Go on with a table. False if it was not paused."""
        name = str(TableName.parse(table))
        script = self._redis.register_script(read_script("lakequeue", "resume"))
        with reachable(self._redis):
            return bool(script(keys=[], args=[name, keys.partition_of(name)]))

    def cancel(self, job: str | Handle) -> str:
        """Cancel a job that has not begun, or waits for another try. Returns the state it was in: QUEUED or RETRY if it
        is cancelled now, else the one in which it is left.

        Raises:
            UnknownJob.
            InvalidArgument: no job can have this id.
        """
        job_id = id_of(job)
        (state,) = self._revoke([job_id], "cancelled")
        if state == "UNKNOWN":
            raise UnknownJob(f"no job {job_id} is known: it was never enqueued here, or its result has expired")
        return state

    def _revoke(self, job_ids: list[str], reason: str) -> list[str]:
        script = self._redis.register_script(read_script("lakequeue", "revoke"))
        at = wire.isoformat(datetime.now(UTC))
        with reachable(self._redis):
            answers: list[bytes] = script(
                keys=[], args=[self._queue.settings.result_expires_s, at, reason, 0, *job_ids]
            )
        return [answer.decode() for answer in answers]

    def purge(self, table: str, *, ops: Literal["all", "writes", "reads"] = "all") -> int:
        """Cancel every job of a table that is queued now, and those that wait for another try or for their eta.

        A worker throws them away, table by table; `TableState.discarding` says how many are still to go. Returns how
        many there are. What is under way, or may have taken effect already, is finished.
        """
        name = str(TableName.parse(table))
        lanes = [Lane(f"{kind}:{name}") for kind in ("w", "r") if ops == "all" or ops[0] == kind]
        script = self._redis.register_script(read_script("lakequeue", "purge"))
        total = 0
        with reachable(self._redis):
            for lane in lanes:
                total += int(script(keys=[], args=[lane, keys.partition_of(name)]))
            total += self._purge_delayed(lanes)
        return total

    def _purge_delayed(self, lanes: list[Lane]) -> int:
        script = self._redis.register_script(read_script("lakequeue", "delayed"))
        cursor, total = "0", 0
        while True:
            cursor, ids = script(keys=[], args=[text_of(cursor), 50, *lanes])
            if ids:
                states = self._revoke([text_of(each) for each in ids], "purged")
                total += sum(state == "QUEUED" for state in states)
            if text_of(cursor) == "0":
                return total
