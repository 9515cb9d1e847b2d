"""A job's JSON schema and its types in Python say what the job takes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from lakequeue import Delete, Handle, InvalidJob, Job, Read, Update, Write, parse_job
from pydantic import TypeAdapter

from tests.integration.client.finishing import job

SCHEMA = TypeAdapter[Any](Job).json_schema()
NAMES = {"catalog": "main", "schema": "sales", "table": "orders"}
DOTTED = {"table": "main.sales.orders"}

TAKEN: dict[str, dict[str, Any]] = {
    "three names": {"kind": "write", **NAMES, "data": [{"id": 1}]},
    "a dotted table": {"kind": "write", **DOTTED, "data": [{"id": 1}]},
    "an upsert": {"kind": "write", **DOTTED, "data": [{"id": 1}], "mode": "upsert", "key_columns": ["id"]},
    "key columns as text": {"kind": "write", **DOTTED, "data": [{"id": 1}], "mode": "upsert", "key_columns": "id"},
    "an update": {"kind": "update", **DOTTED, "key": {"id": 2}, "updates": {"a": "4"}, "must_exist": True},
    "a delete": {"kind": "delete", **DOTTED, "keys": [{"id": 2}], "soft": True},
    "a read": {"kind": "read", **DOTTED, "columns": "id,amount", "order_by": "-id", "limit": 10},
    "a read of lists": {"kind": "read", **NAMES, "columns": ["id"], "order_by": ["-id"], "after": "order-1"},
    "filters": {"kind": "read", **DOTTED, "filters": [{"column": "id", "op": ">=", "value": 1}]},
}

REFUSED: dict[str, dict[str, Any]] = {
    "no table": {"kind": "write", "data": [{"id": 1}]},
    "a catalog alone": {"kind": "write", "catalog": "main", **DOTTED, "data": [{"id": 1}]},
    "a schema alone": {"kind": "write", "schema": "sales", "table": "orders", "data": [{"id": 1}]},
    "two parts": {"kind": "write", "table": "sales.orders", "data": [{"id": 1}]},
    "an unknown field": {"kind": "read", **DOTTED, "colums": "id"},
    "no data": {"kind": "write", **DOTTED},
}


@pytest.mark.parametrize("given", TAKEN.values(), ids=TAKEN)
def test_the_schema_takes_what_the_job_takes(given: dict[str, Any]) -> None:
    jsonschema.validate(given, SCHEMA)
    assert str(parse_job(given).table_name) == "main.sales.orders"


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_the_schema_refuses_what_the_job_refuses(given: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, SCHEMA)
    with pytest.raises(InvalidJob):
        parse_job(given)


def test_the_fields_have_types_under_both_names() -> None:
    """Checked by mypy: an ignore that is not needed is an error there."""
    handle: Handle | None = None
    made = (
        Write(catalog="main", schema="sales", table="orders", data=[{"id": 1}]),
        Write(catalog="main", schema_="sales", table="orders", data=[{"id": 1}]),
        Update(catalog="main", schema="sales", table="orders", key={"id": 1}, updates={"a": 1}),
        Delete(catalog="main", schema="sales", table="orders", key={"id": 1}),
        Read(catalog="main", schema="sales", table="orders", after=handle),
    )
    assert {str(each.table_name) for each in made} == {"main.sales.orders"}
    with pytest.raises(InvalidJob):
        Write(table="main.sales.orders", data=[{"id": 1}], shema="x")  # type: ignore[call-arg]


VARIABLE = "x${env:HOME}"

WITH_VARIABLES: dict[str, dict[str, Any]] = {
    "catalog": {**job("x"), "table": f"a{VARIABLE}.b.c"},
    "table": {"kind": "read", "catalog": "a", "schema": "b", "table": VARIABLE},
    "column": {**job("x"), "data": [{VARIABLE: 1}]},
    "declared column": {**job("x"), "schema_definition": [{"name": VARIABLE, "data_type": "INT"}], "data": []},
    "field of a type": {
        **job("x"),
        "schema_definition": [{"name": "s", "data_type": f"ARRAY<STRUCT<`{VARIABLE}`: INT>>"}],
        "data": [],
    },
    "key column of an upsert": {**job("x"), "mode": "upsert", "key_columns": [VARIABLE]},
    "key of an update": {"kind": "update", **DOTTED, "key": {VARIABLE: 1}, "updates": {"a": 1}},
    "key column": {"kind": "delete", **DOTTED, "key_column": VARIABLE, "key_value": 1},
    "keys of a delete": {"kind": "delete", **DOTTED, "keys": [{VARIABLE: 1}]},
    "updated column": {"kind": "update", **DOTTED, "key": {"id": 1}, "updates": {VARIABLE: 1}},
    "rows of an update": {"kind": "update", **DOTTED, "rows": [{"key": {"id": 1}, "updates": {VARIABLE: 1}}]},
    "read column": {"kind": "read", **DOTTED, "columns": [VARIABLE]},
    "filter": {"kind": "read", **DOTTED, "filters": [{"column": VARIABLE, "op": "IS NULL"}]},
    "order": {"kind": "read", **DOTTED, "order_by": f"-{VARIABLE}"},
}


@pytest.mark.parametrize("given", WITH_VARIABLES.values(), ids=WITH_VARIABLES)
def test_a_name_in_which_spark_would_put_a_variable_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match=r"cannot hold \$\{, since Spark substitutes a variable there"):
        parse_job(given)
