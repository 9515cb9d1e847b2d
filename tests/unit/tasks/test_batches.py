"""Which jobs share a statement: those that can be worked out together, up to its bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from lakequeue import Delete, TableName, Update, Write
from lakequeue.columns import parse_type

from tasks.batches import Gathering, Limits
from tasks.prepared import prepare
from tasks.table import AUDIT_TYPES, Column, Table

NAME = TableName("c", "s", "t")
BARE = Table(NAME, tuple(Column(n, parse_type(t)) for n, t in (("k", "INT"), ("b", "INT"), ("a", "STRING"))), "id")
TABLE = replace(BARE, columns=(*BARE.columns, *(Column(name, parse_type(t)) for name, t in AUDIT_TYPES.items())))
CONSTRAINED = replace(TABLE, constrained=True)
DEFAULTS = replace(TABLE, columns=(*TABLE.columns, Column("d", parse_type("INT"), filled="default")))

Job = Write | Update | Delete


def append(**row: Any) -> Write:
    return Write(table=str(NAME), data=[row])


def upsert(*key_columns: str, **row: Any) -> Write:
    return Write(table=str(NAME), data=[row], mode="upsert", key_columns=key_columns)


def update(**key: Any) -> Update:
    return Update(table=str(NAME), key=key, updates={"a": "new"})


def delete(*, soft: bool = True, **key: Any) -> Delete:
    return Delete(table=str(NAME), key=key, soft=soft)


def taken(jobs: Iterable[Job], table: Table = TABLE, limits: Limits | None = None) -> int:
    """How many of the jobs share the first statement."""
    gathering = Gathering(limits or Limits(), table)
    for i, job in enumerate(jobs):
        if not gathering.take(prepare(f"j{i}", job, table)):
            return i
    return len(gathering.jobs)


TOGETHER: dict[str, tuple[list[Job], Table, int]] = {
    "all verbs by one key": ([append(k=1), upsert("k", k=1, a="x"), update(k=1), delete(k=1)], TABLE, 4),
    "keys of other columns": ([update(k=1), update(b=1)], TABLE, 1),
    "keys of other columns, appends between": ([append(k=1), delete(k=1), append(k=2), update(b=1)], TABLE, 3),
    "keys of more columns": ([update(k=1), update(k=1, b=1)], TABLE, 1),
    "a first key after appends": ([append(k=1), append(k=2), update(b=1), delete(b=1)], TABLE, 4),
    "updates that move their keys": ([update(a="x"), update(a="x")], TABLE, 1),
    "a checked table, one key twice": ([update(k=1), update(k=2), delete(k=1)], CONSTRAINED, 2),
    "a checked table, a key of an added row": ([append(k=1), update(k=2), upsert("k", k=1, a="x")], CONSTRAINED, 2),
    "a checked table, appends alone": ([append(k=1), append(k=1)], CONSTRAINED, 2),
    "no stamp, appends before what can be repeated": ([append(k=1), update(k=1)], BARE, 1),
    "no stamp, appends after what can be repeated": ([update(k=1), append(k=1)], BARE, 1),
    "no stamp, of one kind": ([update(k=1), delete(k=1, soft=False), upsert("k", k=1, a="x")], BARE, 3),
    "defaults left by all alike": ([append(k=1), append(k=2)], DEFAULTS, 2),
    "defaults left by other columns": ([append(k=1), append(k=2, a="x")], DEFAULTS, 1),
    "defaults left by the second": ([append(k=1, d=1), append(k=2)], DEFAULTS, 1),
    "defaults left, and a key": ([append(k=1), update(k=1)], DEFAULTS, 1),
}


@pytest.mark.parametrize(("jobs", "table", "count"), TOGETHER.values(), ids=TOGETHER)
def test_jobs_that_can_be_worked_out_together_share_a_statement(jobs: list[Job], table: Table, count: int) -> None:
    assert taken(jobs, table) == count


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        pytest.param(Limits(max_jobs=3), 3, id="jobs"),
        pytest.param(Limits(max_rows=2), 2, id="rows"),
        pytest.param(Limits(max_bytes=2 + 2 * (len('{"id":"j0","actor":null,"rows":[["0"]]}') + 1)), 2, id="bytes"),
        pytest.param(Limits(max_bytes=1), 1, id="the first is always taken"),
    ],
)
def test_a_statement_ends_at_its_bounds(limits: Limits, count: int) -> None:
    assert taken([append(k=i) for i in range(5)], TABLE, limits) == count
