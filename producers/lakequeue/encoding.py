"""From the contract's JSON to the text that a statement casts to a column's type."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, assert_never

from pydantic import JsonValue

from lakequeue import columns, scalars
from lakequeue.columns import ColumnType
from lakequeue.problems import ValueProblem, quoted, suggestion
from lakequeue.scalars import Encode, wrong_type
from lakequeue.typed_values import KEYS, Typed

Values = Literal["python", "json"]
"""How values were given. In JSON the text of a BINARY is base64; a Python caller gives bytes."""

Shape = Callable[[JsonValue], object]
Scalars = columns.Scalar | columns.Decimal | columns.Varchar | columns.Char | columns.Unsupported

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_REALS = (columns.Scalar("DOUBLE"), columns.Scalar("FLOAT"))


@lru_cache(maxsize=4096)
def encoder(column_type: ColumnType, values: Values = "json") -> Encode:
    """A function from what `to_wire` returns to the exact text of `CAST(text AS type)`, None for a null.

    It raises ValueProblem. What the warehouse stores alike has one text, so the text may serve as a key; only the
    two zeros of a DOUBLE, which are stored apart but compare equal, have two.

    A nested value becomes JSON text in which every scalar is a string of its own text, a MAP an array of
    `{"key", "value"}` and a STRUCT an object with all its fields in order: what `from_json` reads without loss
    when every scalar of its schema is a STRING.
    """
    match column_type:
        case columns.Array() | columns.Map() | columns.Struct():
            shape = _shape(column_type, values)
        case _:
            return _scalar(column_type, values)

    def encode(value: JsonValue) -> str | None:
        return None if value is None else _to_json(shape(value))

    return encode


def _shape(column_type: ColumnType, values: Values) -> Shape:
    """Scalars to their text, nested values to what their JSON text is made from."""
    match column_type:
        case columns.Array(element):
            return _array(_shape(element, values))
        case columns.Map():
            return _map(column_type, values)
        case columns.Struct(fields):
            return _struct(fields, values)
        case _:
            return _scalar(column_type, values)


_PLAIN: dict[str, Encode] = {
    "DOUBLE": scalars.encode_double,
    "FLOAT": scalars.encode_float,
    "BOOLEAN": scalars.encode_boolean,
    "STRING": scalars.encode_string,
    "DATE": scalars.encode_date,
    "TIMESTAMP": scalars.encode_timestamp,
    "TIMESTAMP_NTZ": scalars.encode_timestamp_ntz,
    "BINARY": scalars.encode_binary,
}


def _scalar(column_type: Scalars, values: Values) -> Encode:
    match column_type:
        case columns.Scalar("BINARY") if values == "python":
            return scalars.encode_bytes
        case columns.Scalar("BIGINT" | "INT" | "SMALLINT" | "TINYINT" as kind):
            return scalars.integer_encoder(kind)
        case columns.Scalar(kind):
            return _PLAIN[kind]
        case columns.Decimal():
            return scalars.decimal_encoder(column_type)
        case columns.Varchar() | columns.Char():
            return scalars.limited_text_encoder(column_type)
        case columns.Unsupported():
            return scalars.unsupported_encoder(column_type)
        case _:
            assert_never(column_type)


def _array(element: Shape) -> Shape:
    def encode(value: JsonValue) -> object:
        if value is None:
            return None
        if not isinstance(value, list):
            raise wrong_type("ARRAY", "a list", value)
        items: list[object] = []
        try:
            for item in value:
                items.append(element(item))
        except ValueProblem as problem:
            raise problem.under(len(items)) from None
        return items

    return encode


def _map(column_type: columns.Map, values: Values) -> Shape:
    encode_key, encode_value = _shape(column_type.key, values), _shape(column_type.value, values)

    def encode(value: JsonValue) -> object:
        if value is None:
            return None
        entries: list[object] = []
        seen: set[object] = set()
        for index, (key, item) in enumerate(_pairs(value)):
            try:
                shaped_key = encode_key(key)
            except ValueProblem as problem:
                raise problem.under(index, "key") from None
            if shaped_key is None:
                raise ValueProblem("null_key", "a MAP has no null keys", (index, "key"))
            if shaped_key in ("-0.0", "0.0") and column_type.key in _REALS:
                shaped_key = "0.0"  # as Spark does with a MAP's keys (unconfirmed on a live warehouse)
            identity = shaped_key if isinstance(shaped_key, str) else _to_json(shaped_key)
            if identity in seen:
                raise ValueProblem("duplicate_key", "a MAP has each key once", (index, "key"))
            seen.add(identity)
            try:
                entries.append({"key": shaped_key, "value": encode_value(item)})
            except ValueProblem as problem:
                raise problem.under(index, "value") from None
        return entries

    return encode


def _pairs(value: JsonValue) -> list[tuple[JsonValue, JsonValue]]:
    if isinstance(value, dict) and not isinstance(value, Typed):
        return list(value.items())
    if not isinstance(value, list):
        raise wrong_type("MAP", "an object or a list of [key, value] pairs", value)
    pairs: list[tuple[JsonValue, JsonValue]] = []
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueProblem("wrong_type", "a MAP is a list of [key, value] pairs", (index,))
        pairs.append((pair[0], pair[1]))
    return pairs


def _struct(fields: tuple[columns.Field, ...], values: Values) -> Shape:
    plan = [(each.name, _shape(each.type, values), each.nullable) for each in fields]
    names = frozenset(each.name for each in fields)
    by_lower = {each.name.lower(): each.name for each in fields}

    def encode(value: JsonValue) -> object:
        if value is None:
            return None
        if names == KEYS and isinstance(value, list):  # as `to_wire` writes it
            value = dict(_pairs(value))  # type: ignore[arg-type]
        if not isinstance(value, dict) or isinstance(value, Typed):
            raise wrong_type("STRUCT", "an object", value)
        given = value if value.keys() <= names else _renamed(value, by_lower)
        shaped: dict[str, object] = {}
        for name, encode_field, nullable in plan:
            try:
                shaped[name] = text = encode_field(given.get(name))
            except ValueProblem as problem:
                raise problem.under(name) from None
            if text is None and not nullable:
                raise ValueProblem("not_null", "the field is NOT NULL", (name,))
        return shaped

    return encode


def _renamed(value: dict[str, JsonValue], by_lower: dict[str, str]) -> dict[str, JsonValue]:
    """The object under its fields' own spelling, since names compare without case."""
    renamed: dict[str, JsonValue] = {}
    for given, item in value.items():
        name = by_lower.get(given.lower())
        if name is None:
            raise ValueProblem(
                "unknown_field",
                f"the STRUCT has no field {quoted(given)}{suggestion(given, by_lower.values())}",
            )
        if name in renamed:
            raise ValueProblem("duplicate_field", f"field {quoted(name)} is given twice, as names ignore case")
        renamed[name] = item
    return renamed
