"""Values of every type go in as the product sends them and come back as they were; wrong ones name their error."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.localwarehouse.client import Client, insert_text, payload

UTC = dt.UTC
ROUND_TRIPS: list[tuple[str, str | None, Any]] = [
    ("BIGINT", "9223372036854775807", 2**63 - 1),
    ("BIGINT", "-9223372036854775808", -(2**63)),
    ("BIGINT", " +12\n", 12),
    ("INT", "-2147483648", -(2**31)),
    ("INTEGER", "7", 7),
    ("SMALLINT", "32767", 32767),
    ("TINYINT", "-128", -128),
    ("DOUBLE", "0.1", 0.1),
    ("DOUBLE", "1e308", 1e308),
    ("DOUBLE", "5e-324", 5e-324),
    ("DOUBLE", "1e400", math.inf),
    ("DOUBLE", "Infinity", math.inf),
    ("DOUBLE", "-Infinity", -math.inf),
    ("DOUBLE", "NaN", math.nan),
    ("FLOAT", "1.5", 1.5),
    ("FLOAT", "-inf", -math.inf),
    ("DECIMAL(10,2)", "12345678.90", Decimal("12345678.90")),
    ("DECIMAL(10,2)", "1.005", Decimal("1.01")),
    ("DECIMAL(10,2)", "-1.005", Decimal("-1.01")),
    ("DECIMAL(10,2)", "2.3449999", Decimal("2.34")),
    ("DECIMAL(10,2)", "1.2345e2", Decimal("123.45")),
    ("DECIMAL(38,0)", "9" * 38, Decimal("9" * 38)),
    ("DECIMAL(38,38)", "-0." + "9" * 38, Decimal("-0." + "9" * 38)),
    ("DECIMAL", "12", Decimal(12)),
    ("STRING", "", ""),
    ("STRING", 'it\'s "q" \\ ; -- $p0 {x} %s', 'it\'s "q" \\ ; -- $p0 {x} %s'),
    ("STRING", "a\x00b\t\r\n\u2028😀é", "a\x00b\t\r\n\u2028😀é"),
    ("STRING", "x" * 100_000, "x" * 100_000),
    ("VARCHAR(3)", "äöü", "äöü"),
    ("VARCHAR(3)", "ab ", "ab "),
    ("CHAR(3)", "a", "a  "),
    ("BOOLEAN", "true", True),
    ("BOOLEAN", "F", False),
    ("BOOLEAN", " yes ", True),
    ("BOOLEAN", "0", False),
    ("DATE", "0001-01-01", dt.date(1, 1, 1)),
    ("DATE", "9999-12-31", dt.date(9999, 12, 31)),
    ("DATE", "2024-02-29T10:00:00", dt.date(2024, 2, 29)),
    ("DATE", "2024-2-9", dt.date(2024, 2, 9)),
    ("TIMESTAMP", "2024-01-01T10:00:00.123456Z", dt.datetime(2024, 1, 1, 10, 0, 0, 123456, UTC)),
    ("TIMESTAMP", "2024-01-01T10:00:00+05:30", dt.datetime(2024, 1, 1, 4, 30, tzinfo=UTC)),
    ("TIMESTAMP", "2024-01-01 10:00:00", dt.datetime(2024, 1, 1, 10, tzinfo=UTC)),
    ("TIMESTAMP", "2024-01-01 10:00 Europe/Paris", dt.datetime(2024, 1, 1, 9, tzinfo=UTC)),
    ("TIMESTAMP", "2024-01-01", dt.datetime(2024, 1, 1, tzinfo=UTC)),
    ("TIMESTAMP", "0001-01-01T00:00:00Z", dt.datetime(1, 1, 1, tzinfo=UTC)),
    ("TIMESTAMP", "0001-01-01T05:00:00+05:00", dt.datetime(1, 1, 1, tzinfo=UTC)),
    ("TIMESTAMP", "9999-12-31T23:59:59.999999Z", dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ("TIMESTAMP", "1969-12-31T23:59:59.999999Z", dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
    ("TIMESTAMP_NTZ", "2024-03-31T02:30:00.5", dt.datetime(2024, 3, 31, 2, 30, 0, 500000)),  # noqa: DTZ001
    ("TIMESTAMP_NTZ", "2024-01-01T10:00:00+05:00", dt.datetime(2024, 1, 1, 10)),  # noqa: DTZ001
    ("BINARY", "AP8Q", b"\x00\xff\x10"),
    ("BINARY", "", b""),
    ("ARRAY<INT>", '["1",null,"-3"]', [1, None, -3]),
    ("ARRAY<INT>", "[]", []),
    ("ARRAY<ARRAY<DATE>>", '[["2024-01-01"],null,[]]', [[dt.date(2024, 1, 1)], None, []]),
    ("ARRAY<DECIMAL(38,10)>", '["1.0000000001"]', [Decimal("1.0000000001")]),
    ("ARRAY<TIMESTAMP>", '["2024-01-01T00:00:00Z"]', [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    ("ARRAY<DOUBLE>", '["0.1","Infinity"]', [0.1, math.inf]),
    ("MAP<STRING,INT>", '[{"key":"b","value":"2"},{"key":"a","value":null}]', [("b", 2), ("a", None)]),
    ("MAP<STRING,INT>", "[]", []),
    ("MAP<INT,ARRAY<STRING>>", '[{"key":"1","value":["x",null]}]', [(1, ["x", None])]),
    ("STRUCT<a: INT, b: STRING>", '{"a":"1","b":null}', {"a": 1, "b": None}),
    ("STRUCT<n: STRUCT<when: DATE>>", '{"n":{"when":"2024-01-01"}}', {"n": {"when": dt.date(2024, 1, 1)}}),
    ("ARRAY<STRUCT<a: BOOLEAN>>", '[{"a":"true"},null]', [{"a": True}, None]),
]
# One of each kind also as NULL.
NULLS = ["BIGINT", "DOUBLE", "DECIMAL(10,2)", "STRING", "VARCHAR(3)", "CHAR(3)", "BOOLEAN", "DATE", "TIMESTAMP"]
NULLS += ["TIMESTAMP_NTZ", "BINARY", "ARRAY<INT>", "MAP<STRING,INT>", "STRUCT<a: INT, b: STRING>"]


def strict(data_type: str, raw: str) -> str:
    """The expression that makes this type of a string, as strict inside nested values as outside."""
    options = "map('mode', 'FAILFAST')"
    match data_type.split("<")[0].split("(")[0]:
        case "BINARY":
            return f"to_binary({raw}, 'base64')"
        case "ARRAY":
            return nested(data_type, f"from_json({raw}, '{as_strings(data_type)}', {options})", 0)
        case "MAP":
            return nested(data_type, f"from_json({raw}, '{as_strings(data_type)}', {options})", 0)
        case "STRUCT":
            return nested(data_type, f"from_json({raw}, '{as_strings(data_type)}', {options})", 0)
        case "STRING" | "VARCHAR" | "CHAR":
            return raw
    return f"CAST({raw} AS {data_type})"


def inside(data_type: str) -> list[str]:
    """The parts between a type's angle brackets."""
    parts, depth, start = [], 0, 0
    text = data_type[data_type.index("<") + 1 : -1]
    for position, letter in enumerate(text):
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def as_strings(data_type: str) -> str:
    if data_type.startswith("ARRAY<"):
        return f"ARRAY<{as_strings(inside(data_type)[0])}>"
    if data_type.startswith("MAP<"):
        key, value = (as_strings(part) for part in inside(data_type))
        return f"ARRAY<STRUCT<key: {key}, value: {value}>>"
    if data_type.startswith("STRUCT<"):
        fields = (part.split(": ", 1) for part in inside(data_type))
        return f"STRUCT<{', '.join(f'{name}: {as_strings(kind)}' for name, kind in fields)}>"
    return "STRING"


def nested(data_type: str, source: str, depth: int) -> str:
    if data_type.startswith("ARRAY<"):
        return f"transform({source}, e{depth} -> {nested(inside(data_type)[0], f'e{depth}', depth + 1)})"
    if data_type.startswith("MAP<"):
        key, value = inside(data_type)
        entry = f"named_struct('key', {nested(key, f'e{depth}.key', depth + 1)}, 'value', "
        entry += f"{nested(value, f'e{depth}.value', depth + 1)})"
        return f"map_from_entries(transform({source}, e{depth} -> {entry}))"
    if data_type.startswith("STRUCT<"):
        fields = (part.split(": ", 1) for part in inside(data_type))
        made = ", ".join(f"'{name}', {nested(kind, f'{source}.{name}', depth + 1)}" for name, kind in fields)
        return f"CASE WHEN {source} IS NOT NULL THEN named_struct({made}) END"
    return source if data_type == "STRING" else f"CAST({source} AS {data_type})"


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)


def round_trip(client: Client, data_type: str, text: str | None) -> Any:
    client.run("DROP TABLE IF EXISTS {s}.t")
    client.run(f"CREATE TABLE {{s}}.t (v {data_type})")
    client.run(insert_text("{s}.t", ["v"], [strict(data_type, "r[0]")]), payload([text]))
    return client.value("SELECT v FROM {s}.t")


@pytest.mark.parametrize(
    ("data_type", "text", "value"), ROUND_TRIPS, ids=[f"{kind}-{str(text)[:20]!r}" for kind, text, _ in ROUND_TRIPS]
)
def test_a_value_comes_back_as_it_went_in(client: Client, data_type: str, text: str, value: Any) -> None:
    found = round_trip(client, data_type, text)
    assert same(found, value), found
    assert type(found) is type(value)


@pytest.mark.parametrize("data_type", NULLS)
def test_null_stays_null(client: Client, data_type: str) -> None:
    assert round_trip(client, data_type, None) is None


@pytest.mark.parametrize(
    ("data_type", "text", "error"),
    [
        ("BIGINT", "1.5", ("CAST_INVALID_INPUT", "22018")),
        ("BIGINT", "1e3", ("CAST_INVALID_INPUT", "22018")),
        ("BIGINT", "1_000", ("CAST_INVALID_INPUT", "22018")),
        ("BIGINT", "0x1F", ("CAST_INVALID_INPUT", "22018")),
        ("BIGINT", "", ("CAST_INVALID_INPUT", "22018")),
        ("BIGINT", "9223372036854775808", ("CAST_INVALID_INPUT", "22018")),
        ("TINYINT", "300", ("CAST_INVALID_INPUT", "22018")),
        ("DECIMAL(10,2)", "123456789", ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003")),
        ("DECIMAL(10,2)", "99999999.995", ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003")),
        ("DECIMAL(10,2)", "NaN", ("CAST_INVALID_INPUT", "22018")),
        ("DECIMAL(10,2)", "1,5", ("CAST_INVALID_INPUT", "22018")),
        ("DOUBLE", "1,5", ("CAST_INVALID_INPUT", "22018")),
        ("DOUBLE", "1_0", ("CAST_INVALID_INPUT", "22018")),
        ("BOOLEAN", "maybe", ("CAST_INVALID_INPUT", "22018")),
        ("BOOLEAN", "2", ("CAST_INVALID_INPUT", "22018")),
        ("DATE", "2024-02-30", ("CAST_INVALID_INPUT", "22018")),
        ("DATE", "0000-01-01", ("CAST_INVALID_INPUT", "22018")),
        ("DATE", "01.02.2024", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP", "2024-01-01T24:00:00Z", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP", "2024-01-01T10:00:00+19:00", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP", "0001-01-01T00:00:00+01:00", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP", "infinity", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP", "now", ("CAST_INVALID_INPUT", "22018")),
        ("TIMESTAMP_NTZ", "yesterday", ("CAST_INVALID_INPUT", "22018")),
        ("BINARY", "!!!!", ("CONVERSION_INVALID_INPUT", "22018")),
        ("BINARY", "abc", ("CONVERSION_INVALID_INPUT", "22018")),
        ("VARCHAR(3)", "abcd", ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")),
        ("VARCHAR(3)", "ab   ", ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")),
        ("CHAR(3)", "a     ", ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")),
        ("CHAR(3)", "abcd", ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")),
        ("ARRAY<VARCHAR(2)>", '["abc"]', ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")),
        ("ARRAY<INT>", '["x"]', ("CAST_INVALID_INPUT", "22018")),
        ("ARRAY<INT>", '["1"', ("MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", "22023")),
        ("ARRAY<INT>", '{"a":"1"}', ("MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", "22023")),
        ("MAP<STRING,INT>", '[{"key":"a","value":"x"}]', ("CAST_INVALID_INPUT", "22018")),
        (
            "MAP<STRING,INT>",
            '[{"key":"a","value":"1"},{"key":"a","value":"2"}]',
            ("DUPLICATED_MAP_KEY", "23505"),
        ),
        ("MAP<STRING,INT>", '[{"key":null,"value":"1"}]', ("NULL_MAP_KEY", "2200E")),
    ],
)
def test_a_value_that_does_not_fit_is_an_error(
    client: Client, data_type: str, text: str, error: tuple[str, str]
) -> None:
    client.run(f"CREATE TABLE {{s}}.t (v {data_type})")
    insert = insert_text("{s}.t", ["v"], [strict(data_type, "r[0]")])
    assert client.fails(insert, payload([text])) == error
    assert client.run("SELECT * FROM {s}.t") == []


def test_types_stored_are_the_types_read(client: Client) -> None:
    client.run(
        "CREATE TABLE {s}.t (l ARRAY<TIMESTAMP>, m MAP<STRING, DECIMAL(5,2)>, s STRUCT<a: TINYINT>, n TIMESTAMP_NTZ)"
    )
    with client.connection.cursor() as cursor:
        cursor.execute(f"SELECT l, m, s, n, NULL AS v FROM {client.schema}.t")
        table = cursor.fetchall_arrow()
        kinds = [column[1] for column in cursor.description]
    assert kinds == ["array", "map", "struct", "timestamp", "null"]
    assert [str(field.type) for field in table.schema] == [
        "list<item: timestamp[us, tz=UTC]>",
        "map<string, decimal128(5, 2)>",
        "struct<a: int8>",
        "timestamp[us]",
        "null",
    ]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("CAST(1.9 AS INT)", 1),
        ("CAST(-1.9 AS INT)", -1),
        ("CAST(2.5D AS BIGINT)", 2),
        ("CAST(123.456 AS DECIMAL(4,1))", Decimal("123.5")),
        ("CAST(0.1D AS DECIMAL(3,2))", Decimal("0.10")),
        ("CAST(true AS INT)", 1),
        ("CAST(DATE'2024-01-01' AS TIMESTAMP)", dt.datetime(2024, 1, 1, tzinfo=UTC)),
        ("CAST(TIMESTAMP'2024-01-01 10:00:00' AS DATE)", dt.date(2024, 1, 1)),
        ("CAST(TIMESTAMP'2024-01-01 10:00:00.120' AS STRING)", "2024-01-01 10:00:00.12"),
        ("CAST(1.50 AS STRING)", "1.50"),
        ("CAST(CAST('é' AS BINARY) AS STRING)", "é"),
        ("CAST('nan' AS DOUBLE) = CAST('NaN' AS DOUBLE)", True),
        ("CAST('NaN' AS DOUBLE) > CAST('Infinity' AS DOUBLE)", True),
        ("1 = 1.0", True),
        ("'10' = 10", True),
        ("NULL = 1", None),
        ("NULL <=> NULL", True),
        ("'a' < 'B'", False),
        ("2147483648", 2**31),
        ("-2147483648", -(2**31)),
        ("12345678901234567890", Decimal("12345678901234567890")),
        ("0.05", Decimal("0.05")),
        ("1e3", 1000.0),
        ("X'1'", b"\x01"),
    ],
)
def test_expressions_have_sparks_values(client: Client, expression: str, value: Any) -> None:
    found = client.value(f"SELECT {expression} AS v")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("CAST(300 AS TINYINT)", ("CAST_OVERFLOW", "22003")),
        ("CAST(1e10 AS INT)", ("CAST_OVERFLOW", "22003")),
        ("CAST(CAST('NaN' AS DOUBLE) AS INT)", ("CAST_OVERFLOW", "22003")),
        ("CAST(12345 AS DECIMAL(4,1))", ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003")),
        ("9223372036854775807 + 1", ("ARITHMETIC_OVERFLOW", "22003")),
        ("CAST(array(1) AS INT)", ("DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09")),
        ("array(1)[1]", ("INVALID_ARRAY_INDEX", "22003")),
        ("'a' LIKE 'a\\\\b'", ("INVALID_FORMAT.ESC_IN_THE_MIDDLE", "42601")),
    ],
)
def test_expressions_fail_as_in_spark(client: Client, expression: str, error: tuple[str, str]) -> None:
    assert client.fails(f"SELECT {expression}") == error


texts = st.text(st.characters(codec="utf-8"), max_size=50)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14)
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999))  # noqa: DTZ001


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            decimals,
            texts,
            st.floats(allow_nan=False),
            moments,
            st.binary(max_size=20),
            st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=5),
            st.dictionaries(texts, st.none() | texts, max_size=4),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_every_value_round_trips(client: Client, rows: list[tuple[Any, ...]]) -> None:
    kinds = ["BIGINT", "DECIMAL(38,4)", "STRING", "DOUBLE", "TIMESTAMP", "BINARY", "ARRAY<INT>", "MAP<STRING,STRING>"]
    names = ["n", *(f"c{position}" for position in range(len(kinds)))]
    client.run("DROP TABLE IF EXISTS {s}.t")
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, ["INT", *kinds], strict=True))
    client.run(f"CREATE TABLE {{s}}.t ({columns})")
    sent = [
        [
            str(position),
            str(row[0]),
            str(row[1]),
            row[2],
            repr(row[3]),
            row[4].isoformat() + "Z",
            base64.b64encode(row[5]).decode(),
            json.dumps([None if item is None else str(item) for item in row[6]]),
            json.dumps([{"key": key, "value": value} for key, value in row[7].items()]),
        ]
        for position, row in enumerate(rows)
    ]
    expressions = [strict(kind, f"r[{position}]") for position, kind in enumerate(["INT", *kinds])]
    client.run(insert_text("{s}.t", names, expressions), payload(*sent, jobs=3))
    found = client.run("SELECT * FROM {s}.t ORDER BY n")
    expected = [
        (position, *row[:4], row[4].replace(tzinfo=UTC), row[5], row[6], list(row[7].items()))
        for position, row in enumerate(rows)
    ]
    assert found == expected
