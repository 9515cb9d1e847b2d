"""Jobs that name rows by key say the same in every form, and are refused where a key could not mean one thing."""

import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from lakequeue import Delete, InvalidJob, Update, Write, parse_job, wire
from lakequeue.jobs import Change
from lakequeue.row_keys import MAX_KEYS
from lakequeue.typed_values import Typed

TABLE: dict[str, Any] = {"catalog": "main", "schema": "sales", "table": "orders"}
DECLARED = [
    {"name": "Id", "data_type": "BIGINT"},
    {"name": "at", "data_type": "TIMESTAMP"},
    {"name": "code", "data_type": "CHAR(4)"},
    {"name": "real", "data_type": "DOUBLE"},
    {"name": "tags", "data_type": "ARRAY<STRING>"},
]


def errors(job: dict[str, object]) -> list[tuple[str, list[str | int]]]:
    with pytest.raises(InvalidJob) as refused:
        parse_job({**TABLE, **job})
    found: Any = refused.value.details["errors"]
    return [(error["type"], error["loc"]) for error in found]


def message(job: dict[str, object]) -> str:
    with pytest.raises(InvalidJob) as refused:
        parse_job({**TABLE, **job})
    return refused.value.message


UPDATES: dict[str, tuple[dict[str, Any], list[Change], dict[str, Any] | None]] = {
    "key_column": (
        {"key_column": "id", "key_value": 1, "updates": {"a": None}},
        [Change({"id": 1}, {"a": None})],
        None,
    ),
    "key": ({"key": {"id": 1}, "updates": {"a": 2}}, [Change({"id": 1}, {"a": 2})], None),
    "composite key, changed itself": (
        {"key": {"id": 1, "Day": "x"}, "updates": {"id": 2}, "must_exist": True, "include_deleted": True},
        [Change({"id": 1, "Day": "x"}, {"id": 2})],
        None,
    ),
    "rows": (
        {"rows": [{"key": {"id": 1}, "updates": {"a": 1}}, {"key": {"id": 2}, "updates": {"b": 1}}]},
        [Change({"id": 1}, {"a": 1}), Change({"id": 2}, {"b": 1})],
        None,
    ),
    "rows, keys spelt and ordered otherwise": (
        {"rows": [{"key": {"a": 1, "b": 2}, "updates": {"c": 1}}, {"key": {"B": 1, "A": 2}, "updates": {"C": 1}}]},
        [Change({"a": 1, "b": 2}, {"c": 1}), Change({"a": 2, "b": 1}, {"C": 1})],
        {"rows": [{"key": {"a": 1, "b": 2}, "updates": {"c": 1}}, {"key": {"a": 2, "b": 1}, "updates": {"C": 1}}]},
    ),
    "null for what is optional": (
        {"key": {"id": 1}, "updates": {"a": 1}, "key_column": None, "key_value": None, "rows": None},
        [Change({"id": 1}, {"a": 1})],
        {"key": {"id": 1}, "updates": {"a": 1}},
    ),
    "defaults": (
        {"key": {"id": 1}, "updates": {"a": 1}, "must_exist": False, "include_deleted": False},
        [Change({"id": 1}, {"a": 1})],
        {"key": {"id": 1}, "updates": {"a": 1}},
    ),
    "by a job's id": (
        {"key": {"_job_id": "j1"}, "updates": {"a": 1}},
        [Change({"_job_id": "j1"}, {"a": 1})],
        None,
    ),
}


@pytest.mark.parametrize(("given", "changes", "fields"), UPDATES.values(), ids=UPDATES)
def test_an_update_says_its_changes_in_whichever_form(
    given: dict[str, Any], changes: list[Change], fields: dict[str, Any] | None
) -> None:
    job = parse_job({"kind": "update", **TABLE, **given})
    assert isinstance(job, Update)
    assert job.changes == tuple(changes)
    assert [list(change.key) for change in job.changes] == [list(changes[0].key)] * len(changes)
    assert job.row_count == len(changes)
    assert job.fields() == TABLE | (given if fields is None else fields)
    _stays_itself(job)


DELETES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any] | None]] = {
    "key_column": ({"key_column": "id", "key_value": 1, "soft": False}, [{"id": 1}], None),
    "key": ({"key": {"id": 1, "b": True}, "must_exist": True}, [{"id": 1, "b": True}], None),
    "keys": ({"keys": [{"id": 1}, {"id": 2}]}, [{"id": 1}, {"id": 2}], None),
    "keys by attribute": ({"keys_": [{"id": 1}]}, [{"id": 1}], {"keys": [{"id": 1}]}),
    "keys, spelt otherwise": (
        {"keys": [{"Id": 1, "x": 1}, {"x": 2, "ID": 1}]},
        [{"Id": 1, "x": 1}, {"Id": 1, "x": 2}],
        {"keys": [{"Id": 1, "x": 1}, {"Id": 1, "x": 2}]},
    ),
    "keys alike to Python only": ({"keys": [{"a": 1}, {"a": True}]}, [{"a": 1}, {"a": True}], None),
    "null for what is optional": (
        {"keys": None, "key": None, "key_column": "id", "key_value": 1},
        [{"id": 1}],
        {"key_column": "id", "key_value": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "targets", "fields"), DELETES.values(), ids=DELETES)
def test_a_delete_says_its_targets_in_whichever_form(
    given: dict[str, Any], targets: list[dict[str, Any]], fields: dict[str, Any] | None
) -> None:
    job = parse_job({"kind": "delete", **TABLE, **given})
    assert isinstance(job, Delete)
    assert [list(key.items()) for key in job.targets] == [list(key.items()) for key in targets]
    assert job.row_count == len(targets)
    assert job.fields() == TABLE | (given if fields is None else fields)
    _stays_itself(job)


UPSERT: dict[str, Any] = {"kind": "write", "mode": "upsert", "key_columns": ["id"]}
ABSENT: dict[str, Any] = {"kind": "write", "mode": "insert_if_absent", "key_columns": ["id"]}
WRITES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "upsert": ({**UPSERT, "data": [{"id": 1, "a": 1}, {"id": 2, "a": None}]}, {}),
    "one row": ({**UPSERT, "data": {"id": 1}}, {"data": [{"id": 1}]}),
    "text": (
        {**UPSERT, "key_columns": "id, a", "data": [{"id": 1, "a": 1}, {"id": 1, "a": 2}]},
        {"key_columns": ["id", "a"]},
    ),
    "key columns and rows spelt otherwise": (
        {**UPSERT, "key_columns": "ID", "data": [{"Id": 1, "a": 1}, {"A": 1, "id": 2}]},
        {"key_columns": ["Id"], "data": [{"Id": 1, "a": 1}, {"a": 1, "Id": 2}]},
    ),
    "insert_if_absent, other columns": (
        {**ABSENT, "data": [{"id": 1, "a": 1}, {"ID": 2, "B": 1}]},
        {"data": [{"id": 1, "a": 1}, {"id": 2, "B": 1}]},
    ),
    "declared": (
        {**UPSERT, "schema_definition": DECLARED, "data": [{"ID": 1, "code": "a"}, {"code": "b", "id": "2"}]},
        {"key_columns": ["Id"], "data": [{"Id": 1, "code": "a"}, {"Id": "2", "code": "b"}]},
    ),
    "declared, a DOUBLE": (
        {**UPSERT, "key_columns": ["real"], "schema_definition": DECLARED, "data": [{"real": 1.5}]},
        {},
    ),
    "the text NaN": ({**UPSERT, "data": [{"id": "NaN"}]}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("given", "fields"), WRITES.values(), ids=WRITES)
def test_a_write_by_key_spells_its_columns_alike(given: dict[str, Any], fields: dict[str, Any]) -> None:
    job = parse_job({**TABLE, **given})
    assert isinstance(job, Write)
    sent = {name: value for name, value in given.items() if name != "kind"}
    assert job.fields() == TABLE | sent | fields
    assert all(row.keys() >= set(job.key_columns) for row in job.data)
    _stays_itself(job)


APPENDS: dict[str, dict[str, Any]] = {
    "said": {"mode": "append"},
    "null keys": {"key_columns": None},
    "as model_dump has it": {"mode": "append", "key_columns": ()},
}


@pytest.mark.parametrize("given", APPENDS.values(), ids=APPENDS)
def test_an_append_looks_for_no_keys(given: dict[str, Any]) -> None:
    alike: list[dict[str, Any]] = [{"id": 1}, {"ID": 1}, {"other": None}]
    job = Write(**TABLE, data=alike, **given)
    assert job.fields() == TABLE | {"data": alike}
    _stays_itself(job)


def _stays_itself(job: Write | Update | Delete) -> None:
    assert parse_job({"kind": job.op, **job.fields()}) == job
    assert parse_job({"kind": job.op, **json.loads(json.dumps(job.fields()))}).fields() == job.fields()
    assert type(job).model_validate(job.model_dump()) == job
    assert pickle.loads(pickle.dumps(job)) == job
    assert dict(job)["kind"] == job.op


ONE: dict[str, Any] = {"key": {"id": 1}, "updates": {"a": 1}}
OLD: dict[str, Any] = {"key_column": "id", "key_value": 1}
ROW: dict[str, Any] = {"key": {"id": 1}, "updates": {"a": 1}}


def rows(*keys: object) -> dict[str, object]:
    return {"kind": "update", "rows": [{"key": key, "updates": {"a": 1}} for key in keys]}


def keys(*given: object) -> dict[str, object]:
    return {"kind": "delete", "keys": list(given)}


def data(*given: object, **fields: object) -> dict[str, object]:
    return {**UPSERT, "data": list(given), **fields}


Errors = list[tuple[str, list[str | int]]]
REFUSED: dict[str, tuple[dict[str, object], Errors]] = {
    # forms
    "update without a key": ({"kind": "update", "updates": {"a": 1}}, [("missing", ["key"])]),
    "update of nothing": ({"kind": "update"}, [("missing", ["key"]), ("missing", ["updates"])]),
    "update without updates": ({"kind": "update", "key": {"id": 1}}, [("missing", ["updates"])]),
    "update, null updates": ({"kind": "update", **OLD, "updates": None}, [("missing", ["updates"])]),
    "update in two forms": ({"kind": "update", **ONE, **OLD}, [("both_forms", ["key_value"])]),
    "update in half of another form": ({"kind": "update", **ONE, "key_column": "id"}, [("both_forms", ["key_column"])]),
    "update of a key and rows": (
        {"kind": "update", "key": {"id": 1}, "rows": [ROW]},
        [("both_forms", ["rows"])],
    ),
    "updates and rows": ({"kind": "update", "updates": {"a": 1}, "rows": [ROW]}, [("both_forms", ["updates"])]),
    "update without key_value": (
        {"kind": "update", "key_column": "id", "updates": {"a": 1}},
        [("missing", ["key_value"])],
    ),
    "update without key_column": (
        {"kind": "update", "key_value": 1, "updates": {"a": 1}},
        [("missing", ["key_column"])],
    ),
    "delete in two forms": ({"kind": "delete", "key": {"id": 1}, "keys": [{"id": 1}]}, [("both_forms", ["keys"])]),
    "keys twice": ({"kind": "delete", "keys": [{"id": 1}], "keys_": [{"id": 1}]}, [("both_forms", ["keys"])]),
    "delete of rows": ({"kind": "delete", "rows": [ROW]}, [("unknown_field", ["rows"]), ("missing", ["key"])]),
    "must_exist of a number": ({"kind": "delete", **OLD, "must_exist": 1}, [("bool_type", ["must_exist"])]),
    "delete knows no include_deleted": (
        {"kind": "delete", **OLD, "include_deleted": True},
        [("unknown_field", ["include_deleted"])],
    ),
    # one key
    "empty key": ({"kind": "delete", "key": {}}, [("wrong_length", ["key"])]),
    "key of a list": ({"kind": "delete", "key": ["id"]}, [("wrong_type", ["key"])]),
    "key of false": ({"kind": "delete", "key": False}, [("wrong_type", ["key"])]),
    "null in a key": ({"kind": "delete", "key": {"a": 1, "b": None}}, [("null_value", ["key", "b"])]),
    "list in a key": ({"kind": "delete", "key": {"a": [1]}}, [("wrong_type", ["key", "a"])]),
    "object in a key": ({"kind": "delete", "key": {"a": {}}}, [("wrong_type", ["key", "a"])]),
    "NaN in a key": ({"kind": "delete", "key": {"a": float("nan")}}, [("nan_key", ["key", "a"])]),
    "NaN as key_value": ({"kind": "delete", **OLD, "key_value": float("nan")}, [("nan_key", ["key_value"])]),
    "what is no JSON in a key": ({"kind": "delete", "key": {"a": object()}}, [("wrong_type", ["key", "a"])]),
    "bad name in a key": ({"kind": "delete", "key": {"a\nb": 1}}, [("bad_name", ["key", "a\nb"])]),
    "number as name in a key": ({"kind": "delete", "key": {1: 1}}, [("bad_name", ["key"])]),
    "column twice in a key": ({"kind": "delete", "key": {"a": 1, "A": 1}}, [("duplicate_column", ["key", "A"])]),
    # many keys
    "no rows": (rows(), [("wrong_length", ["rows"])]),
    "no keys": (keys(), [("wrong_length", ["keys"])]),
    "rows of an object": ({"kind": "update", "rows": ROW}, [("wrong_type", ["rows"])]),
    "keys of an object": ({"kind": "delete", "keys": {"id": 1}}, [("wrong_type", ["keys"])]),
    "a row of text": ({"kind": "update", "rows": [ROW, "x"]}, [("wrong_type", ["rows", 1])]),
    "a key of text": (keys({"id": 1}, "x"), [("wrong_type", ["keys", 1])]),
    "a flat row": (
        {"kind": "update", "rows": [{"id": 1, "a": 2}]},
        [("unknown_field", ["rows", 0, "id"]), ("unknown_field", ["rows", 0, "a"]),
         ("missing", ["rows", 0, "key"]), ("missing", ["rows", 0, "updates"])],
    ),
    "a row with a number for a field": (
        {"kind": "update", "rows": [{**ROW, 1: 2}]},
        [("unknown_field", ["rows", 0])],
    ),
    "a row without updates": ({"kind": "update", "rows": [{"key": {"a": 1}}]}, [("missing", ["rows", 0, "updates"])]),
    "a row with null updates": (
        {"kind": "update", "rows": [{"key": {"a": 1}, "updates": None}]},
        [("wrong_type", ["rows", 0, "updates"])],
    ),
    "a row with empty updates": (
        {"kind": "update", "rows": [ROW, {"key": {"id": 2}, "updates": {}}]},
        [("wrong_length", ["rows", 1, "updates"])],
    ),
    "null in the second row's key": (rows({"a": 1}, {"a": None}), [("null_value", ["rows", 1, "key", "a"])]),
    "null in the second key": (keys({"a": 1}, {"a": None}), [("null_value", ["keys", 1, "a"])]),
    "nulls are no duplicates": (keys({"a": None}, {"a": None}), [("null_value", ["keys", i, "a"]) for i in (0, 1)]),
    "same key twice in rows": (rows({"a": 1}, {"a": 2}, {"a": 1}), [("duplicate_key", ["rows", 2, "key"])]),
    "same key twice in keys": (keys({"a": 1}, {"a": 1}, {"a": 1}), [("duplicate_key", ["keys", i]) for i in (1, 2)]),
    "same key in other spelling and order": (
        keys({"a": 1, "b": 2}, {"B": 2, "A": 1}),
        [("duplicate_key", ["keys", 1])],
    ),
    "same key as Decimal and text": (keys({"a": Decimal("1.5")}, {"a": "1.5"}), [("duplicate_key", ["keys", 1])]),
    "1 and 1.0": (keys({"a": 1}, {"a": 1.0}), [("duplicate_key", ["keys", 1])]),
    "two zeros": (keys({"a": 0.0}, {"a": -0.0}), [("duplicate_key", ["keys", 1])]),
    "other columns": (rows({"a": 1}, {"b": 1}), [("different_columns", ["rows", 1, "key"])]),
    "fewer columns": (keys({"a": 1, "b": 1}, {"a": 1}), [("different_columns", ["keys", 1])]),
    "more columns": (keys({"a": 1}, {"a": 1, "b": 1}), [("different_columns", ["keys", 1])]),
    "a\nbad first key": (keys({"a\nb": 1}, {"a": 1}, {"a": 2}), [("bad_name", ["keys", 0, "a\nb"])]),
    # writes
    "unknown mode": ({"kind": "write", "mode": "merge", "data": [{"a": 1}]}, [("literal_error", ["mode"])]),
    "mode of a list": (data({"id": 1}, mode=[]), [("literal_error", ["mode"])]),
    "append with keys": (
        {"kind": "write", "key_columns": ["a"], "data": [{"a": 1}]},
        [("unexpected_value", ["key_columns"])],
    ),
    "no key_columns": ({"kind": "write", "mode": "upsert", "data": [{"a": 1}]}, [("missing", ["key_columns"])]),
    "empty key_columns": (data({"a": 1}, key_columns=""), [("missing", ["key_columns"])]),
    "key_columns of an object": (data({"a": 1}, key_columns={}), [("wrong_type", ["key_columns"])]),
    "bad key column": (data({"id": 1}, key_columns="a\nb"), [("bad_name", ["key_columns", 0])]),
    "key column twice": (data({"id": 1}, key_columns="id,ID"), [("duplicate_column", ["key_columns", 1])]),
    "key by a stamp": (
        {**data({"id": 1}, key_columns=["_job_id"]), "schema_definition": [{"name": "id", "data_type": "INT"}]},
        [("audit_column", ["key_columns", 0])],
    ),
    "row without its key": (
        {**ABSENT, "data": [{"id": 1, "a": 1}, {"a": 1}]},
        [("missing_column", ["data", 1, "id"])],
    ),
    "null key": (data({"id": 1}, {"id": None}), [("null_value", ["data", 1, "id"])]),
    "list as key": (data({"id": [1]}), [("wrong_type", ["data", 0, "id"])]),
    "NaN as key": (data({"ID": "NaN"}, {"id": float("nan")}), [("nan_key", ["data", 1, "ID"])]),
    "same key": (
        data({"id": 1, "a": 1}, {"id": 2, "a": 1}, {"ID": 1, "A": 2}),
        [("duplicate_key", ["data", 2])],
    ),
    "same key, to insert if absent": ({**ABSENT, "data": [{"id": 1}, {"id": 1}]}, [("duplicate_key", ["data", 1])]),
    "same key after conversion": (
        data({"id": UUID(int=1)}, {"id": str(UUID(int=1))}),
        [("duplicate_key", ["data", 1])],
    ),
    "upsert of other columns, told once": (
        data({"id": 1, "a": 1}, {"id": 2}, {"id": 3, "b": 1}),
        [("different_columns", ["data", 1])],
    ),
    "wrong rows first": (data({"id": 1}, {}, {"id": 1}), [("wrong_length", ["data", 1])]),
    "undeclared key": (
        data({"code": "x"}, key_columns="cod", schema_definition=DECLARED),
        [("unknown_column", ["key_columns", 0])],
    ),
    "nested key": (
        data({"tags": ["x"]}, key_columns="tags", schema_definition=DECLARED),
        [("wrong_type", ["key_columns", 0])],
    ),
    "declared, 1 and '1'": (
        data({"id": 1}, {"id": "1"}, schema_definition=DECLARED),
        [("duplicate_key", ["data", 1])],
    ),
    "declared, one moment": (
        data({"at": datetime(2024, 1, 1, tzinfo=UTC)}, {"at": "2024-01-01T01:00:00+01:00"}, key_columns="AT",
             schema_definition=DECLARED),
        [("duplicate_key", ["data", 1])],
    ),
    "declared, padded": (
        data({"code": "a"}, {"code": "a  "}, key_columns="code", schema_definition=DECLARED),
        [("duplicate_key", ["data", 1])],
    ),
    "declared, two zeros": (
        data({"real": 0}, {"real": -0.0}, key_columns="real", schema_definition=DECLARED),
        [("duplicate_key", ["data", 1])],
    ),
    "declared, NaN": (
        data({"real": "NaN"}, key_columns="real", schema_definition=DECLARED),
        [("nan_key", ["data", 0, "real"])],
    ),
    "declared, no key": (
        data({"code": "x"}, schema_definition=DECLARED),
        [("missing_column", ["data", 0, "Id"])],
    ),
    "declared, null key": (
        data({"id": None}, schema_definition=DECLARED),
        [("null_value", ["data", 0, "Id"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_key_is_located(given: dict[str, object], expected: Errors) -> None:
    assert errors(given) == expected


MESSAGES: dict[str, tuple[dict[str, object], str]] = {
    "two forms": ({"kind": "update", **ONE, **OLD}, "one form only: key, rows, or key_column and key_value"),
    "no form": ({"kind": "delete"}, "by key {column: value, …}, many of them by keys"),
    "duplicate": (rows({"a": 1}, {"a": 1}), "rows[1].key: the key is that of rows[0].key"),
    "duplicate row": (data({"id": 1}, {"id": 1}), "data[1]: the key is that of data[0]"),
    "column missing": (
        data({"id": 1, "a": 1}, {"id": 2}),
        "data[1]: all rows of an upsert have the columns of data[0]: 'a' is missing",
    ),
    "column too many": (keys({"a": 1}, {"a": 1, "b": 2}), "'b' is not among them"),
    "near name": (data({"code": "x"}, key_columns="cod", schema_definition=DECLARED), "did you mean 'code'?"),
    "near field": ({"kind": "delete", "must_exists": True}, "did you mean 'must_exist'?"),
    "nested": (data({"tags": []}, key_columns="tags", schema_definition=DECLARED), "single values, not ARRAY"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_says_what_to_do(given: dict[str, object], expected: str) -> None:
    assert expected in message(given)


CANARY = "hunter2"
LEAKS: dict[str, dict[str, object]] = {
    "duplicate keys": keys({"a": CANARY}, {"a": CANARY}),
    "duplicate rows": data({"id": CANARY}, {"id": CANARY}),
    "list": keys({"a": [CANARY]}),
    "declared": data({"id": CANARY}, schema_definition=DECLARED),
    "mode": {"kind": "write", "mode": CANARY, "data": [{"a": 1}]},
}


@pytest.mark.parametrize("job", LEAKS.values(), ids=LEAKS)
def test_no_error_shows_a_key(job: dict[str, object]) -> None:
    with pytest.raises(InvalidJob) as refused:
        parse_job({**TABLE, **job})
    assert CANARY not in json.dumps(refused.value.to_dict())


@pytest.mark.parametrize("many", [rows, keys], ids=["update", "delete"])
def test_a_job_has_at_most_ten_thousand_keys(many: Callable[..., dict[str, object]]) -> None:
    given = [{"id": number} for number in range(MAX_KEYS + 1)]
    assert parse_job({**TABLE, **many(*given[:-1])}).row_count == MAX_KEYS
    ((kind, _),) = errors(many(*given))
    assert kind == "wrong_length"


def test_python_values_become_json_in_keys_and_updates() -> None:
    update = Update(
        table="a.b.c", rows=[Change({"day": "x"}, {"n": 1}), {"key": {"day": date(2024, 1, 1)}, "updates": {"n": b"A"}}]
    )
    day, raw = Typed.of("date", "2024-01-01"), Typed.of("base64", "QQ==")
    assert update.changes[1] == Change({"day": day}, {"n": raw})
    assert Delete(table="a.b.c", key={"id": UUID(int=0)}).targets == ({"id": str(UUID(int=0))},)  # fmt: skip


def test_a_job_keeps_what_it_was_given() -> None:
    key, updates = {"id": 1}, {"a": 1}
    job = Update(table="a.b.c", rows=[{"key": key, "updates": updates}])
    key["id"] = updates["a"] = 2
    assert job.changes == (Change({"id": 1}, {"a": 1}),)


DIGESTS: dict[str, tuple[dict[str, Any], str]] = {
    "write": ({"kind": "write", "data": [{"id": 1}]}, "a4f4f460d0e45deb07c2aec33beed812"),
    "update": ({"kind": "update", **OLD, "updates": {"a": None}}, "b25da0e2badd2f0bdd49eef82628c82c"),
    "delete": (
        {"kind": "delete", "key_column": "id", "key_value": "x", "soft": False},
        "ee649b8643d52b0809937fe83aa53073",
    ),
}


@pytest.mark.parametrize(("given", "digest"), DIGESTS.values(), ids=DIGESTS)
def test_jobs_of_the_first_forms_keep_their_digest(given: dict[str, Any], digest: str) -> None:
    """A client that repeats a job of before under its id is not told that the payload differs."""
    job = parse_job({**TABLE, **given})
    assert wire.encode(job, job_id="x", now=datetime.now(UTC)).digest == digest
