"""Statements are built from typed parts: nothing a caller gives becomes SQL text, except a quoted name."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from lakequeue import Read, TableName, Write, parse_job
from lakequeue.columns import parse_type
from lakequeue.errors import InvalidJob
from lakequeue.problems import ValueProblem
from sqlglot import exp

from tasks import statements
from tasks.batches import Gathering, Limits
from tasks.expressions import from_text
from tasks.prepared import Addition, prepare
from tasks.sql import Parameters, Sql, identifier, literal
from tasks.table import AUDIT_TYPES, Column, Table, from_describe_json

NAME = TableName("main", "sales", "orders")


def table(*columns: tuple[str, str], audit: bool = True) -> Table:
    given_columns = [Column(name, parse_type(sql_type)) for name, sql_type in columns]
    stamped = [Column(name, parse_type(sql_type)) for name, sql_type in AUDIT_TYPES.items()] if audit else []
    return Table(NAME, tuple(given_columns + stamped), "id-1")


def addition(job_id: str, job: Write, target: Table) -> Addition:
    prepared = prepare(job_id, job, target)
    assert isinstance(prepared, Addition)
    return prepared


ORDERS = table(("id", "BIGINT"), ("amount", "DECIMAL(10,2)"), ("note", "STRING"))


@given(st.text(min_size=1).filter(lambda name: "\x00" not in name and "${" not in name))
def test_an_identifier_is_read_back_as_one_name(name: str) -> None:
    parsed = sqlglot.parse_one(f"SELECT {identifier(name)} FROM t", dialect="databricks")
    (column,) = parsed.find_all(exp.Column)
    assert column.name == name


@given(st.text().filter(lambda text: "${" not in text))
def test_a_literal_is_read_back_as_one_string(text: str) -> None:
    parsed = sqlglot.parse_one(f"SELECT {literal(text)}", dialect="databricks")
    assert isinstance(parsed, exp.Select)
    (value,) = parsed.selects
    assert isinstance(value, exp.Literal)
    assert value.is_string
    assert value.this == text


@pytest.mark.parametrize("written", [identifier, literal])
def test_no_variable_of_spark_gets_into_a_statement(written: Callable[[str], Sql]) -> None:
    """Not by a table that others made, either."""
    with pytest.raises(ValueProblem, match=r"holds \$\{, where Spark would substitute a variable"):
        written("note${env:HOME}")


HOSTILE = st.text(alphabet="`'\";-/*\\\n):$?{} aQ0", min_size=1, max_size=30)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_value_is_part_of_a_statements_text(note: str, wanted: str, actor: str) -> None:
    job = Write(table=str(NAME), data=[{"id": 1, "note": note}], actor=actor)
    columns = [ORDERS.by_name["id"], ORDERS.by_name["note"]]
    ready = addition("j1", job, ORDERS)
    insert = statements.insert(ORDERS, columns, f"[{ready.fragment}]", stamp_us=1, start_by_us=2)
    plain = Write(table=str(NAME), data=[{"id": 1, "note": "x"}])
    usual = addition("j1", plain, ORDERS)
    assert insert.sql == statements.insert(ORDERS, columns, f"[{usual.fragment}]", stamp_us=1, start_by_us=2).sql
    assert json.loads(insert.parameters["jobs"] or "")[0] == {"id": "j1", "actor": actor, "rows": [["1", note]]}
    read = Read(table=str(NAME), filters=[{"column": "note", "op": "=", "value": wanted}])
    select = statements.select(ORDERS, read, statements.read_columns(ORDERS, read))
    assert wanted in select.parameters.values()
    parsed = sqlglot.parse(str(select.sql), dialect="databricks")
    assert len(parsed) == 1


@given(st.text(alphabet="`'\";-/*\\ab.", min_size=1, max_size=20))
def test_a_hostile_column_name_is_refused_or_quoted(name: str) -> None:
    try:
        job = parse_job(
            {
                "kind": "write",
                "table": str(NAME),
                "auto_create": True,
                "schema_definition": [{"name": name, "data_type": "STRING"}],
                "data": [{name: "x"}],
            }
        )
    except InvalidJob:
        return
    assert isinstance(job, Write)
    assert job.schema_definition is not None
    created = statements.create_table(NAME, job.schema_definition, {})
    (parsed,) = sqlglot.parse(str(created.sql), dialect="databricks")
    assert isinstance(parsed, exp.Create)
    assert [each.name for each in parsed.find_all(exp.ColumnDef)] == [name, *AUDIT_TYPES]


def test_an_insert_carries_its_stamp_its_deadline_and_its_guard() -> None:
    columns = [ORDERS.by_name["id"]]
    insert = statements.insert(
        ORDERS, columns, "[]", stamp_us=1_700_000_000_000_001, start_by_us=5_000_000, guarded=True
    )
    text = str(insert.sql)
    assert "assert_true(current_timestamp() < CAST(:start_by AS TIMESTAMP), 'expired') IS NULL" in text
    assert "NOT EXISTS (SELECT 1 FROM `main`.`sales`.`orders` WHERE `updated_at` = CAST(:stamp AS TIMESTAMP))" in text
    assert insert.parameters["stamp"] == "2023-11-14T22:13:20.000001+00:00"
    assert insert.parameters["start_by"] == "1970-01-01T00:00:05.000000+00:00"


def test_a_table_without_audit_columns_is_written_without_them_and_cannot_be_guarded() -> None:
    bare = table(("id", "BIGINT"), audit=False)
    insert = statements.insert(bare, [bare.by_name["id"]], "[]", stamp_us=1, start_by_us=2)
    assert "created_at" not in str(insert.sql)
    with pytest.raises(ValueError, match="no column that carries the stamp"):
        statements.insert(bare, [bare.by_name["id"]], "[]", stamp_us=1, start_by_us=2, guarded=True)


def test_an_audit_column_of_another_type_is_left_alone() -> None:
    odd = Table(NAME, (Column("id", parse_type("BIGINT")), Column("updated_at", parse_type("STRING"))), "x")
    assert odd.stamp_column is None
    assert "updated_at" not in str(statements.insert(odd, [odd.columns[0]], "[]", stamp_us=1, start_by_us=2).sql)


def test_a_wide_table_keeps_statistics_on_its_stamp_columns() -> None:
    wide = Write(
        table=str(NAME),
        schema_definition=[{"name": f"c{i}", "data_type": "INT"} for i in range(40)],
        data=[{"c0": 1}],
    )
    assert wide.schema_definition is not None
    text = str(statements.create_table(NAME, wide.schema_definition, {}).sql)
    indexed = text.partition("'delta.dataSkippingStatsColumns' = '")[2].partition("'")[0].split(",")
    assert len(indexed) == 32
    assert {"`created_at`", "`updated_at`"} <= set(indexed)


def test_statistics_are_asked_for_where_delta_keeps_them() -> None:
    without = ("BOOLEAN", "BINARY", "ARRAY<INT>", "MAP<STRING, INT>", "STRUCT<a: INT>", "VARCHAR(9)", "CHAR(9)")
    kinds = [*without, *("STRING", "DECIMAL(9,2)", "DATE", "TIMESTAMP", "DOUBLE"), *["INT"] * 30]
    wide = Write(
        table=str(NAME),
        schema_definition=[{"name": f"c{i}", "data_type": kind} for i, kind in enumerate(kinds)],
        data=[{"c8": 1}],
    )
    assert wide.schema_definition is not None
    text = str(statements.create_table(NAME, wide.schema_definition, {}).sql)
    indexed = text.partition("'delta.dataSkippingStatsColumns' = '")[2].partition("'")[0].split(",")
    assert indexed[:2] == ["`c7`", "`c8`"]
    assert len(indexed) == 32


def test_nested_values_are_cast_to_the_leaves() -> None:
    nested = parse_type("ARRAY<STRUCT<a: INT, m: MAP<STRING, DATE>>>")
    text = str(from_text(nested, Sql("r[0]")))
    assert "CAST(x0.`a` AS INT)" in text
    assert "CAST(x2.value AS DATE)" in text
    assert "'ARRAY<STRUCT<`a`: STRING, `m`: ARRAY<STRUCT<key: STRING, value: STRING>>>>'" in text


def test_jobs_join_a_statement_until_a_bound() -> None:
    def ready(job_id: str, **row: object) -> Addition:
        return addition(job_id, Write(table=str(NAME), data=[row]), ORDERS)

    gathering = Gathering(Limits(max_rows=3, max_bytes=10_000))
    assert all(gathering.take(ready(f"j{i}", id=i)) for i in range(3))
    assert not gathering.take(ready("j3", id=3))
    other = Gathering(Limits())
    assert all(other.take(each) for each in (ready("a", id=1), ready("b", id=1, note="x"), ready("c", id=2)))
    small = Gathering(Limits(max_bytes=10))
    assert small.take(ready("big", id=1))
    assert not small.take(ready("next", id=2))
    few = Gathering(Limits(max_jobs=1))
    assert few.take(ready("a", id=1))
    assert not few.take(ready("b", id=1))


def test_what_does_not_fit_the_table_is_located() -> None:
    strict = Table(
        NAME, (Column("id", parse_type("INT"), nullable=False), Column("note", parse_type("VARCHAR(3)"))), "x"
    )
    cases: list[tuple[dict[str, object], tuple[object, ...]]] = [
        ({"id": 1, "note": "long"}, ("data", 0, "note")),
        ({"id": 2**40}, ("data", 0, "id")),
        ({"note": "x"}, ("data", 0, "id")),
        ({"id": 1, "nte": "x"}, ("data", 0, "nte")),
        ({"id": None}, ("data", 0, "id")),
        ({"id": "NaN"}, ("data", 0, "id")),
    ]
    for row, loc in cases:
        with pytest.raises(InvalidJob) as caught:
            addition("j", Write(table=str(NAME), data=[row]), strict)
        assert caught.value.details["errors"][0]["loc"] == list(loc)


def test_a_schema_definition_that_differs_from_the_table_is_refused_with_the_difference() -> None:
    job = Write(
        table=str(NAME),
        schema_definition=[{"name": "id", "data_type": "INT"}, {"name": "extra", "data_type": "STRING"}],
        data=[{"id": 1}],
    )
    with pytest.raises(InvalidJob) as caught:
        addition("j", job, ORDERS)
    assert [each["msg"] for each in caught.value.details["errors"]] == [
        "column id is BIGINT in the table, not INT",
        "column extra STRING is not in the table",
    ]


def test_a_read_names_what_it_cannot_find() -> None:
    job = Read(table=str(NAME), columns="id,amnt")
    with pytest.raises(ValueError, match="no column 'amnt'; did you mean 'amount'"):
        statements.read_columns(ORDERS, job)


def test_a_read_leaves_out_the_job_id_and_the_deleted() -> None:
    job = Read(table=str(NAME))
    columns = statements.read_columns(ORDERS, job)
    assert "_job_id" not in [column.name for column in columns]
    assert "`deleted_at` IS NULL" in str(statements.select(ORDERS, job, columns).sql)
    everything = Read(table=str(NAME), include_deleted=True)
    assert "`deleted_at` IS NULL" not in str(statements.select(ORDERS, everything, columns).sql)


def test_a_described_table_is_read() -> None:
    text = json.dumps(
        {
            "location": "s3://x/abc",
            "columns": [
                {"name": "Id", "type": {"name": "bigint"}, "nullable": False},
                {"name": "d", "type": {"name": "decimal", "precision": 10, "scale": 2}, "nullable": True},
                {"name": "v", "type": {"name": "variant"}},
                {"name": "n", "type": {"name": "int"}, "nullable": False, "default": "7"},
            ],
        }
    )
    described = from_describe_json(NAME, text)
    assert described.identity == "s3://x/abc"
    assert [column.name for column in described.required] == ["Id"]
    assert described.by_name["id"].type == parse_type("BIGINT")
    read = Read(table=str(NAME))
    columns = statements.read_columns(described, read)
    assert "CAST(`v` AS STRING) AS _lakequeue_text2" in str(statements.select(described, read, columns).sql)


def test_a_parameter_is_bound_once() -> None:
    parameters = Parameters()
    assert str(parameters.bind("a", "x")) == ":x"
    with pytest.raises(ValueError, match="bound already"):
        parameters.bind("b", "x")
