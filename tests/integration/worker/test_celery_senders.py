"""Applications with other settings than a worker's: none waits for ever, and none is misunderstood."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError
from lakequeue import JobFailed, keys

from tests.fix_celery_app import celery_app, close, fields, held_write, write
from tests.fix_system import System
from tests.support import ids, sql, until

Sender = Callable[..., Celery]


@pytest.fixture
def sender(system: System) -> Iterator[Sender]:
    """Makes applications with settings of their own."""
    made: list[Celery] = []

    def make(**settings: Any) -> Celery:
        made.append(celery_app(system.redis.url))
        made[-1].conf.update(settings)
        return made[-1]

    yield make
    for each in made:
        close(each)


def made(app: Celery, table: str) -> str:
    """The table, once it is there."""
    write(app, table, 0).get(timeout=30)
    return table


@pytest.mark.parametrize("job_id", ["orders/2024/{}", "größe@shop-{}", "x" * 200 + "{}"], ids=["slashes", "ü", "long"])
def test_an_id_of_visible_characters_is_a_jobs_id_everywhere(
    system: System, app: Celery, table: str, job_id: str
) -> None:
    job_id = job_id.format(uuid4().hex)
    assert write(app, table, 1, task_id=job_id).get(timeout=30)["count"] == 1
    assert [row[0] for row in sql(system.warehouse, f"SELECT _job_id FROM {table}")] == [job_id]
    history = system.queue.operations.history(job_id)
    assert (history.id, str(history.state)) == (job_id, "SUCCESS")


def test_a_job_of_any_id_is_tried_again_cancelled_and_replayed(system: System, app: Celery, table: str) -> None:
    name = f"größe/{uuid4().hex}@shop#%?"
    running = held_write(system, app, made(app, table), 1, task_id=f"{name}/1")
    waiting, cancelled = (write(app, table, n, task_id=f"{name}/{n}") for n in (2, 3))
    later = f"{table}_later"
    bad = app.send_task("records.write", kwargs={"table": later, "data": [{"id": 4}]}, task_id=f"{name}/bad")
    until(lambda: {waiting.state, cancelled.state} == {"QUEUED"}, "they wait")
    app.control.revoke(cancelled.id)
    until(lambda: cancelled.state == "REVOKED", "it is cancelled")
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    system.warehouse.fault({"on": "ExecuteStatement", "match": f"INSERT.*{table[-12:]}", "times": 2, **error})
    system.warehouse.release()
    assert running.get(timeout=30)["count"] == waiting.get(timeout=30)["count"] == 1
    with pytest.raises(JobFailed, match="does not exist"):
        bad.get(timeout=30)
    assert system.queue.dead_letters.get(bad.id).id == bad.id
    made(app, later)
    replayed = system.queue.dead_letters.replay(bad.id)
    assert (replayed.id, replayed.result(timeout=30).count) == (f"{name}/bad.replay1", 1)
    rows = [sql(system.warehouse, f"SELECT _job_id FROM {each} WHERE id > 0 ORDER BY id") for each in (table, later)]
    assert [row[0] for some in rows for row in some] == [running.id, waiting.id, replayed.id]


def test_an_id_that_is_not_taken_fails_under_itself(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    given = [f"order {uuid4().hex}", f'say "{uuid4().hex}"', "x" * 1000 + uuid4().hex]
    sent = [write(app, table, 1, task_id=each) for each in given]
    for each in sent:
        with pytest.raises(JobFailed, match="a job id is 1 to 255 visible characters"):
            each.get(timeout=30)
    letters = [json.loads(each) for each in client.hvals(keys.DEAD)]
    kept = [each["id"] for each in letters if "visible characters" in each["reason"]]
    assert len(kept) >= len(given)
    assert all(each.startswith("refused-") for each in kept)


def test_an_id_that_is_no_text_fails_under_itself(app: Celery, table: str) -> None:
    with pytest.raises(JobFailed, match="a task id is text"):
        write(app, table, 1, task_id=uuid4()).get(timeout=30)


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compressed_arguments_are_read(sender: Sender, table: str, compression: str) -> None:
    assert write(sender(task_compression=compression), table, 1).get(timeout=30)["count"] == 1


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
def test_arguments_in_another_form_than_json_fail(sender: Sender, table: str, serializer: str) -> None:
    for protocol in (2, 1):
        app = sender(task_serializer=serializer, task_protocol=protocol)
        with pytest.raises(JobFailed, match='set task_serializer = "json"'):
            write(app, table, 1).get(timeout=30)


def test_an_application_of_protocol_1_is_served(
    system: System, sender: Sender, client: redis.Redis, table: str
) -> None:
    app = sender(task_protocol=1)
    assert write(app, table, 1).get(timeout=30)["count"] == 1
    assert write(app, table, 2, countdown=0.5).get(timeout=30)["count"] == 1
    with pytest.raises(TaskRevokedError):
        write(app, table, 3, expires=datetime.now(UTC) - timedelta(seconds=5)).get(timeout=30)
    follow = app.signature("records.write", kwargs=fields(f"{table}_copy", 4), immutable=True)
    follow.set(task_id=uuid4().hex)
    assert write(app, table, 5, link=follow).get(timeout=30)["count"] == 1
    assert app.AsyncResult(follow.options["task_id"]).get(timeout=30)["count"] == 1
    assert ids(system.warehouse, table) == [1, 2, 5]


@pytest.mark.parametrize("protocol", [2, 1])
def test_an_application_of_local_time_is_read_as_celery_reads_it_or_refused(
    system: System, sender: Sender, table: str, protocol: int
) -> None:
    app = sender(enable_utc=False, timezone="Asia/Tokyo", task_protocol=protocol)
    begun = datetime.now(UTC)
    sent = write(app, table, 1, countdown=1, expires=60)
    assert sent.get(timeout=30)["count"] == 1
    assert timedelta(seconds=1) <= datetime.now(UTC) - begun
    naive = (datetime.now(UTC) + timedelta(seconds=1)).replace(tzinfo=None)
    for each in (write(app, table, 2, eta=naive), write(app, table, 2, expires=naive + timedelta(hours=20))):
        with pytest.raises(JobFailed, match="a time without an offset: give an aware datetime"):
            each.get(timeout=30)
    assert ids(system.warehouse, table) == [1]


def test_the_ids_of_a_revocation_that_are_none_do_not_spoil_the_others(app: Celery, table: str) -> None:
    late = write(app, table, 1, countdown=600)
    until(lambda: late.state == "QUEUED", "it waits")
    replies = app.control.revoke([late.id, "no id"], reply=True, timeout=30, limit=1)
    assert "but not 'no id'" in str(replies)
    with pytest.raises(TaskRevokedError):
        late.get(timeout=30)


def test_messages_are_drained_whatever_priorities_and_separator_their_sender_has(
    system: System, sender: Sender, table: str
) -> None:
    options = [{"priority_steps": list(range(10))}, {"priority_steps": [0, 50, 200]}, {"sep": "::"}]
    for each in options:
        app = sender(broker_transport_options=each)
        sent = [write(app, table, priority, priority=priority) for priority in (0, 4, 60, 255)]
        assert [each.get(timeout=30)["count"] for each in sent] == [1] * 4


def test_jobs_that_no_worker_takes_in_are_named_with_the_setting_to_change(
    system: System, sender: Sender, client: redis.Redis, table: str
) -> None:
    prefixed = sender(broker_transport_options={"global_keyprefix": "shop:"})
    write(prefixed, table, 1)
    elsewhere = sender(task_default_queue="orders")
    write(elsewhere, table, 2, priority=0)
    mine = f"other-{uuid4().hex}"
    client.lpush(mine, "no message")
    try:
        until(lambda: len(system.queue.operations.overview().unread) == 2, "both are found")
        found = {each.name: each for each in system.queue.operations.overview().unread}
        assert (found["shop:records"].messages, found["orders"].messages) == (1, 1)
        assert "global_keyprefix 'shop:'" in found["shop:records"].remedy
        assert 'queue="records"' in found["orders"].remedy
        until(
            lambda: "1 message waits in the list 'orders', which no worker reads" in system.worker.text(), "it is told"
        )
    finally:
        client.delete("shop:records", "orders", mine)
    until(lambda: not system.queue.operations.overview().unread, "they are gone")
    until(lambda: client.hlen(keys.LISTS) == client.hvals(keys.LISTS).count(b""), "they are forgotten")
