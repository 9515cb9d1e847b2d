"""Redis goes away, changes places, fills up or forgets: workers and clients recover by themselves."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chain
from lakequeue import Handle, JobTimeout, Queue, QueueFull, QueueUnreachable, keys

from tests.fix_celery_app import celery_app, close
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import Proxy, StartProxy
from tests.fix_worker import StartWorker
from tests.integration.worker.test_delivery import QUICK, TABLE, ids, job, until
from worker.embedded import EmbeddedRedis

HOLD = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "hold"}


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """A server of the test's own; a parameter is its `appendfsync`."""
    started = EmbeddedRedis(tmp_path / "redis", options=("--appendfsync", getattr(request, "param", "everysec")))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def proxy(server: EmbeddedRedis, start_proxy: StartProxy) -> Proxy:
    return start_proxy(server.port)


@pytest.fixture
def redis_url(proxy: Proxy) -> str:
    """Workers and clients of these tests reach Redis through the proxy."""
    return proxy.redis_url


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client that goes to the server itself."""
    with redis.Redis(port=server.port) as client:
        yield client


def job_id(i: int) -> str:
    return str(job(i)["id"])


def script_sha(name: str) -> bytes:
    """What EVALSHA sends for a worker's script."""
    return sha1(files("worker").joinpath(f"lua/{name}.lua").read_bytes()).hexdigest().encode()


def held_insert(queue: Queue, warehouse: LocalWarehouse, first: int) -> Handle:
    """Enqueue a job whose statement the warehouse keeps waiting."""
    warehouse.fault(HOLD)
    handle = queue.enqueue(job(first))
    until(lambda: warehouse.held() == 1, "the statement is under way")
    return handle


def send(queue: Queue, i: int, unreachable: threading.Event) -> Handle:
    """Enqueue until it is certain: the same id again is the same job."""
    while True:
        try:
            return queue.enqueue(job(i))
        except QueueUnreachable:
            unreachable.set()


@contextmanager
def another_app(url: str) -> Iterator[Celery]:
    app = celery_app(url)
    try:
        yield app
    finally:
        close(app)


def send_with_callback(url: str, i: int, *, callback: int) -> None:
    """A write through Celery's own door, and another that is to follow it."""
    with another_app(url) as app:
        fields = {"table": TABLE, "data": [{"id": callback}]}
        link = app.signature("records.write", kwargs=fields, immutable=True, task_id=job_id(callback), queue="records")
        fields = {"table": TABLE, "data": [{"id": i}]}
        app.send_task("records.write", kwargs=fields, task_id=job_id(i), queue="records", link=link)


def send_failing_chain(url: str, last: str) -> None:
    """A job that cannot run and one after it, which fails with it: the worker says so by Celery's result backend."""
    with another_app(url) as app:
        bad = app.signature("records.write", kwargs={"table": TABLE, "data": [{"nope": 1}]})
        after = app.signature("records.read", kwargs={"table": TABLE}, immutable=True, task_id=last)
        chain(bad, after, app=app).apply_async(ignore_result=True)


def answers(url: str) -> bool:
    """Whether a worker answers remote control."""
    with another_app(url) as app:
        return bool(app.control.ping(timeout=2))


@contextmanager
def full_disk(server: EmbeddedRedis) -> Iterator[None]:
    """No file of the server's may grow any more, its log of commands included."""
    limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)


class Producer:
    """A thread that enqueues one job after the other; `quiet` keeps it from doing so."""

    def __init__(self, url: str, first: int) -> None:
        self.quiet = threading.Lock()
        self.unreachable = threading.Event()
        """Set by the first QueueUnreachable."""
        self.next = first
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Queue(self._url) as queue:
            while not self._stop.is_set():
                with self.quiet:
                    send(queue, self.next, self.unreachable)
                self.next += 1

    @contextmanager
    def running(self) -> Iterator[Producer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()


@contextmanager
def waiting(url: str, job_id: str) -> Iterator[list[Any]]:
    """A thread in `result()` and a process in `lakequeue wait`; what they said is in the list at the end."""
    said: list[Any] = []

    def wait() -> None:
        with Queue(url) as queue:
            said.append(queue.job(job_id).result(timeout=60).count)

    thread = threading.Thread(target=wait)
    thread.start()
    command = [sys.executable, "-m", "lakequeue", "--redis", url, "wait", job_id, "--timeout", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with redis.Redis.from_url(url) as client:
            channel = keys.record(job_id)
            until(lambda: dict(client.pubsub_numsub(channel))[channel.encode()] >= 2, "both wait")
        yield said
        out, _ = process.communicate(timeout=60)
        said.append((process.returncode, json.loads(out)["state"]))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        thread.join()


def all_done(queue: Queue, warehouse: LocalWarehouse, count: int) -> None:
    """Every job from 0 on has its one outcome, and its one row."""
    assert [queue.job(job_id(i)).result(timeout=60).count for i in range(count)] == [1] * count
    assert ids(warehouse) == list(range(count))


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
        assert admin.wait(1, 5000) == 1
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
    assert admin.wait(1, 5000) == 1
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
    until(lambda: admin.info("persistence")["aof_buffer_length"] == 0, "all is written")
    kept, log = tmp_path / "kept", tmp_path / "redis" / "appendonlydir"
    shutil.copytree(log, kept)
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in handles] == [1] * 9
    server.kill()
    shutil.rmtree(log)
    shutil.copytree(kept, log)
    server.start()
    assert queue.enqueue(job(10)).result(timeout=60).count == 1
    all_done(queue, warehouse, 11)
