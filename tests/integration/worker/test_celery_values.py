"""Python's values through Celery's door: kombu writes them with their types, in fields of jobs and of signatures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError
from lakequeue import JobFailed

from tests.fix_system import System

AMOUNT, AT, DAY = Decimal("12345678901234567890.10"), datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC), date(2026, 1, 31)
ID, RAW, TEXT = UUID(int=7), b"\xff\x00", b"text"
ROW: dict[str, Any] = {
    "id": ID,
    "amount": AMOUNT,
    "at": AT,
    "day": DAY,
    "raw": RAW,
    "tags": {"a": AMOUNT},
    "many": [DAY],
}
SCHEMA = [
    {"name": name, "data_type": kind}
    for name, kind in {
        "id": "STRING",
        "amount": "DECIMAL(38,2)",
        "at": "TIMESTAMP",
        "day": "DATE",
        "raw": "BINARY",
        "tags": "MAP<STRING, DECIMAL(38,2)>",
        "many": "ARRAY<DATE>",
    }.items()
]
KEYED = {"id": ID, "amount": AMOUNT, "at": AT, "day": DAY, "raw": RAW}


@pytest.fixture
def filled(app: Celery, table: str) -> str:
    """A table with the row."""
    made = {"table": table, "data": [ROW], "auto_create": True, "schema_definition": SCHEMA}
    assert app.send_task("records.write", kwargs=made).get(timeout=30)["count"] == 1
    return table


def run(app: Celery, op: str, table: str, **kwargs: Any) -> Any:
    return app.send_task(f"records.{op}", kwargs={"table": table, **kwargs}).get(timeout=30)


def test_rows_hold_the_values_that_were_given(system: System, app: Celery, filled: str) -> None:
    for data in ([ROW], ROW):
        assert run(app, "write", filled, data=data)["count"] == 1
    page = system.queue.read(filled, columns=list(ROW)).result(timeout=30)
    assert page.data == [{**ROW, "id": str(ID)}] * 3


@pytest.mark.parametrize("column", KEYED)
def test_a_read_filters_by_the_values_that_were_given(app: Celery, filled: str, column: str) -> None:
    value = KEYED[column]
    for op, given in (("=", value), ("IN", [value]), ("BETWEEN", [value, value])):
        filters = [{"column": column, "op": op, "value": given}]
        assert run(app, "read", filled, filters=filters)["total"] == 1, op


@pytest.mark.parametrize("column", KEYED)
def test_updates_and_deletes_find_rows_by_the_values_that_were_given(
    system: System, app: Celery, filled: str, column: str
) -> None:
    value, later = KEYED[column], AT + timedelta(days=1)
    one = {"key_column": column, "key_value": value}
    assert run(app, "update", filled, key={column: value}, updates={"many": [DAY, DAY]})["count"] == 1
    assert run(app, "update", filled, **one, updates={"tags": {"b": AMOUNT}})["count"] == 1
    rows = [
        {"key": {column: value}, "updates": {"amount" if column == "at" else "at": AMOUNT if column == "at" else later}}
    ]
    assert run(app, "update", filled, rows=rows)["count"] == 1
    (row,) = system.queue.read(filled, columns=list(ROW)).result(timeout=30).data
    assert (row["many"], row["tags"]) == ([DAY, DAY], {"b": AMOUNT})
    assert row["at"] == (AT if column == "at" else later)
    if column != "at":
        assert run(app, "delete", filled, keys=[{column: value}])["count"] == 1


def test_an_upsert_finds_rows_by_the_values_that_were_given(system: System, app: Celery, filled: str) -> None:
    changed = {**ROW, "raw": TEXT}
    assert run(app, "write", filled, data=[changed], mode="upsert", key_columns=["id", "day"])["count"] == 1
    (row,) = system.queue.read(filled, columns="raw").result(timeout=30).data
    assert row == {"raw": TEXT}


def test_signatures_carry_the_values_that_were_given(system: System, app: Celery, filled: str) -> None:
    def write(**more: Any) -> Any:
        return app.signature("records.write", kwargs={"table": filled, "data": [{**ROW, **more}]}, immutable=True)

    assert chain(write(), write(), app=app).apply_async().get(timeout=30)["count"] == 1
    assert chord([write(), write()], write(), app=app).apply_async().get(timeout=30)["count"] == 1
    assert len(group([write(), write()], app=app).apply_async().get(timeout=30)) == 2
    link = write(raw=TEXT)
    link.set(task_id=uuid4().hex)
    write().apply_async(link=link).get(timeout=30)
    assert app.AsyncResult(link.options["task_id"]).get(timeout=30)["count"] == 1
    page = system.queue.read(filled, columns=list(ROW)).result(timeout=30)
    assert page.data.count({**ROW, "id": str(ID)}) == page.total - 1 == 9


def test_steps_that_cannot_be_sent_fail_and_nobody_waits_for_them(app: Celery, filled: str) -> None:
    write = app.signature("records.write", kwargs={"table": filled, "data": [ROW]}, immutable=True)
    wrong = write.clone().set(countdown="soon")
    for sent in (chain(write, wrong, write, app=app), chord([write, write], wrong, app=app)):
        with pytest.raises((TypeError, ChordError)):
            sent.apply_async().get(timeout=30)


def test_what_follows_a_job_is_due_and_expires_as_it_says(system: System, app: Celery, filled: str) -> None:
    soon, begun = datetime.now(UTC) + timedelta(seconds=3), datetime.now(UTC)
    write = app.signature("records.write", kwargs={"table": filled, "data": [ROW]}, immutable=True)
    later = write.clone().set(eta=soon, expires=soon + timedelta(minutes=5))
    assert chain(write, later, app=app).apply_async().get(timeout=30)["count"] == 1
    assert datetime.now(UTC) >= soon
    linked = write.clone().set(eta=soon, task_id=uuid4().hex)
    write.apply_async(link=linked).get(timeout=30)
    assert app.AsyncResult(linked.options["task_id"]).get(timeout=30)["count"] == 1
    counted = write.clone().set(countdown=1)
    assert chord([write, write], counted, app=app).apply_async().get(timeout=30)["count"] == 1
    assert datetime.now(UTC) - begun > timedelta(seconds=1)


def test_a_signature_that_is_due_at_a_time_without_an_offset_fails(app: Celery, filled: str) -> None:
    write = app.signature("records.write", kwargs={"table": filled, "data": [ROW]}, immutable=True)
    naive = write.clone().set(eta=AT.replace(tzinfo=None))
    with pytest.raises(JobFailed, match="a time without an offset"):
        chain(write, naive, app=app).apply_async().get(timeout=30)
