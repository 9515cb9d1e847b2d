"""From what the connector returns to the contract's JSON, and from there back to Python."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite, isnan
from typing import TypeVar

from pydantic import JsonValue

from lakequeue import columns
from lakequeue.columns import ColumnType
from lakequeue.problems import ValueProblem

Decode = Callable[[object], JsonValue]
FromWire = Callable[[JsonValue], object]
JsonPair = tuple[JsonValue, JsonValue]
Given = TypeVar("Given")


def iso_timestamp(moment: datetime) -> str:
    """A moment in UTC as the contract writes it: `2024-12-31T23:59:59Z`, microseconds where there are any."""
    return moment.replace(tzinfo=None).isoformat() + "Z"


@lru_cache(maxsize=4096)
def decoder(column_type: ColumnType) -> Decode:
    """A function from the connector's value to JSON; ValueProblem if it is not what the type promises."""
    match column_type:
        case columns.Scalar(kind="BIGINT" | "INT" | "SMALLINT" | "TINYINT" as kind):
            return _expecting(int, kind)
        case columns.Scalar(kind="DOUBLE" | "FLOAT"):
            return _real
        case columns.Scalar(kind="BOOLEAN"):
            return _expecting(bool, "BOOLEAN")
        case columns.Scalar(kind="STRING") | columns.Varchar() | columns.Char():
            return _expecting(str, column_type.sql)
        case columns.Scalar(kind="DATE"):
            return _date
        case columns.Scalar(kind="TIMESTAMP"):
            return _timestamp
        case columns.Scalar(kind="TIMESTAMP_NTZ"):
            return _timestamp_ntz
        case columns.Scalar(kind="BINARY"):
            return _binary
        case columns.Decimal():
            return _decimal
        case columns.Array(element):
            return _array(decoder(element))
        case columns.Map(key, value):
            return _map(decoder(key), decoder(value))
        case columns.Struct(fields):
            return _struct(fields)
        case _:
            return _text_of


def _expecting(wanted: type[int] | type[bool] | type[str], kind: str) -> Decode:
    def decode(value: object) -> JsonValue:
        if type(value) is wanted or value is None:
            return value
        raise _unexpected(kind, value)

    return decode


def _real(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, float):
        raise _unexpected("DOUBLE", value)
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decimal(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, Decimal):
        raise _unexpected("DECIMAL", value)
    return format(value, "f")


def _date(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _unexpected("DATE", value)
    return value.isoformat()


def _timestamp(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _unexpected("TIMESTAMP", value)
    return iso_timestamp(value.astimezone(UTC))


def _timestamp_ntz(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise _unexpected("TIMESTAMP_NTZ", value)
    return value.isoformat()


def _binary(value: object) -> JsonValue:
    if value is None:
        return None
    if not isinstance(value, bytes | bytearray):
        raise _unexpected("BINARY", value)
    return base64.b64encode(value).decode("ascii")


def _array(element: Decode) -> Decode:
    def decode(value: object) -> JsonValue:
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise _unexpected("ARRAY", value)
        return [element(item) for item in value]

    return decode


def _map(decode_key: Decode, decode_value: Decode) -> Decode:
    def decode(value: object) -> JsonValue:
        if value is None:
            return None
        # Arrow's maps come as lists of tuples, since their keys need not be hashable.
        pairs = value.items() if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping | list | tuple):
            raise _unexpected("MAP", value)
        return [[decode_key(key), decode_value(item)] for key, item in pairs]  # type: ignore[attr-defined]

    return decode


def _struct(fields: tuple[columns.Field, ...]) -> Decode:
    plan = [(each.name, decoder(each.type)) for each in fields]

    def decode(value: object) -> JsonValue:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise _unexpected("STRUCT", value)
        try:
            return {name: decode_field(value[name]) for name, decode_field in plan}
        except KeyError:
            raise ValueProblem("unexpected", "the warehouse returned a STRUCT that lacks a field") from None

    return decode


def _text_of(value: object) -> JsonValue:
    return None if value is None else str(value)


def _unexpected(kind: str, value: object) -> ValueProblem:
    return ValueProblem("unexpected", f"the warehouse returned a {type(value).__name__} for a {kind}")


@lru_cache(maxsize=4096)
def from_wire(column_type: ColumnType) -> FromWire:
    """A function from the contract's JSON to Python: DECIMAL to Decimal, DATE to date, TIMESTAMP to an aware
    datetime, BINARY to bytes, MAP to a dict (a list of tuples where its keys are lists or dicts)."""
    match column_type:
        case columns.Scalar(kind="DOUBLE" | "FLOAT"):
            return _read_real
        case columns.Scalar(kind="DATE"):
            return _reading(str, date.fromisoformat, "DATE")
        case columns.Scalar(kind="TIMESTAMP" | "TIMESTAMP_NTZ" as kind):
            return _reading(str, datetime.fromisoformat, kind)
        case columns.Scalar(kind="BINARY"):
            return _reading(str, base64.b64decode, "BINARY")
        case columns.Decimal():
            return _reading(str, Decimal, column_type.sql)
        case columns.Array(element):
            read = from_wire(element)
            return _reading(list, lambda value: [read(item) for item in value], "ARRAY")
        case columns.Map(key, item):
            return _reading(list, _map_reader(from_wire(key), from_wire(item), _hashable(key)), "MAP")
        case columns.Struct(fields):
            plan = {each.name: from_wire(each.type) for each in fields}
            return _reading(dict, lambda value: {name: plan[name](item) for name, item in value.items()}, "STRUCT")
        case _:
            return _itself


def _reading(wanted: type[Given], read: Callable[[Given], object], kind: str) -> FromWire:
    def reading(value: JsonValue) -> object:
        if value is None:
            return None
        if not isinstance(value, wanted):
            raise ValueProblem("unexpected", f"{type(value).__name__} is not how a {kind} is written in JSON")
        return read(value)

    return reading


def _read_real(value: JsonValue) -> object:
    if value is None:
        return None
    # A whole number may have lost its fraction on the way: JSON has one kind of number.
    return _reading(str, float, "DOUBLE")(value) if not isinstance(value, int | float) else float(value)


def _map_reader(read_key: FromWire, read_item: FromWire, hashable: bool) -> Callable[[list[JsonPair]], object]:
    def read(value: list[JsonPair]) -> object:
        pairs = [(read_key(key), read_item(item)) for key, item in value]
        return dict(pairs) if hashable else pairs

    return read


def _hashable(column_type: ColumnType) -> bool:
    return not isinstance(column_type, columns.Array | columns.Map | columns.Struct)


def _itself(value: JsonValue) -> object:
    return value
