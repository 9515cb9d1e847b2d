"""What an operator and other clients see: doctor, Celery's own AsyncResult, logs without values."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis
from celery import Celery
from lakequeue import JobFailed, keys

from tests.fix_celery_app import close
from tests.fix_system import System
from tests.support import until

DEFINITION = [{"name": "id", "data_type": "BIGINT"}, {"name": "note", "data_type": "STRING"}]
SECRET = "planted-value-8c1f"


def doctor(system: System, *args: str, **changes: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "doctor", *args],
        env={**os.environ, **system.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr.count("Traceback"), done.stderr
    return done.returncode, done.stdout


def test_doctor_finds_nothing_wrong_with_a_sound_system(system: System) -> None:
    code, told = doctor(system)
    assert code == 0, told
    assert [line.split()[1] for line in told.splitlines() if line.startswith("ok")] == [
        "versions",
        "redis",
        "queue",
        "credentials",
        "warehouse",
        "statement",
    ]


def test_a_wait_for_a_result_that_is_elsewhere_is_told_of_with_the_setting_to_change(
    system: System, table: str
) -> None:
    app = Celery(broker=system.redis.url, backend=system.redis.url)
    app.conf.result_backend_transport_options = {"global_keyprefix": "shop:"}
    sent = app.send_task("records.read", kwargs={"table": table}, queue="records")
    with redis.Redis.from_url(system.redis.url) as client:
        until(lambda: client.exists(keys.record(sent.id)) == 1, "it is taken in")
    try:
        code, told = doctor(system)
        until(lambda: "waits for results of jobs under a prefix" in system.worker.text(), "the log says so")
    finally:
        close(app)
    assert code == 0, told
    assert "1 sender waits for results that are not there" in told
    assert "-> remove global_keyprefix 'shop:' from its result_backend_transport_options" in told


def test_doctor_names_jobs_that_no_worker_will_see(system: System) -> None:
    message = '{"body": "", "headers": {}, "properties": {"delivery_info": {"routing_key": "records"}}}'
    with redis.Redis.from_url(system.redis.url) as ours, redis.Redis.from_url(f"{system.redis.url[:-1]}5") as theirs:
        ours.lpush("shop:records", message, message)
        theirs.lpush("records", message)
        try:
            code, told = doctor(system)
        finally:
            ours.delete("shop:records")
            theirs.flushdb()
    assert code == 0, told
    assert "2 messages wait in the list 'shop:records', which no worker reads" in told
    assert "-> remove global_keyprefix 'shop:' from broker_transport_options" in told
    assert "1 message waits in the list 'records of database 5', which no worker reads" in told
    assert "-> give the sender the URL of database 0, for broker and results" in told


@pytest.mark.parametrize(
    ("changes", "found", "remedy"),
    [
        ({"LAKEQUEUE_REDIS_URL": "redis://:hush@127.0.0.1:1/0"}, "FAIL redis", "LAKEQUEUE_REDIS_URL"),
        ({"DATABRICKS_TOKEN": "wrong"}, "FAIL credentials", "renew the token"),
        ({"DATABRICKS_WAREHOUSE_ID": "nope"}, "FAIL warehouse", "DATABRICKS_WAREHOUSE_ID"),
        ({"DATABRICKS_HOST": "http://elsewhere.invalid"}, "FAIL credentials", "https"),
        ({"LAKEQUEUE_THREADS": "many"}, "FAIL settings", "LAKEQUEUE_THREADS"),
    ],
    ids=["no redis", "wrong token", "no such warehouse", "plain http to elsewhere", "a bad setting"],
)
def test_doctor_names_what_is_wrong_and_what_to_do(
    system: System, changes: dict[str, str], found: str, remedy: str
) -> None:
    code, told = doctor(system, **changes)
    assert code == 1
    assert found in told
    assert remedy in told
    assert "hush" not in told


def test_an_async_result_of_a_plain_celery_app_reads_outcomes(system: System, table: str) -> None:
    """Another application may hold no more than Celery and the id."""
    app = Celery(broker=system.redis.url, backend=system.redis.url)
    done = system.queue.write(table, [{"id": 1}], auto_create=True, schema_definition=DEFINITION)
    assert app.AsyncResult(done.id).get(timeout=30)["count"] == 1
    failing = system.queue.write(table, [{"nope": 1}])
    with pytest.raises(JobFailed) as caught:
        app.AsyncResult(failing.id).get(timeout=30)
    assert caught.value.details["errors"][0]["loc"] == ["data", 0, "nope"]
    assert app.AsyncResult(failing.id).state == "FAILURE"


def test_celery_reaches_the_worker_and_it_takes_no_queue_of_kombu(system: System) -> None:
    app = Celery(broker=system.redis.url, backend=system.redis.url)
    inspect = app.control.inspect(timeout=5, limit=1)
    assert list((inspect.ping() or {}).values()) == [{"ok": "pong"}]
    consumed = [queue["name"] for queues in (inspect.active_queues() or {}).values() for queue in queues]
    assert consumed == ["records"]  # by the intake
    replies = app.control.add_consumer("records", reply=True, timeout=5, limit=1)
    assert "no others" in str(replies)


def test_no_value_reaches_a_log(system: System, table: str) -> None:
    rows = [{"id": 1, "note": SECRET}]
    system.queue.write(table, rows, auto_create=True, schema_definition=DEFINITION).result(timeout=30)
    for job in (
        {"data": [{"id": SECRET}]},
        {"data": [{"id": 1, "note": {"x": SECRET}}]},
    ):
        with pytest.raises(JobFailed):
            system.queue.write(table, **job).result(timeout=30)
    with pytest.raises(JobFailed):
        system.queue.read(table, filters=[{"column": "id", "op": "=", "value": SECRET}]).result(timeout=30)
    assert SECRET not in system.worker.text()
