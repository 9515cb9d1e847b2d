"""Redis is full, or its disk is."""

from __future__ import annotations

import pytest
import redis
from lakequeue import Queue, QueueFull, QueueUnreachable

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import Proxy
from tests.fix_worker import StartWorker
from tests.integration.redis.callers import (
    all_done,
    answers,
    held_insert,
)
from tests.integration.redis.mishaps import full_disk
from tests.support import job, until
from worker.embedded import EmbeddedRedis


def test_a_full_redis_refuses_producers_and_lets_workers_drain(
    admin: redis.Redis, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    held_insert(queue, warehouse, 1)
    handles = [queue.enqueue(job(i)) for i in range(2, 10)]
    admin.config_set("maxmemory", 1)
    with pytest.raises(QueueFull, match="maxmemory"):
        queue.enqueue(job(10))
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in handles] == [1] * 8
    admin.config_set("maxmemory", 0)
    queue.enqueue(job(10))
    all_done(queue, warehouse, 11)


def test_a_worker_starts_while_redis_is_full_and_drains_it(
    admin: redis.Redis, proxy: Proxy, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    handles = [queue.enqueue(job(i)) for i in range(10)]
    admin.config_set("maxmemory", 1)
    worker = start_worker()
    assert [handle.result(timeout=30).count for handle in handles] == [1] * 10
    proxy.cut()  # its connections are made anew while Redis is full
    until(lambda: admin.pubsub_numpat() >= 1, "remote control listens again")
    assert not admin.keys("*kombu*") + admin.keys("unacked*")
    admin.config_set("maxmemory", 0)
    until(lambda: answers(proxy.redis_url), "remote control answers")
    assert queue.enqueue(job(10)).result(timeout=30).count == 1
    assert worker.stop() == 0
    all_done(queue, warehouse, 11)


def test_a_disk_that_is_full_stops_writes_until_there_is_room(
    server: EmbeddedRedis,
    admin: redis.Redis,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
) -> None:
    """Also for a worker that is started meanwhile."""
    worker = start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    with full_disk(server):
        until(lambda: admin.info("persistence")["aof_last_write_status"] == "err", "writes fail")
        warehouse.release()
        with pytest.raises(QueueUnreachable, match="is its disk full"):
            queue.enqueue(job(2))
        assert first.status().state == "STARTED"
        late = start_worker(ready=False)
        until(lambda: "MISCONF" in late.text(), "it cannot connect")
        # Long enough for the checks of all connections, which such a server refuses, too.
        until(lambda: admin.info("commandstats")["cmdstat_ping"]["rejected_calls"] > 20, "PINGs are refused")
    late.wait_ready()
    assert queue.enqueue(job(2)).result(timeout=30).count == 1
    assert first.result(timeout=30).count == 1
    assert [worker.stop(), late.stop()] == [0, 0]
    all_done(queue, warehouse, 3)


@pytest.mark.parametrize("server", ["always"], indirect=True)
def test_a_disk_that_is_full_ends_a_redis_that_must_sync_always(
    server: EmbeddedRedis, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    with full_disk(server):
        until(lambda: not server.running, "the server ends itself")
    warehouse.release()
    server.kill()
    server.start()
    assert queue.enqueue(job(2)).result(timeout=30).count == 1
    assert first.result(timeout=30).count == 1
    all_done(queue, warehouse, 3)
