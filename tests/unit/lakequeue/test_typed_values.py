"""A value keeps its type on the way to the worker, in one form whoever sends it: this client or Celery's kombu."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import inf, nan
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from kombu.utils.json import dumps as kombu_dumps
from lakequeue import Delete, InvalidJob, Read, Update, Write, parse_job, wire
from lakequeue.columns import parse_type
from lakequeue.json_text import read_json
from lakequeue.typed_values import Typed
from lakequeue.values import ValueProblem, encoder, to_wire
from pydantic import ValidationError

from tests.strategies import column_types, values_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)

SENT_ALIKE: dict[str, object] = {
    "Decimal": Decimal("9.90"),
    "Decimal with exponent": Decimal("1E+3"),
    "date": date(2024, 1, 2),
    "naive datetime": datetime.fromisoformat("2024-01-02T03:04:05.060000"),
    "UTC datetime": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datetime with an offset": datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=-5))),
    "bytes that are text": "Zürich".encode(),
    "bytes that are none": b"\xff\x00",
    "UUID": UUID(int=7),
    "NaN": nan,
    "Infinity": inf,
    "minus Infinity": -inf,
    "numpy float64": np.float64(1.5),
    "pandas Timestamp": pd.Timestamp("2024-01-02T03:04:05.000001Z"),
    "nested": {"a": [Decimal(1), {"b": date(2024, 1, 2)}]},
}


@pytest.mark.parametrize("value", SENT_ALIKE.values(), ids=SENT_ALIKE)
def test_celery_s_form_of_a_value_is_read_as_the_client_s(value: object) -> None:
    assert to_wire(read_json(kombu_dumps(value))) == to_wire(value)


@pytest.mark.parametrize("value", SENT_ALIKE.values(), ids=SENT_ALIKE)
def test_a_job_has_the_same_digest_from_celery_as_from_the_client(value: object) -> None:
    fields = {"table": "main.sales.orders", "data": [{"v": value}]}
    body = kombu_dumps([[], fields, {}])
    message = {"body": body, "headers": {"id": "a", "task": "records.write"}, "properties": {}}
    received = wire.parse(json.dumps(message).encode())
    admitted = wire.admit(wire.to_job(received), received, now=NOW)
    assert admitted.digest == wire.encode(Write(**fields), job_id="a", now=NOW).digest  # type: ignore[arg-type]


@given(column_types(2).filter(lambda each: "MAP" not in each.sql).flatmap(values_of))
def test_celery_s_form_of_any_value_is_read_as_the_client_s(value: object) -> None:
    assume(datetime.min not in leaves(value))  # noqa: DTZ901 - Celery writes it as it writes pandas.NaT
    assert to_wire(read_json(kombu_dumps(value))) == to_wire(value)


def leaves(value: object) -> list[object]:
    if isinstance(value, dict | list | tuple):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [value]


PLACES: dict[str, tuple[str, str]] = {
    "row": ("write", '"data": [{"v": VALUE}]'),
    "nested": ("write", '"data": [{"v": {"a": [VALUE]}}]'),
    "update": ("update", '"key": {"id": 1}, "updates": {"v": VALUE}'),
    "updates of many": ("update", '"rows": [{"key": {"id": 1}, "updates": {"v": VALUE}}]'),
    "key": ("delete", '"key": {"id": VALUE}'),
    "keys": ("delete", '"keys": [{"id": VALUE}]'),
    "key_value": ("delete", '"key_column": "id", "key_value": VALUE'),
    "filter": ("read", '"filters": [{"column": "v", "op": "=", "value": VALUE}]'),
    "filter of several": ("read", '"filters": [{"column": "v", "op": "IN", "value": [VALUE]}]'),
}


@pytest.mark.parametrize(("kind", "text"), PLACES.values(), ids=PLACES)
def test_a_typed_value_is_taken_wherever_a_value_is(kind: str, text: str) -> None:
    fields = f'{{"kind": "{kind}", "table": "a.b.c", {text}}}'
    job = parse_job(fields.replace("VALUE", '{"__type__": "decimal", "__value__": "1E+1"}'))
    assert '{"__type__": "decimal", "__value__": "10"}' in json.dumps(job.fields())
    again = wire.decode(wire.encode(job, job_id="a", now=NOW).message.encode())
    assert wire.to_job(again) == job
    with pytest.raises(InvalidJob, match="__type__ takes one of decimal, "):
        parse_job(fields.replace("VALUE", '{"__type__": "set", "__value__": []}'))


def test_a_column_may_have_the_names_of_a_typed_value() -> None:
    job = parse_job('{"kind": "write", "table": "a.b.c", "data": [{"__type__": "date", "__value__": "x"}]}')
    assert job.fields()["data"] == [{"__type__": "date", "__value__": "x"}]


def test_a_mapping_of_a_caller_s_own_is_never_taken_for_a_typed_value() -> None:
    own = {"__type__": "date", "__value__": "2024-01-02"}
    job = Write(table="a.b.c", data=[{"m": own}])
    sent = wire.to_job(wire.decode(wire.encode(job, job_id="a", now=NOW).message.encode()))
    assert sent.fields()["data"] == [{"m": [["__type__", "date"], ["__value__", "2024-01-02"]]}]
    assert isinstance(sent, Write)
    (row,) = sent.data
    text = '[{"key":"__type__","value":"date"},{"key":"__value__","value":"2024-01-02"}]'
    assert encoder(parse_type("MAP<STRING, STRING>"))(row["m"]) == text
    struct = encoder(parse_type("STRUCT<__type__: STRING, __value__: STRING>"))
    assert struct(row["m"]) == json.dumps(own, separators=(",", ":"))


UNREADABLE: dict[str, tuple[str, Any]] = {
    "time": ("time", "03:04:05"),
    "not a finite Decimal": ("decimal", "NaN"),
    "no Decimal": ("decimal", "one"),
    "a number for a Decimal": ("decimal", 1),
    "a long Decimal": ("decimal", "1" * 100_000),
    "no date": ("date", "2024-02-30"),
    "no datetime": ("datetime", "yesterday"),
    "nanoseconds": ("datetime", "2024-01-01T00:00:00.0000001"),
    "no base64": ("base64", "QQ"),
    "no text": ("bytes", 5),
    "a lone surrogate": ("bytes", "\ud800"),
    "no UUID": ("uuid", {"hex": "x"}),
    "UUID without its hex": ("uuid", {"int": 1}),
    "no float": ("float", "1.5"),
    "unknown": ("set", [1]),
    "no name": (1, 1),  # type: ignore[dict-item]
    "a list for a name": ([1], 1),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("kind", "value"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_typed_value_that_says_nothing_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(ValueProblem):
        to_wire(Typed({"__type__": kind, "__value__": value}))


def test_what_celery_makes_of_a_missing_moment_is_refused() -> None:
    with pytest.raises(ValueProblem, match=r"pandas\.NaT: send None"):
        to_wire(read_json(kombu_dumps(pd.NaT)))
    assert to_wire(datetime.min) == {"__type__": "datetime", "__value__": "0001-01-01T00:00:00.000000"}  # noqa: DTZ901


TEXT = {
    "NaN": (nan, "not NaN, which pandas writes for a missing value: send None"),
    "numpy NaN": (np.float64("nan"), "not NaN, which pandas writes for a missing value: send None"),
    "Infinity": (inf, r"not Infinity: send text, in Python str\(value\)"),
    "float": (1.5, r"not a float: send text, in Python str\(value\)"),
    "int": (1, r"not a whole number: send text, in Python str\(value\)"),
    "bool": (True, r"not true or false: send text, in Python str\(value\)"),
    "Decimal": (Decimal("1.5"), r"not a Decimal: send text, in Python str\(value\)"),
    "date": (date(2024, 1, 1), r"not a date: send text, in Python value\.isoformat\(\)"),
    "datetime": (NOW, r"not a datetime: send text, in Python value\.isoformat\(\)"),
    "bytes": (b"A", r"not bytes: send text, in Python value\.decode\(\)"),
    "list": ([1], r"not a list: send text, in Python json\.dumps\(value\)"),
    "dict": ({"a": 1}, r"not an object: send text, in Python json\.dumps\(value\)"),
}
HOLDERS: Mapping[str, Any] = {
    "STRING": lambda value: value,
    "VARCHAR(40)": lambda value: value,
    "CHAR(40)": lambda value: value,
    "ARRAY<STRING>": lambda value: [value],
    "MAP<INT, STRING>": lambda value: {1: value},
    "MAP<STRING, INT>": lambda value: [(value, 1)],
    "STRUCT<a: STRING>": lambda value: {"a": value},
}


@pytest.mark.parametrize("sql", HOLDERS)
@pytest.mark.parametrize(("value", "msg"), TEXT.values(), ids=TEXT)
def test_text_columns_take_text_only(sql: str, value: object, msg: str) -> None:
    with pytest.raises(ValueProblem, match=f"takes text, {msg}"):
        encoder(parse_type(sql))(to_wire(HOLDERS[sql](value)))
    definition = [{"name": "v", "data_type": sql}]
    with pytest.raises(InvalidJob, match=rf"data\[0\]\.v.*: \w+(\(\d+\))? takes text, {msg}"):
        Write(table="a.b.c", schema_definition=definition, data=[{"v": HOLDERS[sql](value)}])


@pytest.mark.parametrize("sql", HOLDERS)
def test_text_columns_take_a_uuid_as_its_canonical_text(sql: str) -> None:
    text = encoder(parse_type(sql))(to_wire(HOLDERS[sql](UUID(int=1))))
    assert text is not None
    assert "00000000-0000-0000-0000-000000000001" in text


@pytest.mark.parametrize(
    "sql", ["BIGINT", "DECIMAL(9,2)", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "BINARY", "ARRAY<INT>"]
)
def test_nan_where_there_is_none_is_named_for_what_it_is(sql: str) -> None:
    with pytest.raises(ValueProblem, match="not NaN, which pandas writes for a missing value: send None"):
        encoder(parse_type(sql))(to_wire(nan))


MISFITS: dict[str, tuple[str, object, str]] = {
    "datetime in DATE": ("DATE", NOW, r"not a datetime: send value\.date\(\)"),
    "date in TIMESTAMP": ("TIMESTAMP", date(2024, 1, 1), "takes a datetime or text .* not a date"),
    "naive datetime in TIMESTAMP": ("TIMESTAMP", NOW.replace(tzinfo=None), "needs an offset"),
    "aware datetime in TIMESTAMP_NTZ": ("TIMESTAMP_NTZ", NOW, "no time zone"),
    "bytes in BIGINT": ("BIGINT", b"1", "not bytes"),
    "bytes in DECIMAL": ("DECIMAL(9,2)", b"1", "not bytes"),
    "bytes in DOUBLE": ("DOUBLE", b"1", "not bytes"),
    "Decimal in DATE": ("DATE", Decimal(1), "not a Decimal"),
    "Decimal in BOOLEAN": ("BOOLEAN", Decimal(1), "not a Decimal"),
    "Decimal in BINARY": ("BINARY", Decimal(1), "not a Decimal"),
    "date in BINARY": ("BINARY", date(2024, 1, 1), "not a date"),
    "fraction in BIGINT": ("BIGINT", Decimal("1.5"), "the Decimal is not one"),
    "Infinity in DECIMAL": ("DECIMAL(9,2)", inf, "not Infinity"),
    "Decimal in MAP": ("MAP<STRING, STRING>", Decimal(1), "not a Decimal"),
    "Decimal in STRUCT": ("STRUCT<a: INT>", Decimal(1), "not a Decimal"),
    "Decimal in ARRAY": ("ARRAY<INT>", Decimal(1), "not a Decimal"),
    "digits that DOUBLE lacks": ("DOUBLE", Decimal("0.123456789012345678"), r"every digit .* send float\(value\)"),
    "digits that FLOAT lacks": ("FLOAT", Decimal("16777217.5"), r"every digit .* send float\(value\)"),
    "float in BIGINT": ("BIGINT", 1.0, r"not a float: send int\(value\)"),
    "list in BINARY": ("BINARY", [1], r"not a list: send bytes\(value\)"),
}


@pytest.mark.parametrize(("sql", "value", "msg"), MISFITS.values(), ids=MISFITS)
def test_a_value_of_another_type_is_refused_by_its_name(sql: str, value: object, msg: str) -> None:
    with pytest.raises(ValueProblem, match=msg):
        encoder(parse_type(sql))(to_wire(value))


FITS: dict[str, tuple[str, object, str]] = {
    "Decimal in DOUBLE": ("DOUBLE", Decimal("9.90"), "9.9"),
    "Decimal of 17 digits": ("DOUBLE", Decimal("0.10000000000000001"), "0.1"),
    "Decimal of a double": ("DOUBLE", Decimal.from_float(0.1), "0.1"),
    "Decimal zero": ("DOUBLE", Decimal("-0.00"), "-0.0"),
    "Decimal in FLOAT": ("FLOAT", Decimal("0.1"), "0.10000000149011612"),
    "whole Decimal in BIGINT": ("BIGINT", Decimal("1E+2"), "100"),
    "NaN in DOUBLE": ("DOUBLE", nan, "NaN"),
    "Infinity in FLOAT": ("FLOAT", -inf, "-Infinity"),
    "bytes": ("BINARY", b"A", "QQ=="),
    "date": ("DATE", date(2024, 1, 2), "2024-01-02"),
    "datetime": ("TIMESTAMP", NOW, "2026-01-02T00:00:00.000000Z"),
}


@pytest.mark.parametrize(("sql", "value", "text"), FITS.values(), ids=FITS)
def test_a_value_of_the_column_s_type_is_taken(sql: str, value: object, text: str) -> None:
    assert encoder(parse_type(sql))(to_wire(value)) == text


def test_text_is_base64_for_json_and_no_bytes_for_python() -> None:
    definition = [{"name": "v", "data_type": "BINARY"}]
    fields: dict[str, Any] = {"table": "a.b.c", "schema_definition": definition, "data": [{"v": "QQ=="}]}
    for job in (parse_job(json.dumps({"kind": "write", **fields})), Write.model_validate(fields)):
        assert job.values == "json"
        assert wire.to_job(wire.decode(wire.encode(job, job_id="a", now=NOW).message.encode())).values == "json"
    with pytest.raises(InvalidJob, match=r"BINARY takes bytes, not text: .*base64\.b64decode\(text\)"):
        Write(**fields)
    with pytest.raises(InvalidJob, match="BINARY takes bytes, not text"):
        parse_job({"kind": "write", **fields})


def test_a_message_says_that_its_values_are_python_s() -> None:
    jobs: list[Write | Update | Delete | Read] = [
        Write(table="a.b.c", data=[{"v": "QQ=="}]),
        Update(table="a.b.c", key={"id": 1}, updates={"v": "QQ=="}),
        Delete(table="a.b.c", key={"v": "QQ=="}),
        Read(table="a.b.c", filters=[{"column": "v", "op": "=", "value": "QQ=="}]),
    ]
    for job in jobs:
        received = wire.decode(wire.encode(job, job_id="a", now=NOW).message.encode())
        assert wire.to_job(received).values == "python"
        assert wire.to_job(wire.parse(wire.admit(job, received, now=NOW).message.encode())).values == "python"
        assert job.model_copy(update={"id": "b"}).values == "python"


def test_a_declared_column_s_values_are_sent_as_their_text() -> None:
    given_row = {"d": Decimal("9.90"), "day": date(2024, 1, 2), "at": NOW, "raw": b"A", "x": nan}
    types = ("DECIMAL(9,2)", "DATE", "TIMESTAMP", "BINARY", "DOUBLE")
    definition = [{"name": name, "data_type": sql} for name, sql in zip(given_row, types, strict=True)]
    (row,) = Write(table="a.b.c", schema_definition=definition, data=[given_row]).data
    text = {"d": "9.90", "day": "2024-01-02", "at": "2026-01-02T00:00:00Z"}
    assert row == {**text, "raw": Typed.of("base64", "QQ=="), "x": Typed.of("float", "NaN")}


def test_json_that_another_library_read_is_taken_as_json() -> None:
    text = '{"table": "a.b.c", "data": [{"v": [{"__type__": "date", "__value__": "2024-01-02"}], "w": NaN}]}'
    job = Write.model_validate(json.loads(text))
    assert job == Write(table="a.b.c", data=[{"v": [date(2024, 1, 2)], "w": nan}])
    assert Write.model_validate(job.model_dump()) == job == Write.model_validate_json(job.model_dump_json())


def test_json_without_end_is_refused_whoever_read_it() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValidationError, match="nested deeper than 64 levels"):
        Write.model_validate({"table": "a.b.c", "data": [{"v": endless}]})


def test_every_buffer_of_bytes_is_taken() -> None:
    for given_bytes in (b"ac", bytearray(b"ac"), memoryview(b"ac"), memoryview(b"abc")[::2]):
        assert to_wire(given_bytes) == {"__type__": "base64", "__value__": "YWM="}


class Colour(Enum):
    RED = "red"


FOREIGN: dict[str, tuple[object, object]] = {
    "int64": (np.int64(7), 7),
    "uint64": (np.uint64(2**64 - 1), 2**64 - 1),
    "float64": (np.float64(0.1), 0.1),
    "float32": (np.float32(0.5), 0.5),
    "bool_": (np.bool_(True), True),
    "str_": (np.str_("a"), "a"),
    "bytes_": (np.bytes_(b"A"), b"A"),
    "day": (np.datetime64("2024-01-02"), date(2024, 1, 2)),
    "seconds": (np.datetime64("2024-01-02T03:04:05"), datetime.fromisoformat("2024-01-02T03:04:05")),
    "whole microseconds": (np.datetime64("2024-01-02T03:04:05", "ns"), datetime.fromisoformat("2024-01-02T03:04:05")),
    "0-d array": (np.array(5), 5),
    "0-d array of text": (np.array("a"), "a"),
    "0-d array of an object": (np.array(None), None),
    "array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "array of floats": (np.array([1.5, nan]), [1.5, nan]),
    "Timestamp": (pd.Timestamp("2024-01-02T03:04:05Z"), datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
}


@pytest.mark.parametrize(("given", "python"), FOREIGN.values(), ids=FOREIGN)
def test_values_of_numpy_and_pandas_are_taken_exactly(given: object, python: object) -> None:
    assert to_wire(given) == to_wire(python)
    assert type(to_wire(given)) is type(to_wire(python))


LOST: dict[str, tuple[object, str]] = {
    "NaT": (pd.NaT, "NaT is no moment: send None"),
    "numpy NaT": (np.datetime64("NaT"), "NaT is no moment: send None"),
    "NA": (pd.NA, r"pandas\.NA cannot be sent: send None"),
    "nanoseconds": (pd.Timestamp("2024-01-01T00:00:00.000000001"), "a timestamp keeps microseconds"),
    "numpy nanoseconds": (np.datetime64("2024-01-01T00:00:00.000000001"), "a timestamp keeps microseconds"),
    "a far year": (np.datetime64("20240-01-01"), "a date or timestamp lies in the years 0001 to 9999"),
    "timedelta64": (np.timedelta64(5, "ns"), "timedelta64 cannot be sent"),
    "Timedelta": (pd.Timedelta(5), "Timedelta cannot be sent"),
    "complex64": (np.complex64(1), "complex64 cannot be sent"),
    "longdouble": (np.longdouble(1), "longdouble cannot be sent"),
    "Series": (pd.Series([1]), "Series cannot be sent"),
    "Enum": (Colour.RED, r"Colour is an Enum and cannot be sent: send its \.value"),
    "time": (time(1, 2), r"no column holds a time: send text to a STRING, in Python value\.isoformat\(\)"),
}


@pytest.mark.parametrize(("value", "msg"), LOST.values(), ids=LOST)
def test_what_would_lose_something_is_refused_with_its_place(value: object, msg: str) -> None:
    with pytest.raises(InvalidJob, match=rf"data\[1\]\.v: {msg}"):
        Write(table="a.b.c", data=[{"v": 1}, {"v": value}])
    with pytest.raises(InvalidJob, match=rf"data\[0\]\.v\[1\]: {msg}"):
        Write(table="a.b.c", data=[{"v": [1, value]}])


def test_a_frame_with_missing_values_is_refused_by_row_and_column() -> None:
    frame = pd.DataFrame({"id": [1, 2], "name": ["Ann", nan]}, dtype=object)
    definition = [{"name": "id", "data_type": "BIGINT"}, {"name": "name", "data_type": "STRING"}]
    with pytest.raises(InvalidJob, match=r"data\[1\]\.name: STRING takes text, not NaN, .* send None"):
        Write(table="a.b.c", schema_definition=definition, data=frame.to_dict("records"))
