"""A batch equals its jobs one by one: random mixes of everything, through two workers, one of which never batches."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lakequeue import Queue
from lakequeue.outcomes import Status

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import Worker, worker_environ
from worker.embedded import embedded_redis

MIXES = int(os.environ.get("LAKEQUEUE_LAW_MIXES", "2000"))
SEED = int(os.environ.get("LAKEQUEUE_LAW_SEED", "20260301"))
TABLES = 8
DEFINITION = [
    {"name": "mix", "data_type": "INT"},
    {"name": "k", "data_type": "INT"},
    {"name": "a", "data_type": "VARCHAR(4)"},
    {"name": "b", "data_type": "DECIMAL(5,1)"},
]


@dataclass(frozen=True)
class Side:
    """One way to run the jobs: batched, or one by one."""

    name: str
    queue: Queue
    environ: dict[str, str]

    def table(self, number: int) -> str:
        return f"law.{self.name}.t{number}"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    warehouse = LocalWarehouse(tmp_path_factory.mktemp("law") / "warehouse")
    yield warehouse
    warehouse.stop()


@pytest.fixture(scope="module")
def sides(stand: LocalWarehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder: Path = tmp_path_factory.mktemp("sides")
    with (
        embedded_redis(folder / "a") as one,
        embedded_redis(folder / "b") as other,
        Queue(one.url) as batched,
        Queue(other.url) as single,
    ):
        environ = worker_environ(other.url, stand, LAKEQUEUE_MAX_BATCH_JOBS="1")
        yield [Side("batched", batched, worker_environ(one.url, stand)), Side("single", single, environ)]


def a_mix(chance: random.Random, number: int) -> list[dict[str, Any]]:
    """Jobs on a few keys that no other mix touches."""
    keys = [number * 10 + i for i in range(3)]

    def values(**optional: Any) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if chance.random() < 0.7:
            row["a"] = chance.choice(["x", "y'; --", None, "é"] + (["too long"] if chance.random() < 0.1 else []))
        if not row or chance.random() < 0.6:
            row["b"] = chance.choice([None, 1, "2.5", "500" if chance.random() < 0.15 else "3"])
        return {**row, **optional}

    def some(most: int) -> list[int]:
        return chance.sample(keys, chance.randint(1, most))

    jobs = []
    for _ in range(chance.randint(2, 6)):
        job: dict[str, Any] = {"actor": chance.choice(["ann", "bob"])}
        kind = chance.choice(
            ["append", "append", "upsert", "absent", "update", "update", "soft", "hard", "old", "move"]
        )
        match kind:
            case "append":
                rows = [values(mix=number, k=chance.choice([*keys, None])) for _ in range(chance.randint(1, 3))]
                job.update(kind="write", data=rows)
            case "upsert":
                wide = chance.random() < 0.5
                rows = [{"mix": number, "k": k, "a": "u", **({"b": 4} if wide else {})} for k in some(2)]
                job.update(kind="write", data=rows, mode="upsert", key_columns=["k"])
            case "absent":
                rows = [values(mix=number, k=k) for k in some(2)]
                job.update(kind="write", data=rows, mode="insert_if_absent", key_columns="k")
            case "update":
                changes = [{"key": {"k": k}, "updates": values()} for k in some(2)]
                job.update(kind="update", rows=changes, must_exist=chance.random() < 0.3)
            case "old":
                job.update(kind="update", key_column="k", key_value=chance.choice(keys), updates=values())
            case "move":
                job.update(kind="update", key={"k": chance.choice(keys)}, updates={"k": chance.choice(keys)})
            case _:
                wanted = [{"k": k} for k in some(2)]
                job.update(kind="delete", keys=wanted, soft=kind == "soft", must_exist=chance.random() < 0.3)
        jobs.append(job)
    return jobs


def outcome(status: Status) -> tuple[Any, ...]:
    if status.state == "SUCCESS":
        return ("SUCCESS", status.detail["count"])
    _, details = status.detail["exc_message"]
    errors = details.get("errors") or [{}]
    return (status.state, details["error"], details.get("sqlstate"), tuple(errors[0].get("loc", ())))


def run(side: Side, jobs: list[dict[str, Any]], log: Path) -> list[tuple[Any, ...]]:
    """Preload the queue, then run it all; the outcomes in order."""
    ids = [handle.id for handle in side.queue.enqueue_many(jobs)]
    worker = Worker(side.environ, log, side.name)
    try:
        deadline = time.monotonic() + 600
        while True:
            found = [s for i in range(0, len(ids), 1000) for s in side.queue.statuses(ids[i : i + 1000])]
            if all(status is not None and status.final for status in found):
                break
            assert time.monotonic() < deadline, worker.text()[-3000:]
            time.sleep(0.5)
        assert worker.stop() == 0
    finally:
        if worker.process.poll() is None:
            worker.kill()
    return [outcome(status) for status in found if status is not None]


def content(warehouse: LocalWarehouse, table: str) -> Counter[tuple[Any, ...]]:
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT mix, k, a, b, created_by, updated_by, deleted_at IS NULL AS live, _job_id, "
            f"created_at = updated_at AS untouched FROM {table}"
        )
        # Jobs of one statement share their stamp, so only a row that nobody touched has equal stamps on both sides.
        return Counter(tuple(row)[:8] for row in cursor.fetchall())


@pytest.mark.timeout(900)
def test_a_batch_equals_its_jobs_one_by_one(sides: list[Side], stand: LocalWarehouse, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    mixes = [a_mix(chance, number) for number in range(MIXES)]
    results = []
    with stand.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE CATALOG law")
        for side in sides:
            cursor.execute(f"CREATE SCHEMA law.{side.name}")
            for number in range(TABLES):
                columns = ", ".join(f"{c['name']} {c['data_type']}" for c in DEFINITION)
                audit = "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING"
                cursor.execute(
                    f"CREATE TABLE {side.table(number)} ({columns}, {audit}, deleted_at TIMESTAMP, _job_id STRING)"
                )
                if number % 2:
                    cursor.execute(f"ALTER TABLE {side.table(number)} ADD CONSTRAINT small CHECK (b < 100)")
    statements = []
    for side in sides:
        before = stand.counts()
        jobs = [
            {**job, "table": side.table(number % TABLES), "id": f"m{number}.{place}"}
            for number, mix in enumerate(mixes)
            for place, job in enumerate(mix)
        ]
        results.append(run(side, jobs, tmp_path / f"{side.name}.log"))
        statements.append((stand.counts() - before).total())
    print(f"\n{MIXES} mixes, {len(results[0])} jobs, {statements[0]} statements against {statements[1]} one by one")
    names = [f"m{number}.{place}" for number, mix in enumerate(mixes) for place in range(len(mix))]
    differ = [(n, a, b) for n, a, b in zip(names, *results, strict=True) if a != b]
    assert differ == [], f"seed {SEED}: {differ[:3]}, first mix: {mixes[int(differ[0][0][1:].split('.')[0])]}"
    for number in range(TABLES):
        one, other = (content(stand, side.table(number)) for side in sides)
        assert one == other, f"seed {SEED}, table {number}: {list((one - other).items())[:3]}"
    kinds = Counter(result[:2] if result[0] != "SUCCESS" else ("SUCCESS",) for result in results[0])
    assert {("SUCCESS",), ("FAILURE", "ROW_NOT_FOUND"), ("FAILURE", "INVALID_JOB")} <= kinds.keys()
    assert ("FAILURE", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES") in kinds
