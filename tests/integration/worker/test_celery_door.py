"""Celery's own door: another application that has Celery and no code of ours sends jobs, and follows them."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult
from lakequeue import JobFailed, Queue, keys, wire

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker

COLUMNS = [{"name": "id", "data_type": "BIGINT"}]


def celery_app(url: str) -> Celery:
    """What another application has: a broker, a backend and a route."""
    app = Celery("elsewhere", broker=url, backend=url, set_as_current=False)
    app.conf.task_default_queue = "records"
    return app


@pytest.fixture
def app(system: System) -> Iterator[Celery]:
    made = celery_app(system.redis.url)
    yield made
    made.close()
    system.warehouse.clear_faults()
    system.warehouse.release()


@pytest.fixture
def client(system: System) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(system.redis.url) as opened:
        yield opened


def fields(table: str, *ids: int) -> dict[str, Any]:
    return {
        "table": table,
        "data": [{"id": i} for i in ids],
        "auto_create": True,
        "schema_definition": COLUMNS,
    }


def ids(warehouse: LocalWarehouse, table: str) -> list[int]:
    """What is in the table, asked behind the product's back."""
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.02)


def write(app: Celery, table: str, *rows: int, **options: Any) -> AsyncResult:
    return app.send_task("records.write", kwargs=fields(table, *rows), **options)


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
    write(app, table, 0).get(timeout=30)
    system.warehouse.fault({"on": "ExecuteStatement", "match": f"INSERT.*{table[-12:]}", "times": 1, "action": "hold"})
    running = write(app, table, 1)
    until(lambda: system.warehouse.held() == 1, "the first statement is held")
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
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 4, **error})
    handle = write(app, table, 1)
    until(lambda: handle.state == "RETRY", "it waits")
    assert handle.get(timeout=30)["receipt"]["attempts"] == 5


def test_a_chain_reads_what_it_wrote(system: System, app: Celery, table: str) -> None:
    write_first = app.signature("records.write", kwargs=fields(table, 1, 2))
    read = app.signature("records.read", kwargs={"table": table, "columns": ["id"]}, immutable=True)
    result = chain(write_first, read, app=app).apply_async()
    assert result.get(timeout=30)["total"] == 2
    assert result.parent.get(timeout=30)["count"] == 2


def test_a_chain_hands_the_rows_of_a_read_to_a_write(system: System, app: Celery, table: str) -> None:
    write(app, table, 1, 2, 3).get(timeout=30)
    copy = f"{table}_copy"
    read = app.signature("records.read", kwargs={"table": table, "columns": "id"})
    into = {name: value for name, value in fields(copy).items() if name != "data"}
    result = chain(read, app.signature("records.write", kwargs=into), app=app).apply_async()
    assert result.get(timeout=30)["count"] == 3
    assert ids(system.warehouse, copy) == [1, 2, 3]


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


def test_a_chain_whose_first_step_fails_fails_to_its_end(system: System, app: Celery, table: str) -> None:
    bad = app.signature("records.write", kwargs={"table": table, "data": [{"id": 1}]})  # there is no such table
    read = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chain(bad, read, read.clone(), app=app).apply_async()
    with pytest.raises(JobFailed, match="does not exist"):
        result.get(timeout=30)


def test_a_group_has_one_result_of_all(system: System, app: Celery, table: str) -> None:
    result = group((app.signature("records.write", kwargs=fields(table, i)) for i in range(10)), app=app).apply_async()
    assert [each["count"] for each in result.get(timeout=30)] == [1] * 10
    assert ids(system.warehouse, table) == list(range(10))


def test_a_chord_reads_after_all_its_writes(system: System, app: Celery, table: str) -> None:
    header = [app.signature("records.write", kwargs=fields(table, i)) for i in range(10)]
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    assert chord(header, body, app=app).apply_async().get(timeout=30)["total"] == 10


def test_a_chord_with_a_failing_part_fails(system: System, app: Celery, table: str) -> None:
    header = [app.signature("records.write", kwargs=fields(table, 1))]
    header.append(app.signature("records.write", kwargs={"table": table, "data": "no rows"}))
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chord(header, body, app=app).apply_async()
    with pytest.raises(JobFailed):
        result.get(timeout=30)
    with pytest.raises(ChordError, match="JobFailed"):
        app.AsyncResult(result.id).get(timeout=30)


def received_by(client: redis.Redis, queue: str) -> dict[str, Any]:
    """The message that a worker of another application would get."""
    found = client.brpop([queue], timeout=30)
    assert found is not None, f"nothing came to {queue}"
    message: dict[str, Any] = json.loads(found[1])
    return message


def test_a_link_gets_the_result_and_may_be_anybodys_task(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    elsewhere, copy = f"queue-{uuid4().hex}", f"{table}_copy"
    notify = app.signature("shop.notify", options={"queue": elsewhere})
    again = app.signature("records.write", kwargs=fields(copy, 7), immutable=True)
    sent = write(app, table, 1, link=[notify, again])
    message = received_by(client, elsewhere)
    assert message["headers"]["task"] == "shop.notify"
    assert message["headers"]["parent_id"] == sent.id
    assert '"count": 1' in b64decode(message["body"]).decode()
    until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
    until(lambda: copied(system, copy) == [7], "the second link has run")


def test_callbacks_that_are_sent_twice_are_one_job(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    """As after a worker that died between sending them and taking them out of the outbox."""
    copy = f"{table}_copy"
    after: dict[str, Any] = dict.fromkeys(("root_id", "parent_id", "group", "group_index", "chord", "errbacks"))
    link = group((app.signature("records.write", kwargs=fields(copy, i), immutable=True) for i in (1, 2)), app=app)
    following = app.signature("records.write", kwargs=fields(copy, 3), immutable=True)
    after |= {"id": uuid4().hex, "task": "records.write", "callbacks": [link], "chain": [following]}
    item = json.dumps({"after": after, "record": {"status": "SUCCESS", "result": {"count": 1}}})
    poison = json.dumps({"after": {}, "record": {"status": "SUCCESS", "result": 1}})
    client.rpush(keys.OUTBOX, item, poison, item)
    until(lambda: client.llen(keys.OUTBOX) == 0, "all are sent")
    assert client.lindex(keys.OUTBOX_FAILED, 0) == poison.encode()
    assert write(app, copy, 4).get(timeout=30)["count"] == 1
    assert ids(system.warehouse, copy) == [1, 2, 3, 4]


def copied(system: System, table: str) -> list[int]:
    try:
        return ids(system.warehouse, table)
    except Exception:  # it is not there yet
        return []


@pytest.mark.parametrize("data", [[{"nope": 1}], "no rows"], ids=["refused by the table", "no valid job"])
def test_an_error_link_is_told_of_a_job_that_failed(
    system: System, app: Celery, client: redis.Redis, table: str, data: Any
) -> None:
    write(app, table, 0).get(timeout=30)
    elsewhere = f"queue-{uuid4().hex}"
    notify = app.signature("shop.alarm", options={"queue": elsewhere})
    sent = app.send_task("records.write", kwargs={"table": table, "data": data}, link_error=notify)
    with pytest.raises(JobFailed):
        sent.get(timeout=30)
    message = received_by(client, elsewhere)
    assert message["headers"]["task"] == "shop.alarm"
    assert json.loads(b64decode(message["body"]))[0] == [sent.id]


def test_a_delayed_job_waits_visibly_and_runs_when_due(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    write(app, table, 0).get(timeout=30)
    eta = datetime.now(UTC) + timedelta(seconds=2)
    late = write(app, table, 1, countdown=2)
    until(lambda: late.state == "QUEUED", "it waits")
    assert json.loads(client.get(keys.record(late.id)) or b"{}")["eta"]
    assert write(app, table, 2).get(timeout=30)["count"] == 1
    assert late.state == "QUEUED"
    assert late.get(timeout=30)["count"] == 1
    assert datetime.now(UTC) >= eta
    assert not client.hexists(keys.ETA_JOBS, late.id)


def test_an_eta_in_the_past_is_none(system: System, app: Celery, table: str) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    assert write(app, table, 1, eta=past).get(timeout=30)["count"] == 1


def test_delayed_jobs_join_their_lane_in_the_order_in_which_they_are_due(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    running = hold(system, app, table)
    at = datetime.now(UTC) + timedelta(seconds=3)
    etas = [at + timedelta(milliseconds=300), *[at] * 9, at - timedelta(milliseconds=300)]
    sent = [write(app, table, i + 2, eta=eta) for i, eta in enumerate(etas)]
    until(lambda: len(in_lane(client, table)) == 12, "all are due")
    expected = [sent[10], *sent[1:10], sent[0]]
    assert in_lane(client, table) == [each.id for each in (running, *expected)]
    system.warehouse.release()
    assert sent[0].get(timeout=30)["count"] == 1
    assert ids(system.warehouse, table) == list(range(13))


def hold(system: System, app: Celery, table: str) -> AsyncResult:
    """Create a table with row 0, and keep the statement of row 1 under way."""
    write(app, table, 0).get(timeout=30)
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 1, "action": "hold"})
    running = write(app, table, 1)
    until(lambda: system.warehouse.held() == 1, "a statement is under way")
    return running


def in_lane(client: redis.Redis, table: str) -> list[str]:
    """The ids of the jobs in a table's lane of writes, oldest first."""
    found: list[bytes] = client.lrange(keys.jobs(keys.lane_of("write", table)), 0, -1)  # type: ignore[assignment]
    return [wire.decode(each).id for each in found]


def test_a_job_that_expired_is_revoked_and_not_run(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    past = write(app, table, 1, expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(TaskRevokedError, match="expired"):
        past.get(timeout=30)
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 1, "action": "hold"})
    running = write(app, table, 2)
    until(lambda: system.warehouse.held() == 1, "the lane is busy")
    expires = datetime.now(UTC) + timedelta(seconds=3)
    late, delayed = write(app, table, 3, expires=expires), write(app, table, 4, countdown=2.9, expires=expires)
    good = write(app, table, 5, expires=600)
    until(lambda: good.state == late.state == delayed.state == "QUEUED", "they wait")
    until(lambda: datetime.now(UTC) > expires, "too late")
    system.warehouse.release()
    for each in (late, delayed):
        with pytest.raises(TaskRevokedError, match="expired"):
            each.get(timeout=30)
    assert running.get(timeout=30)["count"] == good.get(timeout=30)["count"] == 1
    only = write(app, table, 6, expires=0.001)
    with pytest.raises(TaskRevokedError, match="expired"):
        only.get(timeout=30)
    assert ids(system.warehouse, table) == [0, 2, 5]


def test_a_job_is_revoked_before_its_batch_is_frozen(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 1, "action": "hold"})
    running = write(app, table, 1)
    until(lambda: system.warehouse.held() == 1, "the lane is busy")
    waiting = [write(app, table, i) for i in (2, 3)]
    delayed = write(app, table, 4, countdown=600)
    unknown = app.AsyncResult(str(uuid4()))
    until(lambda: {each.state for each in (*waiting, delayed)} == {"QUEUED"}, "they wait")
    cancelled = [running, waiting[0], delayed, unknown]
    replies = app.control.revoke([each.id for each in cancelled], reply=True, timeout=5, limit=1)
    assert replies
    assert "STARTED" in str(replies)
    system.warehouse.release()
    for each in cancelled[1:]:
        with pytest.raises(TaskRevokedError):
            each.get(timeout=30)
        assert each.state == "REVOKED"
    assert running.get(timeout=30)["count"] == waiting[1].get(timeout=30)["count"] == 1
    write(app, table, 5, task_id=unknown.id)
    assert write(app, table, 6).get(timeout=30)["count"] == 1
    assert unknown.state == "REVOKED"
    assert ids(system.warehouse, table) == [0, 1, 3, 6]


def test_a_revoked_job_is_not_run_however_long_its_lane_is_busy(
    redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_RESULT_EXPIRES_S="1")
    app = celery_app(redis_url)
    until(lambda: write(app, "shop.sales.other", 0).get(timeout=30)["count"] == 1, "it runs")
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT.*`t`", "times": 1, "action": "hold"})
    running = write(app, "shop.sales.t", 1)
    until(lambda: warehouse.held() == 1, "the lane is busy")
    waiting = write(app, "shop.sales.t", 2)
    until(lambda: waiting.state == "QUEUED", "it waits")
    unknown = str(uuid4())
    app.control.revoke([waiting.id, unknown])
    with redis.Redis.from_url(redis_url) as client:
        until(lambda: client.exists(keys.record(unknown)) == 1, "both are revoked")
        until(lambda: client.exists(keys.record(unknown)) == 0, "finished records are gone after a second")
        assert waiting.state == "REVOKED"
        warehouse.release()
        assert running.get(timeout=30)["count"] == 1
        until(lambda: client.exists(keys.record(waiting.id)) == 0, "so is this, once its message is gone")
    assert write(app, "shop.sales.t", 3).get(timeout=30)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == [1, 3]
    app.close()


def test_a_chord_with_a_revoked_part_fails(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    late = app.signature("records.write", kwargs=fields(table, 1), options={"countdown": 600, "task_id": str(uuid4())})
    now = app.signature("records.write", kwargs=fields(table, 2))
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chord([late, now], body, app=app).apply_async()
    until(lambda: app.AsyncResult(late.id).state == "QUEUED", "the part waits")
    app.control.revoke(late.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    with pytest.raises(ChordError, match="revoked"):
        app.AsyncResult(result.id).get(timeout=30)


def test_a_job_revoked_between_two_tries_is_not_run_by_a_worker_started_later(
    redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    first = start_worker(LAKEQUEUE_BACKOFF_FIRST_S="5", LAKEQUEUE_BACKOFF_LONGEST_S="5")
    app = celery_app(redis_url)
    write(app, "shop.sales.t", 0).get(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, **error})
    tried = write(app, "shop.sales.t", 1)
    until(lambda: tried.state == "RETRY", "it waits for its next try")
    waiting = write(app, "shop.sales.t", 2)
    until(lambda: waiting.state == "QUEUED", "it is behind the first")
    app.control.revoke(tried.id)
    until(lambda: tried.state == "REVOKED", "it is revoked")
    assert first.stop() == 0
    at_the_door = write(app, "shop.sales.t", 3)
    assert at_the_door.state == "PENDING"
    start_worker()
    for each in (waiting, at_the_door):
        assert each.get(timeout=30)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == [0, 2, 3]
    app.close()


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
    no_json = app.send_task("records.write", kwargs={"table": table, "data": [{"id": float("nan")}]})
    pickled = app.send_task("records.read", kwargs={"table": table}, serializer="pickle")
    no_time = app.send_task("records.read", kwargs={"table": table}, eta="tomorrow")
    assert write(app, table, 1).get(timeout=30)["count"] == 1
    for sent, reason in ((unknown, "unknown task"), (wrong, "nope"), (nowhere, "table"), (no_time, "ISO 8601")):
        with pytest.raises(JobFailed, match=reason):
            sent.get(timeout=30)
    letters = {bytes(each).decode() for each in {*client.hkeys(keys.DEAD)} - before}  # type: ignore[arg-type]
    assert {unknown.id, wrong.id, nowhere.id, surrogate.id, no_time.id} <= letters
    assert len([each for each in letters if each.startswith("unreadable-")]) == len(garbage) + 1
    for sent in (no_json, pickled):
        with pytest.raises(JobFailed, match="in JSON"):
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
    app.close()


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
    app.close()


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
    app.close()


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
    app.close()


def test_inspect_shows_queue_tasks_running_batches_and_delayed_jobs(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    inspect = app.control.inspect(timeout=5, limit=1)
    assert [each["name"] for each in answer(inspect.active_queues())] == ["records"]
    assert {"records.write", "records.update", "records.delete", "records.read"} <= set(answer(inspect.registered()))
    delayed = write(app, table, 1, countdown=600)
    until(lambda: delayed.state == "QUEUED", "it waits")
    (found,) = [each for each in answer(inspect.scheduled()) if each["request"]["id"] == delayed.id]
    assert found["request"]["kwargs"] == {"table": table, "rows": 1}
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 1, "action": "hold"})
    running = write(app, table, 2)
    until(lambda: system.warehouse.held() == 1, "a statement is under way")
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
