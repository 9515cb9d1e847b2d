"""How soon the tables of a worker that was killed or stopped go on, and that a table that waits delays no other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
import redis
from lakequeue import Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import ids, make_tables, until

pytestmark = pytest.mark.alone

TTL_S = 2.0
FENCE = {
    "LAKEQUEUE_START_WITHIN_S": "3",
    "LAKEQUEUE_STATEMENT_TIMEOUT_S": "1",
    "LAKEQUEUE_PROOF_MARGIN_S": "0.2",
}
"""A statement may commit for 4.2 s after it was frozen: for longer than the lease lives."""

PROMISED_S = 2.0
"""What may be added to a lease's life, or to what is left of the wait."""


def test_after_a_kill_tables_go_on_when_the_lease_has_run_out_and_the_frozen_one_when_its_wait_is_over(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    first = start_worker(**FENCE, LAKEQUEUE_LEASE_TTL_S=str(TTL_S))
    second = start_worker(**FENCE, LAKEQUEUE_LEASE_TTL_S=str(TTL_S))
    until(lambda: len(first.partitions()) == len(second.partitions()) == keys.PARTITIONS // 2, "an even share")
    owned = first.partitions()
    names = (name for name in (f"shop.sales.k{i}" for i in count()) if keys.partition_of(name) in owned)
    frozen, committed, *others = tables = [next(names) for _ in range(10)]
    make_tables(warehouse, *tables)
    for handle in [queue.write(table, [{"id": 0}]) for table in tables]:
        handle.result(timeout=30)
    warehouse.fault(
        {"match": f"^INSERT.*{frozen.rpartition('.')[2]}`", "times": 1, "action": "hold"},
        {"match": f"^INSERT.*{committed.rpartition('.')[2]}`", "times": 1, "action": "drop_after"},
        {"match": "^SELECT.*AS found", "times": 1, "action": "hold"},
    )
    jobs = {table: queue.write(table, [{"id": 1}]) for table in (frozen, committed)}
    until(lambda: warehouse.held() == 2, "one statement is in the queue, one has committed and is being looked for")
    with redis.Redis.from_url(redis_url) as client:
        open_until_us = int(client.hget(keys.frozen(keys.lane_of("write", frozen)), "open_until") or 0)
    first.kill()
    killed, left_s = time.monotonic(), open_until_us / 1e6 - time.time()
    jobs |= {table: queue.write(table, [{"id": 1}]) for table in others}
    took = {}
    for table in (*others, committed, frozen):
        assert jobs[table].result(timeout=30).count == 1
        took[table] = time.monotonic() - killed
    slowest = max(took[table] for table in others)
    print(f"nothing frozen: {slowest:.2f} s after the kill; lease {TTL_S:.0f} s, promised {TTL_S + PROMISED_S:.0f} s")
    print(f"frozen and committed: {took[committed]:.2f} s")
    print(f"frozen, not committed: {took[frozen]:.2f} s, its wait over after {left_s:.2f} s")
    assert slowest <= TTL_S + PROMISED_S
    assert took[committed] <= TTL_S + PROMISED_S
    assert left_s < took[frozen] <= max(TTL_S, left_s) + PROMISED_S
    warehouse.clear_faults()
    assert [ids(warehouse, table) for table in tables] == [[0, 1]] * len(tables)


def test_a_table_that_waits_for_a_proof_and_one_in_backoff_delay_none_of_their_partition(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    names = (name for name in (f"shop.sales.p{i}" for i in count()) if keys.partition_of(name) == 7)
    unproved, refused, *others = tables = [next(names) for _ in range(50)]
    make_tables(warehouse, *tables)
    worker = start_worker(
        LAKEQUEUE_START_WITHIN_S="8",
        LAKEQUEUE_STATEMENT_TIMEOUT_S="1",
        LAKEQUEUE_PROOF_MARGIN_S="0.2",
        LAKEQUEUE_BACKOFF_FIRST_S="2",
        LAKEQUEUE_BACKOFF_LONGEST_S="2",
    )

    def run_others(row: int) -> float:
        began = time.monotonic()
        for handle in [queue.write(table, [{"id": row}]) for table in others]:
            assert handle.result(timeout=30).count == 1
        return time.monotonic() - began

    before_s = min(run_others(row) for row in (0, 1))
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault(
        {"match": f"^INSERT.*{unproved.rpartition('.')[2]}`", "times": 1, "action": "drop_before"},
        {"match": f"^INSERT.*{refused.rpartition('.')[2]}`", **error},
    )
    waiting = [queue.write(table, [{"id": 0}]) for table in (unproved, refused)]
    until(lambda: "proved=not_yet" in worker.text(), "one waits for a proof")
    until(lambda: waiting[1].status().state == "RETRY", "one is in backoff")
    took_s = run_others(2)
    assert [handle.status().final for handle in waiting] == [False, False]
    print(f"48 tables of a partition: {before_s:.2f} s; beside one waiting for a proof, one in backoff: {took_s:.2f} s")
    assert took_s <= before_s + PROMISED_S
    warehouse.clear_faults()
    assert [handle.result(timeout=30).count for handle in waiting] == [1, 1]
    assert [ids(warehouse, table) for table in tables] == [[0], [0], *[[0, 1, 2]] * 48]


def test_a_worker_that_is_stopped_gives_back_at_once_what_nothing_runs_on(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    workers = [start_worker(LAKEQUEUE_LEASE_TTL_S="60") for _ in range(2)]
    until(lambda: [len(worker.partitions()) for worker in workers] == [32, 32], "an even share", timeout_s=60)
    first, second = workers
    owned = first.partitions()
    names = (name for name in (f"shop.sales.g{i}" for i in count()) if keys.partition_of(name) in owned)
    slow, other = next(names), next(names)
    make_tables(warehouse, slow, other)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "hold"})
    running = queue.write(slow, [{"id": 1}])
    until(lambda: warehouse.held() == 1, "a statement runs")
    first.process.terminate()
    until(lambda: len(second.partitions()) == keys.PARTITIONS - 1, "the other has all but one partition")
    assert queue.write(other, [{"id": 1}]).result(timeout=30).count == 1
    assert not running.status().final
    warehouse.release()
    assert running.result(timeout=30).count == 1
    assert first.stop() == 0
    until(lambda: len(second.partitions()) == keys.PARTITIONS, "the other has all")
    assert [ids(warehouse, table) for table in (slow, other)] == [[1], [1]]


def test_a_worker_that_is_stopped_while_it_shares_leaves_no_lease_behind(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    """More of its partitions are busy than it may keep: some of these are to go, and it is stopped before they can."""
    tables: dict[keys.Partition, str] = {}
    for name in (f"shop.sales.l{i}" for i in range(2000)):
        tables.setdefault(keys.partition_of(name), name)
    busy = [tables[partition] for partition in sorted(tables)[:40]]
    make_tables(warehouse, *busy)
    settings = {"LAKEQUEUE_LEASE_TTL_S": "60", "LAKEQUEUE_THREADS": "40"}
    first = start_worker(**settings)
    warehouse.fault({"match": "^INSERT", "action": "hold"})
    handles = [queue.write(table, [{"id": 1}]) for table in busy]
    until(lambda: warehouse.held() == len(busy), "all are busy")
    second = start_worker(**settings)
    until(lambda: len(second.partitions()) == keys.PARTITIONS - len(busy), "the second has what is idle")
    first.process.terminate()
    warehouse.clear_faults()
    assert first.stop() == 0
    until(lambda: len(second.partitions()) == keys.PARTITIONS, "the second has all")
    assert [handle.result(timeout=30).count for handle in handles] == [1] * len(busy)


class TestAnotherClock:
    """The warehouse's clock is an hour from Redis' and the workers'."""

    @pytest.fixture(params=[3600, -3600], ids=["ahead", "behind"])
    def ahead_s(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    def warehouse(self, tmp_path: Path, ahead_s: int) -> Iterator[LocalWarehouse]:
        server = LocalWarehouse(tmp_path / "warehouse", options=("--faults", f"--clock-ahead-s={ahead_s}"))
        yield server
        if server.process.poll() is None:
            server.stop()

    def test_a_table_without_stamps_waits_for_a_lost_statement_by_the_warehouses_clock_whoever_waits(
        self, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, ahead_s: int
    ) -> None:
        """The first owner knows how far the clock is off, since a statement of its expired; the second does not."""
        first, second = (start_worker(**FENCE, LAKEQUEUE_LEASE_TTL_S="1") for _ in range(2))
        until(lambda: [len(worker.partitions()) for worker in (first, second)] == [32, 32], "an even share")
        owned = first.partitions()
        table = next(name for i in count() if keys.partition_of(name := f"shop.sales.u{i}") in owned)
        make_tables(warehouse, table, columns="id BIGINT, v STRING")
        queue.write(table, [{"id": 1, "v": "old"}]).result(timeout=30)
        error = {"action": "error", "error_class": "USER_RAISED_EXCEPTION", "sqlstate": "P0001", "message": "expired"}
        warehouse.fault({"match": "^MERGE", "times": 1, **error}, {"match": "^MERGE", "times": 1, "action": "hold"})
        handle = queue.update(table, key={"id": 1}, updates={"v": "new"})
        until(lambda: warehouse.held() == 1, "the statement is in the queue")
        with redis.Redis.from_url(redis_url) as client:
            open_until_us = int(client.hget(keys.frozen(keys.lane_of("write", table)), "open_until") or 0)
        first.kill()
        assert handle.result(timeout=30).count == 1
        repeated = max(each["started"] for each in warehouse.statements() if each["kind"] == "MERGE")
        late_s = datetime.fromisoformat(repeated).timestamp() + ahead_s - open_until_us / 1e6
        print(f"repeated {late_s:.2f} s after the wait was over")
        assert 0 <= late_s <= PROMISED_S
        warehouse.clear_faults()
