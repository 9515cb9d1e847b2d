"""The whole way: a job from the client through Redis and a worker into a table, and back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis
from lakequeue import JobFailed, Queue, ReadResult, WriteResult

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System

COLUMNS = [
    {"name": "id", "data_type": "BIGINT", "nullable": False},
    {"name": "amount", "data_type": "DECIMAL(10,2)"},
    {"name": "note", "data_type": "VARCHAR(10)"},
    {"name": "day", "data_type": "DATE"},
    {"name": "at", "data_type": "TIMESTAMP"},
]


@pytest.fixture
def queue(system: System) -> Queue:
    return system.queue


@pytest.fixture
def warehouse(system: System) -> LocalWarehouse:
    return system.warehouse


def write(queue: Queue, table: str, rows: list[dict[str, Any]], **fields: Any) -> WriteResult:
    handle = queue.write(table, rows, auto_create=True, schema_definition=COLUMNS, **fields)
    result = handle.result(timeout=30)
    assert isinstance(result, WriteResult)
    return result


def read(queue: Queue, table: str, **fields: Any) -> ReadResult:
    result = queue.read(table, **fields).result(timeout=30)
    assert isinstance(result, ReadResult)
    return result


def test_a_row_is_written_stamped_and_read_back(queue: Queue, table: str) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    given = {"id": 1, "amount": Decimal("9.90"), "note": "it's; --", "day": date(2026, 3, 1), "at": at}
    result = write(queue, table, [given], actor="ann", id=f"{table}:1")
    assert (result.count, result.message) == (1, f"1 row written to {table}")
    assert result.receipt.batch_jobs == result.receipt.attempts == 1
    assert result.receipt.statement
    page = read(queue, table)
    assert (page.count, page.total) == (1, 1)
    row = dict(page.data[0])
    assert {name: row.pop(name) for name in given} == given
    assert row.pop("created_at") == row.pop("updated_at")
    assert row == {"created_by": "ann", "updated_by": "ann", "deleted_at": None}
    assert read(queue, table, columns="_job_id").data == [{"_job_id": f"{table}:1"}]


def test_without_an_actor_the_workers_own_identity_is_stamped(queue: Queue, table: str) -> None:
    write(queue, table, [{"id": 1}])
    assert read(queue, table, columns="created_by").data == [{"created_by": "local@localhost"}]


def test_jobs_that_wait_share_a_statement_and_keep_their_order(
    queue: Queue, table: str, warehouse: LocalWarehouse
) -> None:
    write(queue, table, [{"id": 0}])
    before = warehouse.counts()["INSERT"]
    jobs = ({"kind": "write", "table": table, "data": [{"id": i}]} for i in range(1, 2001))
    handles = list(queue.enqueue_many(jobs))
    results = [handle.result(timeout=60) for handle in handles]
    statements = warehouse.counts()["INSERT"] - before
    assert statements == len({result.receipt.batch for result in results}) <= 8
    assert read(queue, table, limit=1).total == 2001
    stamps = read(queue, table, columns="id,created_at", order_by="created_at,id", limit=1000).data
    assert [row["id"] for row in stamps] == list(range(1000))


@pytest.fixture(scope="module")
def five_rows(system: System) -> str:
    """A table with five rows."""
    table = "shop.sales.five"
    notes = ["a0", "b1", "a2", "100%", "a4"]
    write(
        system.queue,
        table,
        [
            {
                "id": i,
                "amount": None if i == 4 else f"{i}.50",
                "note": notes[i],
                "day": f"2026-01-0{i + 1}",
                "at": f"2026-01-01T0{i}:00:00Z",
            }
            for i in range(5)
        ],
    )
    return table


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([{"column": "id", "op": "=", "value": 3}], [3]),
        ([{"column": "id", "op": "!=", "value": 3}], [0, 1, 2, 4]),
        ([{"column": "id", "op": "<", "value": 2}], [0, 1]),
        ([{"column": "amount", "op": "<=", "value": "1.50"}], [0, 1]),
        ([{"column": "id", "op": ">", "value": 3}], [4]),
        ([{"column": "day", "op": ">=", "value": "2026-01-04"}], [3, 4]),
        ([{"column": "id", "op": "IN", "value": [1, 4, 9]}], [1, 4]),
        ([{"column": "id", "op": "not in", "value": [1, 4]}], [0, 2, 3]),
        ([{"column": "note", "op": "LIKE", "value": "a%"}], [0, 2, 4]),
        ([{"column": "note", "op": "LIKE", "value": "100\\%"}], [3]),
        ([{"column": "amount", "op": "IS NULL"}], [4]),
        ([{"column": "amount", "op": "IS NOT NULL"}, {"column": "id", "op": ">", "value": 1}], [2, 3]),
        ([{"column": "id", "op": "BETWEEN", "value": [1, 3]}], [1, 2, 3]),
        ([{"column": "note", "op": "=", "value": "' OR 1=1 --"}], []),
        ([{"column": "at", "op": ">", "value": "2026-01-01T02:00:00Z"}], [3, 4]),
    ],
    ids=lambda value: (
        " ".join(f"{f['column']} {f['op']}" for f in value) if value and isinstance(value[0], dict) else ""
    ),
)
def test_every_filter_selects_what_it_says(
    queue: Queue, five_rows: str, filters: list[dict[str, Any]], ids: list[int]
) -> None:
    page = read(queue, five_rows, filters=filters, order_by="id", limit=2)
    assert page.total == len(ids)
    assert [row["id"] for row in page.data] == ids[:2]


def test_pages_have_a_total_also_past_the_end(queue: Queue, table: str) -> None:
    write(queue, table, [{"id": i} for i in range(5)])
    page = read(queue, table, columns=["id"], order_by="-id", limit=2, offset=2)
    assert ([row["id"] for row in page.data], page.total) == ([2, 1], 5)
    beyond = read(queue, table, columns=["id"], order_by="id", limit=2, offset=50)
    assert (beyond.data, beyond.count, beyond.total) == ([], 0, 5)
    unordered = read(queue, table, columns=["id"], limit=2, offset=2)
    assert "order_by" in unordered.receipt.warnings[0]


def test_what_the_table_alone_can_tell_fails_alone(queue: Queue, table: str) -> None:
    write(queue, table, [{"id": 0}])
    bad: dict[int, dict[str, Any]] = {
        3: {"id": None},
        5: {"id": 5, "note": "far too long a note"},
        7: {"id": 7, "amount": "1.234"},
        9: {"id": 9, "unknown": 1},
        11: {"id": "NaN"},
        13: {"id": 13, "at": "2026-01-01T00:00:00"},
    }
    jobs = [{"kind": "write", "table": table, "data": [bad.get(i, {"id": i})]} for i in range(1, 15)]
    handles = list(queue.enqueue_many(jobs))
    failed = {}
    for i, handle in enumerate(handles, start=1):
        try:
            handle.result(timeout=30)
        except JobFailed as exc:
            failed[i] = exc.details["errors"][0]["loc"]
    assert failed == {
        3: ["data", 0, "id"],
        5: ["data", 0, "note"],
        7: ["data", 0, "amount"],
        9: ["data", 0, "unknown"],
        11: ["data", 0, "id"],
        13: ["data", 0, "at"],
    }
    assert [row["id"] for row in read(queue, table, columns="id", order_by="id").data] == [0, 1, 2, 4, 6, 8, 10, 12, 14]


def test_a_row_only_the_warehouse_refuses_is_found_by_splitting(
    queue: Queue, table: str, warehouse: LocalWarehouse
) -> None:
    write(queue, table, [{"id": 0}])
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT small CHECK (id < 1000)")
    # A batch of its own makes the others wait and so share one.
    before = warehouse.counts()["INSERT"]
    jobs = [{"kind": "write", "table": table, "data": [{"id": 5000 if i == 41 else i}]} for i in range(1, 65)]
    handles = list(queue.enqueue_many(jobs))
    outcomes = [_outcome(handle) for handle in handles]
    failed = [i for i, outcome in enumerate(outcomes, start=1) if isinstance(outcome, JobFailed)]
    assert failed == [41]
    error = outcomes[40]
    assert isinstance(error, JobFailed)
    assert error.details["error"] == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    assert error.details["sqlstate"] == "23001"
    assert read(queue, table, limit=1).total == 64
    assert warehouse.counts()["INSERT"] - before <= 2 * 6 + 1 + 2


def test_a_missing_table_is_named_and_with_auto_create_made(
    queue: Queue, table: str, warehouse: LocalWarehouse
) -> None:
    with pytest.raises(JobFailed, match="the table does not exist"):
        queue.write(table, [{"id": 1}]).result(timeout=30)
    write(queue, table, [{"id": 1}])
    with pytest.raises(JobFailed) as caught:
        queue.write(
            table, [{"id": 1}], auto_create=True, schema_definition=[{"name": "id", "data_type": "INT"}]
        ).result(timeout=30)
    assert "column id is BIGINT in the table, not INT" in str(caught.value)


def test_a_message_that_is_no_job_is_kept_and_blocks_nothing(queue: Queue, table: str, system: System) -> None:
    write(queue, table, [{"id": 1}])
    with redis.Redis.from_url(system.redis.url) as client:
        lane = f"lakequeue:jobs:w:{table}"
        before = client.hlen("lakequeue:dead")
        client.rpush(lane, b"\xff\xfe no message at all")
        client.rpush(lane, b'{"headers": {"id": "x y", "task": "records.write"}, "body": "[]"}')
        write(queue, table, [{"id": 2}])
        assert client.hlen("lakequeue:dead") - before == 2
    assert read(queue, table, limit=1).total == 2


def _outcome(handle: Any) -> Any:
    try:
        return handle.result(timeout=60)
    except JobFailed as exc:
        return exc
