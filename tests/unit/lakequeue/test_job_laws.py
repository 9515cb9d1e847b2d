"""What holds for every job, whatever its fields and values: it is valid, or refused as invalid."""

import json
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from lakequeue import InvalidJob, Write, parse_job
from lakequeue.columns import ColumnType, parse_type
from lakequeue.selection import Op
from lakequeue.values import JsonValue, encoder, to_wire

from tests.strategies import column_names, column_types, values_of

operators = st.sampled_from([*get_args(Op), "==", "<>", "is null", " not  in ", "in"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("\ud800"), inner, max_size=4),
    max_leaves=10,
)
field_names = st.sampled_from(
    [
        "catalog", "schema", "schema_", "table", "actor", "id", "kind", "auto_create", "schema_definition", "data",
        "key_column", "key_value", "updates", "soft", "columns", "filters", "order_by", "limit", "offset", "after",
        "include_deleted", "known_fields", "model_config",
    ]
)  # fmt: skip
near_misses = st.fixed_dictionaries(
    {"kind": st.sampled_from(["write", "update", "delete", "read"])},
    optional={
        "table": st.just("a.b.c") | json_values,
        "data": st.lists(st.dictionaries(column_names, json_values, max_size=3), max_size=3) | json_values,
        "schema_definition": st.lists(
            st.fixed_dictionaries({"name": column_names, "data_type": column_types().map(lambda t: t.sql)})
            | json_values,
            max_size=3,
        ),
        "key_column": column_names | json_values,
        "key_value": json_values,
        "updates": st.dictionaries(column_names, json_values, max_size=3) | json_values,
        "filters": st.lists(
            st.fixed_dictionaries({"column": column_names, "op": operators, "value": json_values}),
            max_size=3,
        ),
        "columns": st.lists(column_names) | json_values,
        "order_by": st.lists(column_names) | json_values,
    },
)


@settings(max_examples=300)
@given(near_misses | st.dictionaries(field_names | st.text(), json_values) | json_values)
def test_any_json_is_a_job_or_invalid(given: Any) -> None:
    try:
        job = parse_job(given)
    except InvalidJob as refused:
        json.dumps(refused.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    else:
        assert parse_job(json.dumps({"kind": job.op, **job.fields(), "id": job.id}, allow_nan=False)) == job


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_any_text_is_a_job_or_invalid(text: str | bytes) -> None:
    try:
        parse_job(text)
    except InvalidJob as refused:
        json.dumps(refused.to_dict(), ensure_ascii=False).encode()


@st.composite
def declared_writes(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(column_names, min_size=1, max_size=4, unique_by=str.lower))
    types = {name: draw(column_types(2)) for name in names}
    rows = draw(st.lists(st.fixed_dictionaries({n: values_of(t) for n, t in types.items()}), min_size=1, max_size=3))
    definition = [{"name": name, "data_type": each.sql} for name, each in types.items()]
    return {"table": "a.b.c", "schema_definition": definition, "data": rows}


def encoded(rows: list[dict[str, JsonValue]], types: dict[str, ColumnType]) -> list[dict[str, str | None]]:
    return [{name: encoder(types[name], "python")(value) for name, value in row.items()} for row in rows]


@given(declared_writes())
def test_valid_rows_are_taken_with_and_without_a_definition(fields: dict[str, Any]) -> None:
    job = Write(**fields)
    types = {each["name"]: parse_type(each["data_type"]) for each in fields["schema_definition"]}
    free = Write(table="a.b.c", data=fields["data"]).data
    assert free == [to_wire(row) for row in fields["data"]]
    assert encoded(job.data, types) == encoded(free, types)
    assert parse_job(json.dumps({"kind": "write", **job.fields()}, allow_nan=False)) == job
    assert Write.model_validate(job.model_dump()) == job
    assert Write.model_validate_json(job.model_dump_json()) == job
