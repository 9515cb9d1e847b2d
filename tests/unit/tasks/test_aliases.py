"""No name of ours is one of a table's columns, whatever these are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlglot
from lakequeue import Read, TableName
from lakequeue.columns import Unsupported, parse_type
from sqlglot import exp

from tasks import merges, statements
from tasks.fold import Source
from tasks.sql import Statement
from tasks.table import AUDIT_TYPES, Column, Table

NAME = TableName("main", "sales", "orders")
AUDIT = tuple(Column(name, parse_type(sql_type)) for name, sql_type in AUDIT_TYPES.items())


def table(*names: str) -> Table:
    columns = (*(Column(name, parse_type("BIGINT")) for name in names), Column("odd", Unsupported("variant")))
    return Table(NAME, columns + AUDIT, "id-1")


def joining(of: Table) -> Iterator[Statement]:
    """The statements in which columns of the table stand beside names of ours."""
    columns = list(of.columns[:-7])
    keys = columns[:1]
    source = Source(op="U", key=("1",), values={column.name.lower(): "1" for column in columns}, job_id="j")
    rows = merges.source_rows([source], keys, columns)
    yield merges.count_keys(of, keys, [("1",)])
    yield merges.merge(of, keys, columns, rows, stamp_us=1, start_by_us=2, guarded=True)
    yield statements.find_jobs(of, ["j"])


def reads(of: Table) -> Iterator[Statement]:
    job = Read.model_validate({"table": str(NAME), "columns": "*", "order_by": [of.columns[0].name]})
    yield statements.select(of, job, statements.read_columns(of, job))


def aliases(statement: Statement, *kinds: type[exp.Expression]) -> set[str]:
    parsed = sqlglot.parse_one(str(statement.sql), dialect="databricks")
    return {each.alias.lower() for each in parsed.find_all(*kinds) if each.alias}


@pytest.mark.parametrize("spelled", [str.lower, str.upper], ids=["lower", "upper"])
def test_names_of_ours_step_aside(spelled: Callable[[str], str]) -> None:
    plain = table("id")
    ours = {name for each in joining(plain) for name in aliases(each, exp.Table, exp.Subquery)}
    ours |= {name for each in reads(plain) for name in aliases(each, exp.Alias)}
    assert {"t", "s", "k", "j", "_lakequeue_total", "_lakequeue_text1"} <= ours
    hostile = table(*(spelled(name) for name in sorted(ours)), "t_", "_lakequeue_total_")
    for statement in joining(hostile):
        parsed = sqlglot.parse_one(str(statement.sql), dialect="databricks")
        qualifiers = {each.table.lower() for each in parsed.find_all(exp.Column) if each.table}
        assert qualifiers
        assert not (qualifiers - {"g"}) & hostile.by_name.keys()  # g has no column of the table beside it
    for statement in reads(hostile):
        assert not aliases(statement, exp.Alias) & hostile.by_name.keys()


def test_a_name_that_is_free_is_kept() -> None:
    assert str(table("id").free("t")) == "t"
    assert str(table("T", "t_").free("t")) == "t__"
