"""When a job that came through Celery runs, and that it does not: countdown, eta, expires and revoke."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError
from lakequeue import Queue, keys

from tests.fix_celery_app import celery_app, close, held_write, hold, in_lane, write
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker
from tests.support import ids, until, until_it_waits


def test_a_delayed_job_waits_visibly_and_runs_when_due(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    write(app, table, 0).get(timeout=30)
    eta = datetime.now(UTC) + timedelta(seconds=4)
    late = write(app, table, 1, countdown=4)
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
    at = datetime.now(UTC) + timedelta(seconds=5)
    etas = [at + timedelta(milliseconds=300), *[at] * 9, at - timedelta(milliseconds=300)]
    sent = [write(app, table, i + 2, eta=eta) for i, eta in enumerate(etas)]
    until(lambda: len(in_lane(client, table)) == 12, "all are due")
    expected = [sent[10], *sent[1:10], sent[0]]
    assert in_lane(client, table) == [each.id for each in (running, *expected)]
    system.warehouse.release()
    assert sent[0].get(timeout=30)["count"] == 1
    assert ids(system.warehouse, table) == list(range(13))


def test_a_job_that_expired_is_revoked_and_not_run(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    past = write(app, table, 1, expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(TaskRevokedError, match="expired"):
        past.get(timeout=30)
    running = held_write(system, app, table, 2)
    expires = datetime.now(UTC) + timedelta(seconds=6)
    late, delayed = write(app, table, 3, expires=expires), write(app, table, 4, countdown=5.9, expires=expires)
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
    running = hold(system, app, table)
    waiting = [write(app, table, i) for i in (2, 3)]
    delayed = write(app, table, 4, countdown=600)
    unknown = app.AsyncResult(str(uuid4()))
    until(lambda: {each.state for each in (*waiting, delayed)} == {"QUEUED"}, "they wait")
    cancelled = [running, waiting[0], delayed, unknown]
    replies = app.control.revoke([each.id for each in cancelled], reply=True, timeout=30, limit=1)
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
        until(lambda: waiting.state == "REVOKED", "both are revoked")
        until(lambda: client.exists(keys.record(unknown)) == 0, "finished records are gone after a second")
        assert waiting.state == "REVOKED"
        warehouse.release()
        assert running.get(timeout=30)["count"] == 1
        until(lambda: client.exists(keys.record(waiting.id)) == 0, "so is this, once its message is gone")
    assert write(app, "shop.sales.t", 3).get(timeout=30)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == [1, 3]
    close(app)


def test_a_job_revoked_between_two_tries_is_not_run_by_a_worker_started_later(
    redis_url: str, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    first = start_worker(LAKEQUEUE_BACKOFF_FIRST_S="15", LAKEQUEUE_BACKOFF_LONGEST_S="15")
    app = celery_app(redis_url)
    write(app, "shop.sales.t", 0).get(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **error})
    tried = write(app, "shop.sales.t", 1)
    with Queue(redis_url) as queue:
        until(lambda: tried.state != "PENDING", "it is taken in")
        until_it_waits(queue.job(tried.id), for_s=7)
    waiting = write(app, "shop.sales.t", 2)
    until(lambda: waiting.state == "QUEUED", "it is behind the first")
    app.control.revoke(tried.id)
    until(lambda: tried.state == "REVOKED", "it is revoked")
    assert first.stop() == 0
    warehouse.clear_faults()
    at_the_door = write(app, "shop.sales.t", 3)
    assert at_the_door.state == "PENDING"
    start_worker()
    for each in (waiting, at_the_door):
        assert each.get(timeout=30)["count"] == 1
    assert ids(warehouse, "shop.sales.t") == [0, 2, 3]
    close(app)
