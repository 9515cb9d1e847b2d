"""What a backlog costs in statements: every one at the server counts, descriptions, counts and proofs included."""

from __future__ import annotations

import random
from typing import Any

from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker

TABLE = "shop.sales.cost"
JOBS = 10_000


def run(queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, jobs: list[dict[str, Any]]) -> int:
    """Preload the queue, run it, and return how many statements that took."""
    with warehouse.connect() as connection, connection.cursor() as cursor:
        for text in (
            "CREATE CATALOG shop",
            "CREATE SCHEMA shop.sales",
            f"CREATE TABLE {TABLE} (id INT, name STRING, amount DECIMAL(10,2), created_at TIMESTAMP, "
            "created_by STRING, updated_at TIMESTAMP, updated_by STRING, deleted_at TIMESTAMP, _job_id STRING)",
        ):
            cursor.execute(text)
    handles = list(queue.enqueue_many({**job, "table": TABLE} for job in jobs))
    before = warehouse.counts()
    start_worker()
    for handle in reversed(handles):
        assert handle.result(timeout=110).count is not None
    used = warehouse.counts() - before
    print(f"\n{len(jobs):,} jobs took {used.total()} statements: {dict(used)}")
    return used.total()


def test_ten_thousand_inserts_take_at_most_5_statements(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    jobs = [{"kind": "write", "data": [{"id": i, "name": f"n{i}", "amount": "9.90"}]} for i in range(JOBS)]
    assert run(queue, start_worker, warehouse, jobs) <= 5


def test_ten_thousand_mixed_jobs_take_at_most_60_statements(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    chance = random.Random(7)
    jobs: list[dict[str, Any]] = []
    for i in range(JOBS):
        key = chance.randrange(5_000)
        match chance.choice(["append", "upsert", "update", "delete"]):
            case "append":
                jobs.append({"kind": "write", "data": [{"id": key, "name": f"n{i}", "amount": "1.50"}]})
            case "upsert":
                row = {"id": key, "name": f"u{i}"}
                jobs.append({"kind": "write", "data": [row], "mode": "upsert", "key_columns": ["id"]})
            case "update":
                updates = {"amount": "2.00"} if i % 2 else {"name": f"v{i}", "amount": None}
                jobs.append({"kind": "update", "key": {"id": key}, "updates": updates})
            case _:
                jobs.append({"kind": "delete", "key": {"id": key}, "soft": i % 2 == 0})
    assert run(queue, start_worker, warehouse, jobs) <= 60
