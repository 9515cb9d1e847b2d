"""Clocks that differ, and times that are out of date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from lakequeue import Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import PATIENT, QUICK, ids, job, until, until_it_waits


class TestWarehouseAhead:
    """The warehouse's clock is an hour ahead of Redis'."""

    @pytest.fixture
    def warehouse(self, tmp_path: Path) -> Iterator[LocalWarehouse]:
        server = LocalWarehouse(tmp_path / "warehouse", options=("--faults", "--clock-ahead-s", "3600"))
        yield server
        if server.process.poll() is None:
            server.stop()

    def test_statements_seem_to_be_late_once_and_then_are_dated_by_it(
        self, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
    ) -> None:
        start_worker()
        assert queue.enqueue(job(0)).result(timeout=30).receipt.attempts == 2
        assert [queue.enqueue(job(i)).result(timeout=30).receipt.attempts for i in (1, 2)] == [1, 1]
        assert ids(warehouse) == [0, 1, 2]

    def test_the_wait_for_a_lost_statement_ends_by_it(
        self, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
    ) -> None:
        start_worker(**{**QUICK, "LAKEQUEUE_START_WITHIN_S": "3"})
        queue.enqueue(job(0)).result(timeout=30)
        warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_before"})
        began = time.monotonic()
        assert queue.enqueue(job(1)).result(timeout=30).receipt.attempts == 2
        assert time.monotonic() - began >= 4.2
        assert ids(warehouse) == [0, 1]


def test_a_worker_that_gets_a_table_back_forgets_when_it_meant_to_try_again(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """A table waits for days at its owner, who loses it; it is well again by the time it comes back."""
    table = next(t for t in (f"shop.sales.s{i}" for i in range(1000)) if keys.partition_of(t) >= 60)
    first = start_worker(**PATIENT)
    queue.enqueue(job(0, table)).result(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **error})
    waiting = queue.enqueue(job(1, table))
    until_it_waits(waiting, 300)
    second = start_worker(**PATIENT)
    with redis.Redis.from_url(redis_url) as client:

        def owner() -> str:
            return (client.get(keys.lease(keys.partition_of(table))) or b"").decode()

        until(lambda: owner().startswith(f"{second.name}@test/"), "the second owns it")
        warehouse.clear_faults()
        queue.enqueue(job(2, table))
        second.stop()
        lane = keys.lane_of("write", table)
        client.hset(keys.waiting(lane), "until", 0)
        client.zadd(keys.next_turns("w", keys.partition_of(table)), {lane: 0}, xx=True)
        until(lambda: owner().startswith(f"{first.name}@test/"), "the first owns it again")
    handles = [queue.job(str(job(i, table)["id"])) for i in (1, 2)]
    assert [handle.result(timeout=20).count for handle in handles] == [1, 1]
    assert ids(warehouse, table) == [0, 1, 2]
