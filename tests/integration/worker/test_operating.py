"""What an operator and other clients see: doctor, Flower, Celery's own AsyncResult, logs without values."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from lakequeue import JobFailed

from tests.fix_system import System
from worker.embedded import free_port

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
        "credentials",
        "warehouse",
        "statement",
    ]


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


@pytest.fixture
def flower(system: System, tmp_path: Path) -> Iterator[str]:
    """Flower as `celery -A worker flower` starts it, away from the project's folder; its URL."""
    port = free_port()
    with open(tmp_path / "flower.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--port={port}"],
            env={**os.environ, **system.environ, "FLOWER_BASIC_AUTH": "ann:pw", "FLOWER_UNAUTHENTICATED_API": "false"},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while not _answers(url + "/healthcheck"):
        assert time.monotonic() < deadline, (tmp_path / "flower.log").read_text()
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(timeout=20)


def ask(url: str, credentials: str | None = "ann:pw") -> Any:
    request = urllib.request.Request(url)
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


def test_flower_is_closed_and_shows_jobs_without_values(system: System, table: str, flower: str) -> None:
    for page in ("/", "/tasks", "/workers", "/api/tasks", "/broker"):
        for credentials in (None, "ann:wrong"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(flower + page, credentials)
            caught.value.close()
            assert caught.value.code == 401
    rows = [{"id": 1, "note": SECRET}]
    done = system.queue.write(table, rows, auto_create=True, schema_definition=DEFINITION)
    done.result(timeout=30)
    failing = system.queue.write(table, [{"id": 1, SECRET.replace("-", "_"): SECRET}])
    with pytest.raises(JobFailed):
        failing.result(timeout=30)
    read = system.queue.read(table, filters=[{"column": "note", "op": "=", "value": SECRET}])
    assert read.result(timeout=30).count == 1
    wanted = {done.id: "SUCCESS", failing.id: "FAILURE", read.id: "SUCCESS"}
    deadline = time.monotonic() + 20
    while True:
        tasks = json.loads(ask(flower + "/api/tasks"))
        if {job_id: tasks.get(job_id, {}).get("state") for job_id in wanted} == wanted:
            break
        assert time.monotonic() < deadline, tasks
        time.sleep(0.1)
    assert tasks[done.id]["name"] == "records.write"
    assert tasks[done.id]["kwargs"] == f"{{'table': '{table}', 'op': 'write', 'rows': 1}}"
    assert tasks[done.id]["worker"] == "shared@test"
    shown = ask(flower + "/api/tasks") + ask(flower + "/tasks") + ask(f"{flower}/task/{done.id}")
    shown += ask(f"{flower}/task/{failing.id}")
    assert SECRET not in shown


def test_without_a_password_flower_makes_one_up(tmp_path: Path, system: System) -> None:
    port = free_port()
    environ = {k: v for k, v in {**os.environ, **system.environ}.items() if k != "FLOWER_BASIC_AUTH"}
    log = tmp_path / "flower.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--port={port}"],
            env=environ,
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while not _answers(f"http://127.0.0.1:{port}/healthcheck"):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        with pytest.raises(urllib.error.HTTPError, match="401") as caught:
            ask(f"http://127.0.0.1:{port}/tasks", None)
        caught.value.close()
        assert "FLOWER_BASIC_AUTH is not set; for this run it is lakequeue:" in log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=20)


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
