"""Waits and results that must stay within bounds, whatever a producer's clock says or a table holds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
import redis
from lakequeue import JobFailed, Queue, ReadResult, keys

from localwarehouse import store
from localwarehouse.catalog import TableName
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import TABLE, ids, job, make_tables
from worker.reads import MOST_PAGE_BYTES

LINGER_S = 0.5


@pytest.mark.parametrize("ahead_s", [0.3, 3600], ids=["a little ahead", "an hour ahead"])
def test_a_job_from_a_producer_whose_clock_is_ahead_waits_for_others_no_longer_than_any(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, ahead_s: float
) -> None:
    handles = [queue.enqueue(job(0)), queue.enqueue(job(1))]
    with redis.Redis.from_url(redis_url) as client:
        lane = keys.jobs(keys.lane_of("write", TABLE))
        message = json.loads(client.lindex(lane, 0) or b"")
        at = datetime.now(UTC) + timedelta(seconds=ahead_s)
        message["headers"]["enqueued_at"] = at.isoformat()
        client.lset(lane, 0, json.dumps(message))
    start_worker(LAKEQUEUE_LINGER_S=str(LINGER_S))
    assert [handle.result(timeout=20).count for handle in handles] == [1, 1]
    assert ids(warehouse) == [0, 1]


def test_jobs_that_come_within_the_linger_share_a_commit(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, TABLE)
    start_worker(LAKEQUEUE_LINGER_S="4")
    queue.write(TABLE, [{"id": 0}]).result(timeout=30)
    began = time.monotonic()
    handles = [queue.write(TABLE, [{"id": i}]) for i in range(1, 6)]
    assert [handle.result(timeout=30).receipt.batch_jobs for handle in handles] == [5] * 5
    assert time.monotonic() - began >= 3.9  # enqueued_at is told in milliseconds


def test_a_page_that_is_too_large_for_a_result_is_refused_and_smaller_ones_are_read(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    rows = 1000
    value = "x" * (MOST_PAGE_BYTES // rows)
    make_tables(warehouse, TABLE, columns="id BIGINT, v STRING")
    assert warehouse.stop() == 0
    with duckdb.connect(str(warehouse.data / "warehouse.duckdb")) as database:
        table = store.load(database).table(TableName(*TABLE.split(".")))
        database.execute(f"INSERT INTO {table.storage} SELECT i, ? FROM range({rows}) AS r(i)", [value])
    warehouse.start()
    start_worker()
    handle = queue.read(TABLE, limit=rows)
    with pytest.raises(JobFailed, match="ask for fewer rows or columns") as caught:
        handle.result(timeout=60)
    assert caught.value.details["errors"][0]["loc"] == ["limit"]
    page = queue.read(TABLE, limit=10).result(timeout=30)
    assert isinstance(page, ReadResult)
    assert (page.total, len(page.data), page.data[0]["v"]) == (rows, 10, value)
    narrow = queue.read(TABLE, columns="id", limit=rows).result(timeout=30)
    assert isinstance(narrow, ReadResult)
    assert len(narrow.data) == rows


def test_reads_behind_one_that_waits_are_answered_however_many_there_are(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "hold"})
    write = queue.enqueue(job(1))
    waits = queue.read(TABLE, after=write.id)
    others = [queue.read(TABLE) for _ in range(40)]
    assert all(other.result(timeout=20) for other in others)
    assert not waits.status().final
    warehouse.release()
    assert waits.result(timeout=20)
