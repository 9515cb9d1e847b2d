"""A warehouse that is down, starting or refuses the credentials: nothing lost, no dead letters, no hammering."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from lakequeue import Handle, Queue, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import QUICK, TABLE, ids, job, sql, until, until_it_waits

pytestmark = pytest.mark.alone

OUTAGE_S = 10.0
CAP_S = 1.0
"""The longest wait between two probes."""

AFTERWARDS_S = CAP_S + 1.0
"""After the end of an outage every table goes on within this, and what the machine takes for two jobs a table."""

PROBES = 40
"""One caller's in OUTAGE_S, at most: its waits are even between 0 and CAP_S, so it sends 22 on average, and 40 less
than once in a million runs."""

AT_ONCE = 24
"""Statements that may be under way when the first one fails: the threads of writes, of reads, and of pages."""

TABLES = [f"shop.sales.t{i}" for i in range(30)]
TABLE_DEFINITION = "(id BIGINT, note STRING, created_at TIMESTAMP, updated_at TIMESTAMP, _job_id STRING)"


@dataclass(frozen=True)
class Outage:
    """How it begins and ends, and how many requests met it."""

    begin: Callable[[LocalWarehouse], None]
    end: Callable[[LocalWarehouse], None]
    requests: Callable[[LocalWarehouse], int] | None


def fault(**rule: Any) -> Callable[[LocalWarehouse], None]:
    return lambda warehouse: warehouse.fault({"on": "any", "executed": False, **rule})


OUTAGES = {
    "refused connections": Outage(
        lambda warehouse: (warehouse.stop(), None)[1], lambda warehouse: warehouse.start(port=warehouse.port), None
    ),
    "503 on everything": Outage(
        fault(action="status", status=503), LocalWarehouse.clear_faults, lambda w: w.injected()["status_503"]
    ),
    "a cold start": Outage(
        fault(action="cold_start", times=1, seconds=600),
        LocalWarehouse.clear_faults,
        lambda w: w.injected()["cold_start"],
    ),
    "429 with Retry-After": Outage(
        fault(action="status", status=429, retry_after=1),
        LocalWarehouse.clear_faults,
        lambda w: w.injected()["status_429"],
    ),
}


def work(table: str) -> Iterator[dict[str, Any]]:
    """All verbs, on a table with the rows 0 and 1."""
    yield {"kind": "write", "table": table, "data": [{"id": 10}]}
    yield {"kind": "write", "table": table, "data": [{"id": 11}], "mode": "upsert", "key_columns": ["id"]}
    yield {"kind": "update", "table": table, "key": {"id": 0}, "updates": {"note": "changed"}}
    yield {"kind": "delete", "table": table, "key": {"id": 1}, "soft": False}
    yield {"kind": "read", "table": table, "order_by": "id"}


def prepare(warehouse: LocalWarehouse, queue: Queue) -> float:
    """The tables, and workers that have opened all their sessions. Returns how long two jobs of each table took."""
    sql(warehouse, "CREATE CATALOG shop", "CREATE SCHEMA shop.sales")
    sql(warehouse, *(f"CREATE TABLE {table} {TABLE_DEFINITION}" for table in TABLES))
    began = time.monotonic()
    handles = [queue.write(table, [{"id": 0}, {"id": 1}]) for table in TABLES]
    handles += [queue.read(table) for table in TABLES]
    for handle in handles:
        handle.result(timeout=60)
    return time.monotonic() - began


def states(handles: list[Handle]) -> set[str]:
    return {handle.status().state for handle in handles}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_an_outage_loses_nothing_dead_letters_nothing_and_is_probed_by_one_caller(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, outage: Outage
) -> None:
    worker = start_worker(**QUICK, LAKEQUEUE_BACKOFF_LONGEST_S=str(CAP_S))
    usual_s = prepare(warehouse, queue)
    outage.begin(warehouse)
    ends_at = time.monotonic() + OUTAGE_S
    handles = [queue.enqueue(each) for table in TABLES for each in work(table)]
    until(lambda: "RETRY" in states(handles), "the outage is noticed")
    while time.monotonic() < ends_at:
        assert states(handles) <= {"QUEUED", "STARTED", "RETRY"}
    probes = max(int(n) for n in re.findall(r"warehouse=away .*probes=(\d+)", worker.text()))
    assert probes <= PROBES
    if outage.requests is not None:
        met = outage.requests(warehouse)
        print(f"requests={met} probes={probes}")
        # A probe on a session that was open closes it, which is a request as well.
        assert met <= 2 * (probes + AT_ONCE)
    outage.end(warehouse)
    began = time.monotonic()
    receipts = [handle.result(timeout=60).receipt for handle in handles]
    took_s = time.monotonic() - began
    print(f"afterwards_s={took_s:.2f} usual_s={usual_s:.2f}")
    assert took_s <= AFTERWARDS_S + usual_s
    tries = sum(max(r.attempts for r in receipts[i : i + 5]) - 1 for i in range(0, len(receipts), 5))
    assert tries <= probes + 2 * AT_ONCE
    with redis.Redis.from_url(redis_url) as client:
        assert client.hlen(keys.DEAD) == 0
    for table in TABLES:
        assert ids(warehouse, table) == [0, 10, 11]
    assert worker.stop() == 0


def test_a_token_that_expires_leaves_all_jobs_waiting_until_it_is_renewed(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    first = start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.stop()
    warehouse.token = "renewed"
    warehouse.start(port=warehouse.port)
    handles = [queue.enqueue(job(i)) for i in range(1, 50)]
    handles += [queue.read(TABLE) for _ in range(10)]
    waiting = handles[0].status()
    deadline = time.monotonic() + 30
    while waiting.state != "RETRY":
        assert time.monotonic() < deadline, waiting
        waiting = handles[0].status()
    assert waiting.detail["error"] in ("UNAUTHENTICATED", "WAREHOUSE_AWAY")
    until(lambda: probes_of(first) >= 5, "it was tried several times")
    assert states(handles) <= {"QUEUED", "STARTED", "RETRY"}
    assert "ERROR" in first.text()
    assert "UNAUTHENTICATED: the warehouse does not take the credentials" in first.text()
    assert first.stop() == 0
    start_worker(**QUICK)
    for handle in handles:
        handle.result(timeout=30)
    assert ids(warehouse) == list(range(50))
    with redis.Redis.from_url(redis_url) as client:
        assert client.hlen(keys.DEAD) == 0


def probes_of(worker: Worker) -> int:
    return max((int(n) for n in re.findall(r"warehouse=away .*probes=(\d+)", worker.text())), default=0)


def test_a_statement_that_is_not_permitted_fails_its_jobs_alone(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    handles = [queue.enqueue(job(0, table)) for table in ("shop.sales.a", "shop.sales.b")]
    for handle in handles:
        handle.result(timeout=30)
    error = {"action": "error", "error_class": "INSUFFICIENT_PERMISSIONS", "sqlstate": "42501"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT.*`a`", **error})
    refused, taken = queue.enqueue(job(1, "shop.sales.a")), queue.enqueue(job(1, "shop.sales.b"))
    assert taken.result(timeout=30).count == 1
    until(lambda: refused.status().state == "FAILURE", "it fails at once")


def test_reads_wait_for_a_warehouse_that_opens_sessions_and_answers_no_statement(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    """As one that starts: a session can be had before statements can be run."""
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "action": "status", "status": 503, "executed": False})
    reads = [queue.read(TABLE, limit=i + 1) for i in range(20)]
    until(lambda: probes_of(worker) >= 6, "more tries than a read that is lost is given")
    assert states(reads) <= {"QUEUED", "STARTED", "RETRY"}
    warehouse.clear_faults()
    assert [read.result(timeout=30).total for read in reads] == [1] * 20


def test_connections_that_break_are_nothing_against_a_read(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    queue.enqueue(job(0)).result(timeout=30)
    queue.read(TABLE).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^SELECT", "times": 6, "action": "drop_before"})
    result = queue.read(TABLE).result(timeout=30)
    assert result.receipt.attempts == 7


def test_a_read_that_never_brings_its_result_is_given_up(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    queue.enqueue(job(0)).result(timeout=30)
    late = {"action": "error", "error_class": "STATEMENT_TIMEOUT", "sqlstate": "57KD0"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^SELECT", **late})
    read = queue.read(TABLE)
    until(lambda: read.status().state == "FAILURE", "it fails")
    assert warehouse.injected()["error"] == 3


def test_status_shows_the_attempts_and_the_next_try_of_a_job_that_waits(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(LAKEQUEUE_BACKOFF_FIRST_S="30", LAKEQUEUE_BACKOFF_LONGEST_S="30")
    queue.enqueue(job(0)).result(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **error})
    handle = queue.enqueue(job(1))
    until_it_waits(handle, 10)
    command = [sys.executable, "-m", "lakequeue", "--redis", redis_url, "status", handle.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    shown = json.loads(done.stdout)
    assert shown["state"] == "RETRY"
    assert shown["detail"]["error"] == "DELTA_CONCURRENT_APPEND"
    assert shown["detail"]["attempts"] >= 1
    next_try = datetime.fromisoformat(shown["detail"]["next_try"])
    assert (next_try - datetime.now(UTC)).total_seconds() <= 30


def test_tries_that_waited_are_nothing_against_a_statement_whose_answer_is_lost_once(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(**{**QUICK, "LAKEQUEUE_START_WITHIN_S": "3"}, LAKEQUEUE_BACKOFF_LONGEST_S="0.2")
    queue.enqueue(job(0)).result(timeout=30)
    error = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    insert = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1}
    warehouse.fault({**insert, "times": 5, **error}, {**insert, "action": "drop_before"})
    assert queue.enqueue(job(1)).result(timeout=30).receipt.attempts == 7
    assert ids(warehouse) == [0, 1]
    with redis.Redis.from_url(redis_url) as client:
        assert client.hlen(keys.DEAD) == 0
