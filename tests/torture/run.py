"""One run: the stream goes, the faults come, and at the end everything is looked at."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import redis
from lakequeue import keys, outcomes

from tests.contract import Row
from tests.torture import other_application
from tests.torture.cluster import Cluster
from tests.torture.listener import Listener
from tests.torture.other_application import OtherApplication, Traces
from tests.torture.plan import Fault, Plan
from tests.torture.stream import Stream
from tests.torture.verdict import FAILED, Evidence, LogCounts, Stamps, Verdict, count_logs, history, judge

PRODUCERS = 2
SETTLE_S = 180.0
"""After the last fault all jobs have to be done within this."""

AHEAD = 4
"""The stream may be so many faults ahead: while one is dealt out, jobs keep coming."""

SLOWER = 1.4

CLEAR_S = 10.0
"""So soon after the last outcome nothing may be left of any job."""

MOST_TOLD = 8
"""Findings of one kind whose history is printed."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    plan: Plan
    verdict: Verdict
    evidence: Evidence
    counts: Mapping[str, int]
    injected: Counter[str]
    statements: Counter[str]
    logs: LogCounts
    problems: list[str]
    """What went wrong with the run itself: a worker that ended by itself, say."""

    wall_s: float

    @property
    def clean(self) -> bool:
        return not self.verdict.findings and not self.problems


class Run:
    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._folder = folder
        self._cluster = Cluster(folder, plan)
        self._problems: list[str] = []
        self._pauses = threading.Event()
        """Never set: what it waits for is time."""

    def go(self) -> tuple[Report, Callable[[], Iterator[str]]]:
        """Returns the report, and what explains its findings."""
        began = time.monotonic()
        cluster = self._cluster
        try:
            cluster.start()
            with self._listening() as listener, self._streaming() as stream, self._sending(stream) as other:
                self._deal(stream)
                self._finish(stream, other)
                listener_final = listener.final
            assert cluster.warehouse is not None
            injected = cluster.warehouse.injected()
            cluster.warehouse.clear_faults()
            left = self._left()
            codes = cluster.stop_workers()
            if any(code != 0 for code in codes):
                self._problems.append(f"the workers' exit codes are {codes}")
            evidence = Evidence(
                records=self._records(),
                published=listener_final,
                letters=self._letters(),
                rows=self._rows(),
                stamps=self._stamps(),
                left=left,
            )
            report = Report(
                self._plan,
                self._judge(evidence, other),
                evidence,
                Counter({**cluster.counts, **stream.counts, **other.counts}),
                injected,
                cluster.warehouse.counts(),
                count_logs(path.read_text(errors="replace") for path in sorted(self._folder.glob("w*.log"))),
                self._problems,
                time.monotonic() - began,
            )
        finally:
            cluster.close()

        def told() -> Iterator[str]:
            for what in FAILED:
                findings = [finding for finding in report.verdict.findings if finding.what == what]
                for finding in findings[:MOST_TOLD]:
                    yield history(finding, self._plan, evidence, cluster.lines)
                if len(findings) > MOST_TOLD:
                    yield f"and {len(findings) - MOST_TOLD} more {what}"

        return report, told

    @contextmanager
    def _listening(self) -> Iterator[Listener]:
        listener = Listener(self._cluster.redis.url)
        listener.start()
        try:
            assert listener.ready.wait(10), "nothing is heard from Redis"
            yield listener
        finally:
            listener.stop()

    @contextmanager
    def _streaming(self) -> Iterator[Stream]:
        """Producers somewhat slower than the faults are planned to come: so they are at it whenever one does."""
        planned_s = SLOWER * sum(fault.pause_s for fault in self._plan.faults) + 1
        stream = Stream(
            self._cluster.redis.url, self._plan, producers=PRODUCERS, jobs_per_s=len(self._plan.jobs) / planned_s
        )
        stream.start()
        try:
            yield stream
        finally:
            stream.stop()

    @contextmanager
    def _sending(self, stream: Stream) -> Iterator[OtherApplication]:
        def wait_for(share: float) -> bool:
            return stream.wait_for(int(share * len(self._plan.jobs)), timeout_s=0.2)

        other = OtherApplication(self._cluster.redis.url, self._plan.canvases, wait_for=wait_for)
        other.start()
        try:
            yield other
        finally:
            other.stop()

    def _judge(self, evidence: Evidence, other: OtherApplication) -> Verdict:
        verdict = judge(self._plan, evidence)
        cluster = self._cluster
        assert cluster.warehouse is not None
        with cluster.warehouse.connect() as connection, connection.cursor() as cursor:
            rows = other_application.rows(cursor)
        records = other_application.records(cluster.client, self._plan.canvases)
        traces = Traces(rows, records, other_application.told(cluster.client), other.due)
        return replace(verdict, findings=verdict.findings + other_application.judge(self._plan.canvases, traces))

    def _letters(self) -> dict[str, Any]:
        """The dead letters, but for those of canvases' jobs that have to fail."""
        failing = {
            job for canvas in self._plan.canvases for job, state in (canvas.states or {}).items() if state == "FAILURE"
        }
        found = self._cluster.client.hgetall(keys.DEAD)
        return {job.decode(): json.loads(letter) for job, letter in found.items() if job.decode() not in failing}

    def _deal(self, stream: Stream) -> None:
        """Deal out the faults in their order, each in its place in the stream."""
        last = time.monotonic()
        faults = self._plan.faults
        ahead = [fault.at for fault in faults[AHEAD:]] + [len(self._plan.jobs)] * AHEAD
        for number, fault in enumerate(faults):
            stream.allow(ahead[number])
            while not stream.wait_for(fault.at, timeout_s=0.1):
                self._look_after()
            if stream.errors:
                raise stream.errors[0]
            while (left := last + fault.pause_s - time.monotonic()) > 0:
                self._pauses.wait(min(left, 0.1))
                self._look_after()
            last = time.monotonic()
            self._strike(fault)
            if number % 25 == 24:
                self._say(f"  {number + 1} of {len(faults)} faults, {stream.enqueued} jobs enqueued")

    def _strike(self, fault: Fault) -> None:
        cluster = self._cluster
        match fault.what:
            case "kill":
                cluster.kill(fault.worker, busy=fault.busy)
            case "stop":
                cluster.freeze(fault.worker, fault.seconds)
            case "redis":
                cluster.restart_redis(fault.seconds, self._pauses.wait)
            case "warehouse":
                assert cluster.warehouse is not None
                cluster.warehouse.fault(*(dict(rule) for rule in fault.rules))

    def _look_after(self) -> None:
        self._cluster.wake_due()
        for worker in self._cluster.died():
            worker.expected = True
            self._problems.append(f"{worker.log.stem} ended by itself, see {worker.log}")

    def _finish(self, stream: Stream, other: OtherApplication) -> None:
        """Wait until every job has its outcome. No worker is killed any more; replies are still lost."""
        deadline = time.monotonic() + SETTLE_S
        while not (stream.finished and (other.finished or stream.errors)):
            self._look_after()
            self._pauses.wait(0.1)
        if errors := [*stream.errors, *other.errors]:
            raise errors[0]
        self._cluster.wake_due(all_of_them=True)
        while (undone := self._undone()) and time.monotonic() < deadline:
            self._look_after()
            self._pauses.wait(0.2)
        if undone:
            self._say(f"  {len(undone)} jobs are not done: {undone[:5]}; Redis:")
            self._say(json.dumps(self._cluster.describe(), indent=2))

    def _records(self) -> dict[str, bytes]:
        ids = [spec.id for spec in self._plan.jobs]
        found = self._cluster.client.mget([keys.record(job) for job in ids])
        return {job: raw for job, raw in zip(ids, found, strict=True) if raw is not None}

    def _undone(self) -> list[str]:
        try:
            records = self._records()
        except (redis.RedisError, OSError):
            return ["unknown"]
        states = {job: outcomes.load(raw)["status"] for job, raw in records.items()}
        undone = [spec.id for spec in self._plan.jobs if states.get(spec.id) not in outcomes.FINAL]
        return undone or other_application.under_way(self._cluster.client, self._plan.canvases)

    def _left(self) -> dict[str, str]:
        """What is in Redis that an idle system has not: looked at until nothing is, or the time for it is over."""
        deadline = time.monotonic() + CLEAR_S
        while (left := self._kept()) and time.monotonic() < deadline:
            self._pauses.wait(0.1)
        return left

    def _kept(self) -> dict[str, str]:
        client = self._cluster.client
        kept: dict[str, str] = {}
        for pattern in ("jobs", "frozen", "wait", "load"):
            for key in client.scan_iter(f"lakequeue:{pattern}:*", count=1000):
                kept[key.decode()] = f"a {client.type(key).decode()}"
        for partition, kind in product(range(keys.PARTITIONS), keys.KINDS):
            for key in (keys.first_turns, keys.next_turns):
                if lanes := client.zrange(key(kind, keys.Partition(partition)), 0, -1):
                    kept[key(kind, keys.Partition(partition))] = repr(lanes)
        for key in (*other_application.LISTS, keys.ETA, keys.ETA_JOBS, keys.CALLBACKS, keys.OUTBOX, keys.OUTBOX_FAILED):
            if client.exists(key):
                kept[key] = f"a {client.type(key).decode()}"
        return kept

    def _rows(self) -> dict[int, list[Row]]:
        """Every table, asked behind the product's back."""
        found: dict[int, list[Row]] = {}
        assert self._cluster.warehouse is not None
        with self._cluster.warehouse.connect() as connection, connection.cursor() as cursor:
            for table in self._plan.tables:
                audit = ", _job_id, created_by, updated_by, deleted_at IS NOT NULL AS gone" if table.stamped else ""
                cursor.execute(f"SELECT k, a, b{audit} FROM {table.name}")
                found[table.number] = [
                    Row(_text(k), _text(a), _text(b), *of_whom) for k, a, b, *of_whom in cursor.fetchall()
                ]
        return found

    def _stamps(self) -> dict[int, list[Stamps]]:
        """The order in which rows were written, by their stamps; of the tables that keep any."""
        found: dict[int, list[Stamps]] = {}
        assert self._cluster.warehouse is not None
        with self._cluster.warehouse.connect() as connection, connection.cursor() as cursor:
            for table in self._plan.tables:
                if table.stamped:
                    cursor.execute(f"SELECT _job_id, created_at, b, updated_at, deleted_at FROM {table.name}")
                    found[table.number] = [
                        Stamps(int(job.partition(".")[2]), created, None if gone else last, updated)
                        for job, created, last, updated, gone in cursor.fetchall()
                    ]
        return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)
