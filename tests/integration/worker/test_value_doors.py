"""A value means the same by every door: the client, `lakequeue enqueue` and another application's Celery."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import inf, nan
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery, chord
from kombu.utils.json import dumps as kombu_dumps
from lakequeue import Handle, JobFailed

from tests.fix_cli import command
from tests.fix_system import System
from tests.strategies import comparable

NTZ = datetime.fromisoformat("2024-01-02T03:04:05.000006")
MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
NO_NAN = "takes text, not NaN, which pandas writes for a missing value: send None"

Case = tuple[str, object, object]
STORED: dict[str, Case] = {
    "NaN in DOUBLE": ("DOUBLE", nan, nan),
    "Infinity in FLOAT": ("FLOAT", -inf, -inf),
    "NaN as text in DOUBLE": ("DOUBLE", "NaN", nan),
    "NaN as text in STRING": ("STRING", "NaN", "NaN"),
    "whole number in DOUBLE": ("DOUBLE", 2**53, 2.0**53),
    "Decimal": ("DECIMAL(9,2)", Decimal("9.90"), Decimal("9.90")),
    "Decimal in DOUBLE": ("DOUBLE", Decimal("9.90"), 9.9),
    "Decimal in BIGINT": ("BIGINT", Decimal("1E+2"), 100),
    "date": ("DATE", date(2024, 1, 2), date(2024, 1, 2)),
    "moment": ("TIMESTAMP", MOMENT, MOMENT),
    "naive moment": ("TIMESTAMP_NTZ", NTZ, NTZ),
    "bytes that are text": ("BINARY", b"abc", b"abc"),
    "bytes that are none": ("BINARY", b"\xff\x00", b"\xff\x00"),
    "UUID": ("STRING", UUID(int=7), str(UUID(int=7))),
    "list": ("ARRAY<BINARY>", [b"a", None], [b"a", None]),
    "map": ("MAP<STRING, DECIMAL(9,2)>", {"a": Decimal(1)}, {"a": Decimal("1.00")}),
    "struct": ("STRUCT<d: DATE, n: DOUBLE>", {"d": date(2024, 1, 2), "n": nan}, {"d": date(2024, 1, 2), "n": nan}),
}
REFUSED: dict[str, Case] = {
    "NaN in STRING": ("STRING", nan, NO_NAN),
    "NaN in VARCHAR": ("VARCHAR(9)", nan, NO_NAN),
    "NaN in a list of text": ("ARRAY<STRING>", ["a", nan], NO_NAN),
    "NaN in a map of text": ("MAP<STRING, STRING>", {"a": nan}, NO_NAN),
    "NaN in a struct": ("STRUCT<a: STRING>", {"a": nan}, NO_NAN),
    "Infinity in STRING": ("STRING", inf, "takes text, not Infinity"),
    "bytes in STRING": ("STRING", b"abc", "takes text, not bytes: send text, in Python value.decode()"),
    "Decimal in STRING": ("STRING", Decimal("1.5"), "takes text, not a Decimal: send text, in Python str(value)"),
    "date in STRING": ("STRING", date(2024, 1, 2), "takes text, not a date: send text, in Python value.isoformat()"),
    "moment in STRING": ("STRING", MOMENT, "takes text, not a datetime: send text, in Python value.isoformat()"),
    "Decimal in a map of text": ("MAP<STRING, STRING>", {"a": Decimal(1)}, "takes text, not a Decimal"),
    "NaN in BIGINT": ("BIGINT", nan, "send None"),
    "large whole number in DOUBLE": ("DOUBLE", 2**53 + 1, "DOUBLE does not hold every whole number"),
    "naive moment in TIMESTAMP": ("TIMESTAMP", NTZ, "TIMESTAMP needs an offset or Z"),
    "moment in DATE": ("DATE", MOMENT, "DATE takes a date or text such as 2024-12-31, not a datetime"),
    "date in TIMESTAMP": ("TIMESTAMP", date(2024, 1, 2), "not a date"),
    "time": ("STRING", time(3, 4), "no column holds a time: send text to a STRING, in Python value.isoformat()"),
}
CASES = STORED | REFUSED
IDS = {name: i for i, name in enumerate(CASES)}

Jobs = Sequence[Mapping[str, Any]]
Answers = list[int | str]
"""Of each job the count of its rows, or why it was refused."""


def outcome(handle: Handle) -> int | str:
    try:
        count: int = handle.result(timeout=60).count
        return count
    except JobFailed as failed:
        return failed.message


def by_client(system: System, _: Celery, jobs: Jobs) -> Answers:
    sent = list(system.queue.enqueue_many(jobs, on_error="collect"))
    return [outcome(each) if isinstance(each, Handle) else each.message for each in sent]


def by_command(system: System, _: Celery, jobs: Jobs) -> Answers:
    done = subprocess.run(
        command("enqueue", "--keep-going", "-"),
        input="".join(f"{kombu_dumps(job)}\n" for job in jobs),
        env=system.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    refused = {each["line"]: each["message"] for each in map(json.loads, done.stderr.splitlines())}
    return [refused.get(line) or outcome(system.queue.job(job["id"])) for line, job in enumerate(jobs, start=1)]


def by_celery(system: System, app: Celery, jobs: Jobs) -> Answers:
    sent = []
    for job in jobs:
        fields = {name: value for name, value in job.items() if name not in ("kind", "id")}
        sent.append(app.send_task(f"records.{job['kind']}", kwargs=fields, task_id=job["id"]))
    for each in sent:
        each.get(timeout=60, propagate=False)
    return [outcome(system.queue.job(job["id"])) for job in jobs]


DOORS: dict[str, Callable[[System, Celery, Jobs], Answers]] = {
    "client": by_client,
    "command": by_command,
    "celery": by_celery,
}


def made(system: System, table: str, columns: Mapping[str, str]) -> None:
    definition = [{"name": name, "data_type": sql} for name, sql in {"id": "BIGINT", **columns}.items()]
    system.queue.write(table, {"id": -1}, auto_create=True, schema_definition=definition).result(timeout=60)


def test_a_value_is_stored_or_refused_alike_by_every_door(system: System, app: Celery, table: str) -> None:
    made(system, table, {f"c{i}": CASES[name][0] for name, i in IDS.items()})
    answers: dict[str, Answers] = {}
    for door, send in DOORS.items():
        jobs = [
            {
                "kind": "write",
                "table": table,
                "data": [{"id": i, f"c{i}": CASES[name][1]}],
                "actor": door,
                "id": f"{table}:{door}:{i}",
            }
            for name, i in IDS.items()
        ]
        answers[door] = send(system, app, jobs)
    for name, i in IDS.items():
        first = answers["client"][i]
        assert all(answers[door][i] == first for door in DOORS), (name, [answers[door][i] for door in DOORS])
        if name in REFUSED:
            place = f"write {table}: data[0].c{i}"
            assert str(first).startswith(place), (name, first)
            assert str(REFUSED[name][2]) in str(first), name
    for door in DOORS:
        found = system.queue.read(
            table,
            filters=[{"column": "created_by", "op": "=", "value": door}],
            columns=["id", *(f"c{i}" for i in IDS.values())],
            order_by="id",
            limit=1000,
        ).result(timeout=60)
        assert {row["id"] for row in found.data} == {IDS[name] for name in STORED}
        for row in found.data:
            i = row["id"]
            name = next(each for each in IDS if IDS[each] == i)
            assert comparable(row[f"c{i}"]) == comparable(STORED[name][2]), (door, name)


KEYS: dict[str, tuple[str, object]] = {
    "decimal": ("DECIMAL(9,2)", Decimal("9.90")),
    "day": ("DATE", date(2024, 1, 2)),
    "at": ("TIMESTAMP", MOMENT),
    "ntz": ("TIMESTAMP_NTZ", NTZ),
    "raw": ("BINARY", b"\xff\x00"),
    "code": ("STRING", UUID(int=7)),
    "x": ("DOUBLE", inf),
}


def test_keys_and_filters_find_the_same_rows_by_every_door(system: System, app: Celery, table: str) -> None:
    made(system, table, {"n": "BIGINT", **{name: sql for name, (sql, _) in KEYS.items()}})
    row = {name: value for name, (_, value) in KEYS.items()}
    system.queue.write(table, [{"id": i, **row} for i in range(len(DOORS))]).result(timeout=60)
    for number, (door, send) in enumerate(DOORS.items()):
        jobs: list[dict[str, Any]] = []
        for name, (_, value) in KEYS.items():
            mine = {"column": "id", "op": "=", "value": number}
            for op, given in (("=", value), ("IN", [value]), ("BETWEEN", [value, value])):
                filters = [mine, {"column": name, "op": op, "value": given}]
                jobs.append({"kind": "read", "table": table, "filters": filters})
            key = {"id": number, name: value}
            jobs.append({"kind": "update", "table": table, "key": key, "updates": {"n": 1, name: value}})
            jobs.append({"kind": "update", "table": table, "rows": [{"key": key, "updates": {"n": 1}}]})
            data = [{**key, "n": 2}]
            jobs.append({"kind": "write", "table": table, "mode": "upsert", "key_columns": [*key], "data": data})
        jobs.append({"kind": "delete", "table": table, "keys": [{"id": number, **row}]})
        for job in jobs:
            job["id"] = str(uuid4())
        answers = send(system, app, jobs)
        assert answers == [1] * len(jobs), [(door, job, answer) for job, answer in zip(jobs, answers, strict=True)]
    assert system.queue.read(table, columns="id").result(timeout=60).data == [{"id": -1}]


def test_text_in_binary_is_base64_in_json_and_refused_from_python(system: System, app: Celery, table: str) -> None:
    made(system, table, {"raw": "BINARY", "many": "ARRAY<BINARY>"})
    for door, send in DOORS.items():
        jobs: list[dict[str, Any]] = [
            {"kind": "write", "data": [{"id": 1, "raw": "/wA=", "many": ["QQ=="]}]},
            {"kind": "update", "key": {"raw": "/wA="}, "updates": {"id": 2}},
            {"kind": "read", "filters": [{"column": "raw", "op": "=", "value": "/wA="}]},
        ]
        for job in jobs:
            job |= {"table": table, "id": str(uuid4())}
        jobs[2]["after"] = jobs[1]["id"]
        answers = send(system, app, jobs)
        if door == "client":
            assert all("BINARY takes bytes, not text" in str(answer) for answer in answers), answers
        else:
            assert answers == {"command": [1, 1, 1], "celery": [1, 2, 2]}[door]
    found = system.queue.read(table, columns="raw,many", filters=[{"column": "raw", "op": "=", "value": b"\xff\x00"}])
    assert found.result(timeout=60).data == [{"raw": b"\xff\x00", "many": [b"A"]}] * 2


def test_a_replay_keeps_how_its_values_were_given(system: System, app: Celery, table: str) -> None:
    sent = {door: str(uuid4()) for door in DOORS}
    for door, send in DOORS.items():
        job = {"kind": "write", "table": table, "data": [{"id": 1, "raw": "/wA="}], "actor": door, "id": sent[door]}
        (answer,) = send(system, app, [job])
        assert "TABLE_OR_VIEW_NOT_FOUND" in str(answer)
    made(system, table, {"raw": "BINARY"})
    replays = {door: system.queue.dead_letters.replay(job_id) for door, job_id in sent.items()}
    with pytest.raises(JobFailed, match="BINARY takes bytes, not text"):
        replays["client"].result(timeout=60)
    assert replays["command"].result(timeout=60).count == replays["celery"].result(timeout=60).count == 1


def test_a_page_of_every_type_is_copied_by_a_chain(system: System, app: Celery, table: str) -> None:
    types = {f"c{i}": CASES[name][0] for name, i in IDS.items() if name in STORED}
    copy = f"{table}_copy"
    for each in (table, copy):
        made(system, each, types)
    row = {f"c{i}": CASES[name][1] for name, i in IDS.items() if name in STORED}
    row = {name: value for name, value in row.items() if not (types[name] == "STRING" and value == "NaN")}
    system.queue.write(table, [{"id": 1, **row}]).result(timeout=60)
    read = app.signature("records.read", kwargs={"table": table, "filters": [{"column": "id", "op": "=", "value": 1}]})
    assert (read | app.signature("records.write", kwargs={"table": copy})).apply_async().get(timeout=60)["count"] == 1
    one, other = (
        system.queue.read(each, columns=["id", *types], filters=[{"column": "id", "op": "=", "value": 1}]).result(60)
        for each in (table, copy)
    )
    assert comparable(one.data[0]) == comparable(other.data[0])


def test_a_later_step_of_a_chain_keeps_its_values(system: System, app: Celery, table: str) -> None:
    made(system, table, {"x": "DOUBLE", "d": "DECIMAL(9,2)", "raw": "BINARY"})
    given = {"id": 1, "x": nan, "d": Decimal("1.50"), "raw": b"\xff"}
    steps = [app.signature("records.write", kwargs={"table": table, "data": [given]}, immutable=True) for _ in range(3)]
    group_and_body = chord(steps[:2], steps[2])
    assert (steps[0] | group_and_body).apply_async().get(timeout=60)["count"] == 1
    mine = [{"column": "id", "op": "=", "value": 1}]
    found = system.queue.read(table, columns=list(given), filters=mine).result(timeout=60).data
    assert [comparable(row) for row in found] == [comparable(given)] * 4


def test_a_filter_of_another_type_is_refused_alike_by_every_door(system: System, app: Celery, table: str) -> None:
    made(system, table, {"name": "STRING", "code": "VARCHAR(9)", "day": "DATE", "x": "DOUBLE"})
    wrong = {"name": Decimal("1.5"), "code": nan, "day": MOMENT, "x": 2**53 + 1}
    jobs: list[dict[str, Any]] = []
    for name, value in wrong.items():
        filters = [{"column": name, "op": "=", "value": value}]
        jobs.append({"kind": "read", "table": table, "filters": filters})
        jobs.append({"kind": "update", "table": table, "key": {"id": 1}, "updates": {name: value}})
        if name != "code":  # NaN is refused as a key before the column is known
            jobs.append({"kind": "delete", "table": table, "keys": [{name: value}]})
    answers = [
        send(system, app, [{**job, "id": str(uuid4())} for job in jobs]) for send in DOORS.values()
    ]  # fmt: skip
    assert answers[0] == answers[1] == answers[2]
    for job, answer in zip(jobs, answers[0], strict=True):
        place = {"read": "filters[0].value: ", "update": "updates.", "delete": "keys[0]."}[job["kind"]]
        assert str(answer).startswith(f"{job['kind']} {table}: {place}"), answer


def test_a_job_is_one_job_whichever_door_it_comes_by(system: System, app: Celery, table: str) -> None:
    made(system, table, {"d": "DECIMAL(9,2)", "x": "DOUBLE", "at": "TIMESTAMP"})
    data = [{"id": 1, "d": Decimal("1E+1"), "x": nan, "at": MOMENT.astimezone(UTC)}]
    job = {"kind": "write", "table": table, "data": data, "id": str(uuid4())}
    for send in DOORS.values():
        assert send(system, app, [job]) == [1]
    assert system.queue.read(table, columns="id", order_by="id").result(timeout=60).count == 2
