"""A job is either valid through and through, or refused with every error named and no value shown."""

import json
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from lakequeue import Delete, InvalidJob, JobFailed, JobTimeout, Read, TableName, Update, Write, parse_job
from lakequeue.columns import AUDIT_COLUMNS
from lakequeue.jobs import Job
from lakequeue.selection import Filter, OrderBy
from pydantic import TypeAdapter, ValidationError

TABLE: dict[str, Any] = {"catalog": "main", "schema": "sales", "table": "orders"}
KEY: dict[str, Any] = {"key_column": "id", "key_value": 1}
COLUMNS = [
    {"name": "id", "data_type": "BIGINT", "nullable": False},
    {"name": "Amount", "data_type": "DECIMAL(10,2)"},
]


def refusal(job: object) -> InvalidJob:
    with pytest.raises(InvalidJob) as refused:
        parse_job(job)  # type: ignore[arg-type]
    json.dumps(refused.value.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    return refused.value


def errors(job: object) -> list[tuple[str, list[str | int]]]:
    found: Any = refusal(job).details["errors"]
    return [(error["type"], error["loc"]) for error in found]


FIELDS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "write": ({"kind": "write", "data": [{"id": 1}]}, {"data": [{"id": 1}]}),
    "write of one object": ({"kind": "write", "data": {"id": 1}}, {"data": [{"id": 1}]}),
    "write with everything": (
        {
            "kind": "write",
            "auto_create": True,
            "schema_definition": COLUMNS,
            "data": [{"ID": "1", "amount": "9.9"}, {"id": 2}],
            "actor": "ada",
            "id": "x",
        },
        {
            "auto_create": True,
            "schema_definition": [
                {"name": "id", "data_type": "BIGINT", "nullable": False},
                {"name": "Amount", "data_type": "DECIMAL(10,2)"},
            ],
            "data": [{"id": "1", "Amount": "9.9"}, {"id": 2}],
            "actor": "ada",
        },
    ),
    "null for what is optional": (
        {"kind": "write", "data": [{"id": None}], "schema_definition": None, "actor": None, "id": None},
        {"data": [{"id": None}]},
    ),
    "update": ({"kind": "update", **KEY, "updates": {"a": None}}, {**KEY, "updates": {"a": None}}),
    "delete is soft": ({"kind": "delete", **KEY}, KEY),
    "soft delete": ({"kind": "delete", **KEY, "soft": True}, KEY),
    "hard delete": ({"kind": "delete", **KEY, "soft": False}, {**KEY, "soft": False}),
    "read": ({"kind": "read"}, {}),
    "read of everything": ({"kind": "read", "columns": "*", "limit": 100, "offset": 0, "filters": []}, {}),
    "read with everything": (
        {
            "kind": "read",
            "columns": "id, Amount",
            "filters": [{"column": "id", "op": "not  in", "value": [1, 2]}, {"column": "a", "op": "is null"}],
            "order_by": "-id, amount",
            "limit": 1000,
            "offset": 5,
            "after": "j:1",
            "include_deleted": True,
        },
        {
            "columns": ["id", "Amount"],
            "filters": [{"column": "id", "op": "NOT IN", "value": [1, 2]}, {"column": "a", "op": "IS NULL"}],
            "order_by": ["id desc", "amount asc"],
            "limit": 1000,
            "offset": 5,
            "after": "j:1",
            "include_deleted": True,
        },
    ),
}


@pytest.mark.parametrize(("given", "fields"), FIELDS.values(), ids=FIELDS)
def test_fields_are_what_is_set_in_canonical_form(given: dict[str, object], fields: dict[str, object]) -> None:
    job = parse_job({**TABLE, **given})
    assert job.fields() == TABLE | fields
    assert job.op == given["kind"]
    assert parse_job({"kind": job.op, "id": job.id, **job.fields()}) == job
    assert parse_job(json.dumps({**TABLE, **given})) == job
    assert parse_job(json.dumps({**TABLE, **given}).encode()) == job


TABLE_FORMS = {
    "three fields": TABLE,
    "dotted": {"table": "main.sales.orders"},
    "dotted, in backticks and capitals": {"table": "`Main`.SALES.`orders`"},
    "three fields, capitals": {"catalog": "MAIN", "schema": "Sales", "table": "Orders"},
    "by attribute": {"catalog": "main", "schema_": "sales", "table": "orders"},
    "dotted with nulls": {"catalog": None, "schema": None, "table": "main.sales.orders"},
}


@pytest.mark.parametrize("form", TABLE_FORMS.values(), ids=TABLE_FORMS)
def test_a_table_is_named_in_either_form(form: dict[str, Any]) -> None:
    for job in (parse_job({"kind": "read", **form}), Read(**form), Read.model_validate(form)):
        assert job.table_name == TableName("main", "sales", "orders")
        assert (job.catalog, job.schema_, job.table) == ("main", "sales", "orders")


BAD_TABLES: dict[str, tuple[dict[str, object], list[tuple[str, list[str | int]]]]] = {
    "none": ({}, [("missing", ["table"])]),
    "both forms": ({**TABLE, "table": "main.sales.orders"}, [("both_forms", ["table"])]),
    "half of both": ({"catalog": "main", "table": "sales.orders"}, [("both_forms", ["table"])]),
    "schema twice": ({**TABLE, "schema_": "sales"}, [("both_forms", ["schema"])]),
    "one part": ({"table": "orders"}, [("bad_name", ["table"])]),
    "no schema": ({"catalog": "a", "table": "b"}, [("missing", ["schema"])]),
    "two bad": ({"catalog": "a b", "schema": "", "table": "c"}, [("bad_name", ["catalog"]), ("bad_name", ["schema"])]),
    "numbers": ({"catalog": 1, "schema": "s", "table": []}, [("bad_name", ["catalog"]), ("bad_name", ["table"])]),
    "dotted number": ({"table": 7}, [("bad_name", ["table"])]),
    "dotted list": ({"table": ["a.b.c"]}, [("bad_name", ["table"])]),
}


@pytest.mark.parametrize(("form", "expected"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_located(form: dict[str, object], expected: list[object]) -> None:
    assert errors({"kind": "read", **form}) == expected


REFUSED: dict[str, tuple[dict[str, object], list[tuple[str, list[str | int]]]]] = {
    "no data": ({"kind": "write"}, [("missing", ["data"])]),
    "empty data": ({"kind": "write", "data": []}, [("wrong_length", ["data"])]),
    "data of text": ({"kind": "write", "data": "[]"}, [("wrong_type", ["data"])]),
    "null data": ({"kind": "write", "data": None}, [("wrong_type", ["data"])]),
    "empty row": ({"kind": "write", "data": [{"a": 1}, {}]}, [("wrong_length", ["data", 1])]),
    "row of a list": ({"kind": "write", "data": [[1]]}, [("wrong_type", ["data", 0])]),
    "bad column": ({"kind": "write", "data": [{"a\nb": 1}]}, [("bad_name", ["data", 0, "a\nb"])]),
    "repeated column": (
        {"kind": "write", "data": [{"a": 1, "A": 2}]},
        [("duplicate_column", ["data", 0, "A"])],
    ),
    "2,001 columns": (
        {"kind": "write", "data": [{f"c{i}": 1 for i in range(2001)}]},
        [("wrong_length", ["data", 0])],
    ),
    "what is no JSON": ({"kind": "write", "data": [{"a": [1, {1}]}]}, [("wrong_type", ["data", 0, "a", 1])]),
    "auto_create of text": (
        {"kind": "write", "data": [{"a": 1}], "auto_create": "yes"},
        [("bool_type", ["auto_create"])],
    ),
    "unknown field": ({"kind": "write", "data": [{"a": 1}], "dat": 1}, [("unknown_field", ["dat"])]),
    "bad id": ({"kind": "read", "id": "a b"}, [("value_error", ["id"])]),
    "empty actor": ({"kind": "read", "actor": ""}, [("string_too_short", ["actor"])]),
    "long actor": ({"kind": "read", "actor": "x" * 256}, [("string_too_long", ["actor"])]),
    "surrogate in actor": ({"kind": "read", "actor": "\ud800"}, [("string_unicode", ["actor"])]),
    "null key": ({"kind": "delete", "key_column": "id", "key_value": None}, [("null_value", ["key_value"])]),
    "list as key": ({"kind": "delete", "key_column": "id", "key_value": [1]}, [("wrong_type", ["key_value"])]),
    "no key": ({"kind": "delete"}, [("missing", ["key"])]),
    "bad key column": ({"kind": "delete", **KEY, "key_column": "a\nb"}, [("value_error", ["key_column"])]),
    "soft of a number": ({"kind": "delete", **KEY, "soft": 1}, [("bool_type", ["soft"])]),
    "no updates": ({"kind": "update", **KEY, "updates": {}}, [("wrong_length", ["updates"])]),
    "updates of a list": ({"kind": "update", **KEY, "updates": [1]}, [("wrong_type", ["updates"])]),
    "bad update": ({"kind": "update", **KEY, "updates": {"a\t": 1}}, [("bad_name", ["updates", "a\t"])]),
    "limit": ({"kind": "read", "limit": 1001}, [("less_than_equal", ["limit"])]),
    "limit of true": ({"kind": "read", "limit": True}, [("int_type", ["limit"])]),
    "offset": ({"kind": "read", "offset": -1}, [("greater_than_equal", ["offset"])]),
    "no columns": ({"kind": "read", "columns": []}, [("wrong_length", ["columns"])]),
    "star among columns": ({"kind": "read", "columns": "a,*"}, [("bad_name", ["columns", 1])]),
    "gap in columns": ({"kind": "read", "columns": "a,,b"}, [("bad_name", ["columns", 1])]),
    "column twice": ({"kind": "read", "columns": ["a", "A"]}, [("duplicate_column", ["columns", 1])]),
    "order twice": ({"kind": "read", "order_by": "a,-a"}, [("duplicate_column", ["order_by", 1])]),
    "a line break in order": ({"kind": "read", "order_by": "a\nb"}, [("bad_name", ["order_by", 0])]),
    "order of a number": ({"kind": "read", "order_by": [1]}, [("wrong_type", ["order_by", 0])]),
    "filter of text": ({"kind": "read", "filters": ["a = 1"]}, [("wrong_type", ["filters", 0])]),
    "filters of an object": ({"kind": "read", "filters": {}}, [("wrong_type", ["filters"])]),
}


@pytest.mark.parametrize(("given", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_located(given: dict[str, object], expected: list[object]) -> None:
    assert errors({**TABLE, **given}) == expected


OPS: dict[str, tuple[str, object]] = {
    "=": ("=", 1),
    "==": ("=", "a"),
    "<>": ("!=", 1.5),
    "!=": ("!=", True),
    " >= ": (">=", "2024-01-01"),
    "in": ("IN", [1]),
    "Not In": ("NOT IN", ["a"] * 200),
    "like": ("LIKE", "%a_"),
    "is null": ("IS NULL", None),
    "IS NOT NULL": ("IS NOT NULL", None),
    "between": ("BETWEEN", [1, 2]),
}


@pytest.mark.parametrize(("given", "op", "value"), [(given, *case) for given, case in OPS.items()], ids=OPS)
def test_filters_have_one_spelling(given: str, op: str, value: object) -> None:
    job = Read(**TABLE, filters=[{"column": "c", "op": given, "value": value}])
    assert job.filters == (Filter("c", op, value),)  # type: ignore[arg-type]


BAD_FILTERS: dict[str, tuple[dict[str, object], tuple[str, list[str | int]]]] = {
    "op": ({"column": "a", "op": "~", "value": 1}, ("unknown_op", ["filters", 0, "op"])),
    "op of a list": ({"column": "a", "op": ["="], "value": 1}, ("unknown_op", ["filters", 0, "op"])),
    "no op": ({"column": "a", "value": 1}, ("unknown_op", ["filters", 0, "op"])),
    "no column": ({"op": "=", "value": 1}, ("bad_name", ["filters", 0, "column"])),
    "column of a list": ({"column": ["a"], "op": "=", "value": 1}, ("bad_name", ["filters", 0, "column"])),
    "unknown field": ({"column": "a", "op": "=", "value": 1, "not": 1}, ("unknown_field", ["filters", 0, "not"])),
    "= null": ({"column": "a", "op": "=", "value": None}, ("null_value", ["filters", 0, "value"])),
    "= list": ({"column": "a", "op": "=", "value": [1]}, ("wrong_type", ["filters", 0, "value"])),
    "empty IN": ({"column": "a", "op": "IN", "value": []}, ("wrong_length", ["filters", 0, "value"])),
    "long IN": ({"column": "a", "op": "IN", "value": [1] * 201}, ("wrong_length", ["filters", 0, "value"])),
    "IN of one value": ({"column": "a", "op": "IN", "value": 1}, ("wrong_type", ["filters", 0, "value"])),
    "null in NOT IN": ({"column": "a", "op": "NOT IN", "value": [1, None]}, ("null_value", ["filters", 0, "value", 1])),
    "BETWEEN of three": (
        {"column": "a", "op": "BETWEEN", "value": [1, 2, 3]},
        ("wrong_length", ["filters", 0, "value"]),
    ),
    "LIKE 1": ({"column": "a", "op": "LIKE", "value": 1}, ("wrong_type", ["filters", 0, "value"])),
    "LIKE with a last backslash": (
        {"column": "a", "op": "LIKE", "value": "a\\"},
        ("bad_format", ["filters", 0, "value"]),
    ),
    "LIKE with a backslash before a letter": (
        {"column": "a", "op": "LIKE", "value": "\\\\ \\a"},
        ("bad_format", ["filters", 0, "value"]),
    ),
    "IN of text": ({"column": "a", "op": "IN", "value": "abc"}, ("wrong_type", ["filters", 0, "value"])),
    "IS NULL 1": ({"column": "a", "op": "IS NULL", "value": 1}, ("unexpected_value", ["filters", 0, "value"])),
}


@pytest.mark.parametrize(("given", "expected"), BAD_FILTERS.values(), ids=BAD_FILTERS)
def test_a_filter_takes_what_its_op_takes(given: dict[str, object], expected: tuple[str, list[object]]) -> None:
    assert errors({"kind": "read", **TABLE, "filters": [given]}) == [expected]


def test_a_pattern_may_escape_what_has_a_meaning_in_it() -> None:
    pattern = "100\\% a\\_b\n \\\\"
    assert Read(**TABLE, filters=[{"column": "a", "op": "LIKE", "value": pattern}]).filters[0].value == pattern


@pytest.mark.parametrize("op", ["IN", "NOT IN", "BETWEEN"])
def test_a_filter_takes_an_array_of_numpy_as_a_list(op: str) -> None:
    job = Read(**TABLE, filters=[{"column": "a", "op": op, "value": np.array([1, 2])}])
    assert job.filters[0].value == [1, 2]


def test_all_filters_together_bind_at_most_240_values() -> None:
    half = {"column": "a", "op": "IN", "value": [1] * 120}
    assert Read(**TABLE, filters=[half, half])
    one = {"column": "a", "op": "=", "value": 1}
    assert errors({"kind": "read", **TABLE, "filters": [half, half, one]}) == [("wrong_length", ["filters"])]


def test_a_column_may_start_with_a_minus() -> None:
    job = Read(**TABLE, order_by=["-a desc", "--b", OrderBy("-c")])
    assert job.order_by == (OrderBy("-a", descending=True), OrderBy("-b", descending=True), OrderBy("-c"))
    assert parse_job({"kind": "read", **job.fields()}) == job


BAD_DEFINITIONS: dict[str, tuple[object, list[tuple[str, list[str | int]]]]] = {
    "empty": ([], [("wrong_length", [])]),
    "an object": ({}, [("wrong_type", [])]),
    "a list of text": (["id BIGINT"], [("wrong_type", [0])]),
    "no type": ([{"name": "a"}], [("wrong_type", [0, "data_type"])]),
    "unknown field": ([{"name": "a", "data_type": "INT", "type": 1}], [("unknown_field", [0, "type"])]),
    "nullable 1": ([{"name": "a", "data_type": "INT", "nullable": 1}], [("wrong_type", [0, "nullable"])]),
    "bad name and type": (
        [{"name": "a b", "data_type": "ARRAY"}],
        [("bad_name", [0, "name"]), ("bad_type", [0, "data_type"])],
    ),
    "twice": (
        [{"name": "a", "data_type": "INT"}, {"name": "A", "data_type": "INT"}],
        [("duplicate_column", [1, "name"])],
    ),
    "errors of shape and of content": ([{"nme": 1}, {"name": "a", "data_type": "x"}], [
        ("unknown_field", [0, "nme"]),
        ("wrong_type", [0, "name"]),
        ("wrong_type", [0, "data_type"]),
        ("bad_type", [1, "data_type"]),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("definition", "expected"), BAD_DEFINITIONS.values(), ids=BAD_DEFINITIONS)
def test_a_bad_definition_is_located(definition: object, expected: list[tuple[str, list[str | int]]]) -> None:
    job = {"kind": "write", **TABLE, "schema_definition": definition, "data": [{"a": 1}]}
    assert errors(job) == [(kind, ["schema_definition", *loc]) for kind, loc in expected]


DECLARED: dict[str, tuple[dict[str, object], tuple[str, str]]] = {
    "fraction": ({"id": 1, "Amount": "1.234"}, ("out_of_range", "Amount")),
    "float for a decimal": ({"id": 1, "amount": 1.5}, ("wrong_type", "Amount")),
    "null": ({"id": None}, ("not_null", "id")),
    "missing": ({"Amount": "1"}, ("missing_column", "id")),
    "unknown": ({"id": 1, "amont": "1"}, ("unknown_column", "amont")),
    "twice": ({"id": 1, "ID": 2}, ("duplicate_column", "id")),
    "no JSON": ({"id": object()}, ("wrong_type", "id")),
    "audit": ({"id": 1, "Created_At": "x"}, ("audit_column", "Created_At")),
}


@pytest.mark.parametrize(("row", "expected"), DECLARED.values(), ids=DECLARED)
def test_a_definition_has_every_value_checked(row: dict[str, object], expected: tuple[str, str]) -> None:
    job = {"kind": "write", **TABLE, "schema_definition": COLUMNS, "data": [{"id": 1}, row]}
    assert errors(job) == [(expected[0], ["data", 1, expected[1]])]


@pytest.mark.parametrize("name", [*AUDIT_COLUMNS, "CREATED_AT"])
def test_audit_columns_cannot_be_given_where_the_job_says_what_the_table_has(name: str) -> None:
    """Of a table that exists only the worker knows whether they are stamps."""
    assert Write(**TABLE, data=[{name: 1}])
    assert Update(**TABLE, **KEY, updates={name: 1})
    declared = {"kind": "write", **TABLE, "schema_definition": COLUMNS, "data": [{"id": 1, name: 1}]}
    assert errors(declared) == [("audit_column", ["data", 0, name])]
    definition = [{"name": name, "data_type": "STRING"}]
    job = {"kind": "write", **TABLE, "schema_definition": definition, "data": [{"a": 1}]}
    assert errors(job) == [("audit_column", ["schema_definition", 0, "name"])]
    assert Read(**TABLE, columns=[name], order_by=name)


def test_python_values_are_stored_as_json() -> None:
    row = {"at": datetime(2024, 1, 1, tzinfo=UTC), "d": Decimal("1.50"), "m": {date(2024, 1, 1): (b"A",)}}
    job = Write(table="main.sales.orders", data=[row])
    day, number = {"__type__": "date", "__value__": "2024-01-01"}, {"__type__": "decimal", "__value__": "1.50"}
    moment = {"__type__": "datetime", "__value__": "2024-01-01T00:00:00Z"}
    assert job.data == [{"at": moment, "d": number, "m": [[day, [{"__type__": "base64", "__value__": "QQ=="}]]]}]
    assert job.row_count == 1
    row["d"] = None
    assert job.data[0]["d"] == number
    assert Update(**TABLE, key_column="d", key_value=date(2024, 1, 1), updates={"x": b""}).key_value == day


def test_all_errors_are_found_and_the_first_twenty_shown() -> None:
    job = {"kind": "write", "table": "a.b", "nope": 1, "actor": "", "data": [{"a\nb": {1}}] * 30}
    found = errors(job)
    assert [loc for _, loc in found[:3]] == [["nope"], ["table"], ["data", 0, "a\nb"]]
    assert len(found) == 21
    assert found[-1] == ("more", [])
    refused = refusal(job)
    assert refused.message.startswith("write: nope: a write job has no such field")
    assert refused.message.endswith("(and 62 more)")
    assert refused.details["errors"][-1]["msg"] == "and 43 more"


def test_a_hopeless_job_is_not_read_to_its_end() -> None:
    definition = [{"name": f"c{i}", "data_type": "STRING"} for i in range(300)]
    refused = refusal({"kind": "write", **TABLE, "schema_definition": definition, "data": [{"x1": 1}] * 1_000_000})
    assert refused.message.endswith("(and at least 999 more)")


def test_a_misspelt_field_is_told_its_name() -> None:
    assert "did you mean 'order_by'?" in refusal({"kind": "read", **TABLE, "orderby": "a"}).message


def test_a_message_names_job_table_row_and_column() -> None:
    refused = refusal({"kind": "write", **TABLE, "schema_definition": COLUMNS, "data": [{"id": 1}] * 7 + [{"id": "x"}]})
    assert refused.message == (
        "write main.sales.orders: data[7].id: BIGINT takes a whole number, as in 42; the text is not one"
    )
    assert refused.to_dict() == {"error": True, "message": refused.message, "details": refused.details}


CANARY = "hunter2"
LEAKS: dict[str, dict[str, object]] = {
    "write": {"kind": "write", "data": [{"a": {"k": {CANARY}, CANARY: {1}}}]},
    "declared": {
        "kind": "write",
        "schema_definition": [
            {"name": f"c{i}", "data_type": sql}
            for i, sql in enumerate(
                ["INT", "DOUBLE", "FLOAT", "DECIMAL(3,1)", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "BINARY",
                 "VARCHAR(2)", "CHAR(2)", "ARRAY<INT>", "MAP<INT, INT>", "STRUCT<a: INT>", "MAP<STRING, INT>"]
            )
        ],
        "data": [{f"c{i}": CANARY for i in range(14)} | {"c14": {CANARY: CANARY}}, {"c12": {CANARY: 1}}],
    },
    "key": {"kind": "update", "key_column": "id", "key_value": [CANARY], "updates": {"a": {CANARY}}},
    "filter": {
        "kind": "read",
        "filters": [{"column": "a", "op": "IN", "value": CANARY}, {"column": "a", "op": "=", "value": [CANARY]}],
    },
    "wrong types": {"kind": "read", "limit": CANARY, "include_deleted": CANARY, "actor": [CANARY], "offset": CANARY},
}  # fmt: skip


@pytest.mark.parametrize("job", LEAKS.values(), ids=LEAKS)
def test_no_error_shows_a_value(job: dict[str, object]) -> None:
    refused = refusal({**TABLE, **job})
    assert CANARY not in json.dumps(refused.to_dict())
    assert CANARY not in repr(refused)
    fields = {name: value for name, value in job.items() if name != "kind"}
    models: dict[str, Any] = {"write": Write, "update": Update, "read": Read}
    with pytest.raises(ValidationError) as invalid:
        models[str(job["kind"])].model_validate({**TABLE, **fields})
    assert CANARY not in str(invalid.value)


def test_a_repr_shows_no_row() -> None:
    job = Write(table="main.sales.orders", data=[{"a": CANARY}], id="j1")
    assert repr(job) == str(job) == "Write(main.sales.orders, id='j1', rows=1)"


def test_the_constructor_and_model_validate_find_the_same() -> None:
    with pytest.raises(InvalidJob) as refused:
        Write(table="a.b", data=[])
    with pytest.raises(ValidationError) as invalid:
        Write.model_validate({"table": "a.b", "data": []})
    ours: Any = refused.value.details["errors"]
    assert ours == [
        {"type": error["type"], "loc": list(error["loc"]), "msg": error["msg"]} for error in invalid.value.errors()
    ]


def test_a_union_of_jobs_can_be_a_request_body() -> None:
    jobs: TypeAdapter[Any] = TypeAdapter(Job)
    assert jobs.validate_python({"kind": "delete", **TABLE, **KEY}) == Delete(**TABLE, **KEY)
    assert jobs.json_schema(mode="validation")["discriminator"]["propertyName"] == "kind"
    with pytest.raises(ValidationError):
        jobs.validate_python({"kind": "merge"})


@pytest.mark.parametrize("model", [Write, Update, Delete, Read])
def test_models_are_frozen_and_pickle(model: type[Any]) -> None:
    extra: dict[str, dict[str, Any]] = {
        "Write": {"data": [{"a": 1}]},
        "Update": {**KEY, "updates": {"a": 1}},
        "Delete": KEY,
        "Read": {},
    }
    job = model(**TABLE, **extra[model.__name__])
    with pytest.raises(ValidationError):
        job.table = "other"
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.model_copy(update={"id": "j1"}).id == "j1"
    assert model.model_validate(job) == job
    assert model.model_validate(job.model_dump()) == job


BAD_TEXT: dict[str, str | bytes] = {
    "nothing": "",
    "cut off": '{"kind": "read"',
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "a name twice": '{"kind": "write", "table": "a.b.c", "data": [{"a": 1, "a": 2}]}',
    "1e-400": '{"kind": "write", "table": "a.b.c", "data": [{"a": 0.1e-400}]}',
    "1e400": '{"kind": "write", "table": "a.b.c", "data": [{"a": 1e400}]}',
    "thousands of digits": f'{{"kind": "write", "table": "a.b.c", "data": [{{"a": {"9" * 5000}}}]}}',
    "nested too deep": "[" * 1_000_000,
    "bytes": b"\xff\xfe\xfd",
    "two documents": '{"kind": "read"} {}',
}


@pytest.mark.parametrize("text", BAD_TEXT.values(), ids=BAD_TEXT)
def test_text_that_loses_something_when_read_is_refused(text: str | bytes) -> None:
    refused = refusal(text)
    assert refused.index is None


def test_python_s_way_to_write_nan_is_taken() -> None:
    job = parse_job('{"kind": "write", "table": "a.b.c", "data": [{"a": NaN, "b": -Infinity}]}')
    assert job == Write(table="a.b.c", data=[{"a": nan, "b": -inf}])
    assert isinstance(job, Write)
    assert job.data[0]["a"] == {"__type__": "float", "__value__": "NaN"}


def test_an_error_says_which_of_several_jobs() -> None:
    with pytest.raises(InvalidJob) as refused:
        parse_job({}, index=7)
    assert refused.value.index == 7
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (copy.index, copy.to_dict()) == (7, refused.value.to_dict())


@pytest.mark.parametrize("error", [JobFailed("no", {"code": "22018"}), JobTimeout("late")])
def test_errors_survive_pickling(error: JobFailed | JobTimeout) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.details, copy.args) == (error.message, error.details, error.args)
    json.dumps(error.args)


def test_a_timeout_is_a_timeout_error() -> None:
    assert issubclass(JobTimeout, TimeoutError)
