"""A job with which workers die: it is found by halving and by running it alone, and it takes no other job with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import redis
from lakequeue import Handle, JobFailed, Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.support import QUICK, TABLE, ids, job, until
from worker.freezing import Freezing
from worker.store import Place, Store, Token

LANE = keys.lane_of("write", TABLE)
PARTITION = keys.partition_of(TABLE)


class Workers:
    """Workers as Redis sees them: each takes the lane in hand under a lease of its own, and may die with it."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.number = 0

    def next(self, *, beside: tuple[str, ...] = ()) -> tuple[Store, Place]:
        """A new worker owns the partition; its predecessor is gone without a word."""
        self.number += 1
        store = Store(self.client, Token(f"w{self.number}"))
        self.client.delete(keys.lease(PARTITION), keys.WORKERS)
        lease = store.lease(ttl_s=60, only_mine=False).owned[PARTITION]
        if beside:
            self.client.sadd(keys.hand(f"w{self.number}"), *beside)
        return store, Place(PARTITION, LANE, lease)


@pytest.fixture
def workers(redis_url: str) -> Iterator[Workers]:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush(keys.jobs(LANE), *(f"message {i}" for i in range(64)))
        yield Workers(client)


def test_each_death_halves_what_is_taken_and_one_job_alone_is_counted(workers: Workers) -> None:
    seen = []
    for _ in range(10):
        store, place = workers.next()
        head = store.take(place, most=1000, most_bytes=100_000)
        seen.append((head.limit, head.alone, head.suspect))
    assert seen == [(1000, 0, 0), *((n, 0, 0) for n in (32, 16, 8, 4, 2, 1)), (1, 1, 1), (1, 2, 2), (1, 3, 3)]


def die_with_a_frozen_job(workers: Workers, identity: str) -> list[tuple[int, int, int]]:
    """What four workers in turn find that die with the lane's one job frozen."""
    workers.client.ltrim(keys.jobs(LANE), 0, 0)
    fence: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}
    seen = []
    for i in range(4):
        store, place = workers.next()
        head = store.take(place, most=1000, most_bytes=100_000)
        seen.append((head.alone, head.unanswered, head.suspect))
        new = Freezing(
            batch=f"b{i}",
            span=1,
            started=[("j1", '{"status":"STARTED"}')],
            attempt=1,
            identity=identity,
            replaces=head.frozen.batch if head.frozen else "",
        )
        store.freeze(place, new, **fence)
    return seen


def test_a_death_while_the_warehouse_has_the_statement_is_counted_by_itself(workers: Workers) -> None:
    assert die_with_a_frozen_job(workers, "a table") == [(0, 0, 0), (0, 1, 1), (0, 2, 1), (0, 3, 1)]


def test_a_batch_that_waited_for_its_table_was_not_sent(workers: Workers) -> None:
    assert die_with_a_frozen_job(workers, "") == [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)]


def test_who_died_with_other_lanes_in_hand_makes_a_suspect_and_convicts_nobody(workers: Workers) -> None:
    workers.client.ltrim(keys.jobs(LANE), 0, 0)
    seen = []
    for _ in range(6):
        store, place = workers.next(beside=("w:shop.sales.other",))
        head = store.take(place, most=1000, most_bytes=100_000)
        seen.append((head.alone, head.suspect))
    assert seen == [(0, 0), (0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]


def test_a_death_at_a_read_counts_once_however_often_the_lane_is_looked_at(workers: Workers) -> None:
    lane = keys.lane_of("read", TABLE)
    workers.client.rpush(keys.jobs(lane), "message")
    fence: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}
    seen = []
    for i in range(3):
        store, place = workers.next()
        place = replace(place, lane=lane)
        seen += [store.take(place, most=16, most_bytes=100_000).alone for _ in range(3)]
        held = store.look(place, most_bytes=1).frozen
        started = [("r1", '{"status":"STARTED"}')]
        new = Freezing(batch=f"b{i}", span=1, started=started, attempt=1, replaces=held.batch if held else "")
        store.freeze(place, new, **fence)
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_lane_that_was_let_go_or_settled_counts_no_death(workers: Workers) -> None:
    for _ in range(3):
        store, place = workers.next()
        assert store.take(place, most=1000, most_bytes=100_000).limit == 1000
        store.let_go(place)
    store, place = workers.next()
    store.take(place, most=1000, most_bytes=100_000)
    fence: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}
    store.freeze(place, Freezing(batch="b1", span=1, started=[("j1", '{"status":"STARTED"}')], attempt=1), **fence)
    store.settle(place, "b1", remove=1, settled=[], dead=[], expires_s=60)
    store, place = workers.next()
    assert store.take(place, most=1000, most_bytes=100_000).limit == 1000


def test_what_is_taken_grows_again_as_it_goes_well(workers: Workers) -> None:
    for _ in range(5):
        store, place = workers.next()
        limit = store.take(place, most=1000, most_bytes=100_000).limit
    assert limit == 4
    fence: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}
    limits = []
    for i in range(3):
        store.freeze(place, Freezing(batch=f"b{i}", span=1, started=[], attempt=1), **fence)
        store.settle(place, f"b{i}", remove=1, settled=[], dead=[], expires_s=60)
        limits.append(store.take(place, most=1000, most_bytes=100_000).limit)
    assert limits == [8, 16, 32]


def test_a_worker_that_lives_and_lost_its_lease_died_at_nothing(workers: Workers) -> None:
    store, place = workers.next()
    store.take(place, most=1000, most_bytes=100_000)
    other, its_place = workers.next()
    workers.client.zadd(keys.WORKERS, {store.token: time.time() + 60})
    assert other.take(its_place, most=1000, most_bytes=100_000).limit == 1000


def _held_or_known(warehouse: LocalWarehouse, before: int, handle: Handle) -> bool:
    return warehouse.held() > before or handle.status().final


def test_a_job_that_kills_its_worker_every_time_becomes_a_dead_letter_and_the_others_commit(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK).stop()
    handles = [queue.enqueue(job(i)) for i in range(3)]
    killer = queue.enqueue(job(7, "shop.sales.killer"))
    planned = "DESCRIBE TABLE EXTENDED `shop`.`sales`.`killer`"
    warehouse.fault({"on": "ExecuteStatement", "match": planned, "action": "hold"})
    deaths = 0
    while not killer.status().final:
        assert deaths < 8, "a killer is known by then"
        worker = start_worker(**QUICK)
        until(partial(_held_or_known, warehouse, deaths, killer), "it is being planned, or it is known")
        if not killer.status().final:
            until(lambda: all(handle.status().final for handle in handles), "it has nothing else in hand")
            worker.kill()  # before anything of it is sent
            deaths += 1
    assert deaths == 3
    with pytest.raises(JobFailed, match="3 workers died with this job") as failed:
        killer.result(timeout=5)
    assert failed.value.details["error"] == "KILLED_WORKER"
    assert [handle.result(timeout=30).count for handle in handles] == [1, 1, 1]
    assert ids(warehouse) == [0, 1, 2]
    letter = queue.dead_letters.get(killer.id)
    assert letter.committed == "not_committed"


def test_a_job_whose_workers_are_killed_while_the_warehouse_has_its_statement_is_not_taken_for_their_killer(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK).stop()
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT INTO `shop`", "action": "hold"})
    handle = queue.enqueue(job(1))
    for deaths in range(4):
        worker = start_worker(**QUICK)
        until(partial(_held_or_known, warehouse, deaths, handle), "its statement is under way, and nothing else")
        worker.kill()
    warehouse.clear_faults()  # those that were held are past their time
    start_worker(**QUICK)
    assert handle.result(timeout=30).count == 1
    assert ids(warehouse) == [1]


def test_a_suspect_holds_up_no_other_table_for_long(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker()
    tables = [f"shop.sales.t{i}" for i in range(3)]
    for table in tables:
        queue.enqueue(job(0, table)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT INTO `shop`.`sales`.`t0`", "action": "hold"})
    slow = queue.enqueue(job(1, tables[0]))
    until(lambda: warehouse.held() == 1, "a slow statement is under way")
    lane = keys.lane_of("write", tables[1])
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.load(lane), mapping={"by": "dead", "size": 1})  # as a killed worker leaves it
        client.sadd(keys.hand("dead"), lane)
    suspect = queue.enqueue(job(1, tables[1]))
    assert queue.enqueue(job(1, tables[2])).result(timeout=10).count == 1
    assert suspect.result(timeout=10).count == 1
    warehouse.release()
    assert slow.result(timeout=30).count == 1


def test_a_suspect_runs_with_nothing_beside_it(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker()
    tables = [f"shop.sales.t{i}" for i in range(2)]
    for table in tables:
        queue.enqueue(job(0, table)).result(timeout=30)
    lane = keys.lane_of("write", tables[0])
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.load(lane), mapping={"by": "dead", "size": 1, "alone": 1})  # as two killed ones leave it
        client.sadd(keys.hand("dead"), lane)
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT INTO `shop`.`sales`.`t0`", "action": "hold"})
    suspect = queue.enqueue(job(1, tables[0]))
    until(lambda: warehouse.held() == 1, "the suspect's statement is under way")
    other = queue.enqueue(job(1, tables[1])).result(timeout=10)
    warehouse.release()
    waited = other.receipt.started_at - suspect.result(timeout=30).receipt.started_at
    assert waited.total_seconds() > 0.7, "for two seconds nothing else begins"
