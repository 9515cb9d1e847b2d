"""Purging and cancelling beside what goes wrong: batches cut in two, tries that fail, records that cannot be read."""

from __future__ import annotations

import pytest
import redis
from lakequeue import Handle, JobFailed, Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import CONFLICT, PATIENT, TABLE, ids, job, make_tables, until, until_it_waits

BAD_ROW = {"action": "error", "error_class": "CAST_INVALID_INPUT", "sqlstate": "22018"}


def states(handles: list[Handle]) -> list[str]:
    return [handle.status().state for handle in handles]


def cut_in_two(queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker) -> list[Handle]:
    """Four jobs whose batch was begun and cut for a bad row: the first half waits, the second was never sent."""
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, **BAD_ROW}, {"match": "^INSERT", **CONFLICT})
    queue.operations.pause(TABLE)
    waiting = list(queue.enqueue_many(job(i) for i in range(4)))
    start_worker(**PATIENT)
    queue.operations.resume(TABLE)
    until_it_waits(waiting[0], 300)
    return waiting


def test_a_purge_ends_the_half_of_a_batch_that_was_not_reached(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    waiting = cut_in_two(queue, warehouse, start_worker)
    assert queue.operations.purge(TABLE) == 4
    until(lambda: queue.operations.table(TABLE).waiting == 0, "all is thrown away")
    assert states(waiting) == ["REVOKED"] * 4
    warehouse.clear_faults()
    queue.enqueue(job(5)).result(timeout=30)
    assert ids(warehouse) == [5]


def test_a_purge_during_a_try_that_comes_to_nothing_does_not_wait_for_the_next_one(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^DESCRIBE", "times": 1, "action": "hold"}, {"match": "^INSERT", "times": 1, **CONFLICT})
    start_worker(**PATIENT)
    purged = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "a turn is under way")
    assert queue.operations.purge(TABLE) == 1
    warehouse.release()
    with pytest.raises(JobFailed, match="was cancelled"):
        purged.result(timeout=30)
    queue.enqueue(job(2)).result(timeout=30)
    assert ids(warehouse) == [2]


def test_the_record_of_a_cancelled_job_that_fits_no_table_is_not_kept_for_ever(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    queue.operations.pause(TABLE)
    bad = queue.write(TABLE, [{"id": 1, "nosuch": 1}])
    assert queue.operations.cancel(bad.id) == "QUEUED"
    queue.operations.resume(TABLE)
    start_worker()
    until(lambda: queue.operations.table(TABLE).waiting == 0, "its message is gone")
    assert bad.status().state == "REVOKED"
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.ttl(keys.record(bad.id)) <= 86_400
        assert not client.exists(keys.DEAD)


def test_a_purge_is_not_stopped_by_a_record_that_cannot_be_read(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    queue.operations.pause(TABLE)
    waiting = list(queue.enqueue_many(job(i) for i in range(3)))
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.record(waiting[1].id), '{"status":"QUEUED","result":')
    queue.operations.purge(TABLE)
    start_worker()
    until(lambda: queue.operations.table(TABLE).discarding == 0, "it is done")
    assert states(waiting) == ["REVOKED"] * 3


def test_a_cancel_of_many_goes_on_behind_a_record_that_cannot_be_read(queue: Queue, redis_url: str) -> None:
    waiting = queue.enqueue(job(1))
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.record(waiting.id), '{"status":"QUEUED","result":')
    assert queue.operations.cancel(waiting.id) == "QUEUED"
    assert waiting.status().state == "REVOKED"


def test_the_half_of_a_batch_that_was_not_reached_can_be_cancelled(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    waiting = cut_in_two(queue, warehouse, start_worker)
    assert queue.operations.cancel(waiting[3].id) == "RETRY"
    assert states(waiting)[3] == "REVOKED"
    assert queue.operations.cancel(waiting[3].id) == "REVOKED"


def test_a_read_whose_table_cannot_be_described_now_waits_for_another_try(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """Until the warehouse answers again it is not under way, and operators are told so."""
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^DESCRIBE", "action": "status", "status": 503})
    start_worker()
    waiting = queue.read(TABLE)
    until(lambda: waiting.status().state == "RETRY", "it waits")
    until(lambda: queue.operations.table(TABLE).retrying == 1, "operators are told")
    warehouse.clear_faults()
    assert waiting.result(timeout=30).count == 0


def test_a_purge_does_not_wait_for_a_warehouse_that_is_away(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """When a backlog fills Redis meanwhile, it is wanted most."""
    make_tables(warehouse, TABLE)
    warehouse.fault({"on": "any", "action": "status", "status": 503})
    start_worker(**PATIENT)
    waiting = list(queue.enqueue_many(job(i) for i in range(3_000)))
    until(lambda: waiting[0].status().state == "RETRY", "the warehouse is missed")
    queue.operations.purge(TABLE)
    until(lambda: queue.operations.table(TABLE).waiting == 0, "all is thrown away")
    assert set(states(waiting[::100])) == {"REVOKED"}


def test_a_redis_that_is_full_stops_no_operator(queue: Queue, redis_url: str) -> None:
    waiting = list(queue.enqueue_many(job(i) for i in range(2)))
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            assert queue.operations.pause(TABLE).paused_since is not None
            assert queue.operations.cancel(waiting[0].id) == "QUEUED"
            assert queue.operations.purge(TABLE) == 2
            assert queue.operations.resume(TABLE)
        finally:
            client.config_set("maxmemory", 0)
