"""What is said of jobs that are given up: `not_committed` is only said where it is certain."""

from __future__ import annotations

import pytest
import redis
from lakequeue import JobFailed, Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import CONFLICT, QUICK, TABLE, ids, job, make_tables, until
from worker.entries import MOST_DEATHS_SENT
from worker.store import Store, Token

MERGE = {"on": "ExecuteStatement", "match": "^MERGE"}
TOO_SLOW = {"action": "error", "error_class": "STATEMENT_TIMEOUT", "sqlstate": "57KD0"}


@pytest.mark.timeout(300)  # nine workers are started
def test_a_delete_that_took_effect_and_whose_workers_died_is_unknown(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    worker = start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    proof = {"on": "ExecuteStatement", "match": "AS found", "action": "hold"}
    warehouse.fault({**MERGE, "times": 1, "action": "drop_after"}, proof)
    deleted = queue.delete(TABLE, key={"id": 0}, soft=False)
    for deaths in range(1, MOST_DEATHS_SENT + 1):
        until(lambda: warehouse.held() == 1, "its proof is under way", 60)
        worker.kill()
        if deaths == MOST_DEATHS_SENT:
            warehouse.clear_faults()
        warehouse.release()
        until(lambda: warehouse.held() == 0, "nothing is held")
        worker = start_worker(**QUICK)
    with pytest.raises(JobFailed, match="whether it was committed is not known"):
        deleted.result(timeout=30)
    assert queue.dead_letters.get(deleted.id).committed == "unknown"
    assert ids(warehouse) == []


def test_an_upsert_without_stamps_whose_repeats_are_too_slow_is_unknown(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, "shop.sales.plain", columns="id BIGINT")
    start_worker(**QUICK)
    warehouse.fault({**MERGE, "times": 1, "action": "drop_after"}, {**MERGE, "times": 3, **TOO_SLOW})
    upsert = queue.write("shop.sales.plain", [{"id": 7}], mode="upsert", key_columns="id")
    with pytest.raises(JobFailed, match="whether it was committed is not known"):
        upsert.result(timeout=60)
    assert queue.dead_letters.get(upsert.id).committed == "unknown"
    assert ids(warehouse, "shop.sales.plain") == [7]


def test_a_delete_that_may_have_taken_effect_cannot_be_revoked_any_more(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(LAKEQUEUE_BACKOFF_FIRST_S="4", LAKEQUEUE_BACKOFF_LONGEST_S="4", **QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    count = {"on": "ExecuteStatement", "match": "^SELECT.*explode"}
    warehouse.fault({**MERGE, "times": 1, "action": "drop_after"}, {**count, "after": 1, **CONFLICT})
    deleted = queue.delete(TABLE, key={"id": 0}, soft=False)
    until(lambda: deleted.status().state == "RETRY", "its repeat met a conflict")
    assert ids(warehouse) == []
    with redis.Redis.from_url(redis_url) as client:
        found = Store(client, Token("operator")).revoke([deleted.id], reason="revoked", expires_s=60)
        assert found == {deleted.id: "STARTED"}
        warehouse.clear_faults()
        assert deleted.result(timeout=30).count == 1
        assert not client.exists(keys.counted(keys.lane_of("write", TABLE)))


@pytest.mark.timeout(180)
def test_a_statement_that_is_always_answered_with_a_500_fails_and_its_table_goes_on(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    for table in (TABLE, "shop.sales.other"):
        queue.enqueue(job(0, table)).result(timeout=30)
    insert = {"on": "ExecuteStatement", "match": "INSERT INTO `shop`.`sales`.`events`"}
    warehouse.fault({**insert, "action": "status", "status": 500, "executed": False})
    bad = queue.enqueue(job(1))
    assert queue.enqueue(job(1, "shop.sales.other")).result(timeout=30).count == 1
    with pytest.raises(JobFailed, match="ANSWER_LOST"):
        bad.result(timeout=120)
    assert warehouse.injected()["status_500"] == 8
    warehouse.clear_faults()
    assert queue.enqueue(job(2)).result(timeout=30).count == 1
    assert ids(warehouse) == [0, 2]
