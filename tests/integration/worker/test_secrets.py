"""Planted strings as values of rows and as credentials: after every kind of outcome none is found where it must not be.

Values stand in Redis where they are documented to: in the queue's own messages, callbacks, results of reads, payloads
of dead letters, and in the `text` of a failure's details, which is what the warehouse said of a job that failed alone.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any
from uuid import uuid4

import pytest
import redis
from lakequeue import Handle, JobFailed, Queue, QueueUnreachable, keys, wire

from tests.fix_celery_app import celery_app, close
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_metrics import scrape
from tests.fix_worker import Worker, worker_environ
from tests.planted import found_in, planted
from tests.support import QUICK, sql, until
from worker.embedded import embedded_redis, free_port

COLUMNS = [{"name": "id", "data_type": "BIGINT"}, {"name": "note", "data_type": "STRING"}]


TOKEN, CLIENT_SECRET, REDIS_PASSWORD, FLOWER_PASSWORD = (
    planted(where).replace("-", "") for where in ("token", "client", "redis", "flower")
)


@dataclass(frozen=True)
class Driven:
    """A system in which every kind of outcome has come about, by a worker of either format; the last still runs."""

    queue: Queue
    client: redis.Redis
    environ: dict[str, str]
    port: int
    flower: str
    logs: list[Path]
    jobs: list[str]


def ask(url: str) -> str:
    request = urllib.request.Request(url)
    request.add_header("Authorization", "Basic " + base64.b64encode(f"ann:{FLOWER_PASSWORD}".encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: str = answer.read().decode()
        return told


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    folder = tmp_path_factory.mktemp("secrets")
    with embedded_redis(folder / "redis") as server:
        with redis.Redis.from_url(server.url) as bare:
            bare.config_set("requirepass", REDIS_PASSWORD)
        url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{server.port}/0"
        secret = ("--faults", "--client-secret", CLIENT_SECRET)
        warehouse = LocalWarehouse(folder / "warehouse", token=TOKEN, options=secret)
        port, pages = free_port(), free_port()
        settings = {
            **QUICK,
            "LAKEQUEUE_METRICS_PORT": str(port),
            "FLOWER_BASIC_AUTH": f"ann:{FLOWER_PASSWORD}",
            "FLOWER_UNAUTHENTICATED_API": "false",
            "FLOWER_PERSISTENT": "false",
        }
        environ = worker_environ(url, warehouse, **settings)
        by_oauth = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "local", "DATABRICKS_CLIENT_SECRET": CLIENT_SECRET}
        logs = [folder / name for name in ("text.log", "json.log", "flower.log")]
        workers = []
        with open(logs[-1], "wb") as out:
            flower = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--port={pages}", "--loglevel=debug"],
                env={**os.environ, **environ},
                cwd=folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            at = f"http://127.0.0.1:{pages}"
            until(lambda: answers(at + "/healthcheck"), "Flower is there", 60)
            with Queue(url) as queue, redis.Redis.from_url(url) as client:
                jobs = []
                for form, more in (("text", {}), ("json", by_oauth)):
                    given = {**environ, "LAKEQUEUE_LOG_FORMAT": form, **more}
                    workers.append(Worker(given, folder / f"{form}.log", form, level="debug"))
                    workers[-1].wait_ready()
                    jobs += drive(queue, client, warehouse, workers[-1], url)
                    if form == "text":
                        assert workers[-1].stop() == 0
                yield Driven(queue, client, environ, port, at, logs, jobs)
                assert workers[-1].stop() == 0
                assert found_in(workers[-1].text()) == []  # what it says at its end
        finally:
            flower.terminate()
            flower.wait(timeout=20)
            for worker in workers:
                if worker.process.poll() is None:
                    worker.kill()
            warehouse.stop()


def drive(queue: Queue, client: redis.Redis, warehouse: LocalWarehouse, worker: Worker, url: str) -> list[str]:
    """Every verb, outcome and fault, each with a planted value. Returns the ids of the jobs."""
    handles: list[Handle] = []
    table, keyed, strict = (f"shop.sales.{worker.name}_{name}" for name in ("rows", "keyed", "strict"))

    def ends(handle: Handle) -> str:
        handles.append(handle)
        try:
            handle.result(timeout=30)
        except JobFailed as exc:
            failed = exc
        else:
            return "SUCCESS"
        assert found_in(str(failed)) == []
        return str(failed.details["error"])

    def row(where: str, **more: Any) -> dict[str, Any]:
        return {"id": 1, "note": planted(where), **more}

    def write(*rows: dict[str, Any], **more: Any) -> Handle:
        return queue.write(table, list(rows), **more)

    made: dict[str, Any] = {"auto_create": True, "schema_definition": COLUMNS}
    assert ends(write(row("insert"), **made)) == "SUCCESS"
    assert ends(queue.write(keyed, [row("keyed")], key_columns=["note"], mode="upsert", **made)) == "SUCCESS"
    assert ends(queue.update(table, key={"id": 1}, updates={"note": planted("update")})) == "SUCCESS"
    assert (
        ends(queue.update(keyed, key={"note": planted("key")}, updates={"id": 2}, must_exist=True)) == "ROW_NOT_FOUND"
    )
    assert ends(queue.delete(table, key={"note": planted("delete")})) == "SUCCESS"
    filters = [{"column": "note", "op": "=", "value": planted("filter")}]
    assert ends(queue.read(table, filters=filters)) == "SUCCESS"
    # Refused by the worker: a value that is none of its column, a column that is none.
    assert ends(write({"id": planted("cast")})) == "INVALID_JOB"
    assert ends(write({"id": 1, "note": {"deep": planted("deep")}})) == "INVALID_JOB"
    assert ends(write(row("column", no_such=planted("unknown")))) == "INVALID_JOB"
    assert ends(queue.read(table, filters=[{"column": "id", "op": "=", "value": planted("where")}])) == "INVALID_JOB"
    # Refused by the warehouse.
    check = f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (note IS NULL OR length(note) < 60)"
    sql(warehouse, check, f"CREATE TABLE {strict} (id BIGINT NOT NULL, note STRING)")
    assert ends(write(row("check", note=planted("check") * 9))) == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    refused = queue.write(strict, [{"id": None, "note": planted("null")}])
    assert ends(refused) in ("INVALID_JOB", "DELTA_NOT_NULL_CONSTRAINT_VIOLATED")
    for error_class, sqlstate in (("CAST_INVALID_INPUT", "22018"), ("NEVER_HEARD_OF", "22999")):
        said = f"The value '{planted('said')}' cannot be cast"
        fault = {"action": "error", "error_class": error_class, "sqlstate": sqlstate, "message": said}
        warehouse.fault({**fault, "match": "INSERT", "times": 1})
        assert ends(write(row("fault"))) == error_class
    # Tried again: too many requests, a conflict, a session that is gone, a lost answer.
    for rule in ({"action": "status", "status": 429}, {"action": "error", "message": planted("conflict")}):
        warehouse.fault({**rule, "match": "INSERT", "times": 1})
        assert ends(write(row("again"))) == "SUCCESS"
    warehouse.fault({"action": "forget_session", "match": "INSERT", "times": 1})
    assert ends(write(row("session"))) == "SUCCESS"
    warehouse.fault({"action": "drop_after", "match": "INSERT", "times": 1})
    assert ends(write(row("lost"))) == "SUCCESS"
    through_celery(client, url, table)
    # What nobody expected: a key that was corrupted, first of a batch, then of a message in the list.
    lane = keys.lane_of("write", table)
    client.hset(keys.waiting(lane), mapping={"attempts": planted("attempts"), "until": "0", "error": ""})
    stuck = write(row("stuck"))
    until(lambda: "a turn failed" in worker.text(), "a turn failed")
    client.delete(keys.waiting(lane))
    assert ends(stuck) == "SUCCESS"
    queue.operations.pause(table)
    for message in (b"{" + planted("bytes").encode(), json.dumps({"headers": planted("headers")}).encode()):
        client.rpush(keys.jobs(lane), message)
    cancelled, last = write(row("cancelled")), write(row("last"))
    assert queue.operations.cancel(cancelled.id) == "QUEUED"
    queue.operations.resume(table)
    assert ends(last) == "SUCCESS"
    return [handle.id for handle in (*handles, cancelled)]


def through_celery(client: redis.Redis, url: str, table: str) -> None:
    """Messages of others, most of them no jobs, and callbacks: one that works, one that nobody can send."""
    failed_before = client.llen(keys.OUTBOX_FAILED)
    app = celery_app(url)
    made = {"table": table, "auto_create": True, "schema_definition": COLUMNS}
    linked = app.signature(
        "elsewhere.note", args=(planted("link"),), kwargs={"more": planted("more")}, queue="elsewhere"
    )
    done = app.send_task("records.write", kwargs={**made, "data": [{"id": 3, "note": planted("linked")}]}, link=linked)
    done.get(timeout=30)
    wrong = [
        app.send_task("records.write", kwargs={**made, "data": planted("rows")}),
        app.send_task("records.write", kwargs={**made, "data": [{"id": planted("celery")}]}, link_error=linked),
        app.send_task("records.write", kwargs={**made, "no_such_field": planted("value")}),
        app.send_task("records.write", args=[planted("positional"), planted("second")], kwargs=made),
        app.send_task("records.frobnicate", kwargs={"x": planted("alien")}),
        app.send_task("records.read", kwargs={"table": table, "limit": planted("limit")}),
        app.send_task("records.delete", kwargs={"table": table, "key": planted("keys")}),
        app.send_task("records.write", kwargs={**made, "table": [planted("table")]}),
    ]
    broken = {"task": planted("task"), "subtask_type": planted("type"), "args": 7, "kwargs": planted("kwargs")}
    callbacks = [{**broken, "options": planted("options")}]
    raw = app.amqp.as_task_v2(str(uuid4()), "records.write", (), {**made, "data": [{"id": 4}]})
    body = [*raw.body[:2], {**raw.body[2], "callbacks": callbacks}]
    envelope = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": raw.headers,
        "properties": {"correlation_id": raw.headers["id"], "body_encoding": "base64", "delivery_info": {}},
    }
    client.lpush(wire.QUEUE, json.dumps(envelope))
    for junk in (planted("junk"), json.dumps([planted("list")]), json.dumps({**envelope, "body": planted("body")})):
        client.lpush(wire.QUEUE, junk)
    until(lambda: all(each.state == "FAILURE" for each in wrong), "all are refused")
    until(lambda: not client.llen(wire.QUEUE) and not client.llen(keys.OUTBOX), "all are taken in, and followed")
    until(lambda: client.llen(keys.OUTBOX_FAILED) > failed_before, "the broken callback is put aside")
    close(app)


def command(driven: Driven, module: str, *arguments: str, **changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **driven.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    assert told
    assert "Traceback" not in told
    return told


def on_terminal(driven: Driven, *arguments: str) -> str:
    """What a command prints to a terminal."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lakequeue", *arguments],
        env={**os.environ, **driven.environ},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    told = b""
    try:
        while read := os.read(mine, 65536):
            told += read
    except OSError:  # its end is closed
        pass
    os.close(mine)
    process.wait(timeout=30)
    return told.decode()


def test_no_planted_string_is_in_the_logs_of_workers_and_flower(driven: Driven) -> None:
    """At DEBUG: also what Celery, kombu, redis-py and the connector say then."""
    for log in driven.logs:
        assert found_in(log.read_text()) == []
    for log in driven.logs[:2]:
        text = log.read_text()
        verdicts = (f"verdict={verdict}" for verdict in ("permanent", "transient", "unknown"))
        for happened in ("DEBUG", *verdicts, "a turn failed", "callbacks not sent"):
            assert happened in text, happened
    assert all(isinstance(json.loads(line), dict) for line in driven.logs[1].read_text().splitlines())


def test_no_planted_string_is_in_what_flower_answers(driven: Driven) -> None:
    until(lambda: len(json.loads(ask(driven.flower + "/api/tasks"))) >= 20, "Flower has heard of the jobs")
    tasks = ask(driven.flower + "/api/tasks?limit=1000")
    told = [
        tasks,
        ask(driven.flower + "/tasks"),
        ask(driven.flower + "/api/workers?refresh=1"),
        ask(driven.flower + "/"),
    ]
    told += [ask(f"{driven.flower}/task/{job_id}") for job_id in json.loads(tasks)]
    for each in told:
        assert found_in(each) == []


def test_no_planted_string_names_anything_in_redis(driven: Driven) -> None:
    client = driven.client
    names: list[bytes] = list(client.scan_iter(count=1000))
    assert len(names) > 30
    for name in list(names):
        if client.type(name) == b"hash":
            names += client.hkeys(name)  # type: ignore[arg-type]
        if client.type(name) == b"set":
            names += client.smembers(name)  # type: ignore[arg-type]
        if client.type(name) == b"zset":
            names += client.zrange(name, 0, -1)  # type: ignore[arg-type]
    assert found_in("\n".join(name.decode() for name in names)) == []


def test_no_planted_string_is_in_a_job_s_record_but_for_the_warehouse_s_text(driven: Driven) -> None:
    failed = 0
    for name in driven.client.scan_iter(match="celery-task-meta-*"):
        record = json.loads(driven.client.get(name) or b"")
        if record["status"] == "FAILURE":
            failed += 1
            message, details = record["result"]["exc_message"]
            details.pop("text", None)
            assert found_in(json.dumps([message, details])) == []
        elif record["name"] == "records.read":
            record["result"].pop("data")
        if record["status"] != "FAILURE":
            assert found_in(json.dumps(record)) == []
    assert failed > 10


def test_no_planted_string_is_in_a_dead_letter_but_for_its_payload(driven: Driven) -> None:
    letters = driven.queue.dead_letters.list(limit=1000).letters
    assert len(letters) > 12
    for letter in letters:
        assert found_in(json.dumps(letter.to_json()) + repr(letter)) == []


def test_no_planted_string_is_in_the_metrics(driven: Driven) -> None:
    assert found_in(scrape(driven.port).text) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("tables",),
        ("workers",),
        ("errors",),
        ("costs",),
        ("jobs", "--limit", "500"),
        ("dead", "list", "--limit", "500"),
    ],
    ids=" ".join,
)
def test_no_planted_string_is_in_what_an_operator_is_shown(driven: Driven, arguments: tuple[str, ...]) -> None:
    assert found_in(command(driven, "lakequeue", *arguments)) == []


def test_no_planted_string_is_in_what_is_said_of_single_jobs(driven: Driven) -> None:
    """In JSON `status` prints the outcome itself: a read's rows, and what the warehouse said of a job that failed."""
    told = on_terminal(driven, "status", *driven.jobs)
    assert all(job_id in told for job_id in driven.jobs)
    assert found_in(told) == []
    letters = [letter.id for letter in driven.queue.dead_letters.list(limit=1000).letters]
    assert found_in(command(driven, "lakequeue", "dead", "show", *letters)) == []
    # The search would find one that is there.
    assert found_in(command(driven, "lakequeue", "dead", "show", "--payload", *letters))


def test_no_credential_is_in_what_commands_say_of_wrong_ones(driven: Driven) -> None:
    wrong = driven.environ["LAKEQUEUE_REDIS_URL"].replace(REDIS_PASSWORD, planted("wrong"))
    assert found_in(command(driven, "lakequeue", "tables", LAKEQUEUE_REDIS_URL=wrong)) == []
    with Queue(wrong) as queue, pytest.raises(QueueUnreachable) as caught:
        queue.write("shop.sales.rows", [{"id": planted("value")}])
    assert found_in("".join(format_exception(caught.value))) == []
    odd = f"redis://:{planted('odd')}/#?@127.0.0.1:x/0"
    assert found_in(command(driven, "lakequeue", "tables", LAKEQUEUE_REDIS_URL=odd)) == []
    changes = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "local", "DATABRICKS_CLIENT_SECRET": planted("bad")}
    assert found_in(command(driven, "worker", "doctor", **changes)) == []
    changes = {"DATABRICKS_TOKEN": planted("bad"), "LAKEQUEUE_REDIS_URL": odd}
    assert found_in(command(driven, "worker", "doctor", **changes)) == []
