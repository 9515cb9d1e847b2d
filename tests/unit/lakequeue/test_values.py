"""Every value reaches the statement as it was given and comes back as it was, or is refused before it is sent."""

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakequeue import columns
from lakequeue.columns import ColumnType, Scalar, Unsupported, parse_type
from lakequeue.json_text import read_json
from lakequeue.typed_values import Typed
from lakequeue.values import MAX_NESTING, JsonValue, ValueProblem, decoder, encoder, from_wire, to_wire

from tests.strategies import column_types, comparable, values_of

typed_values = column_types().flatmap(lambda t: st.tuples(st.just(t), values_of(t)))
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class PandasLike(datetime):
    """What pandas.Timestamp is: a datetime that keeps nanoseconds beside it."""

    nanosecond = 1


def typed(kind: str, text: str) -> dict[str, JsonValue]:
    return {"__type__": kind, "__value__": text}


WIRE: dict[str, tuple[object, JsonValue]] = {
    "None": (None, None),
    "bool": (True, True),
    "int": (7, 7),
    "large int": (10**30, 10**30),
    "IntEnum": (Size.SMALL, 1),
    "float": (0.1, 0.1),
    "nan": (float("nan"), typed("float", "NaN")),
    "infinity": (float("inf"), typed("float", "Infinity")),
    "minus infinity": (float("-inf"), typed("float", "-Infinity")),
    "str": ("é", "é"),
    "StrEnum": (Colour.RED, "red"),
    "Decimal": (Decimal("9.90"), typed("decimal", "9.90")),
    "Decimal with exponent": (Decimal("1E+3"), typed("decimal", "1000")),
    "small Decimal": (Decimal("1E-7"), typed("decimal", "0.0000001")),
    "UTC": (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), typed("datetime", "2024-01-02T03:04:05Z")),
    "microseconds": (datetime(2024, 1, 2, 3, 4, 5, 60, tzinfo=UTC), typed("datetime", "2024-01-02T03:04:05.000060Z")),
    "offset": (
        datetime(2024, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))),
        typed("datetime", "2024-01-01T23:00:00Z"),
    ),
    "naive": (datetime.fromisoformat("2024-01-02T03:04:05"), typed("datetime", "2024-01-02T03:04:05")),
    "year 1": (datetime.fromisoformat("0001-01-01"), typed("datetime", "0001-01-01T00:00:00.000000")),
    "date": (date(987, 6, 5), typed("date", "0987-06-05")),
    "bytes": (b"\xff\x00", typed("base64", "/wA=")),
    "bytearray": (bytearray(b"A"), typed("base64", "QQ==")),
    "UUID": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "tuple": ((1, Decimal(2)), [1, typed("decimal", "2")]),
    "dict": ({"a": {"b": date(2024, 1, 1)}}, {"a": {"b": typed("date", "2024-01-01")}}),
    "empty dict": ({}, {}),
    "other keys": ({1: "a", date(2024, 1, 1): None}, [[1, "a"], [typed("date", "2024-01-01"), None]]),
    "the two keys of a typed value": (typed("decimal", "1"), [["__type__", "decimal"], ["__value__", "1"]]),
}


@pytest.mark.parametrize(("value", "wire"), WIRE.values(), ids=WIRE)
def test_python_values_become_json(value: object, wire: JsonValue) -> None:
    assert to_wire(value) == wire
    assert type(to_wire(value)) in (type(wire), Typed)


def deep(levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = [value]
    return value


UNSENDABLE: dict[str, tuple[object, str, tuple[str | int, ...]]] = {
    "object": (object(), "object cannot be sent", ()),
    "set": ({1}, "set cannot be sent", ()),
    "complex in a list": ([1, 2j], "complex", (1,)),
    "deeper": ({"a": 1, "b": [0, {1}]}, "set", (1, 1)),
    "function": (len, "builtin_function", ()),
    "Decimal NaN": (Decimal("NaN"), "must be finite", ()),
    "Decimal sNaN": (Decimal("sNaN"), "must be finite", ()),
    "Decimal Infinity": (Decimal("-Infinity"), "must be finite", ()),
    "Decimal bomb": (Decimal("1E+999999999"), "more digits", ()),
    "Decimal splinter": (Decimal("1E-999999999"), "more digits", ()),
    "zero with an exponent": (Decimal("0E+999999999"), "more digits", ()),
    "huge int": (10**5000, "larger than any column", ()),
    "lone surrogate": ("a\ud800", "lone surrogate", ()),
    "lone surrogate key": ({"\udfff": 1}, "lone surrogate", (0,)),
    "before year 1 in UTC": (
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        "years 0001 to 9999",
        (),
    ),
    "nanoseconds": (PandasLike(2024, 1, 1, tzinfo=UTC), "nanoseconds", ()),
    "too deep": (deep(MAX_NESTING + 1), "nested deeper", (0,) * MAX_NESTING),
    "endless": (deep(100_000), "nested deeper", (0,) * MAX_NESTING),
}


@pytest.mark.parametrize(("value", "msg", "path"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_has_no_json_form_is_refused(value: object, msg: str, path: tuple[str | int, ...]) -> None:
    with pytest.raises(ValueProblem, match=msg) as refused:
        to_wire(value)
    assert refused.value.path == path


@given(typed_values)
def test_a_wire_form_is_its_own_wire_form(typed: tuple[ColumnType, object]) -> None:
    wire = to_wire(typed[1])
    sent = json.dumps(wire, allow_nan=False).encode()
    assert to_wire(wire) == wire
    assert to_wire(read_json(sent)) == wire


def case_id(sql: str, value: JsonValue) -> str:
    return ascii(f"{sql} {value!r:.30}")


ENCODED: dict[str, list[tuple[JsonValue, str | None]]] = {
    "BIGINT": [
        (None, None), (0, "0"), ("0", "0"), ("-7", "-7"), (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"), ("007", "7"), ("+5", "5"), ("-0", "0"), ("1.0", "1"), ("-012.00", "-12"),
        ("000", "0"), ("0" * 40 + "9223372036854775807", "9223372036854775807"),
    ],
    "TINYINT": [(127, "127"), ("-128", "-128")],
    "DOUBLE": [
        (1, "1.0"), (1.5, "1.5"), ("1.50", "1.5"), (".5", "0.5"), ("5.", "5.0"), ("+1e3", "1000.0"), ("NaN", "NaN"),
        ("-Infinity", "-Infinity"), (float("nan"), "NaN"), (-0.0, "-0.0"), ("0e99", "0.0"),
        (2**53, "9007199254740992.0"), (-(2**60), "-1.152921504606847e+18"), ("1e23", "1e+23"),
        ("9007199254740993.5", "9007199254740994.0"), (10**22, "1e+22"),
    ],
    "FLOAT": [
        (0.5, "0.5"), (0.1, "0.10000000149011612"), (3.4028234e38, "3.4028234663852886e+38"),
        ("Infinity", "Infinity"), (2**24, "16777216.0"), (2**100, "1.2676506002282294e+30"),
    ],
    "DECIMAL(5,2)": [
        (None, None), (999, "999"), (-1, "-1"), ("999.99", "999.99"), ("9.90", "9.9"), ("1.500000", "1.5"),
        ("007", "7"),
        ("-0.00", "0"), ("1e2", "100"), ("12345E-2", "123.45"), (".01", "0.01"), ("0e999999999", "0"), ("+5", "5"),
    ],
    "DECIMAL(2,2)": [("0.99", "0.99"), (0, "0"), ("-.5", "-0.5")],
    "DECIMAL(38,0)": [("9" * 38, "9" * 38), (10**38 - 1, "9" * 38)],
    "STRING": [("", ""), ("a'b\n\x00", "a'b\n\x00"), ("🦆", "🦆")],
    "VARCHAR(2)": [("🦆🦆", "🦆🦆"), ("a ", "a ")],
    "CHAR(3)": [("a", "a"), ("a  ", "a"), ("   ", "")],
    "BOOLEAN": [
        (True, "true"), (False, "false"), ("true", "true"), ("false", "false"), ("TRUE", "true"),
        ("False", "false"),
    ],
    "DATE": [("0001-01-01", "0001-01-01"), ("9999-12-31", "9999-12-31"), ("2024-02-29", "2024-02-29")],
    "TIMESTAMP": [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000000Z"),
        ("2024-01-02 03:04:05.1+02:00", "2024-01-02T01:04:05.100000Z"),
        ("2024-01-02T03:04-0530", "2024-01-02T08:34:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2024-01-02 03:04:05 UTC", "2024-01-02T03:04:05.000000Z"),
        ("2024-01-02 03:04:05.250 UTC", "2024-01-02T03:04:05.250000Z"),
        ("2024-01-02 03:04:05 -0500", "2024-01-02T08:04:05.000000Z"),
        ("2024-01-02T03:04:05-0500", "2024-01-02T08:04:05.000000Z"),
        ("2024-01-02T03:04:05Z  ", "2024-01-02T03:04:05.000000Z"),
        ("2024-01-02T03:04:05.123456000Z", "2024-01-02T03:04:05.123456Z"),
    ],
    "TIMESTAMP_NTZ": [
        ("2024-01-02T03:04:05.123456", "2024-01-02T03:04:05.123456"),
        ("2024-01-02 03:04:05.120000000 ", "2024-01-02T03:04:05.120000"),
    ],
    "BINARY": [("", ""), ("QQ==", "QQ=="), ("/+8=", "/+8=")],
    "ARRAY<INT>": [(None, None), ([], "[]"), ([1, None, "2"], '["1",null,"2"]')],
    "MAP<STRING, INT>": [
        ({"a": 1}, '[{"key":"a","value":"1"}]'), ([["é", None]], '[{"key":"é","value":null}]'), ({}, "[]"),
        ([], "[]"),
    ],
    "MAP<INT, ARRAY<BOOLEAN>>": [({"1": [True]}, '[{"key":"1","value":["true"]}]')],
    "MAP<DOUBLE, INT>": [([[-0.0, 1]], '[{"key":"0.0","value":"1"}]')],
    "MAP<ARRAY<INT>, INT>": [([[[1], 2]], '[{"key":["1"],"value":"2"}]')],
    "STRUCT<a: INT, B: STRING>": [
        ({"B": "x", "a": 1}, '{"a":"1","B":"x"}'), ({}, '{"a":null,"B":null}'),
        ({"b": "y"}, '{"a":null,"B":"y"}'),
    ],
    "ARRAY<STRUCT<a: MAP<STRING, BINARY>>>": [
        ([{"a": {"k": "QQ=="}}, None], '[{"a":[{"key":"k","value":"QQ=="}]},null]'),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "value", "text"),
    [(sql, value, text) for sql, cases in ENCODED.items() for value, text in cases],
    ids=[case_id(sql, value) for sql, cases in ENCODED.items() for value, _ in cases],
)
def test_json_values_become_the_text_of_a_cast(sql: str, value: JsonValue, text: str | None) -> None:
    assert encoder(parse_type(sql))(value) == text


REFUSED: dict[str, list[tuple[JsonValue, str]]] = {
    "BIGINT": [
        (True, "wrong_type"), (1.0, "wrong_type"), (1.5, "wrong_type"), ("1.5", "bad_format"), ("1.", "bad_format"),
        (".0", "bad_format"), ("1e2", "bad_format"), ("0" * 40 + "9223372036854775808", "out_of_range"),
        (" 1", "bad_format"), ("1\n", "bad_format"), ("٣", "bad_format"), ("1_0", "bad_format"),
        ("", "bad_format"), (2**63, "out_of_range"), (-(2**63) - 1, "out_of_range"),
        ("9" * 5000, "out_of_range"), ([], "wrong_type"),
    ],
    "TINYINT": [(128, "out_of_range"), ("-129", "out_of_range")],
    "DOUBLE": [
        (True, "wrong_type"), ("1e400", "out_of_range"), (10**400, "out_of_range"), ("1e-400", "out_of_range"),
        ("nan", "bad_format"),
        ("inf", "bad_format"), ("0x1p3", "bad_format"), ("1_0", "bad_format"), (" 1", "bad_format"),
        (".", "bad_format"), ("", "bad_format"),
        ({}, "wrong_type"), (2**53 + 1, "not_exact"), (-(2**53) - 1, "not_exact"), ("9007199254740993", "not_exact"),
        ("+0" + "9" * 300, "not_exact"),
    ],
    "FLOAT": [
        (3.5e38, "out_of_range"), ("1e39", "out_of_range"), (1e-60, "out_of_range"), (2**24 + 1, "not_exact"),
        ("16777217", "not_exact"),
    ],
    "DECIMAL(5,2)": [
        (0.1, "wrong_type"), (True, "wrong_type"), (1000, "out_of_range"), (-1000, "out_of_range"),
        ("1000", "out_of_range"),
        ("1.234", "out_of_range"), ("1e3", "out_of_range"), ("1e-3", "out_of_range"),
        ("1e999999999", "out_of_range"), ("1e-999999999", "out_of_range"),
        ("NaN", "bad_format"), ("1,5", "bad_format"), ("", "bad_format"), ("-", "bad_format"),
        ("e5", "bad_format"), ("1.2.3", "bad_format"),
    ],
    "DECIMAL": [("1.5", "out_of_range"), (0.5, "wrong_type")],
    "STRING": [(1, "wrong_type"), (True, "wrong_type"), ({}, "wrong_type"), ("\ud800", "bad_text")],
    "VARCHAR(2)": [("abc", "too_long"), ("a  ", "too_long"), (1, "wrong_type"), ("\udc00", "bad_text")],
    "CHAR(2)": [("abc", "too_long")],
    "BOOLEAN": [
        (1, "wrong_type"), (0, "wrong_type"), ("T", "bad_format"), ("yes", "bad_format"), ("", "bad_format"),
    ],
    "DATE": [
        ("2024-02-30", "out_of_range"), ("0000-01-01", "out_of_range"), ("10000-01-01", "bad_format"),
        ("2024-1-1", "bad_format"),
        ("20240101", "bad_format"), ("2024-W01-1", "bad_format"), ("2024-01-01T00:00:00", "bad_format"),
        ("2024-01-01\n", "bad_format"), (20240101, "wrong_type"),
    ],
    "TIMESTAMP": [
        ("2024-01-02T03:04:05", "bad_format"), ("2024-01-02", "bad_format"),
        ("2024-01-02T03:04:05.1234567Z", "bad_format"),
        ("2024-01-02T24:00:00Z", "bad_format"), ("2024-01-02T23:59:60Z", "out_of_range"),
        ("0001-01-01T00:00:00+01:00", "out_of_range"),
        ("2024-01-02T03:04:05+99:00", "out_of_range"), ("2024-01-02T03:04:05 Z", "bad_format"),
        ("2024-01-02T03:04:05,5Z", "bad_format"), (1704164645, "wrong_type"),
    ],
    "TIMESTAMP_NTZ": [
        ("2024-01-02T03:04:05Z", "bad_format"), ("2024-01-02T03:04:05+00:00", "bad_format"),
        ("2024-01-02", "bad_format"),
    ],
    "BINARY": [
        ("Q", "bad_format"), ("QQ", "bad_format"), ("QQ=", "bad_format"), ("QQ==\n", "bad_format"),
        ("!!!!", "bad_format"), ("_-8=", "bad_format"), ("QQ==QQ==", "bad_format"), ("é", "bad_format"),
        ([1], "wrong_type"),
    ],
    "ARRAY<INT>": [({}, "wrong_type"), ("[]", "wrong_type"), ([1, "x"], "bad_format")],
    "MAP<STRING, INT>": [
        ([1], "wrong_type"), ([["a"]], "wrong_type"), ([["a", 1, 2]], "wrong_type"), ([[None, 1]], "null_key"),
        ([["a", 1], ["a", 2]], "duplicate_key"), ("a", "wrong_type"), ([[1, 1]], "wrong_type"),
    ],
    "MAP<DECIMAL(3,1), INT>": [([["1.0", 1], ["1", 2]], "duplicate_key")],
    "MAP<DOUBLE, INT>": [([[0.0, 1], [-0.0, 2]], "duplicate_key"), ([["NaN", 1], ["NaN", 2]], "duplicate_key")],
    "MAP<ARRAY<INT>, INT>": [([[[1], 2], [["1"], 3]], "duplicate_key")],
    "STRUCT<a: INT>": [([], "wrong_type"), ({"x": 1}, "unknown_field"), ({"a": 1, "A": 2}, "duplicate_field")],
    "STRUCT<a: INT NOT NULL>": [({}, "not_null"), ({"a": None}, "not_null")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "value", "problem"),
    [(sql, value, problem) for sql, cases in REFUSED.items() for value, problem in cases],
    ids=[case_id(sql, value) for sql, cases in REFUSED.items() for value, _ in cases],
)
def test_a_value_that_does_not_fit_is_refused(sql: str, value: JsonValue, problem: str) -> None:
    with pytest.raises(ValueProblem) as refused:
        encoder(parse_type(sql))(value)
    assert refused.value.type == problem


@pytest.mark.parametrize("sql", ["DECIMAL(38,2)", "DOUBLE", "BIGINT", "DATE", "TIMESTAMP", "BINARY", "VARCHAR(9)"])
@pytest.mark.parametrize(
    "text", ["1" * 1_000_000 + "x", "1" * 1_000_001, "0." + "0" * 1_000_000 + "1", " " * 1_000_000]
)
def test_long_text_is_refused_in_no_time(sql: str, text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueProblem):
        encoder(parse_type(sql))(text)
    assert time.process_time() - began < 1


def test_a_problem_says_where_it_lies() -> None:
    encode = encoder(parse_type("STRUCT<a: ARRAY<MAP<STRING, DATE>>>"))
    with pytest.raises(ValueProblem) as refused:
        encode({"a": [None, {"secret": "2024-01-01", "other": "x"}]})
    assert refused.value.path == ("a", 1, 1, "value")
    assert "secret" not in str(refused.value)


def test_an_unsupported_type_is_read_but_not_written() -> None:
    variant = Unsupported("variant")
    assert encoder(variant)(None) is None
    with pytest.raises(ValueProblem, match="VARIANT columns can be read but not written"):
        encoder(variant)("{}")
    assert decoder(variant)(timedelta(days=1)) == "1 day, 0:00:00"


@given(typed_values)
def test_every_valid_value_is_encoded(typed: tuple[ColumnType, object]) -> None:
    column_type, value = typed
    text = encoder(column_type)(to_wire(value))
    assert (text is None) == (value is None)
    if isinstance(column_type, columns.Array | columns.Map | columns.Struct) and text is not None:
        assert all(leaf is None or isinstance(leaf, str) for leaf in leaves(json.loads(text)))


def leaves(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [value]


@given(column_types(2).flatmap(lambda t: st.tuples(st.just(t), values_of(t), values_of(t))))
def test_values_that_differ_have_texts_that_differ(typed: tuple[ColumnType, object, object]) -> None:
    column_type, one, other = typed
    encode = encoder(column_type)
    same_text = encode(to_wire(one)) == encode(to_wire(other))
    if comparable(one) != comparable(other):
        assert not same_text
    elif not has_map(column_type):  # a map's text keeps its order, which is no part of its value
        assert same_text


def has_map(column_type: ColumnType) -> bool:
    return "MAP<" in column_type.sql


@given(column_types(), json_values)
def test_any_json_is_encoded_or_a_value_problem(column_type: ColumnType, value: JsonValue) -> None:
    try:
        text = encoder(column_type)(to_wire(value))
    except ValueProblem as problem:
        str(problem).encode()
    else:
        if text is not None:
            text.encode()


@given(st.sampled_from(columns.KINDS), st.text())
def test_any_text_is_encoded_once_and_for_all(kind: columns.Kind, value: str) -> None:
    """What an encoder writes, it reads as the same."""
    encode = encoder(Scalar(kind))
    try:
        text = encode(value)
    except ValueProblem:
        return
    assert encode(text) == text


def as_connector(column_type: ColumnType, value: Any) -> object:
    """A value as the connector returns it: maps as lists of tuples, moments in UTC."""
    if value is None:
        return None
    match column_type:
        case Scalar(kind="TIMESTAMP"):
            return value.astimezone(UTC)
        case columns.Array(element):
            return [as_connector(element, item) for item in value]
        case columns.Map(key, item_type):
            pairs = value.items() if isinstance(value, dict) else value
            return [(as_connector(key, k), as_connector(item_type, v)) for k, v in pairs]
        case columns.Struct(fields):
            return {f.name: as_connector(f.type, value[f.name]) for f in fields}
        case _:
            return value


@settings(max_examples=300)
@given(typed_values)
def test_what_is_read_is_what_was_written(typed: tuple[ColumnType, object]) -> None:
    column_type, value = typed
    out = decoder(column_type)(as_connector(column_type, value))
    carried = json.loads(json.dumps(out, allow_nan=False))
    assert comparable(from_wire(column_type)(carried)) == comparable(value)


@given(typed_values)
def test_what_is_read_can_be_written_back(typed: tuple[ColumnType, object]) -> None:
    column_type, value = typed
    encode = encoder(column_type)
    assert encode(decoder(column_type)(as_connector(column_type, value))) == encode(to_wire(value))


DECODED: dict[str, list[tuple[object, JsonValue]]] = {
    "BIGINT": [(5, 5)],
    "DOUBLE": [(float("nan"), "NaN"), (float("-inf"), "-Infinity"), (0.5, 0.5)],
    "DECIMAL(10,2)": [(Decimal("9.90"), "9.90"), (Decimal("0E-2"), "0.00")],
    "DATE": [(date(1, 1, 1), "0001-01-01")],
    "TIMESTAMP": [(datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T00:00:00Z")],
    "TIMESTAMP_NTZ": [(datetime.fromisoformat("2024-01-01"), "2024-01-01T00:00:00")],
    "BINARY": [(bytearray(b"A"), "QQ==")],
    "MAP<STRING, DATE>": [([("a", date(2024, 1, 1))], [["a", "2024-01-01"]]), ({"a": None}, [["a", None]])],
    "STRUCT<a: INT, b: INT>": [({"b": 2, "a": 1}, {"a": 1, "b": 2})],
}


@pytest.mark.parametrize(
    ("sql", "value", "wire"), [(sql, value, wire) for sql, cases in DECODED.items() for value, wire in cases]
)
def test_the_connectors_values_become_json(sql: str, value: object, wire: JsonValue) -> None:
    assert decoder(parse_type(sql))(value) == wire


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("BIGINT", "5"), ("BIGINT", True), ("BOOLEAN", 1), ("STRING", b"x"), ("DOUBLE", "1"), ("DECIMAL(3,1)", 1.0),
        ("DATE", datetime(2024, 1, 1, tzinfo=UTC)), ("TIMESTAMP", datetime.fromisoformat("2024-01-01")),
        ("TIMESTAMP_NTZ", datetime(2024, 1, 1, tzinfo=UTC)), ("BINARY", "x"), ("ARRAY<INT>", "[]"),
        ("MAP<INT, INT>", 5),
        ("STRUCT<a: INT>", {"b": 1}), ("STRUCT<a: INT>", [1]),
    ],
)  # fmt: skip
def test_a_value_that_is_not_of_the_columns_type_is_an_error_not_a_guess(sql: str, value: object) -> None:
    with pytest.raises(ValueProblem, match="the warehouse returned"):
        decoder(parse_type(sql))(value)


def test_a_map_comes_back_as_a_dict_where_it_can() -> None:
    assert from_wire(parse_type("MAP<DATE, BINARY>"))([["2024-01-01", "QQ=="]]) == {date(2024, 1, 1): b"A"}
    assert from_wire(parse_type("MAP<ARRAY<INT>, INT>"))([[[1], 2]]) == [([1], 2)]


@pytest.mark.parametrize("read", [encoder, decoder, from_wire], ids=["encoder", "decoder", "from_wire"])
def test_functions_are_compiled_once(read: Callable[[ColumnType], object]) -> None:
    sql = "STRUCT<a: ARRAY<DECIMAL(7,3)>>"
    assert read(parse_type(sql)) is read(parse_type(sql.lower()))
