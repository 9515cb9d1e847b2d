"""Errors that are about no job: jobs wait for as long as they last, and none becomes a dead letter.

At full size: LAKEQUEUE_TEST_UNLISTED=5000,60 pytest tests/integration/worker/test_unlisted.py
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from lakequeue import Handle, JobFailed, Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker
from tests.support import QUICK, TABLE, ids, job, make_tables, until

JOBS, SECONDS = (float(text) for text in os.environ.get("LAKEQUEUE_TEST_UNLISTED", "500,1.5").split(","))

INTERNAL = {"action": "error", "error_class": "INTERNAL_ERROR", "sqlstate": "XX000", "message": "The Spark SQL phase x"}
NO_CLASS = {"action": "error", "error_class": "", "message": "Something went wrong"}
REFUSED = {"action": "refuse", "error_class": "", "message": "Something went wrong"}
STARTING = {
    "action": "refuse",
    "error_class": "",
    "message": "requirement failed: Session handle: SessionHandle [0a] has not been initialized or had already closed.",
}
NOT_YET = {"action": "error", "error_class": "", "message": "The session is not initialised yet"}
KINDS = {"INTERNAL_ERROR": INTERNAL, "no class": NO_CLASS, "starting": STARTING, "not initialised yet": NOT_YET}

PHASES = {
    "create": "^CREATE TABLE.*{table}",
    "describe": "^DESCRIBE.*{table}",
    "count": "^SELECT k.*{table}",
    "insert": "^INSERT.*{table}",
    "merge": "^MERGE.*{table}",
    "every statement": "",
}


def write(i: int, table: str, **more: Any) -> dict[str, Any]:
    return {**job(i, table), **more}


def all_done(handles: list[Handle], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for handle in handles:
        assert handle.result(timeout=max(0.1, deadline - time.monotonic())).count == 1


@pytest.mark.timeout(120 + 5 * int(SECONDS))
@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        *((phase, "INTERNAL_ERROR") for phase in PHASES),
        *(("insert", kind) for kind in ("no class", "starting", "not initialised yet")),
        ("every statement", "no class"),
        ("every statement", "starting"),
        ("describe", "starting"),
    ],
)
def test_jobs_whose_statements_all_fail_so_for_a_while_all_succeed_after_it(
    system: System, table: str, phase: str, kind: str
) -> None:
    upserts = {"mode": "upsert", "key_columns": ["id"]} if phase in ("count", "merge") else {}
    rule = {"on": "ExecuteStatement", "match": PHASES[phase].format(table=table.split(".")[2]), **KINDS[kind]}
    system.warehouse.fault(rule)
    try:
        jobs = [write(i, table, **upserts) for i in range(int(JOBS))]
        handles = list(system.queue.enqueue_many(jobs))
        seen: list[Any] = []

        def waits() -> bool:
            status = handles[0].status()
            seen.append((status.detail or {}).get("error"))
            return status.state == "RETRY"

        until(waits, "its failure is seen")
        time.sleep(SECONDS)  # that is what is tested
    finally:
        system.warehouse.clear_faults()
    assert seen[-1]
    all_done(handles, 60)
    assert system.queue.operations.table(table).dead == 0
    assert ids(system.warehouse, table) == list(range(int(JOBS)))


@pytest.mark.timeout(120 + 5 * int(SECONDS))
@pytest.mark.parametrize("kind", ["INTERNAL_ERROR", "no class", "starting"])
def test_reads_that_all_fail_so_for_a_while_all_succeed_after_it(system: System, table: str, kind: str) -> None:
    system.queue.enqueue(write(0, table)).result(timeout=30)
    reads = [
        {"kind": "read", "table": table, "filters": [{"column": "id", "op": ">=", "value": -i}]}
        for i in range(min(int(JOBS), 200))
    ]
    name = table.split(".")[2]
    system.warehouse.fault({"on": "ExecuteStatement", "match": f"^SELECT `id`.*{name}", **KINDS[kind]})
    try:
        handles = list(system.queue.enqueue_many(reads))
        until(lambda: handles[0].status().state == "RETRY", "its failure is seen")
        time.sleep(SECONDS)
    finally:
        system.warehouse.clear_faults()
    deadline = time.monotonic() + 60
    for handle in handles:
        assert handle.result(timeout=max(0.1, deadline - time.monotonic())).total == 1
    assert system.queue.operations.table(table).dead == 0


@pytest.mark.timeout(120 + 5 * int(SECONDS))
@pytest.mark.parametrize("kind", [INTERNAL, REFUSED], ids=["INTERNAL_ERROR", "refused without class"])
def test_a_proof_or_a_request_that_fails_so_is_made_again_until_it_is_answered(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, kind: dict[str, Any]
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    match = "AS found" if kind is INTERNAL else "^INSERT"
    warehouse.fault({"on": "ExecuteStatement", "match": match, **kind})
    lost = {"on": "ExecuteStatement", "match": "^INSERT", "action": "drop_after", "times": 1}
    if kind is INTERNAL:
        warehouse.fault(lost)
    handles = list(queue.enqueue_many([job(i) for i in range(1, int(JOBS))]))
    seen = warehouse.injected()[kind["action"]] + 1
    until(lambda: warehouse.injected()[kind["action"]] > seen, "it failed more than once")
    time.sleep(SECONDS)
    warehouse.clear_faults()
    all_done(handles, 60)
    assert queue.operations.table(TABLE).dead == 0
    assert ids(warehouse) == list(range(int(JOBS)))


def test_what_was_committed_although_its_statement_ended_in_such_an_error_is_found_and_not_done_twice(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker()
    queue.enqueue(job(0)).result(timeout=30)
    committed = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1, **INTERNAL, "executed": True}
    warehouse.fault(committed)
    receipt = queue.enqueue(job(1)).result(timeout=30).receipt
    assert any("found by its stamp" in note for note in receipt.notes)
    assert ids(warehouse) == [0, 1]


@pytest.mark.timeout(120)
def test_a_job_that_alone_provokes_it_fails_alone_and_the_others_of_its_table_go_on(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, TABLE, columns="id BIGINT, note STRING, created_at TIMESTAMP, _job_id STRING")
    start_worker(LAKEQUEUE_PAUSE_AFTER_S="24", LAKEQUEUE_BACKOFF_LONGEST_S="0.3")
    poison = {"on": "ExecuteStatement", "match": "^INSERT", "values": "poison", **INTERNAL}
    warehouse.fault(poison)
    notes = ["poison" if i == 37 else "sound" for i in range(100)]
    rows = [{"id": i, "note": note} for i, note in enumerate(notes)]
    handles = list(queue.enqueue_many([{"kind": "write", "table": TABLE, "data": [row]} for row in rows]))
    with pytest.raises(JobFailed, match="INTERNAL_ERROR"):
        handles[37].result(timeout=60)
    all_done([*handles[:37], *handles[38:]], 30)
    assert ids(warehouse) == [i for i in range(100) if i != 37]
    assert queue.operations.table(TABLE).dead == 1


@pytest.mark.timeout(120)
def test_a_table_that_fails_so_for_too_long_is_paused_and_goes_on_when_it_is_resumed(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    worker = start_worker(LAKEQUEUE_PAUSE_AFTER_S="2")
    for table in (TABLE, "shop.sales.other"):
        queue.enqueue(job(0, table)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT.*`events`", **INTERNAL})
    handles = list(queue.enqueue_many([job(i) for i in range(1, 100)]))
    until(lambda: queue.operations.table(TABLE).paused_by is not None, "it is paused")
    told = queue.operations.table(TABLE)
    assert (told.paused_by, told.error, told.dead, told.waiting) == ("INTERNAL_ERROR", "INTERNAL_ERROR", 0, 99)
    assert told.failing_since is not None
    assert f"table={TABLE} paused error=INTERNAL_ERROR" in worker.text()
    assert queue.enqueue(job(1, "shop.sales.other")).result(timeout=30).count == 1
    warehouse.clear_faults()
    assert queue.operations.resume(TABLE)
    all_done(handles, 30)
    told = queue.operations.table(TABLE)
    assert (told.paused_by, told.failing_since, told.dead) == (None, None, 0)


@pytest.mark.timeout(120)
def test_while_every_statement_fails_so_no_table_is_paused_and_all_go_on_by_themselves(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_PAUSE_AFTER_S="0.5")
    tables = [f"shop.sales.t{i}" for i in range(5)]
    for table in tables:
        queue.enqueue(job(0, table)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", **INTERNAL})
    handles = [queue.enqueue(job(1, table)) for table in tables]
    time.sleep(3)
    assert not any(each.paused_since for each in queue.operations.overview().tables)
    warehouse.clear_faults()
    all_done(handles, 30)


def test_a_statement_that_alone_is_refused_with_a_403_holds_up_no_other_table(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_PAUSE_AFTER_S="2")
    for table in (TABLE, "shop.sales.other"):
        queue.enqueue(job(0, table)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT.*`events`", "action": "status", "status": 403})
    refused = queue.enqueue(job(1))
    until(lambda: (refused.status().detail or {}).get("error") == "STATEMENT_UNAUTHENTICATED", "it waits")
    for i in range(1, 20):
        assert queue.enqueue(job(i, "shop.sales.other")).result(timeout=5).count == 1
    until(lambda: queue.operations.table(TABLE).paused_by == "STATEMENT_UNAUTHENTICATED", "its table is paused")
    warehouse.clear_faults()
    queue.operations.resume(TABLE)
    assert refused.result(timeout=30).count == 1
