"""What once went wrong, or could: stale turns, refused jobs beside lost answers, poisoned messages, joining workers."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from lakequeue import JobFailed, Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import CONFLICT, QUICK, TABLE, ids, job, make_tables, until, until_it_waits


def test_jobs_refused_beside_a_batch_whose_answer_is_lost_are_not_forgotten(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    insert = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1}
    warehouse.fault({**insert, "action": "hold"}, {**insert, "action": "drop_after"})
    first = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the first batch runs")
    good = queue.enqueue(job(2))
    bad = queue.write(TABLE, [{"id": 3, "nosuch": 1}])
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in (first, good)] == [1, 1]
    with pytest.raises(JobFailed, match="nosuch"):
        bad.result(timeout=10)
    with redis.Redis.from_url(redis_url) as client:
        assert client.hkeys(keys.DEAD) == [bad.id.encode()]
    assert ids(warehouse) == [0, 1, 2]


def test_a_turn_begun_under_an_earlier_lease_changes_nothing_under_a_later_one(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """A looks and waits for a DESCRIBE; it is stopped past its lease; B runs the job; A owns the table again."""
    table = next(t for t in (f"shop.sales.s{i}" for i in range(1000)) if keys.partition_of(t) >= 60)
    make_tables(warehouse, table)
    first = start_worker(**QUICK)
    warehouse.fault({"on": "ExecuteStatement", "match": "^DESCRIBE", "times": 1, "action": "hold"})
    one = queue.write(table, [{"id": 1}])
    until(lambda: warehouse.held() == 1, "A's DESCRIBE is held")
    first.freeze()
    second = start_worker(**QUICK)
    assert one.result(timeout=30).count == 1
    first.go_on()
    with redis.Redis.from_url(redis_url) as client:

        def owner() -> str:
            return (client.get(keys.lease(keys.partition_of(table))) or b"").decode()

        second.kill()
        until(lambda: owner().startswith(f"{first.name}@test/"), "A owns the partition again")
    later = [queue.write(table, [{"id": i}]) for i in (2, 3)]
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in later] == [1, 1]
    assert ids(warehouse, table) == [1, 2, 3]


POISON: dict[str, Any] = {
    "a task that is no text": {"task": ["x"]},
    "a digest with a lone surrogate": {"digest": "\ud800"},
    "a time with a lone surrogate": {"enqueued_at": "2026\ud800"},
    "a time without an offset": {"enqueued_at": "2026-01-01T00:00:00"},
    "a parent that is no text": {"parent_id": {"x": 1}},
    "rows that are true": {"rows": True},
}


@pytest.mark.parametrize("headers", POISON.values(), ids=POISON.keys())
def test_a_poisoned_message_blocks_nothing_and_ends_somewhere(
    queue: Queue, start_worker: StartWorker, redis_url: str, headers: dict[str, Any]
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        queue.enqueue(job(0))
        lane = f"lakequeue:jobs:w:{TABLE}"
        message = json.loads(client.lrange(lane, 0, 0)[0])
        message["headers"].update({"id": "poison", **headers})
        client.rpush(lane, json.dumps(message))
        last = queue.enqueue(job(2))
        client.zadd(keys.first_turns("w", keys.partition_of(TABLE)), {b"w:\xff\xfe": 1})
        start_worker(LAKEQUEUE_LINGER_S="0.1")
        assert last.result(timeout=30).count == 1
        until(lambda: client.llen(lane) == 0, "the lane is empty")
        told = client.exists(keys.record("poison")) or any(
            k.startswith(b"unreadable-") for k in client.hkeys(keys.DEAD)
        )
        assert told


def test_a_waiting_retry_is_readable_by_celery(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(LAKEQUEUE_BACKOFF_FIRST_S="6", LAKEQUEUE_BACKOFF_LONGEST_S="6")
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **CONFLICT})
    handle = queue.enqueue(job(1))
    result = Celery(broker=redis_url, backend=redis_url).AsyncResult(handle.id)
    until_it_waits(handle, 3)
    assert result.state == "RETRY"
    assert "DELTA_CONCURRENT_APPEND" in str(result.result)
    warehouse.clear_faults()
    assert result.get(timeout=30)["count"] == 1


def test_a_worker_that_joins_under_load_gets_its_share(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    tables: dict[int, str] = {}
    for i in range(2000):
        tables.setdefault(keys.partition_of(f"shop.sales.b{i}"), f"shop.sales.b{i}")
    busy = [tables[p] for p in sorted(tables)[:16]]
    make_tables(warehouse, *busy)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "action": "delay", "seconds": 0.2})
    start_worker(LAKEQUEUE_MAX_BATCH_JOBS="1")
    jobs = [{"kind": "write", "table": t, "data": [{"id": n}]} for n in range(60) for t in busy]
    handles = list(queue.enqueue_many(jobs))
    until(lambda: handles[0].status().final, "it runs")
    second = start_worker(LAKEQUEUE_MAX_BATCH_JOBS="1")
    with redis.Redis.from_url(redis_url) as client:

        def share() -> int:
            owners = client.mget([keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)])
            return sum(1 for o in owners if o and o.startswith(f"{second.name}@test/".encode()))

        until(lambda: share() == 32, "an even share", timeout_s=20)
        assert any(client.llen(f"lakequeue:jobs:w:{t}") for t in busy), "and that while there was work"
    warehouse.clear_faults()
    assert all(handle.result(timeout=60).count == 1 for handle in handles)


def test_a_statement_that_is_lost_every_time_is_cut_down_to_the_job_whose_fault_it_is(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    short = {"LAKEQUEUE_START_WITHIN_S": "0.3", "LAKEQUEUE_STATEMENT_TIMEOUT_S": "1", "LAKEQUEUE_PROOF_MARGIN_S": "0.1"}
    queue.enqueue(job(0))
    first = start_worker()
    until(lambda: ids_or_none(warehouse) == [0], "the table is there")
    first.stop()
    handles = [queue.enqueue(job(i)) for i in range(1, 5)]
    lost = {"on": "ExecuteStatement", "match": "^INSERT", "action": "status", "status": 500, "executed": False}
    warehouse.fault({**lost, "times": 3 + 3 + 8})  # all four, the first two, the first alone
    start_worker(**short)
    outcomes = []
    for handle in handles:
        try:
            outcomes.append(handle.result(timeout=60).count)
        except JobFailed as exc:
            outcomes.append(exc.details["error"])
    assert outcomes == ["ANSWER_LOST", 1, 1, 1]
    assert ids(warehouse) == [0, 2, 3, 4]


def ids_or_none(warehouse: LocalWarehouse) -> list[int] | None:
    try:
        return ids(warehouse)
    except Exception:  # the table is not there yet
        return None


def test_many_jobs_for_a_table_that_is_missing_are_refused_in_turns(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    jobs = ({"kind": "write", "table": "shop.no.table", "data": [{"id": i}]} for i in range(25_000))
    (last,) = deque(queue.enqueue_many(jobs), maxlen=1)
    start_worker()
    with pytest.raises(JobFailed, match="does not exist"):
        last.result(timeout=60)
    assert warehouse.counts()["DESCRIBE"] <= 6


def test_sparse_rows_that_would_be_huge_side_by_side_are_refused(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    names = [f"c{i}" for i in range(300)]
    make_tables(warehouse, "shop.sales.wide", columns=", ".join(f"{n} INT" for n in names))
    start_worker()
    rows = [{names[i % 300]: 1} for i in range(40_000)]
    with pytest.raises(JobFailed, match="do not fit one statement"):
        queue.write("shop.sales.wide", rows).result(timeout=30)


def test_a_slow_write_lane_leaves_reads_their_own_threads(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, *(f"shop.sales.w{i}" for i in range(3)))
    start_worker(LAKEQUEUE_THREADS="2")
    queue.read("shop.sales.w0").result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "action": "hold"})
    writes = [queue.write(f"shop.sales.w{i}", [{"id": 1}]) for i in range(3)]
    until(lambda: warehouse.held() == 2, "both threads of writes are busy")
    assert queue.read("shop.sales.w0").result(timeout=10).total == 0
    warehouse.clear_faults()
    warehouse.release()
    assert all(handle.result(timeout=30).count == 1 for handle in writes)


def test_events_survive_a_redis_that_went_away(
    queue: Queue, start_worker: StartWorker, redis_url: str, tmp_path: Path
) -> None:
    worker: Worker = start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(20):
            client.client_kill_filter(skipme=True, _type="normal")
            client.client_kill_filter(skipme=True, _type="pubsub")
            time.sleep(0.01)
        listener = client.pubsub()
        listener.psubscribe("*celeryev*")
        deadline = time.monotonic() + 30
        i = 1
        seen = False
        while not seen:
            assert time.monotonic() < deadline, worker.text()
            queue.enqueue(job(i)).result(timeout=30)
            i += 1
            while (message := listener.get_message(timeout=0.2)) is not None:
                seen = seen or (message["type"] == "pmessage" and b"task.multi" in message["data"])
