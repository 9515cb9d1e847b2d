"""All verbs and modes, alone and in batches, on a real table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import redis
from lakequeue import JobFailed, Queue, ReadResult, WriteResult, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker
from tests.support import until

COLUMNS = [
    {"name": "id", "data_type": "BIGINT"},
    {"name": "name", "data_type": "STRING"},
    {"name": "amount", "data_type": "DECIMAL(10,2)"},
    {"name": "tags", "data_type": "ARRAY<STRING>"},
]


def done(handle: Any) -> WriteResult:
    result = handle.result(timeout=30)
    assert isinstance(result, WriteResult)
    return result


def rows(queue: Queue, table: str, columns: str = "id,name", **fields: Any) -> list[tuple[Any, ...]]:
    page = queue.read(table, columns=columns, order_by=columns.split(",")[0], limit=1000, **fields).result(timeout=30)
    assert isinstance(page, ReadResult)
    return [tuple(row.values()) for row in page.data]


@pytest.fixture
def queue(system: System) -> Queue:
    return system.queue


@pytest.fixture
def filled(system: System, table: str) -> str:
    """A table with rows 1 to 5."""
    data = [{"id": i, "name": f"n{i}", "amount": f"{i}.00", "tags": ["a"]} for i in range(1, 6)]
    done(system.queue.write(table, data, auto_create=True, schema_definition=COLUMNS, actor="ann"))
    return table


def test_an_update_sets_columns_of_the_rows_it_finds(queue: Queue, filled: str) -> None:
    result = done(
        queue.update(filled, key_column="id", key_value=2, updates={"name": "b", "tags": ["x", None]}, actor="bob")
    )
    assert (result.count, result.message) == (1, f"1 row updated in {filled}")
    columns = "id,name,amount,tags,created_by,updated_by"
    (row,) = rows(queue, filled, columns, filters=[{"column": "id", "op": "=", "value": 2}])
    assert (row[1], str(row[2]), row[3], row[4], row[5]) == ("b", "2.00", ["x", None], "ann", "bob")
    stamps = queue.read(filled, filters=[{"column": "id", "op": "=", "value": 2}]).result(timeout=30).data[0]
    assert stamps["updated_at"] > stamps["created_at"]


def test_an_update_by_a_composite_key_and_many_in_one_job(queue: Queue, filled: str) -> None:
    assert done(queue.update(filled, key={"id": 1, "name": "n1"}, updates={"amount": "7.50"})).count == 1
    assert done(queue.update(filled, key={"id": 1, "name": "other"}, updates={"amount": "8"})).count == 0
    changes = [{"key": {"id": i}, "updates": {"name": f"m{i}"}} for i in (3, 4, 99)]
    assert done(queue.update(filled, rows=changes)).count == 2
    assert [name for _, name in rows(queue, filled)] == ["n1", "n2", "m3", "m4", "n5"]


def test_a_missing_row_is_an_outcome_never_silence(queue: Queue, filled: str) -> None:
    assert done(queue.update(filled, key={"id": 99}, updates={"name": "x"})).count == 0
    with pytest.raises(JobFailed, match="no row has this key") as caught:
        queue.update(filled, key={"id": 99}, updates={"name": "x"}, must_exist=True).result(timeout=30)
    assert caught.value.details["error"] == "ROW_NOT_FOUND"
    with pytest.raises(JobFailed, match="no row has this key"):
        queue.delete(filled, key={"id": 99}, must_exist=True).result(timeout=30)


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_of_many_keys_those_that_are_missing_are_named_by_their_places(queue: Queue, filled: str, verb: str) -> None:
    keys = [{"id": i} for i in (3, 98, 4, 99)]
    if verb == "update":
        handle = queue.update(filled, rows=[{"key": key, "updates": {"name": "x"}} for key in keys], must_exist=True)
    else:
        handle = queue.delete(filled, keys=keys, must_exist=True)
    field = "rows" if verb == "update" else "keys"
    told = rf"{field}\[1\]: no row has this key \(and 1 more\), and must_exist is set"
    with pytest.raises(JobFailed, match=told) as caught:
        handle.result(timeout=30)
    assert caught.value.details["error"] == "ROW_NOT_FOUND"
    assert [error["loc"] for error in caught.value.details["errors"]] == [[field, 1], [field, 3]]
    assert "98" not in str(caught.value.to_dict())
    assert [i for i, _ in rows(queue, filled)] == [1, 2, 3, 4, 5]


def test_a_read_comes_after_a_job_whose_result_has_expired(system: System, filled: str) -> None:
    write = system.queue.write(filled, [{"id": 6, "name": "n6"}])
    assert write.result(timeout=30).count == 1
    with redis.Redis.from_url(system.redis.url) as client:
        client.delete(keys.record(write.id))  # as its expiry does
    assert system.queue.read(filled, after=write).result(timeout=30).total == 6
    with pytest.raises(JobFailed, match="its result has expired and it left no row in this table"):
        system.queue.read(filled, after="never-enqueued").result(timeout=30)


def test_a_soft_delete_hides_a_row_and_keeps_the_first_time(queue: Queue, filled: str) -> None:
    assert done(queue.delete(filled, key_column="id", key_value=1, actor="eve")).count == 1
    assert [i for i, _ in rows(queue, filled)] == [2, 3, 4, 5]
    one = [{"column": "id", "op": "=", "value": 1}]
    first = queue.read(filled, filters=one, include_deleted=True).result(timeout=30).data[0]
    assert first["deleted_at"] == first["updated_at"]
    assert first["updated_by"] == "eve"
    assert done(queue.delete(filled, key_column="id", key_value=1)).count == 0
    assert queue.read(filled, filters=one, include_deleted=True).result(timeout=30).data == [first]
    assert done(queue.update(filled, key={"id": 1}, updates={"name": "x"})).count == 0
    assert done(queue.update(filled, key={"id": 1}, updates={"name": "x"}, include_deleted=True)).count == 1


def test_a_hard_delete_removes_many_keys(queue: Queue, filled: str) -> None:
    done(queue.delete(filled, key={"id": 5}))
    assert done(queue.delete(filled, keys=[{"id": 1}, {"id": 5}, {"id": 77}], soft=False)).count == 2
    assert [i for i, _ in rows(queue, filled, include_deleted=True)] == [2, 3, 4]


def test_an_upsert_updates_what_is_there_and_adds_what_is_not(queue: Queue, filled: str) -> None:
    data = [{"id": 2, "name": "two"}, {"id": 6, "name": "six"}]
    assert done(queue.write(filled, data, mode="upsert", key_columns=["id"], actor="bob")).count == 2
    found = rows(queue, filled, "id,name,created_by,updated_by")
    assert found[1] == (2, "two", "ann", "bob")
    assert found[5] == (6, "six", "bob", "bob")
    assert done(queue.write(filled, data, mode="insert_if_absent", key_columns="id")).count == 0
    more = [{"id": 6, "name": "no"}, {"id": 7, "name": "seven"}]
    assert done(queue.write(filled, more, mode="insert_if_absent", key_columns="id")).count == 1
    assert [name for _, name in rows(queue, filled)][5:] == ["six", "seven"]


def test_a_key_may_change(queue: Queue, filled: str) -> None:
    handles = list(
        queue.enqueue_many(
            [
                {"kind": "update", "table": filled, "key": {"id": 1}, "updates": {"id": 10}},
                {"kind": "update", "table": filled, "key": {"id": 10}, "updates": {"name": "ten"}},
                {"kind": "update", "table": filled, "key": {"id": 1}, "updates": {"name": "gone"}},
            ]
        )
    )
    assert [done(handle).count for handle in handles] == [1, 1, 0]
    assert rows(queue, filled)[-1] == (10, "ten")


def test_alternating_verbs_share_a_statement(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, table: str
) -> None:
    del queue
    with Queue(redis_url) as own:
        first = start_worker()
        done(own.write(table, [{"id": 0}], auto_create=True, schema_definition=COLUMNS))
        first.stop()
        mix: list[dict[str, Any]] = []
        for i in range(1, 101):
            mix += [
                {"kind": "write", "table": table, "data": [{"id": i, "name": "new"}]},
                {"kind": "update", "table": table, "key": {"id": i}, "updates": {"amount": "1.50"}},
                {
                    "kind": "write",
                    "table": table,
                    "data": [{"id": i, "name": "up"}],
                    "mode": "upsert",
                    "key_columns": "id",
                },
                {"kind": "delete", "table": table, "key": {"id": i - 1}, "soft": i % 2 == 0},
            ]
        handles = list(own.enqueue_many(mix))
        before = warehouse.counts()
        start_worker()
        assert [done(handle).count for handle in handles] == [1] * 400
        after = warehouse.counts() - before
        assert dict(after) == {"DESCRIBE": 1, "SELECT": 1, "MERGE": 1}
        found = own.read(table, columns="id,name,amount").result(timeout=30)
        assert [tuple(map(str, row.values())) for row in found.data] == [("100", "up", "1.50")]


def test_jobs_that_look_for_rows_by_different_columns_take_turns(queue: Queue, filled: str) -> None:
    mix: list[dict[str, Any]] = [
        {"kind": "update", "key": {"id": 1}, "updates": {"amount": "2"}},
        {"kind": "update", "key": {"amount": "2"}, "updates": {"name": "two"}},
        {"kind": "delete", "key": {"id": 2}, "soft": False},
        {"kind": "update", "key": {"amount": "2"}, "updates": {"name": "one"}},
        {"kind": "write", "data": [{"id": 9, "amount": "2"}], "mode": "upsert", "key_columns": ["amount"]},
        {"kind": "write", "data": [{"id": 3, "name": "three"}], "mode": "upsert", "key_columns": ["id"]},
    ]
    handles = list(queue.enqueue_many({"table": filled, **each} for each in mix))
    assert [done(handle).count for handle in handles] == [1, 2, 1, 1, 1, 1]
    assert rows(queue, filled) == [(3, "three"), (4, "n4"), (5, "n5"), (9, "one")]


def test_a_row_the_warehouse_refuses_is_found_among_all_verbs(queue: Queue, filled: str, system: System) -> None:
    with system.warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {filled} ADD CONSTRAINT small CHECK (amount < 1000)")
    mix: list[dict[str, Any]] = [
        {"kind": "update", "table": filled, "key": {"id": i}, "updates": {"amount": "5000" if i == 3 else "9"}}
        for i in range(1, 6)
    ]
    mix.append({"kind": "write", "table": filled, "data": [{"id": 8, "amount": "1000.00"}]})
    mix.append({"kind": "delete", "table": filled, "key": {"id": 1}})
    outcomes = []
    for handle in list(queue.enqueue_many(mix)):
        try:
            outcomes.append(done(handle).count)
        except JobFailed as exc:
            outcomes.append(exc.details["sqlstate"])
    assert outcomes == [1, 1, "23001", 1, 1, "23001", 1]
    assert [str(a) for _, a in rows(queue, filled, "id,amount")] == ["9.00", "3.00", "9.00", "9.00"]


def test_one_bad_job_among_many_costs_two_statements_a_halving(queue: Queue, filled: str, system: System) -> None:
    with system.warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {filled} ADD CONSTRAINT small CHECK (amount < 1000)")
    merge = f"^MERGE INTO `shop`.`sales`.`{filled.split('.')[2]}`"
    system.warehouse.fault({"on": "ExecuteStatement", "match": merge, "times": 1, "action": "hold"})
    first = queue.update(filled, key={"id": 1}, updates={"name": "first"})
    until(lambda: system.warehouse.held() == 1, "the first is under way")
    bad = 41
    jobs = [
        {
            "kind": "write",
            "table": filled,
            "data": [{"id": i, "amount": "5000" if i == bad else "1"}],
            "mode": "upsert",
            "key_columns": ["id"],
        }
        for i in range(64)
    ]
    handles = list(queue.enqueue_many(jobs))
    system.warehouse.release()
    done(first)
    before = system.warehouse.counts()
    failed = []
    for i, handle in enumerate(handles):
        try:
            assert done(handle).count == 1
        except JobFailed:
            failed.append(i)
    assert failed == [bad]
    used = system.warehouse.counts() - before
    assert used.total() <= 2 + 2 * 6 + 1, used  # the count and the whole, then two a halving
    assert len(rows(queue, filled)) == 64 - 2 + 1


def test_what_does_not_fit_the_table_is_located(queue: Queue, filled: str) -> None:
    wrong: list[tuple[dict[str, Any], list[Any]]] = [
        ({"kind": "update", "key_column": "nope", "key_value": 1, "updates": {"name": "x"}}, ["key_column"]),
        ({"kind": "update", "key_column": "id", "key_value": "x", "updates": {"name": "x"}}, ["key_value"]),
        ({"kind": "update", "key": {"id": 1}, "updates": {"amount": "1.234"}}, ["updates", "amount"]),
        ({"kind": "update", "rows": [{"key": {"id": 1}, "updates": {"nam": 1}}]}, ["rows", 0, "updates", "nam"]),
        ({"kind": "delete", "keys": [{"id": 1}, {"id": "x"}]}, ["keys", 1, "id"]),
        ({"kind": "delete", "key": {"tags": "x"}}, ["key"]),
        ({"kind": "write", "data": [{"id": 1}], "mode": "upsert", "key_columns": ["id"], "table": "?"}, []),
    ]
    for job, loc in wrong[:-1]:
        with pytest.raises(JobFailed) as caught:
            queue.enqueue({"table": filled, **job}).result(timeout=30)
        assert caught.value.details["errors"][0]["loc"] == loc


def test_a_soft_delete_without_deleted_at_says_how_to_add_it_and_adopt_does(system: System, table: str) -> None:
    with system.warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE CATALOG IF NOT EXISTS shop")
        cursor.execute("CREATE SCHEMA IF NOT EXISTS shop.sales")
        cursor.execute(f"CREATE TABLE {table} (id BIGINT, created_at TIMESTAMP)")
        cursor.execute(f"INSERT INTO {table} (id) VALUES (1)")
    with pytest.raises(JobFailed, match="python -m worker adopt"):
        system.queue.delete(table, key={"id": 1}).result(timeout=30)
    assert done(system.queue.update(table, key={"id": 1}, updates={"id": 2})).count == 1
    command = [sys.executable, "-m", "worker", "adopt", table]
    asked = _run([*command], system, "n\n")
    assert asked.returncode == 1
    assert "ADD COLUMNS (`created_by` STRING, `updated_at` TIMESTAMP" in asked.stdout
    adopted = _run([*command, "--yes"], system)
    assert adopted.returncode == 0, adopted.stderr
    assert "has all audit columns" in _run([*command], system).stdout
    # The worker has the old columns in mind. A job that does not fit them makes it look again, but not at once.
    deadline = time.monotonic() + 30
    while True:
        try:
            assert done(system.queue.delete(table, key={"id": 2})).count == 1
            break
        except JobFailed:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _run(command: list[str], system: System, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **system.environ},
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_read_waits_for_the_job_it_comes_after_and_holds_up_no_other(system: System, table: str, filled: str) -> None:
    slow = {"on": "ExecuteStatement", "match": f"^MERGE INTO `shop`.`sales`.`{filled.split('.')[2]}`"}
    system.warehouse.fault({**slow, "times": 1, "action": "hold"})
    update = system.queue.update(filled, key={"id": 1}, updates={"name": "late"})
    until(lambda: system.warehouse.held() == 1, "it is under way")
    after = system.queue.read(filled, columns="id,name", order_by="id", limit=1, after=update.id)
    other = system.queue.read(filled, columns="id,name", order_by="id", limit=1)
    assert other.result(timeout=30).data == [{"id": 1, "name": "n1"}]
    assert not update.status().final
    system.warehouse.release()
    assert after.result(timeout=30).data == [{"id": 1, "name": "late"}]
    with pytest.raises(JobFailed, match="no job of this id is known"):
        system.queue.read(filled, after="never-enqueued").result(timeout=30)
    failed = system.queue.update(filled, key={"id": 99}, updates={"name": "x"}, must_exist=True)
    assert system.queue.read(filled, after=failed.id).result(timeout=30).total == 5


def test_a_thousand_first_writes_make_one_table(system: System, table: str) -> None:
    before = system.warehouse.counts()
    jobs = (
        {"kind": "write", "table": table, "data": [{"id": i}], "auto_create": True, "schema_definition": COLUMNS}
        for i in range(1000)
    )
    for handle in list(system.queue.enqueue_many(jobs)):
        assert done(handle).count == 1
    made = system.warehouse.counts() - before
    assert made["CREATE_TABLE"] == 1
    assert system.queue.read(table, limit=1).result(timeout=30).total == 1000


def test_a_lost_answer_changes_no_outcome(queue: Queue, filled: str, system: System) -> None:
    merge = {"on": "ExecuteStatement", "match": f"^MERGE INTO `shop`.`sales`.`{filled.split('.')[2]}`", "times": 1}
    system.warehouse.fault({**merge, "action": "delay", "seconds": 0.5}, {**merge, "action": "drop_after"})
    mix: list[dict[str, Any]] = [
        {"kind": "update", "table": filled, "key": {"id": 1}, "updates": {"name": "first"}},
        {"kind": "update", "table": filled, "key": {"id": 2}, "updates": {"name": "second"}},
        {"kind": "update", "table": filled, "key": {"id": 99}, "updates": {"name": "x"}, "must_exist": True},
        {"kind": "update", "table": filled, "key": {"id": 98}, "updates": {"name": "x"}},
        {"kind": "delete", "table": filled, "keys": [{"id": 3}, {"id": 4}], "soft": False},
    ]
    handles = list(queue.enqueue_many(mix))
    outcomes = []
    for handle in handles:
        try:
            outcomes.append(done(handle).count)
        except JobFailed as exc:
            outcomes.append(exc.details["error"])
    assert outcomes == [1, 1, "ROW_NOT_FOUND", 0, 2]
    assert rows(queue, filled) == [(1, "first"), (2, "second"), (5, "n5")]
