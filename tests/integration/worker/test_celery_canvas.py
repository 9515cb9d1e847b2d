"""What follows a job that came through Celery: chains, groups, chords and links, as Celery itself has them."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from hypothesis import HealthCheck, given, settings
from lakequeue import JobFailed, keys
from lakequeue.columns import ColumnType

from tests.fix_celery_app import fields, write
from tests.fix_system import System
from tests.integration.worker.test_types import EXAMPLES, definition, tables
from tests.strategies import comparable
from tests.support import ids, until


def test_a_chain_reads_what_it_wrote(system: System, app: Celery, table: str) -> None:
    write_first = app.signature("records.write", kwargs=fields(table, 1, 2))
    read = app.signature("records.read", kwargs={"table": table, "columns": ["id"]}, immutable=True)
    result = chain(write_first, read, app=app).apply_async()
    assert result.get(timeout=30)["total"] == 2
    assert result.parent.get(timeout=30)["count"] == 2


def test_a_chain_hands_the_rows_of_a_read_to_a_write(system: System, app: Celery, table: str) -> None:
    write(app, table, 1, 2, 3).get(timeout=30)
    copy = f"{table}_copy"
    read = app.signature("records.read", kwargs={"table": table, "columns": "id"})
    into = {name: value for name, value in fields(copy).items() if name != "data"}
    result = chain(read, app.signature("records.write", kwargs=into), app=app).apply_async()
    assert result.get(timeout=30)["count"] == 3
    assert ids(system.warehouse, copy) == [1, 2, 3]


@given(tables())
@settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_chain_copies_values_of_every_type(
    system: System, app: Celery, example: tuple[dict[str, ColumnType], list[dict[str, Any]]]
) -> None:
    types, rows = example
    source, copy = (f"types.copied.t_{uuid4().hex}" for _ in range(2))
    made: dict[str, Any] = {"auto_create": True, "schema_definition": definition(types)}
    assert system.queue.write(source, rows, **made).result(timeout=30).count == len(rows)
    read = app.signature("records.read", kwargs={"table": source})
    for into in (made, {}):  # with the types that the sender gives, and with those of the table
        write_all = app.signature("records.write", kwargs={"table": copy, **into})
        assert chain(read, write_all, app=app).apply_async().get(timeout=30)["count"] == len(rows)
    columns = list(types)
    given_rows, copied_rows = (
        system.queue.read(name, columns=columns).result(timeout=30).data for name in (source, copy)
    )
    as_text = [str([comparable(row[name]) for name in columns]) for row in given_rows]
    assert sorted(str([comparable(row[name]) for name in columns]) for row in copied_rows) == sorted(as_text * 2)


def test_a_chain_copies_rows_and_stamps_them_anew(system: System, app: Celery, table: str) -> None:
    write(app, table, 1, 2).get(timeout=30)
    copy = f"{table}_copy"
    into = {name: value for name, value in fields(copy).items() if name != "data"}
    read = app.signature("records.read", kwargs={"table": table, "columns": "id,_job_id,created_at,updated_by"})
    written = chain(read, app.signature("records.write", kwargs=into), app=app).apply_async()
    assert written.get(timeout=30)["count"] == 2
    page = system.queue.read(copy, columns="id,_job_id", order_by="id").result(timeout=30)
    assert [(row["id"], row["_job_id"]) for row in page.data] == [(1, written.id), (2, written.id)]


def test_an_empty_page_writes_nothing_and_the_chain_goes_on(system: System, app: Celery, table: str) -> None:
    write(app, table, 1).get(timeout=30)
    nobody = [{"column": "id", "op": "=", "value": 0}]
    nothing = app.signature("records.read", kwargs={"table": table, "filters": nobody})
    into = app.signature("records.write", kwargs={"table": table})
    count = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chain(nothing, into, count, app=app).apply_async()
    assert result.get(timeout=30)["total"] == 1
    assert result.parent.get(timeout=30)["message"] == f"0 rows written to {table}"
    parts = group([chain(nothing, into, app=app), chain(nothing, into, app=app)], app=app)
    assert chord(parts, count, app=app).apply_async().get(timeout=30)["total"] == 1


def test_a_chord_of_reads_hands_all_their_rows_to_a_write(system: System, app: Celery, table: str) -> None:
    write(app, table, 1, 2, 3).get(timeout=30)
    copy = f"{table}_copy"
    into = {name: value for name, value in fields(copy).items() if name != "data"}
    filters = [[{"column": "id", "op": op, "value": 2}] for op in ("<", ">=", ">")]
    reads = [app.signature("records.read", kwargs={"table": table, "filters": each}) for each in filters]
    body = app.signature("records.write", kwargs=into)
    assert chord(reads, body, app=app).apply_async().get(timeout=30)["count"] == 4
    assert ids(system.warehouse, copy) == [1, 2, 3, 3]


def test_a_chain_whose_first_step_fails_fails_to_its_end(system: System, app: Celery, table: str) -> None:
    bad = app.signature("records.write", kwargs={"table": table, "data": [{"id": 1}]})  # there is no such table
    read = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chain(bad, read, read.clone(), app=app).apply_async()
    with pytest.raises(JobFailed, match="does not exist"):
        result.get(timeout=30)


def test_a_group_has_one_result_of_all(system: System, app: Celery, table: str) -> None:
    result = group((app.signature("records.write", kwargs=fields(table, i)) for i in range(10)), app=app).apply_async()
    assert [each["count"] for each in result.get(timeout=30)] == [1] * 10
    assert ids(system.warehouse, table) == list(range(10))


def test_a_chord_reads_after_all_its_writes(system: System, app: Celery, table: str) -> None:
    header = [app.signature("records.write", kwargs=fields(table, i)) for i in range(10)]
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    assert chord(header, body, app=app).apply_async().get(timeout=30)["total"] == 10


def test_a_chord_with_a_failing_part_fails(system: System, app: Celery, table: str) -> None:
    header = [app.signature("records.write", kwargs=fields(table, 1))]
    header.append(app.signature("records.write", kwargs={"table": table, "data": "no rows"}))
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chord(header, body, app=app).apply_async()
    with pytest.raises(JobFailed):
        result.get(timeout=30)
    with pytest.raises(ChordError, match="JobFailed"):
        app.AsyncResult(result.id).get(timeout=30)


def received_by(client: redis.Redis, queue: str) -> dict[str, Any]:
    """The message that a worker of another application would get."""
    found = client.brpop([queue], timeout=30)
    assert found is not None, f"nothing came to {queue}"
    message: dict[str, Any] = json.loads(found[1])
    return message


def test_a_link_gets_the_result_and_may_be_anybodys_task(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    elsewhere, copy = f"queue-{uuid4().hex}", f"{table}_copy"
    notify = app.signature("shop.notify", options={"queue": elsewhere})
    again = app.signature("records.write", kwargs=fields(copy, 7), immutable=True)
    sent = write(app, table, 1, link=[notify, again])
    message = received_by(client, elsewhere)
    assert message["headers"]["task"] == "shop.notify"
    assert message["headers"]["parent_id"] == sent.id
    assert '"count": 1' in b64decode(message["body"]).decode()
    until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
    until(lambda: copied(system, copy) == [7], "the second link has run")


def test_callbacks_that_are_sent_twice_are_one_job(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    """As after a worker that died between sending them and taking them out of the outbox."""
    copy = f"{table}_copy"
    after: dict[str, Any] = dict.fromkeys(("root_id", "parent_id", "group", "group_index", "chord", "errbacks"))
    link = group((app.signature("records.write", kwargs=fields(copy, i), immutable=True) for i in (1, 2)), app=app)
    following = app.signature("records.write", kwargs=fields(copy, 3), immutable=True)
    after |= {"id": uuid4().hex, "task": "records.write", "callbacks": [link], "chain": [following]}
    item = json.dumps({"after": after, "record": {"status": "SUCCESS", "result": {"count": 1}}})
    poison = json.dumps({"after": {}, "record": {"status": "SUCCESS", "result": 1}})
    client.rpush(keys.OUTBOX, item, poison, item)
    until(lambda: client.llen(keys.OUTBOX) == 0, "all are sent")
    assert client.lindex(keys.OUTBOX_FAILED, 0) == poison.encode()
    assert write(app, copy, 4).get(timeout=30)["count"] == 1
    assert ids(system.warehouse, copy) == [1, 2, 3, 4]


def copied(system: System, table: str) -> list[int]:
    try:
        return ids(system.warehouse, table)
    except Exception:  # it is not there yet
        return []


@pytest.mark.parametrize("data", [[{"nope": 1}], "no rows"], ids=["refused by the table", "no valid job"])
def test_an_error_link_is_told_of_a_job_that_failed(
    system: System, app: Celery, client: redis.Redis, table: str, data: Any
) -> None:
    write(app, table, 0).get(timeout=30)
    elsewhere = f"queue-{uuid4().hex}"
    notify = app.signature("shop.alarm", options={"queue": elsewhere})
    sent = app.send_task("records.write", kwargs={"table": table, "data": data}, link_error=notify)
    with pytest.raises(JobFailed):
        sent.get(timeout=30)
    message = received_by(client, elsewhere)
    assert message["headers"]["task"] == "shop.alarm"
    assert json.loads(b64decode(message["body"]))[0] == [sent.id]


def test_a_chord_with_a_revoked_part_fails(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    late = app.signature("records.write", kwargs=fields(table, 1), options={"countdown": 600, "task_id": str(uuid4())})
    now = app.signature("records.write", kwargs=fields(table, 2))
    body = app.signature("records.read", kwargs={"table": table}, immutable=True)
    result = chord([late, now], body, app=app).apply_async()
    until(lambda: app.AsyncResult(late.id).state == "QUEUED", "the part waits")
    app.control.revoke(late.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    with pytest.raises(ChordError, match="revoked"):
        app.AsyncResult(result.id).get(timeout=30)
