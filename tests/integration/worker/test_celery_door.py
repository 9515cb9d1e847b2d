"""Celery's own door: another application that has Celery and no code of ours sends jobs and gets their results."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain
from lakequeue import JobFailed, Queue, keys

from tests.fix_celery_app import celery_app, close, fields, held_write, hold, in_lane, write
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker
from tests.support import ids, until


def test_a_write_and_a_read_by_send_task(system: System, app: Celery, table: str) -> None:
    assert write(app, table, 1, 2).get(timeout=30)["count"] == 2
    page = app.send_task("records.read", kwargs={"table": table, "columns": "id", "order_by": "id"}).get(timeout=30)
    assert page["data"] == [{"id": 1}, {"id": 2}]
    assert page["total"] == 2


def test_both_doors_share_ids_and_payloads(system: System, app: Celery, client: redis.Redis, table: str) -> None:
    job_id = f"order-{uuid4().hex}"
    by_celery = write(app, table, 1, task_id=job_id)
    assert by_celery.get(timeout=30)["count"] == 1
    assert system.queue.enqueue({"kind": "write", "id": job_id, **fields(table, 1)}).known
    write(app, table, 1, task_id=job_id)
    other = write(app, table, 2, task_id=job_id)
    assert write(app, table, 3).get(timeout=30)["count"] == 1
    assert other.get(timeout=30)["count"] == 1  # still the first job's
    assert ids(system.warehouse, table) == [1, 3]
    letters = [json.loads(each) for each in client.hvals(keys.DEAD)]
    assert len([each for each in letters if f"job {job_id} is known already" in each["reason"]]) == 1


def test_an_async_result_follows_a_job_through_its_states(system: System, app: Celery, table: str) -> None:
    running = hold(system, app, table)
    waiting = write(app, table, 2)
    until(lambda: waiting.state == "QUEUED", "the second waits")
    assert running.state == "STARTED"
    assert not waiting.ready()
    system.warehouse.release()
    assert waiting.get(timeout=30)["count"] == 1
    assert running.state == waiting.state == "SUCCESS"
    waiting.forget()
    assert waiting.state == "PENDING"
    failing = app.send_task("records.write", kwargs={"table": table, "data": [{"nope": 1}]})
    with pytest.raises(JobFailed) as caught:
        failing.get(timeout=30)
    assert caught.value.details["errors"][0]["loc"] == ["data", 0, "nope"]
    assert failing.state == "FAILURE"


def test_an_async_result_reads_a_job_that_waits_for_its_next_try(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, **error})
    before = system.warehouse.injected()["error"]
    handle = write(app, table, 1)
    until(lambda: handle.state == "RETRY", "it waits")
    system.warehouse.clear_faults()
    tries = system.warehouse.injected()["error"] - before
    assert handle.get(timeout=30)["receipt"]["attempts"] == tries + 1


def test_rows_may_be_a_positional_argument_of_a_write_alone(system: System, app: Celery, table: str) -> None:
    given = {name: value for name, value in fields(table).items() if name != "data"}
    assert app.send_task("records.write", args=[[{"id": 1}]], kwargs=given).get(timeout=30)["count"] == 1
    assert app.send_task("records.write", args=[{"id": 2}], kwargs=given).get(timeout=30)["count"] == 1
    with pytest.raises(JobFailed, match="no list of rows"):
        app.send_task("records.write", args=["rows"], kwargs=given).get(timeout=30)
    with pytest.raises(JobFailed, match=r"\.si\("):
        app.send_task("records.read", args=[[{"id": 1}]], kwargs={"table": table}).get(timeout=30)
    wrote, again = app.signature("records.write", kwargs=fields(table, 3)), app.signature("records.write", kwargs=given)
    with pytest.raises(JobFailed, match="no list of rows"):
        chain(wrote, again, app=app).apply_async().get(timeout=30)


def test_messages_that_are_no_jobs_become_dead_letters_and_block_nothing(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    before = set(client.hkeys(keys.DEAD))
    garbage = [b"\xff\xfe\x00garbage", b"{}", b"[]", b"null", b"", b'{"headers":{"id":1,"task":2},"body":"W10="}']
    garbage.append(b"[" * 100_000)
    for each in garbage:
        client.lpush("records", each)
    unknown = app.send_task("records.nothing", kwargs={})
    wrong = app.send_task("records.write", kwargs={"table": table, "data": [{"id": 1}], "nope": 1})
    nowhere = app.send_task("records.read", kwargs={})
    surrogate = app.send_task("records.read", kwargs={"table": "a.b.\ud800"})
    odd_id = app.send_task("records.read", kwargs={"table": table}, task_id="not an id")
    pickled = app.send_task("records.read", kwargs={"table": table}, serializer="pickle")
    no_time = app.send_task("records.read", kwargs={"table": table}, eta="tomorrow")
    assert write(app, table, 1).get(timeout=30)["count"] == 1
    for sent, reason in ((unknown, "unknown task"), (wrong, "nope"), (nowhere, "table"), (no_time, "ISO 8601")):
        with pytest.raises(JobFailed, match=reason):
            sent.get(timeout=30)
    letters = {bytes(each).decode() for each in {*client.hkeys(keys.DEAD)} - before}  # type: ignore[arg-type]
    assert {unknown.id, wrong.id, nowhere.id, surrogate.id, no_time.id} <= letters
    assert len([each for each in letters if each.startswith("unreadable-")]) == len(garbage)
    for sent in (pickled, odd_id):
        with pytest.raises(JobFailed, match=r"JSON|a job id is"):
            sent.get(timeout=30)
    assert odd_id.id not in letters
    assert client.llen("records") == 0
    assert ids(system.warehouse, table) == [1]


def test_a_message_of_higher_priority_goes_first(redis_url: str, start_worker: StartWorker) -> None:
    app = celery_app(redis_url)
    sent = [write(app, "shop.sales.t", i, priority=priority) for i, priority in enumerate((9, 3, 0, 6))]
    start_worker()
    enqueued = [each.get(timeout=30)["receipt"]["enqueued_at"] for each in sent]
    assert sorted(range(4), key=enqueued.__getitem__) == [2, 1, 3, 0]
    close(app)


def test_two_thousand_messages_are_admitted_in_order(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    running = hold(system, app, table)
    sent = [write(app, table, i, ignore_result=True) for i in range(2, 2002)]
    until(lambda: client.llen("records") == 0, "all are admitted")
    assert in_lane(client, table) == [each.id for each in (running, *sent)]
    system.warehouse.release()
    assert app.AsyncResult(sent[-1].id).get(timeout=60)["count"] == 1
    assert ids(system.warehouse, table) == list(range(2002))


def test_two_workers_that_drain_at_once_take_each_job_once(
    redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    app = celery_app(redis_url)
    workers = [start_worker(), start_worker()]
    tables = [f"shop.sales.t{i}" for i in range(4)]
    sent = [write(app, tables[i % 4], i) for i in range(1000)]
    assert [each.get(timeout=60)["count"] for each in sent[-8:]] == [1] * 8
    for n, each in enumerate(tables):
        assert ids(warehouse, each) == list(range(n, 1000, 4))
    assert [worker.stop() for worker in workers] == [0, 0]
    close(app)


def test_a_worker_killed_at_the_door_loses_and_doubles_nothing(
    queue: Queue, redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    app = celery_app(redis_url)
    quick = {
        "LAKEQUEUE_START_WITHIN_S": "1",
        "LAKEQUEUE_STATEMENT_TIMEOUT_S": "1",
        "LAKEQUEUE_PROOF_MARGIN_S": "0.2",
    }
    worker = start_worker(**quick)
    sent = []
    with redis.Redis.from_url(redis_url) as client:
        for round_ in range(4):
            sent += [write(app, "shop.sales.t", round_ * 500 + i) for i in range(500)]
            key = keys.record(sent[-400].id)
            until(lambda key=key: client.exists(key) == 1, "the door is at it")  # type: ignore[misc]
            worker.kill()
            worker = start_worker(**quick)
    for each in sent[::100]:
        assert each.get(timeout=60)["count"] == 1
    assert sent[-1].get(timeout=60)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == list(range(2000))
    close(app)


def test_under_a_full_redis_messages_wait_at_the_door(
    redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    app = celery_app(redis_url)
    worker = start_worker()
    until(lambda: "w0@test ready." in worker.text(), "Celery has started: it cannot when Redis is full")
    with redis.Redis.from_url(redis_url) as client:
        sent = write(app, "shop.sales.t", 1, queue="elsewhere")
        client.lpush("elsewhere", b"garbage")
        client.config_set("maxmemory", "1")
        try:
            client.rename("elsewhere", "records")  # what needs no memory is allowed
            until(lambda: "redis is at its maxmemory" in worker.text(), "the worker says so")
            assert client.llen("records") == 2
            assert not client.exists(keys.record(sent.id))
        finally:
            client.config_set("maxmemory", "0")
    assert sent.get(timeout=30)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == [1]
    close(app)


def test_inspect_shows_queue_tasks_running_batches_and_delayed_jobs(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    inspect = app.control.inspect(timeout=30, limit=1)
    assert [each["name"] for each in answer(inspect.active_queues())] == ["records"]
    assert {"records.write", "records.update", "records.delete", "records.read"} <= set(answer(inspect.registered()))
    delayed = write(app, table, 1, countdown=600)
    until(lambda: delayed.state == "QUEUED", "it waits")
    (found,) = [each for each in answer(inspect.scheduled()) if each["request"]["id"] == delayed.id]
    assert found["request"]["kwargs"] == {"table": table, "rows": 1}
    running = held_write(system, app, table, 2)
    (batch,) = [each for each in answer(inspect.active()) if each["kwargs"]["table"] == table]
    assert (batch["name"], batch["kwargs"]["jobs"]) == ("records.write", 1)
    assert abs(batch["time_start"] - time.time()) < 60
    system.warehouse.release()
    assert running.get(timeout=30)["receipt"]["batch"] == batch["id"]
    until(lambda: table not in str(inspect.active()), "it is done")
    app.control.revoke(delayed.id)


def answer(replies: dict[str, Any] | None) -> Any:
    assert replies, "no worker answered"
    return next(iter(replies.values()))
