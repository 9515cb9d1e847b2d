"""A checker that cannot fail proves nothing: each kind of broken promise, made up, is found and given its name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lakequeue.jobs import parse_job

from tests.contract import Row, one_by_one
from tests.torture.model import INVALID, NOT_FOUND, REFUSED, SUCCESS, UNKNOWN, Model, Outcome
from tests.torture.plan import Plan, Scale, Spec, Table, make
from tests.torture.verdict import FAILED, Evidence, Stamps, count_logs, judge

SCALE = Scale(jobs=800, kills=20, stops=2, bursts=5, tables=6)
PLAN = make(3, SCALE)
PLAIN = next(table for table in PLAN.tables if table.kind == "plain")


def record(code: str, count: int | None = None, data: list[dict[str, Any]] | None = None) -> bytes:
    if code != SUCCESS:
        return json.dumps({"status": "FAILURE", "result": {"exc_message": ["", {"error": code}]}}).encode()
    result = {"count": count, "receipt": {}} if data is None else {"count": len(data), "data": data, "receipt": {}}
    return json.dumps({"status": "SUCCESS", "result": result}).encode()


def letter(committed: str = "not_committed") -> dict[str, str]:
    return {"committed": committed, "reason": "it failed"}


def run_alone(table: Table, rows: list[Row], spec: Spec) -> tuple[list[Row], bytes]:
    """One job on a table, by the contract; its record."""
    job = parse_job(spec.fields)
    if spec.kind == "read":
        key = str(spec.fields["filters"][0]["value"])
        page = [{"k": r.k, "a": r.a, "b": r.b and int(r.b)} for r in rows if r.k == key and not r.deleted]
        return rows, record(SUCCESS, data=page)
    if spec.flavour == "invalid":
        return rows, record(INVALID)
    after, count = one_by_one(rows, job, spec.id)
    if count is None:
        return rows, record(NOT_FOUND)
    if table.kind == "checked" and any(int(row.b or 0) < 0 for row in after):
        return rows, record(REFUSED)
    return after, record(SUCCESS, count)


def run_all(jobs: Callable[[list[Spec]], list[Spec]] = lambda specs: specs) -> Evidence:
    """What a system leaves that runs each table's jobs one by one, in the order that `jobs` makes of theirs."""
    records: dict[str, bytes] = {}
    tables: dict[int, list[Row]] = {}
    for table in PLAN.tables:
        rows: list[Row] = []
        for spec in jobs([spec for spec in PLAN.jobs if spec.table == table.number]):
            rows, records[spec.id] = run_alone(table, rows, spec)
        tables[table.number] = rows if table.stamped else [Row(row.k, row.a, row.b) for row in rows]
    return Evidence(records, {}, letters_of(records), tables)


def letters_of(records: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    return {job: letter() for job, raw in records.items() if b"FAILURE" in raw}


HONEST = run_all()


def found(evidence: Evidence, plan: Plan = PLAN) -> Counter[str]:
    return Counter(finding.what for finding in judge(plan, evidence).findings)


def with_rows(change: Callable[[list[Row]], list[Row]], table: int = 0) -> Evidence:
    return replace(HONEST, rows={**HONEST.rows, table: change(list(HONEST.rows[table]))})


def test_a_seed_stands_for_one_plan_and_another_seed_for_another() -> None:
    assert make(3, SCALE) == PLAN
    assert make(4, SCALE).faults != PLAN.faults
    assert make(4, SCALE).jobs != PLAN.jobs
    assert Counter(fault.what for fault in PLAN.faults) == {"kill": 20, "stop": 2, "redis": 3, "warehouse": 5}
    assert [fault.at for fault in PLAN.faults] == sorted(fault.at for fault in PLAN.faults)


def test_a_plan_has_all_kinds_of_jobs_on_all_kinds_of_tables() -> None:
    kinds = {table.number: table.kind for table in PLAN.tables}
    made = {(kinds[spec.table], spec.kind, spec.flavour) for spec in PLAN.jobs}
    for kind in ("created", "checked", "adopted", "plain"):
        assert {(kind, op, "fine") for op in ("write", "update", "delete", "read")} <= made
        assert (kind, "update", "invalid") in made
    assert ("checked", "write", "refused") in made
    modes = {spec.fields.get("mode", "append") for spec in PLAN.jobs if spec.kind == "write"}
    assert modes == {"append", "upsert", "insert_if_absent"}


def test_an_honest_run_is_clean() -> None:
    assert judge(PLAN, HONEST).findings == []
    codes = Counter(outcome.code for outcome in judge(PLAN, HONEST).outcomes.values())
    assert codes.keys() == {SUCCESS, NOT_FOUND, INVALID, REFUSED}


def test_a_job_without_an_outcome_is_lost() -> None:
    job = PLAN.jobs[100].id
    (missing,) = judge(PLAN, replace(HONEST, records={k: v for k, v in HONEST.records.items() if k != job})).findings[
        :1
    ]
    assert (missing.what, missing.jobs) == ("lost", (job,))
    queued = replace(HONEST, records={**HONEST.records, job: b'{"status": "QUEUED", "result": null}'})
    assert found(queued)["lost"] >= 1


def test_a_missing_row_is_lost_and_the_job_is_named() -> None:
    row = HONEST.rows[0][-1]
    (finding,) = judge(PLAN, with_rows(lambda rows: rows[:-1])).findings
    assert (finding.what, finding.jobs) == ("lost", (row.job,))


@pytest.mark.parametrize("table", [0, PLAIN.number], ids=["stamped", "plain"])
def test_a_row_that_is_there_twice_is_doubled(table: int) -> None:
    evidence = with_rows(lambda rows: [*rows, next(row for row in rows if int(row.k or 0) > 40)], table)
    assert found(evidence) == {"doubled": 1}


def test_a_lost_update_is_lost() -> None:
    def undo(rows: list[Row]) -> list[Row]:
        """The last update of a row that has seen more than one, taken back."""
        last = next(
            spec
            for spec in reversed(PLAN.jobs)
            if spec.table == 0 and spec.kind == "update" and spec.flavour == "fine" and "key" in spec.fields
            if any(row.k == str(spec.fields["key"]["k"]) and row.b == str(spec.seq) for row in rows)
        )
        return [replace(row, b="0") if row.b == str(last.seq) else row for row in rows]

    assert found(with_rows(undo)).keys() & {"lost", "out of order"}


def upsert(seq: int, text: str = "x") -> Spec:
    data = [{"k": 7, "a": text, "b": seq}]
    fields = {"table": PLAN.tables[0].name, "actor": "ann", "kind": "write", "mode": "upsert", "key_columns": ["k"]}
    return Spec(f"u{seq}", 0, seq, {**fields, "data": data})


def test_jobs_that_took_effect_in_another_order_are_found() -> None:
    jobs = [upsert(0), upsert(1)]
    model = Model(PLAN.tables[0])
    for spec in jobs:
        assert model.apply(spec, Outcome(SUCCESS, 1)) == []
    rows: list[Row] = []
    for spec in reversed(jobs):
        rows, _ = run_alone(PLAN.tables[0], rows, spec)
    (finding,) = model.compare(rows)
    assert (finding.what, finding.jobs) == ("out of order", ("u0", "u1"))


def test_a_final_outcome_that_is_not_the_stored_one_is_doubled() -> None:
    job = next(job for job, raw in HONEST.records.items() if b"SUCCESS" in raw)
    raw = HONEST.records[job]
    assert found(replace(HONEST, published={job: Counter({raw: 2})})) == {}
    told = Counter({raw: 1, record(NOT_FOUND): 1})
    assert found(replace(HONEST, published={job: told})) == {"doubled": 1}


def test_an_outcome_that_nothing_explains_is_wrong_or_lost() -> None:
    job = next(s for s in PLAN.jobs if s.table == 0 and s.kind == "write" and len(s.fields["data"]) == 1 and s.seq > 9)
    for code, what in (("ANSWER_LOST", "lost"), (UNKNOWN, "lost"), (NOT_FOUND, "lost")):
        records = {**HONEST.records, job.id: record(code)}
        assert found(replace(HONEST, records=records, letters=letters_of(records)))[what] >= 1
    records = {**HONEST.records, job.id: record(SUCCESS, 5)}
    assert found(replace(HONEST, records=records)) == {"wrong": 1}


def test_a_failure_without_a_dead_letter_and_a_letter_without_a_failure_are_wrong() -> None:
    letters = dict(HONEST.letters)
    letters.pop(next(iter(letters)))
    letters[next(job for job, raw in HONEST.records.items() if b"SUCCESS" in raw)] = letter()
    assert found(replace(HONEST, letters=letters)) == {"wrong": 2}


def test_what_is_left_in_redis_is_stuck() -> None:
    assert found(replace(HONEST, left={"lakequeue:frozen:w:torture.run.t0": "a hash"})) == {"stuck": 1}


def test_a_page_that_shows_what_was_before_the_job_it_comes_after_is_out_of_order() -> None:
    model = Model(PLAN.tables[0])
    for spec in (upsert(0), upsert(1)):
        assert model.apply(spec, Outcome(SUCCESS, 1)) == []
    filters = [{"column": "k", "op": "=", "value": 7}]
    read = Spec("r", 0, 2, {"table": PLAN.tables[0].name, "kind": "read", "filters": filters, "after": "u1"})
    assert model.read(read, Outcome(SUCCESS, 1, ({"k": 7, "a": "x", "b": 1},)), after=1) == []
    old = model.read(read, Outcome(SUCCESS, 1, ({"k": 7, "a": "x", "b": 0},)), after=1)
    assert [finding.what for finding in old] == ["out of order"]
    assert model.read(read, Outcome(SUCCESS, 1, ({"k": 7, "a": "x", "b": 0},)), after=0) == []


def test_stamps_that_do_not_rise_with_the_jobs_are_out_of_order() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    right = [
        Stamps(1, start, 3, start + 2 * second),
        Stamps(2, start, None, start),
        Stamps(4, start + second, 4, start),
    ]
    assert found(replace(HONEST, stamps={0: right[:2]})) == {}
    assert found(replace(HONEST, stamps={0: right})) == {"out of order": 1}
    wrong = [Stamps(1, start + second, None, start), Stamps(2, start, None, start)]
    assert found(replace(HONEST, stamps={0: wrong})) == {"out of order": 1}


def test_an_unknown_append_may_be_there_or_not_and_never_twice() -> None:
    append = next(
        spec
        for spec in PLAN.jobs
        if spec.table == PLAIN.number and spec.kind == "write" and len(spec.fields["data"]) == 1
        if "mode" not in spec.fields and (spec.fields["data"][0]["k"] or 0) > 40
    )
    records = {**HONEST.records, append.id: record(UNKNOWN)}
    letters = {**HONEST.letters, append.id: letter("unknown")}
    unknown = replace(HONEST, records=records, letters=letters)
    rows = list(HONEST.rows[PLAIN.number])
    mine = next(row for row in rows if row.k == str(append.fields["data"][0]["k"]))
    without = [row for row in rows if row is not mine]
    assert found(unknown) == {}
    assert found(replace(unknown, rows={**HONEST.rows, PLAIN.number: without})) == {}
    assert found(replace(unknown, rows={**HONEST.rows, PLAIN.number: [*rows, mine]})) == {"doubled": 1}
    assert found(replace(unknown, letters={**letters, append.id: letter()})) == {"wrong": 1}


def test_every_broken_promise_is_counted_in_the_verdict() -> None:
    verdict = judge(PLAN, with_rows(lambda rows: rows[:-1]))
    assert [verdict.count(what) for what in FAILED] == [1, 0, 0, 0, 0]


def test_a_batch_that_a_worker_did_not_lose_itself_was_taken_over() -> None:
    own = "batch=a1 table=t jobs=2 attempt=1 verdict=unknown error=X\nbatch=a1 table=t proved=committed"
    other = "batch=b2 table=t proved=not_yet wait_s=1.0\nbatch=b2 table=t proved=committed"
    counts = count_logs([own, other])
    assert (counts.found, counts.taken_over) == (2, 1)
