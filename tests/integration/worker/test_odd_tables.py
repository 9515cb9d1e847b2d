"""Tables that are not made by us: columns named as our aliases, with blanks, or filled in by the table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_system import System
from tests.support import make_tables

OURS = (
    *("t", "s", "k", "j", "g", "r", "i", "x0", "op", "mask", "job", "jobs", "actor", "rows", "id", "ids", "live"),
    *("deleted", "found", "now", "written", "soft", "source", "k0", "c0", "p0", "limit", "offset", "stamp", "since"),
    *("start_by", "total", "keys", "_lakequeue_total", "_lakequeue_total_", "_lakequeue_text0"),
)
"""Aliases, parameters and inner columns of the product's statements."""


@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["lower", "upper"])
def test_columns_named_as_our_aliases_mean_themselves_in_every_verb(system: System, table: str, spelled: Any) -> None:
    names = [spelled(name) for name in OURS]
    columns = ", ".join(f"`{name}` INT" for name in names)
    audit = "created_at TIMESTAMP, updated_at TIMESTAMP, deleted_at TIMESTAMP, _job_id STRING"
    make_tables(system.warehouse, table, columns=f"{columns}, {audit}")
    queue = system.queue

    def row(n: int) -> dict[str, int]:
        # In every column the three rows are ordered in another way than in the one before it.
        return {name: (n + at) % 3 * 100 + n for at, name in enumerate(names)}

    def rows(**fields: Any) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = queue.read(table, columns=names, **fields).result(timeout=30).data
        return data

    queue.write(table, [row(n) for n in range(3)]).result(timeout=30)
    ordered = {name: [f"{name} desc"] for name in names}
    handles = {name: queue.read(table, columns=names, order_by=order) for name, order in ordered.items()}
    for name, handle in handles.items():
        page = handle.result(timeout=30)
        assert page.total == 3
        assert page.data == sorted((row(n) for n in range(3)), key=lambda each: each[name], reverse=True), name
    key = spelled("t")
    for name in names[:10]:
        found = rows(filters=[{"column": name, "op": "=", "value": row(1)[name]}])
        assert found == [row(1)], name
    changed = {name: 7 for name in names if name != key}
    assert queue.update(table, key={key: row(0)[key]}, updates=changed).result(timeout=30).count == 1
    upserted = {**row(1), spelled("s"): -1}
    new = dict.fromkeys(names, 5)
    queue.write(table, [upserted, new], mode="upsert", key_columns=[key]).result(timeout=30)
    assert queue.delete(table, key={spelled("k"): row(2)[spelled("k")]}).result(timeout=30).count == 1
    expected = [{**changed, key: row(0)[key]}, upserted, new]
    assert sorted(rows(), key=str) == sorted(expected, key=lambda each: str({name: each[name] for name in names}))


@pytest.mark.parametrize("name", ["t", "s", "k", "j"])
def test_a_struct_named_as_an_alias_is_no_alias(system: System, table: str, name: str) -> None:
    fields = "`id` INT, op STRING, r INT, i INT, k0 INT, c0 INT, job STRING, deleted_at STRING"
    make_tables(
        system.warehouse,
        table,
        columns=f"id INT, `{name}` STRUCT<{fields}>, created_at TIMESTAMP, deleted_at TIMESTAMP, _job_id STRING",
    )
    value = {"id": 9, "op": "D", "r": 9, "i": 9, "k0": 9, "c0": 9, "job": "x", "deleted_at": "x"}
    queue = system.queue
    queue.write(table, [{"id": 1, name: value}, {"id": 2, name: None}]).result(timeout=30)
    upserts: list[dict[str, Any]] = [{"id": 1, name: None}, {"id": 3, name: value}]
    queue.write(table, upserts, mode="upsert", key_columns="id").result(timeout=30)
    assert queue.update(table, key={"id": 2}, updates={name: value}).result(timeout=30).count == 1
    assert queue.delete(table, key={"id": 3}).result(timeout=30).count == 1
    page = queue.read(table, columns=["id", name], order_by="id").result(timeout=30)
    assert page.data == [{"id": 1, name: None}, {"id": 2, name: value}]
