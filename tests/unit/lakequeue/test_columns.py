"""Types are read as Databricks reads them, and errors say where and what instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakequeue.columns import (
    MAX_DEPTH,
    Array,
    Char,
    ColumnType,
    Decimal,
    Field,
    Map,
    Scalar,
    Struct,
    Unsupported,
    Varchar,
    from_describe,
    parse_type,
)

from tests.strategies import column_types

TYPES = {
    "BIGINT": "BIGINT",
    "bigint": "BIGINT",
    "  Int ": "INT",
    "INTEGER": "INT",
    "LONG": "BIGINT",
    "SHORT": "SMALLINT",
    "BYTE": "TINYINT",
    "REAL": "FLOAT",
    "DECIMAL": "DECIMAL(10,0)",
    "DECIMAL(5)": "DECIMAL(5,0)",
    "NUMERIC( 38 , 38 )": "DECIMAL(38,38)",
    "dec(4,2)": "DECIMAL(4,2)",
    "VARCHAR": "STRING",
    "CHAR": "STRING",
    "VARCHAR(7)": "VARCHAR(7)",
    "CHAR(1)": "CHAR(1)",
    "TIMESTAMP_LTZ": "TIMESTAMP",
    "TIMESTAMP_NTZ": "TIMESTAMP_NTZ",
    "ARRAY<INT>": "ARRAY<INT>",
    "array < array<int> >": "ARRAY<ARRAY<INT>>",
    "MAP<STRING,DECIMAL(3,1)>": "MAP<STRING, DECIMAL(3,1)>",
    "STRUCT<a:INT,b STRING>": "STRUCT<`a`: INT, `b`: STRING>",
    "STRUCT<`x y`: INT>": None,
    "STRUCT<`na``me`: INT>": "STRUCT<`na``me`: INT>",
    "STRUCT<map: INT, array: STRING>": "STRUCT<`map`: INT, `array`: STRING>",
    "STRUCT<a: INT NOT NULL>": "STRUCT<`a`: INT NOT NULL>",
    "ARRAY<STRUCT<k:MAP<DATE,ARRAY<BINARY>>>>": "ARRAY<STRUCT<`k`: MAP<DATE, ARRAY<BINARY>>>>",
}


@pytest.mark.parametrize("text", [text for text, sql in TYPES.items() if sql])
def test_a_type_renders_as_canonical_sql(text: str) -> None:
    assert parse_type(text).sql == TYPES[text]


@given(column_types())
def test_canonical_sql_reads_back_as_the_same_type(column_type: ColumnType) -> None:
    assert parse_type(column_type.sql) == column_type


BAD_TYPES = {
    "": "character 1: a type is missing; accepted are BIGINT",
    "   ": "a type is missing",
    "FOO": "character 1: unknown type 'FOO'; accepted are BIGINT",
    "VARIANT": "unknown type 'VARIANT'",
    "ARRAY": "ARRAY needs to say of what, as in ARRAY<STRING>",
    "MAP": "as in MAP<STRING, BIGINT>",
    "STRUCT": "as in STRUCT<name: STRING, age: INT>",
    "STRUCT<>": "a field name is missing",
    "ARRAY<>": "a type is missing",
    "ARRAY<INT": "expected > instead of the end",
    "ARRAY<INT>>": "character 11: '>' after the end",
    "INT INT": "character 5: 'INT' after the end",
    "MAP<STRING>": "expected , instead of '>'",
    "MAP<MAP<INT,INT>,INT>": "character 5: the key of a MAP cannot be or hold a MAP",
    "MAP<ARRAY<MAP<INT,INT>>,INT>": "the key of a MAP cannot be or hold a MAP",
    "DECIMAL(0)": "a precision is a whole number from 1 to 38",
    "DECIMAL(39,2)": "a precision is a whole number from 1 to 38",
    "DECIMAL(5,6)": "character 11: a scale of a DECIMAL(5, …) is a whole number from 0 to 5",
    "DECIMAL(5,-1)": "unexpected '-'",
    "DECIMAL(5,2": "expected ) instead of the end",
    "DECIMAL(٣)": "unexpected '٣'",
    "VARCHAR(0)": "a length is a whole number from 1",
    "CHAR(99999999999)": "a length is a whole number",
    "STRUCT<a: INT, A: INT>": "field 'A' is named twice",
    "STRUCT<`x y`: INT>": "a column name cannot hold a space",
    "STRUCT<größe: INT>": "goes into backticks",
    "STRUCT<a: INT NOT>": "NOT is followed by NULL",
    "STRUCT<a: INT COMMENT 'x'>": "unexpected",
    "STRUCT<a: INT COMMENT x>": "COMMENT is not taken here",
    "STRING COLLATE UTF8_LCASE": "'COLLATE' after the end",
    "INT; DROP TABLE t": "unexpected ';'",
    "INT\x00": "unexpected",
    "INT) AS x": "')' after the end",
    "\ud800": "unexpected",
}


@pytest.mark.parametrize("text", BAD_TYPES, ids=[ascii(text) for text in BAD_TYPES])
def test_an_error_says_where_and_what_instead(text: str) -> None:
    with pytest.raises(ValueError, match=r"^column type ") as refused:
        parse_type(text)
    assert BAD_TYPES[text] in str(refused.value)
    str(refused.value).encode()


def test_nesting_is_bounded() -> None:
    deepest = "ARRAY<" * (MAX_DEPTH - 1) + "INT" + ">" * (MAX_DEPTH - 1)
    assert parse_type(deepest).sql == deepest
    with pytest.raises(ValueError, match=f"nest at most {MAX_DEPTH} deep"):
        parse_type(f"ARRAY<{deepest}>")
    with pytest.raises(ValueError, match="nest at most"):
        parse_type("ARRAY<" * 100_000)


@given(st.text())
def test_any_text_is_a_type_or_a_value_error(text: str) -> None:
    try:
        parsed = parse_type(text)
    except ValueError:
        return
    assert parse_type(parsed.sql) == parsed


DESCRIBED = {
    "bigint": ({"name": "bigint"}, Scalar("BIGINT")),
    "timestamp": ({"name": "timestamp_ltz"}, Scalar("TIMESTAMP")),
    "timestamp_ntz": ({"name": "timestamp_ntz"}, Scalar("TIMESTAMP_NTZ")),
    "string": ({"name": "string", "collation": "UTF8_BINARY"}, Scalar("STRING")),
    "decimal": ({"name": "decimal", "precision": 10, "scale": 2}, Decimal(10, 2)),
    "varchar": ({"name": "varchar", "length": 10}, Varchar(10)),
    "char": ({"name": "char", "length": 3}, Char(3)),
    "array": (
        {"name": "array", "element_type": {"name": "int"}, "element_nullable": True},
        Array(Scalar("INT")),
    ),
    "map": (
        {"name": "map", "key_type": {"name": "string"}, "value_type": {"name": "date"}, "value_nullable": True},
        Map(Scalar("STRING"), Scalar("DATE")),
    ),
    "struct": (
        {
            "name": "struct",
            "fields": [
                {"name": "A b", "type": {"name": "float"}, "nullable": True},
                {"name": "c", "type": {"name": "binary"}, "nullable": False, "comment": "x"},
            ],
        },
        Struct((Field("A b", Scalar("FLOAT")), Field("c", Scalar("BINARY"), nullable=False))),
    ),
    "variant": ({"name": "variant"}, Unsupported("variant")),
    "interval": ({"name": "interval", "start_unit": "day", "end_unit": "second"}, Unsupported("interval")),
    "nested variant": (
        {"name": "array", "element_type": {"name": "variant"}, "element_nullable": True},
        Array(Unsupported("variant")),
    ),
}


@pytest.mark.parametrize(("described", "expected"), DESCRIBED.values(), ids=DESCRIBED)
def test_a_described_type_is_read(described: dict[str, object], expected: ColumnType) -> None:
    assert from_describe(described) == expected


def test_a_collation_is_kept_but_does_not_make_another_type() -> None:
    collated = from_describe({"name": "string", "collation": "UTF8_LCASE"})
    assert collated == Scalar("STRING")
    assert isinstance(collated, Scalar)
    assert collated.collation == "UTF8_LCASE"


@pytest.mark.parametrize(
    "described",
    [{}, {"name": "decimal"}, {"name": "array"}, {"name": "struct", "fields": 7}, {"name": "map", "key_type": 1}],
)
def test_a_description_of_unknown_shape_is_a_value_error(described: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="describes a type in an unknown way"):
        from_describe(described)


def describe(column_type: ColumnType) -> dict[str, object]:
    """What DESCRIBE … AS JSON says of a type, after Spark's DescribeRelationJsonCommand."""
    match column_type:
        case Decimal(precision, scale):
            return {"name": "decimal", "precision": precision, "scale": scale}
        case Varchar(length):
            return {"name": "varchar", "length": length}
        case Char(length):
            return {"name": "char", "length": length}
        case Array(element):
            return {"name": "array", "element_type": describe(element), "element_nullable": True}
        case Map(key, value):
            return {"name": "map", "key_type": describe(key), "value_type": describe(value), "value_nullable": True}
        case Struct(fields):
            return {
                "name": "struct",
                "fields": [{"name": f.name, "type": describe(f.type), "nullable": f.nullable} for f in fields],
            }
        case Scalar(kind="TIMESTAMP"):
            return {"name": "timestamp_ltz"}
        case _:
            return {"name": column_type.sql.lower()}


@given(column_types())
def test_every_type_survives_being_described(column_type: ColumnType) -> None:
    assert from_describe(describe(column_type)) == column_type
