"""What canvases leave behind is judged by what each promises: every broken promise, made up, is found and named."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.torture.canvas import Canvas, make
from tests.torture.other_application import Traces, judge

CANVASES = make(3, 400)
START = datetime(2030, 1, 1, tzinfo=UTC)


def at(place: int) -> datetime:
    return START + timedelta(seconds=place)


def result(job: str) -> dict[str, Any]:
    return {"count": 1, "job": job}


def shaped(shape: Any) -> Any:
    return result(shape) if isinstance(shape, str) else [shaped(each) for each in shape]


def honest() -> Traces:
    """What a system leaves that runs the canvases one after the other."""
    rows: dict[int, list[datetime]] = {}
    records: dict[str, bytes] = {}
    told: dict[str, list[Any]] = {}
    for canvas in CANVASES:
        for key in canvas.once:
            rows[key] = [at(key)]  # keys rise with the canvases, and in each with its steps
        for job, state in (canvas.states or {}).items():
            records[job] = json.dumps({"status": state, "result": result(job)}).encode()
        for task, shape in (canvas.told or {}).items():
            told[task] = [[shaped(shape)]]
    return Traces(rows, records, told)


HONEST = honest()


def found(traces: Traces) -> Counter[str]:
    return Counter(finding.what for finding in judge(CANVASES, traces))


def first(kind: str) -> Canvas:
    return next(canvas for canvas in CANVASES if canvas.kind == kind)


def test_a_seed_stands_for_one_set_of_canvases_of_every_kind() -> None:
    assert make(3, 400) == CANVASES
    assert make(4, 400) != CANVASES
    assert {canvas.kind for canvas in CANVASES} >= {"plain", "delayed", "expired", "chord", "failed chord", "nested"}


def test_an_honest_run_is_clean() -> None:
    assert judge(CANVASES, HONEST) == []


def test_a_body_that_never_ran_is_lost_and_one_that_ran_twice_is_doubled() -> None:
    body = first("chord").once[-1]
    assert found(replace(HONEST, rows={**HONEST.rows, body: []})) == {"lost": 1}
    assert found(replace(HONEST, rows={**HONEST.rows, body: [at(body), at(body)]})) == {"doubled": 1}


def test_a_body_that_ran_before_a_part_is_out_of_order() -> None:
    *_, part, body = first("chord").once
    assert found(replace(HONEST, rows={**HONEST.rows, part: [at(body + 1)]})) == {"out of order": 1}


def test_a_job_that_was_not_to_run_and_did_is_wrong() -> None:
    for kind in ("expired", "failed chord", "broken chain", "failing"):
        key = first(kind).never[0]
        assert found(replace(HONEST, rows={**HONEST.rows, key: [at(key)]})) == {"wrong": 1}, kind


def test_a_step_whose_failure_is_not_told_is_lost() -> None:
    canvas = first("broken chain")
    job = list(canvas.states or ())[-1]
    assert found(replace(HONEST, records={**HONEST.records, job: b""})) == {"lost": 1}


def test_results_that_are_missing_or_in_another_order_are_found() -> None:
    canvas = next(each for each in CANVASES if each.kind == "chord to others" and len(each.once) > 1)
    task = next(iter(canvas.told or {}))
    ((parts,),) = HONEST.told[task]
    assert found(replace(HONEST, told={**HONEST.told, task: [[parts[::-1]]]})) == {"wrong": 1}
    assert found(replace(HONEST, told={**HONEST.told, task: []})) == {"lost": 1}
    assert found(replace(HONEST, told={**HONEST.told, task: [[parts], [parts]]})) == {}  # foreign tasks: at least once


def test_a_job_that_ran_before_it_was_due_is_out_of_order() -> None:
    canvas = first("delayed")
    assert found(replace(HONEST, due={canvas.number: at(canvas.once[0])})) == {}
    assert found(replace(HONEST, due={canvas.number: at(canvas.once[0] + 1)})) == {"out of order": 1}


def test_plain_jobs_of_a_table_that_ran_in_another_order_are_found() -> None:
    plain = [canvas for canvas in CANVASES if canvas.in_order and canvas.table == CANVASES[0].table]
    one, other = plain[0].once[0], plain[1].once[0]
    rows = {**HONEST.rows, one: [at(other)], other: [at(one)]}
    assert found(replace(HONEST, rows=rows))["out of order"] >= 1
