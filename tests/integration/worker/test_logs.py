"""What a real worker writes to its log: JSON and nothing else where that is asked for, a line a batch and a verdict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import redis
from lakequeue import Handle, JobFailed, Queue, wire

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker, worker_environ
from tests.planted import found_in, planted
from tests.support import COLUMNS, TABLE, sql, until

HEX = re.compile(r"[0-9a-f]{16}")
EVERY_LINE = {"at", "level", "logger", "thread", "message"}


def lines(worker: Worker) -> list[dict[str, Any]]:
    """Every line of a worker's output; each has to be an object."""
    return [json.loads(line) for line in worker.text().splitlines()]


def of(worker: Worker, handle: Handle) -> list[dict[str, Any]]:
    """The lines that name a job, without what every line has."""
    found = (each for each in lines(worker) if each.get("job") == handle.id)
    return [{name: value for name, value in each.items() if name not in EVERY_LINE} for each in found]


def write(queue: Queue, *rows: dict[str, Any]) -> Handle:
    return queue.write(TABLE, list(rows), auto_create=True, schema_definition=COLUMNS)


@pytest.fixture
def told(start_worker: StartWorker) -> Iterator[Worker]:
    worker = start_worker(LAKEQUEUE_LOG_FORMAT="json")
    yield worker
    assert worker.stop() == 0
    found = lines(worker)
    assert all(each.keys() >= EVERY_LINE for each in found)
    assert all(datetime.fromisoformat(each["at"]).tzinfo for each in found)
    assert [each["message"] for each in found if "shutdown" in each["message"]] == [
        "worker: Warm shutdown (MainProcess)"
    ]


def test_a_batch_and_each_verdict_is_one_line_with_the_ids_as_fields(
    told: Worker, queue: Queue, warehouse: LocalWarehouse, redis_url: str
) -> None:
    done = write(queue, {"id": 1})
    receipt = done.result(timeout=30).receipt
    until(lambda: len(of(told, done)) == 1, "the batch is told of")
    (line,) = of(told, done)
    assert line == {
        "job": done.id,
        "batch": receipt.batch,
        "table": TABLE,
        "rows": 1,
        "attempt": 1,
        "statement": receipt.statement,
        "ms": receipt.warehouse_ms,
    }
    # Of several jobs: their number.
    warehouse.fault({"action": "hold", "match": "INSERT", "times": 1})
    held = write(queue, {"id": 2})
    until(lambda: warehouse.held() == 1, "a statement is under way")
    several = [write(queue, {"id": i}) for i in (3, 4, 5)]
    warehouse.release()
    held.result(timeout=30)
    (batch,) = {handle.result(timeout=30).receipt.batch for handle in several}
    until(lambda: any(each.get("batch") == batch for each in lines(told)), "the batch is told of")
    (line,) = (each for each in lines(told) if each.get("batch") == batch)
    assert (line["jobs"], line["rows"], line["attempt"], line["table"]) == (3, 3, 1, TABLE)
    assert "job" not in line
    # Transient: the class, and when it is tried again.
    warehouse.fault({"action": "status", "status": 429, "match": "INSERT", "times": 1})
    again = write(queue, {"id": 6})
    receipt = again.result(timeout=30).receipt
    until(lambda: len(of(told, again)) == 2, "both tries are told of")
    waits, line = of(told, again)
    assert HEX.fullmatch(waits.pop("batch"))
    assert datetime.fromisoformat(waits.pop("next_try")).tzinfo
    assert waits == {"job": again.id, "table": TABLE, "attempt": 1, "verdict": "transient", "error": "HTTP_429"}
    assert (line["attempt"], line["batch"], line["statement"]) == (2, receipt.batch, receipt.statement)
    # Unknown, then found in the table.
    warehouse.fault({"action": "drop_after", "match": "INSERT", "times": 1})
    lost = write(queue, {"id": 7})
    receipt = lost.result(timeout=30).receipt
    until(lambda: len(of(told, lost)) == 2, "the loss and the proof are told of")
    unknown, line = of(told, lost)
    assert unknown == {
        "job": lost.id,
        "batch": receipt.batch,
        "table": TABLE,
        "attempt": 1,
        "verdict": "unknown",
        "error": "ANSWER_LOST",
    }
    assert line == {"job": lost.id, "batch": receipt.batch, "table": TABLE, "rows": 1, "attempt": 1}
    # Permanent, by the worker and by the warehouse: a line for each job, however often its batch is tried.
    refused = queue.write(TABLE, [{"nope": 1}])
    with pytest.raises(JobFailed):
        refused.result(timeout=30)
    until(lambda: len(of(told, refused)) == 1, "it is told of")
    permanent = {"verdict": "permanent", "committed": "not_committed", "table": TABLE}
    assert of(told, refused) == [{"job": refused.id, "error": "INVALID_JOB", **permanent}]
    sql(warehouse, f"ALTER TABLE {TABLE} ADD CONSTRAINT small CHECK (id < 1000)")
    queue.operations.pause(TABLE)
    wrong, bad, good = queue.write(TABLE, [{"nope": 1}]), write(queue, {"id": 5000}), write(queue, {"id": 8})
    queue.operations.resume(TABLE)
    good.result(timeout=30)
    until(lambda: len(of(told, bad)) == len(of(told, wrong)) == len(of(told, good)) == 1, "all are told of")
    (line,) = of(told, bad)
    assert HEX.fullmatch(line.pop("batch"))
    assert line.pop("statement") in {each["id"] for each in warehouse.statements() if each["error"]}
    error = "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    assert line == {"job": bad.id, "attempt": 1, "error": error, **permanent}
    # A read, and bytes that are no message.
    read = queue.read(TABLE)
    receipt = read.result(timeout=30).receipt
    until(lambda: len(of(told, read)) == 1, "it is told of")
    (line,) = of(told, read)
    assert (line["batch"], line["statement"], line["rows"]) == (receipt.batch, receipt.statement, 8)
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(wire.QUEUE, b"no message")
    until(lambda: any(str(each.get("job")).startswith("unreadable-") for each in lines(told)), "it is told of")


def test_text_is_read_by_people(worker: Worker, queue: Queue) -> None:
    done = write(queue, {"id": 1})
    receipt = done.result(timeout=30).receipt
    refused = queue.write(TABLE, [{"nope": 1}])
    with pytest.raises(JobFailed):
        refused.result(timeout=30)
    until(lambda: refused.id in worker.text(), "it is told of")
    said = (
        rf"^\[\S+ \S+: INFO/write_\d+\] job={done.id} batch={receipt.batch} table={TABLE} rows=1 attempt=1 "
        rf"statement={receipt.statement} ms={receipt.warehouse_ms}$"
    )
    assert len(re.findall(said, worker.text(), re.MULTILINE)) == 1
    said = rf"WARNING/write_\d+\] job={refused.id} table={TABLE} verdict=permanent error=INVALID_JOB"
    assert len(re.findall(said, worker.text(), re.MULTILINE)) == 1
    assert "None" not in worker.text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAKEQUEUE_LOG_FORMAT", "xml"),
        ("LAKEQUEUE_METRICS_PORT", "70000"),
        ("LAKEQUEUE_REDIS_URL", f"redis://:{planted('unencoded')}/word@127.0.0.1:1/0"),
    ],
    ids=["format", "port", "url"],
)
def test_a_setting_that_cannot_be_used_is_named_at_start(
    redis_url: str, warehouse: LocalWarehouse, name: str, value: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "worker"],
        env={**os.environ, **worker_environ(redis_url, warehouse, **{name: value})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"lakequeue: {name}: ")
    assert "expected" in last
    assert found_in(done.stderr + done.stdout) == []
