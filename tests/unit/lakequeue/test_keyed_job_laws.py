"""What holds for every job that names rows by key, whatever its form and its values."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakequeue import Delete, InvalidJob, Update, Write, parse_job
from lakequeue.columns import parse_type

from tests.strategies import column_names, values_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("\ud800"), inner, max_size=3),
    max_leaves=6,
)
few_names = st.sampled_from(["a", "A", "b", "deleted_at", "x y"])
few_values = st.sampled_from([0, 1, True, 1.0, "1", "NaN", float("nan"), None, -0.0]) | json_values
objects = st.dictionaries(few_names, few_values, max_size=3)
near_misses = st.fixed_dictionaries(
    {"kind": st.sampled_from(["write", "update", "delete"]), "table": st.just("a.b.c")},
    optional={
        "mode": st.sampled_from(["append", "upsert", "insert_if_absent"]) | json_values,
        "key_columns": st.lists(few_names, max_size=2) | st.just("a,b") | json_values,
        "data": st.lists(objects, max_size=3) | json_values,
        "schema_definition": st.just([{"name": "a", "data_type": "DOUBLE"}, {"name": "B", "data_type": "STRING"}]),
        "key_column": few_names | json_values,
        "key_value": few_values,
        "key": objects | json_values,
        "keys": st.lists(objects, max_size=3) | json_values,
        "keys_": st.lists(objects, max_size=3) | json_values,
        "updates": objects | json_values,
        "rows": st.lists(st.fixed_dictionaries({"key": objects, "updates": objects}) | json_values, max_size=3)
        | json_values,
        "must_exist": st.booleans() | json_values,
        "include_deleted": st.booleans() | json_values,
    },
)


@settings(max_examples=500)
@given(near_misses)
def test_any_json_is_a_job_or_invalid(given: dict[str, Any]) -> None:
    try:
        job = parse_job(given)
    except InvalidJob as refused:
        json.dumps(refused.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    else:
        again = json.loads(json.dumps(job.fields(), allow_nan=False))
        assert parse_job({"kind": job.op, **again}) == job


scalars = st.sampled_from(["BIGINT", "STRING", "BOOLEAN", "DATE", "TIMESTAMP", "DECIMAL(38,5)", "BINARY"])


@st.composite
def keyed_jobs(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """A valid job in any form that names rows by key, and how many keys it has."""
    others = column_names.filter(lambda name: name.lower() not in ("u1", "u2"))
    names = draw(st.lists(others, min_size=1, max_size=3, unique_by=str.lower))
    types = {name: draw(scalars) for name in names}
    by_column = {name: values_of(parse_type(sql), nullable=False) for name, sql in types.items()}
    # The first column alone tells them apart: by number, so that no encoding makes two of them one.
    count = draw(st.integers(1, 4))
    found = [{**draw(st.fixed_dictionaries(by_column)), names[0]: number} for number in range(count)]
    respell = draw(st.booleans())
    found = [
        {name.upper() if respell and index and name.isascii() else name: value for name, value in key.items()}
        for index, key in enumerate(found)
    ]
    updates = st.dictionaries(st.sampled_from(["u1", "u2", names[0]]), values_of(parse_type("STRING")), min_size=1)
    form = draw(
        st.sampled_from(["key", "keys", "old delete", "update", "old update", "rows", "upsert", "insert_if_absent"])
    )
    must_exist = {"must_exist": draw(st.booleans())}
    old = {"key_column": names[0], "key_value": 7}
    forms: dict[str, Callable[[], tuple[dict[str, Any], int]]] = {
        "key": lambda: ({"kind": "delete", "key": found[0], **must_exist}, 1),
        "keys": lambda: ({"kind": "delete", "keys": found, "soft": draw(st.booleans())}, count),
        "old delete": lambda: ({"kind": "delete", **old}, 1),
        "update": lambda: ({"kind": "update", "key": found[-1], "updates": draw(updates), **must_exist}, 1),
        "old update": lambda: ({"kind": "update", **old, "updates": draw(updates)}, 1),
        "rows": lambda: (
            {"kind": "update", "rows": [{"key": key, "updates": draw(updates)} for key in found],
             "include_deleted": draw(st.booleans())},
            count,
        ),
    }  # fmt: skip
    if form in forms:
        given, expected = forms[form]()
    else:
        given = {"kind": "write", "mode": form, "key_columns": draw(st.permutations(names)), "data": found}
        expected = count
        if draw(st.booleans()):
            types[names[0]] = "BIGINT"
            given["schema_definition"] = [{"name": name, "data_type": sql} for name, sql in types.items()]
    return {"table": "a.b.c", **given}, expected


@settings(max_examples=300)
@given(keyed_jobs())
def test_every_form_survives_the_wire(case: tuple[dict[str, Any], int]) -> None:
    given, count = case
    job = parse_job(given)
    assert job.row_count == count
    again = parse_job(json.dumps({"kind": job.op, **job.fields()}, allow_nan=False))
    assert again == job
    assert again.fields() == job.fields()
    if isinstance(job, Update):
        assert len({tuple(change.key) for change in job.changes}) == 1
    elif isinstance(job, Delete):
        assert len({tuple(key) for key in job.targets}) == 1
    elif isinstance(job, Write):
        assert all(name in row for row in job.data for name in job.key_columns)


@settings(max_examples=200)
@given(keyed_jobs(), st.data())
def test_a_key_given_twice_is_refused_in_every_form(case: tuple[dict[str, Any], int], draw: st.DataObject) -> None:
    given, _ = case
    for field in ("rows", "keys", "data"):
        if field in given:
            given[field] = [*given[field], draw.draw(st.sampled_from(given[field]))]
            with pytest.raises(InvalidJob) as refused:
                parse_job(given)
            found: Any = refused.value.details["errors"]
            assert [error["type"] for error in found] == ["duplicate_key"]
