"""Many tables and large jobs: nobody waits behind a backlog, and neither Redis nor a worker holds it twice."""

from __future__ import annotations

from pathlib import Path

import redis
from lakequeue import Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import TABLE, job, make_tables, sql, until

LARGE = 800_000
"""Bytes of a large job: a statement holds one."""


def peak_mb(worker: Worker) -> float:
    """The most memory that the process has had."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def sent(client: redis.Redis) -> int:
    return int(client.info("stats")["total_net_output_bytes"])


def large_jobs(queue: Queue, count: int, table: str = TABLE) -> int:
    """Enqueue so many; returns their bytes."""
    note = "x" * LARGE
    jobs = ({"kind": "write", "table": table, "data": [{"id": i, "note": note}]} for i in range(count))
    return LARGE * sum(1 for _ in queue.enqueue_many(jobs))


def test_large_jobs_are_sent_once_and_a_backlog_of_them_costs_no_memory(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    columns = "id BIGINT, note STRING, created_at TIMESTAMP, updated_at TIMESTAMP, _job_id STRING"
    make_tables(warehouse, TABLE, columns=columns)
    peaks: list[float] = []
    with redis.Redis.from_url(redis_url) as client:
        for count in (4, 60):
            total = large_jobs(queue, count)
            held = int(client.info("memory")["used_memory"])
            client.config_resetstat()
            before = sent(client)
            worker = start_worker()
            until(lambda: not client.exists(keys.jobs(keys.lane_of("write", TABLE))), "all are done", 120)
            ratio = (sent(client) - before) / total
            peaks.append(peak_mb(worker))
            above = int(client.info("memory")["used_memory_peak"]) - held
            assert worker.stop() == 0
            assert ratio < 2
            assert above < 30_000_000
    assert peaks[1] < peaks[0] + 60
    assert sql(warehouse, f"SELECT count(*) FROM {TABLE}")[0][0] == 64


def test_large_jobs_of_many_tables_at_once_stay_within_a_worker_s_memory(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    tables = [f"shop.sales.large{i}" for i in range(12)]
    make_tables(warehouse, *tables, columns="id BIGINT, note STRING, updated_at TIMESTAMP, _job_id STRING")
    total = sum(large_jobs(queue, 6, table) for table in tables)
    with redis.Redis.from_url(redis_url) as client:
        before = sent(client)
        worker = start_worker()
        lists = [keys.jobs(keys.lane_of("write", table)) for table in tables]
        until(lambda: not client.exists(*lists), "all are done", 120)
        ratio = (sent(client) - before) / total
    assert ratio < 3
    assert peak_mb(worker) < 512


def test_large_messages_that_are_no_jobs_are_taken_away_a_few_at_a_time(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """They fill no statement, however many there are: what is held of them at once is bounded by itself."""
    lane, partition = keys.lane_of("write", TABLE), keys.partition_of(TABLE)
    count = 60
    with redis.Redis.from_url(redis_url) as client:
        for i in range(count):
            client.rpush(keys.jobs(lane), b"%06d" % i + b"x" * LARGE)
        client.zadd(keys.first_turns("w", partition), {lane: 1})
        last = queue.enqueue(job(0))
        before = sent(client)
        worker = start_worker()
        assert last.result(timeout=60).count == 1
        assert client.zcard(keys.DEAD_INDEX) == count
        assert (sent(client) - before) / (count * LARGE) < 2
    assert peak_mb(worker) < 400


def test_a_new_table_begins_behind_thousands_that_wait(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """They wait for statements that take their time; a table that comes last is served among the first."""
    count = 3000
    jobs = ({**job(i), "table": f"shop.sales.t{i}", "auto_create": False} for i in range(count))
    for each in jobs:
        each.pop("schema_definition")
        queue.enqueue(each)
    make_tables(warehouse, "shop.sales.new")
    worker = start_worker()
    with redis.Redis.from_url(redis_url) as client:
        until(lambda: client.zcard(keys.DEAD_INDEX) > 0, "the first are through")
        new = queue.write("shop.sales.new", [{"id": 1}])
        assert new.result(timeout=60).count == 1
        assert count - client.zcard(keys.DEAD_INDEX) > count / 3, "most of the others wait yet"
    assert "lost its owner's lease" not in worker.text()


def test_tables_that_wait_for_long_hold_up_no_other_however_many(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """A thousand paused tables stand at the head of the queue for as long as they are paused."""
    paused = [f"shop.sales.p{i}" for i in range(1000)]
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.PAUSED, mapping=dict.fromkeys(paused, "2030-01-01T00:00:00Z"))
        handles = [queue.enqueue(job(i, table)) for i, table in enumerate(paused)]
        start_worker()
        assert queue.enqueue(job(0)).result(timeout=30).count == 1
        until(lambda: waiting(client, "next") == 1000, "each was looked at, and waits", 60)
        assert waiting(client, "first") == 0
        queue.operations.resume(paused[500])
        assert handles[500].result(timeout=30).count == 1
        assert waiting(client, "next") == 999


def waiting(client: redis.Redis, sort: str) -> int:
    key = {"first": keys.first_turns, "next": keys.next_turns}[sort]
    return sum(int(client.zcard(key("w", keys.Partition(p)))) for p in range(keys.PARTITIONS))
