"""Values as Python gives them, as the contract's JSON, and as the text that a statement casts.

a caller's value --to_wire--> JSON --encoder(type)--> text --CAST in SQL--> the table
a caller's value <--from_wire(type)-- JSON <--decoder(type)-- what the connector returns
"""

import base64
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite, isnan
from uuid import UUID

from pydantic import JsonValue

from lakequeue.decoding import decoder, from_wire, iso_timestamp
from lakequeue.encoding import encoder
from lakequeue.problems import ValueProblem

__all__ = ["MAX_NESTING", "JsonValue", "ValueProblem", "decoder", "encoder", "from_wire", "to_wire"]

MAX_NESTING = 64
"""Levels of lists and objects; a MAP written as pairs takes two."""

# No column holds more than a DOUBLE does, and Python prints no integer past 4,300 digits.
_INT_BOUND = 2**1024
_SMALL = 2**63
_DECIMAL_DIGITS = 400


def to_wire(value: object) -> JsonValue:
    """The JSON form of what a Python caller gives, which is its own JSON form; ValueProblem for other types.

    A dict with keys that are not all strings becomes a list of [key, value] pairs.
    """
    if type(value) is str and value.isascii():
        return value
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    if value is None or type(value) is bool:
        return value
    return _to_wire(value, 0)


def _to_wire(value: object, depth: int) -> JsonValue:
    # In the order of how often they come; bool before int and datetime before date, which they derive from.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if not -_INT_BOUND < value < _INT_BOUND:
            raise ValueProblem("out_of_range", "a whole number larger than any column holds")
        return int(value)
    if isinstance(value, float):
        if isfinite(value):
            return float(value)
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if depth >= MAX_NESTING:
        raise ValueProblem("too_deep", f"nested deeper than {MAX_NESTING} levels")
    if isinstance(value, list | tuple):
        return _list(value, depth)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    raise ValueProblem(
        "wrong_type",
        f"{type(value).__name__} cannot be sent; accepted are None, bool, int, float, str, Decimal, "
        "datetime, date, bytes, UUID, list, tuple and dict",
    )


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueProblem("bad_text", "text holds a lone surrogate, which is no Unicode") from None
    return str.__str__(value)


def _plain(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueProblem("out_of_range", "a Decimal must be finite: no DECIMAL holds NaN or Infinity")
    # Before formatting: Decimal("1E+999999999") would be a gigabyte of zeros.
    if len(value.as_tuple().digits) > _DECIMAL_DIGITS or abs(value.adjusted()) > _DECIMAL_DIGITS:
        raise ValueProblem("out_of_range", "a Decimal with more digits than any column holds")
    return format(value, "f")


def _moment(value: datetime) -> str:
    if getattr(value, "nanosecond", 0):  # pandas.Timestamp is a datetime that keeps more than it shows
        raise ValueProblem("bad_format", "a timestamp keeps microseconds, this one has nanoseconds")
    try:
        if value.utcoffset() is None:
            return datetime.combine(value.date(), value.time()).isoformat()
        return iso_timestamp(value.astimezone(UTC))
    except (ValueError, TypeError, OverflowError):  # pandas.NaT; 0001-01-01 east of Greenwich
        raise ValueProblem("out_of_range", "a timestamp lies in the years 0001 to 9999 in UTC") from None


def _list(value: list[object] | tuple[object, ...], depth: int) -> JsonValue:
    items: list[JsonValue] = []
    try:
        for item in value:
            items.append(_to_wire(item, depth + 1))
    except ValueProblem as problem:
        raise problem.under(len(items)) from None
    return items


def _mapping(value: Mapping[object, object], depth: int) -> JsonValue:
    fields: dict[str, JsonValue] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            return _list([list(pair) for pair in value.items()], depth)
        try:
            fields[_text(key)] = _to_wire(item, depth + 1)
        except ValueProblem as problem:
            # By place, not by key: the keys of a MAP are data.
            raise problem.under(len(fields)) from None
    return fields
