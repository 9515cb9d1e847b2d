"""Nothing lost, nothing doubled: lost answers, dead workers, restarts, and who owns what."""

from __future__ import annotations

import json
import time

import pytest
import redis
from lakequeue import JobFailed, Queue, ReadResult, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import CONFLICT, QUICK, TABLE, ids, job, make_tables, until, until_it_waits


def test_a_reply_lost_after_the_commit_is_proved_and_not_repeated(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_after"})
    before = warehouse.counts()["INSERT"]
    result = queue.enqueue(job(1)).result(timeout=30)
    assert result.count == 1
    assert "found by its stamp" in result.receipt.notes[0]
    assert warehouse.counts()["INSERT"] - before == 1
    assert ids(warehouse) == [0, 1]


def test_a_reply_lost_before_the_statement_ran_is_repeated_after_the_wait(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**{**QUICK, "LAKEQUEUE_START_WITHIN_S": "3"})
    elsewhere = "shop.sales.other"
    for handle in queue.enqueue_many([job(0), job(0, elsewhere)]):
        handle.result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_before"})
    began = time.monotonic()
    handle = queue.enqueue(job(1))
    until(lambda: warehouse.injected()["drop_before"] == 1, "its answer is lost")
    other = queue.enqueue(job(1, elsewhere))
    result = handle.result(timeout=30)
    assert (
        other.result(timeout=30).receipt.finished_at < result.receipt.finished_at
    )  # the wait holds its own table only
    assert time.monotonic() - began >= 4.2
    assert (result.count, result.receipt.attempts) == (1, 2)
    assert ids(warehouse) == [0, 1]


def test_an_append_to_a_table_without_stamps_ends_as_unknown(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    make_tables(warehouse, "shop.sales.plain", columns="id BIGINT")
    queue.write("shop.sales.plain", [{"id": 1}]).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_after"})
    handle = queue.write("shop.sales.plain", [{"id": 2}])
    with pytest.raises(JobFailed, match="whether it was committed is not known"):
        handle.result(timeout=30)
    with redis.Redis.from_url(redis_url) as client:
        letter = json.loads(client.hget(keys.DEAD, handle.id) or b"{}")
    assert letter["committed"] == "unknown"
    assert queue.write("shop.sales.plain", [{"id": 3}]).result(timeout=30).count == 1
    assert ids(warehouse, "shop.sales.plain") == [1, 2, 3]


def test_a_killed_workers_batch_is_taken_over_and_committed_once(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    first = start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "hold"})
    handles = [queue.enqueue(job(i)) for i in range(1, 4)]
    until(lambda: warehouse.held() == 1, "the first batch is under way")
    first.kill()
    warehouse.release()
    second = start_worker(**QUICK)
    results = [handle.result(timeout=30) for handle in handles]
    assert [result.count for result in results] == [1, 1, 1]
    assert ids(warehouse) == [0, 1, 2, 3]
    assert second.stop() == 0


def test_a_clean_stop_settles_what_runs_and_gives_back_the_rest(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    first = start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "hold"})
    running = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the first batch is under way")
    waiting = [queue.enqueue(job(i)) for i in range(2, 50)]
    first.process.terminate()
    until(lambda: len(first.partitions()) == 1, "it gives back what nothing runs on")
    warehouse.release()
    assert first.stop() == 0
    assert running.status().state == "SUCCESS"
    assert {handle.status().state for handle in waiting} == {"QUEUED"}
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists(*(keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)))
        assert client.zcard(keys.WORKERS) == 0
    start_worker()
    for handle in waiting:
        assert handle.result(timeout=30).count == 1
    assert ids(warehouse) == list(range(50))


def test_workers_share_the_partitions_and_take_over_from_one_that_dies(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    workers = [start_worker(), start_worker()]
    with redis.Redis.from_url(redis_url) as client:

        def shares() -> list[int]:
            owners = client.mget([keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)])
            return [sum(1 for o in owners if o and o.startswith(f"{w.name}@test/".encode())) for w in workers]

        until(lambda: shares() == [32, 32], "an even share")
        workers[0].kill()
        until(lambda: shares() == [0, 64], "the other takes all")
    tables = [f"shop.sales.t{i}" for i in range(8)]
    handles = [queue.enqueue(job(1, table)) for table in tables]
    assert all(handle.result(timeout=30).count == 1 for handle in handles)


def test_a_session_the_warehouse_forgot_is_opened_anew(queue: Queue, worker: Worker, warehouse: LocalWarehouse) -> None:
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "forget_session"})
    result = queue.enqueue(job(1)).result(timeout=30)
    assert result.count == 1
    assert ids(warehouse) == [0, 1]


@pytest.mark.parametrize("executed", [True, False], ids=["after the commit", "before it ran"])
def test_a_503_is_never_sent_again_blindly(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, executed: bool
) -> None:
    start_worker(**{**QUICK, "LAKEQUEUE_START_WITHIN_S": "3"})
    queue.enqueue(job(0)).result(timeout=30)
    rule = {"action": "status", "status": 503, "executed": executed}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, **rule})
    before = warehouse.counts()["INSERT"]
    assert queue.enqueue(job(1)).result(timeout=30).count == 1
    assert warehouse.counts()["INSERT"] - before == 1
    assert ids(warehouse) == [0, 1]


def test_a_concurrent_append_is_tried_again_and_visible_as_retry(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_BACKOFF_FIRST_S="6", LAKEQUEUE_BACKOFF_LONGEST_S="6")
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **CONFLICT})
    handle = queue.enqueue(job(1))
    until_it_waits(handle, 3)
    assert handle.status().detail["error"] == "DELTA_CONCURRENT_APPEND"
    warehouse.clear_faults()
    tries = warehouse.injected()["error"]
    assert handle.result(timeout=30).receipt.attempts == tries + 1
    assert ids(warehouse) == [0, 1]


def test_a_statement_that_starts_too_late_did_not_run_and_is_sent_anew(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_START_WITHIN_S="3")
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "delay", "seconds": 4})
    result = queue.enqueue(job(1)).result(timeout=30)
    assert result.receipt.attempts == 2
    assert ids(warehouse) == [0, 1]


def test_a_job_cancelled_before_its_batch_is_frozen_does_not_run(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    handles = [queue.enqueue(job(i)) for i in range(3)]
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.record(handles[1].id), '{"status": "REVOKED", "result": null, "task_id": "x"}')
    start_worker()
    assert [handles[i].result(timeout=30).count for i in (0, 2)] == [1, 1]
    with pytest.raises(JobFailed, match="cancelled"):
        handles[1].result(timeout=5)
    assert ids(warehouse) == [0, 2]


def test_a_warehouse_that_is_away_loses_nothing(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "any", "action": "status", "status": 503, "executed": False})
    read = queue.read(TABLE)
    until(lambda: read.status().state == "RETRY", "the read waits")
    warehouse.clear_faults()
    page = read.result(timeout=30)
    assert isinstance(page, ReadResult)
    assert page.total == 1
