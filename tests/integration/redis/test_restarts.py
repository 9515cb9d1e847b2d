"""Redis is restarted, changes places or forgets: workers and clients recover by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from lakequeue import JobTimeout, Queue, QueueUnreachable, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import Proxy
from tests.fix_worker import StartWorker
from tests.integration.redis.callers import (
    HOLD,
    Producer,
    all_done,
    answers,
    held_insert,
    job_id,
    send_failing_chain,
    send_with_callback,
    waiting,
)
from tests.integration.redis.mishaps import Memory
from tests.support import QUICK, ids, job, make_tables, until
from worker.embedded import EmbeddedRedis


@pytest.mark.parametrize("server", ["everysec", "always"], indirect=True)
@pytest.mark.parametrize("crash", [False, True], ids=["SIGTERM", "kill -9"])
def test_a_restart_of_redis_loses_and_doubles_nothing(
    server: EmbeddedRedis,
    admin: redis.Redis,
    redis_url: str,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
    crash: bool,
) -> None:
    """The statement commits while Redis is down, a producer goes on enqueueing, others wait for the outcome."""
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    with waiting(redis_url, first.id) as said, Producer(redis_url, 2).running() as producer:
        until(lambda: producer.next > 50, "jobs come in")
        if crash and admin.config_get("appendfsync")["appendfsync"] == "everysec":
            # While an fsync runs, `everysec` puts off even the write of what was confirmed, by up to two seconds.
            with producer.quiet:
                until(lambda: admin.info("persistence")["aof_buffer_length"] == 0, "all is written")
                server.kill()
        elif crash:
            server.kill()
        else:
            server.stop()
        warehouse.release()
        until(lambda: ids(warehouse) == [0, 1], "it is committed")
        assert producer.unreachable.wait(30)
        server.start()
        came = producer.next
        until(lambda: producer.next > came + 50, "jobs come in again")
    assert said == [1, (0, "SUCCESS")]
    all_done(queue, warehouse, producer.next)


def test_a_short_restart_is_nothing_to_an_application(
    server: EmbeddedRedis, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker()
    with Producer(redis_url, 0).running() as producer:
        for _ in range(3):
            came = producer.next
            until(lambda came=came: producer.next > came + 20, "jobs come in")  # type: ignore[misc]
            server.stop()
            server.start()
    assert not producer.unreachable.is_set()
    all_done(queue, warehouse, producer.next)


def test_a_waiting_client_is_told_when_its_time_is_over_while_redis_is_away(
    server: EmbeddedRedis, queue: Queue, redis_url: str
) -> None:
    handle = queue.enqueue(job(0))
    with pytest.raises(JobTimeout):
        handle.result(timeout=0.1)
    server.stop()
    began = time.monotonic()
    with pytest.raises(QueueUnreachable, match="did not answer"):
        handle.result(timeout=1)
    assert time.monotonic() - began < 10
    with pytest.raises(QueueUnreachable) as raised:
        queue.enqueue(job(1))
    assert raised.value.details == {"ids": [job_id(1)]}


@pytest.fixture
def replica(server: EmbeddedRedis, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    started = EmbeddedRedis(tmp_path / "replica", options=("--replicaof", f"127.0.0.1 {server.port}"))
    started.start()
    with redis.Redis(port=started.port) as client:
        until(lambda: client.info("replication")["master_link_status"] == "up", "it follows")
    yield started
    started.stop()


def has_followed(replica: EmbeddedRedis, primary: redis.Redis) -> None:
    """Until the replica has what the primary has now. (WAIT is about what its own connection wrote.)"""
    written = primary.info("replication")["master_repl_offset"]
    with redis.Redis(port=replica.port) as client:
        until(lambda: client.info("replication")["slave_repl_offset"] >= written, "it has followed")


def promote(replica: EmbeddedRedis) -> None:
    with redis.Redis(port=replica.port) as client:
        client.execute_command("REPLICAOF", "NO", "ONE")


def test_a_failover_to_a_replica_loses_and_doubles_nothing_that_it_had(
    server: EmbeddedRedis,
    replica: EmbeddedRedis,
    admin: redis.Redis,
    proxy: Proxy,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    with waiting(proxy.redis_url, first.id) as said:
        handles = [queue.enqueue(job(i)) for i in range(2, 50)]
        has_followed(replica, admin)
        server.kill()
        promote(replica)
        proxy.switch(replica.port)
        warehouse.release()
        handles.append(queue.enqueue(job(50)))
        assert [handle.result(timeout=60).count for handle in handles] == [1] * 49
    assert said == [1, (0, "SUCCESS")]
    all_done(queue, warehouse, 51)


def test_a_primary_that_is_demoted_under_open_connections_is_left(
    server: EmbeddedRedis,
    replica: EmbeddedRedis,
    admin: redis.Redis,
    proxy: Proxy,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
) -> None:
    """Nothing is cut: the old primary answers READONLY until each connection is made anew. Callbacks, which go out by
    Celery's own connections, and remote control are no exception."""
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    send_with_callback(proxy.redis_url, 1, callback=2)
    until(lambda: admin.exists(keys.record(job_id(2))) == 1, "the callback was sent")
    assert queue.job(job_id(2)).result(timeout=30).count == 1
    send_failing_chain(proxy.redis_url, "before")
    until(lambda: admin.exists(keys.record("before")) == 1, "the chain's end is told of its failure")
    running = held_insert(queue, warehouse, 3)
    has_followed(replica, admin)
    promote(replica)
    admin.execute_command("REPLICAOF", "127.0.0.1", str(replica.port))  # type: ignore[no-untyped-call]
    proxy.switch(replica.port)
    warehouse.release()
    assert queue.enqueue(job(4)).result(timeout=30).count == 1
    assert running.result(timeout=30).count == 1
    send_with_callback(proxy.redis_url, 5, callback=6)
    send_failing_chain(proxy.redis_url, "after")
    with redis.Redis(port=replica.port) as client:
        until(lambda: client.exists(keys.record(job_id(6))) == 1, "the callback was sent")
        until(lambda: client.exists(keys.record("after")) == 1, "the chain's end is told of its failure")
    until(lambda: answers(proxy.redis_url), "remote control answers")
    all_done(queue, warehouse, 7)


def test_jobs_whose_settling_redis_forgot_are_not_doubled(
    server: EmbeddedRedis,
    admin: redis.Redis,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
    tmp_path: Path,
) -> None:
    """Redis comes back with what it had before a batch was settled and the jobs behind it were even frozen."""
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    first = held_insert(queue, warehouse, 1)
    handles = [first, *(queue.enqueue(job(i)) for i in range(2, 10))]
    before = Memory(server, admin, tmp_path)
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in handles] == [1] * 9
    before.put_back()
    assert queue.enqueue(job(10)).result(timeout=60).count == 1
    all_done(queue, warehouse, 11)


def test_an_answer_outlives_an_outage_that_begins_before_it_is_stored(
    server: EmbeddedRedis, admin: redis.Redis, queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    """The table keeps no stamp: what the warehouse answered could not be found out any more."""
    make_tables(warehouse, "shop.sales.plain", columns="id BIGINT")
    start_worker(LAKEQUEUE_LEASE_TTL_S="30")
    warehouse.fault(HOLD)
    handle = queue.write("shop.sales.plain", [{"id": 1}])
    until(lambda: warehouse.held() == 1, "its statement is under way")
    until(lambda: admin.info("persistence")["aof_buffer_length"] == 0, "all is written")
    server.kill()
    before = warehouse.counts()["INSERT"]
    warehouse.release()
    until(lambda: warehouse.counts()["INSERT"] == before + 1, "it was committed while Redis was away")
    time.sleep(3)  # the length of the outage
    server.start()
    assert handle.result(timeout=30).count == 1
    assert ids(warehouse, "shop.sales.plain") == [1]
