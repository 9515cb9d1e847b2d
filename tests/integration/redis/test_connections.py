"""Connections to Redis are cut, half open, or swallow a reply."""

from __future__ import annotations

import time

import pytest
import redis
from lakequeue import Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import Proxy
from tests.fix_worker import StartWorker
from tests.integration.redis.callers import (
    all_done,
    held_insert,
    job_id,
)
from tests.support import job, script_sha, until


def test_a_connection_cut_during_a_batch_is_made_anew(
    proxy: Proxy, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    sent = warehouse.counts()["INSERT"]
    proxy.cut()
    warehouse.release()
    assert first.result(timeout=30).receipt.notes == ()
    assert warehouse.counts()["INSERT"] == sent + 1
    all_done(queue, warehouse, 2)


@pytest.mark.parametrize("name", ["freeze", "settle", "lease", "look"])
def test_a_script_that_ran_and_whose_reply_is_lost_changes_nothing_twice(
    proxy: Proxy, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, name: str
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    lost = proxy.drop_reply(script_sha(name))
    handles = [queue.enqueue(job(i)) for i in range(1, 10)]
    assert [handle.result(timeout=30).count for handle in handles] == [1] * 9
    assert lost.held.wait(10)
    all_done(queue, warehouse, 10)


def test_an_enqueue_whose_reply_is_lost_enqueues_once(
    proxy: Proxy, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    lost = proxy.drop_reply(job_id(1).encode())
    assert queue.enqueue(job(1)).result(timeout=30).count == 1
    assert lost.held.is_set()
    all_done(queue, warehouse, 2)


def test_half_open_connections_hold_nobody_up_for_long(
    admin: redis.Redis, proxy: Proxy, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    """Nothing comes through the open connections any more and neither end is told, as behind a NAT that forgot them."""
    start_worker(LAKEQUEUE_LEASE_TTL_S="10")
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    proxy.strand()
    began = time.monotonic()
    warehouse.release()
    assert queue.enqueue(job(2)).result(timeout=30).count == 1
    assert first.result(timeout=30).count == 1
    took_s = time.monotonic() - began
    assert took_s < 12
    print(f"a job enqueued over a half-open connection was done {took_s:.1f} s later")
    until(lambda: admin.pubsub_numsub(keys.WAKE_CHANNEL)[0][1] == 2, "wakes are listened for by a connection made anew")
    all_done(queue, warehouse, 3)
