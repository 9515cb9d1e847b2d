"""Every value of every type comes back as it was given: through queue, worker, statement, table and read."""

from __future__ import annotations

import os
import re
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lakequeue.columns import AUDIT_COLUMNS, Array, Char, ColumnType, Field, Map, Struct, Varchar

from tests.fix_system import System
from tests.strategies import column_names, column_types, comparable, values_of

EXAMPLES = int(os.environ.get("LAKEQUEUE_TYPES_EXAMPLES", "300"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, ColumnType], list[dict[str, object]]]:
    """Some columns with their types, and rows for them."""
    names = draw(st.lists(column_names, min_size=1, max_size=6, unique_by=str.lower))
    types = {name: draw(column_types(max_depth=3)) for name in names}
    rows = draw(st.lists(st.fixed_dictionaries({n: values_of(t) for n, t in types.items()}), min_size=1, max_size=4))
    return types, rows


def _nullable(column_type: ColumnType) -> ColumnType:
    """The type with every field of its structs nullable: the local warehouse takes no NOT NULL there."""
    match column_type:
        case Array(element):
            return Array(_nullable(element))
        case Map(key, value):
            return Map(_nullable(key), _nullable(value))
        case Struct(fields):
            return Struct(tuple(Field(field.name, _nullable(field.type)) for field in fields))
        case _:
            return column_type


def definition(types: dict[str, ColumnType]) -> list[dict[str, str]]:
    return [{"name": name, "data_type": _nullable(each).sql} for name, each in types.items()]


def _declarable(column_type: ColumnType, *, quoted: bool = False) -> bool:
    """Whether open Spark takes the type: it cannot note a CHAR or VARCHAR beside a field's name in backticks."""
    match column_type:
        case Char() | Varchar():
            return not quoted
        case Array(element):
            return _declarable(element, quoted=quoted)
        case Map(key, value):
            return _declarable(key, quoted=quoted) and _declarable(value, quoted=quoted)
        case Struct(fields):
            needed = quoted or any(not re.fullmatch(r"[A-Za-z]\w*", field.name, re.ASCII) for field in fields)
            return all(_declarable(field.type, quoted=needed) for field in fields)
        case _:
            return True


@given(tables())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_type_round_trips(system: System, example: tuple[dict[str, ColumnType], list[dict[str, Any]]]) -> None:
    types, rows = example
    if system.warehouse.engine == "spark":
        assume(all(_declarable(each) for each in types.values()))
    table = f"types.round.t_{uuid4().hex}"
    jobs = [
        {
            "kind": "write",
            "table": table,
            "auto_create": True,
            "schema_definition": definition(types),
            "data": [row],
            "id": f"{table}:{i}",
        }
        for i, row in enumerate(rows)
    ]
    for handle in list(system.queue.enqueue_many(jobs)):
        assert handle.result(timeout=30).count == 1
    found = system.queue.read(table, columns=[*types, "_job_id"], order_by="_job_id").result(timeout=30)
    assert found.total == len(rows)
    for given_row, row in zip(rows, found.data, strict=True):
        for name in types:
            assert comparable(row[name]) == comparable(given_row[name]), f"{name} {types[name].sql}"
    assert not set(types) & set(AUDIT_COLUMNS)
