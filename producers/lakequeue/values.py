"""Values as Python gives them, as the contract's JSON, and as the text that a statement casts.

a caller's value --to_wire--> JSON --encoder(type)--> text --CAST in SQL--> the table
a caller's value <--from_wire(type)-- JSON <--decoder(type)-- what the connector returns

On the way to the table, JSON keeps what a value was: a Decimal, date, datetime, bytes, NaN or infinity is `Typed`. On
the way back the column tells.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from uuid import UUID

from pydantic import JsonValue

from lakequeue.decoding import decoder, from_wire, iso_timestamp
from lakequeue.encoding import Values, encoder
from lakequeue.foreign_values import python_equivalent
from lakequeue.problems import ValueProblem
from lakequeue.scalars import infinity
from lakequeue.typed_values import KEYS, NAT_OF_KOMBU, Typed, is_canonical, no_time, python_value, typed_bytes

__all__ = ["MAX_NESTING", "JsonValue", "ValueProblem", "Values", "decoder", "encoder", "from_wire", "to_wire"]

MAX_NESTING = 64
"""Levels of lists and objects; a MAP written as pairs takes two."""

# No column holds more than a DOUBLE does, and Python prints no integer past 4,300 digits.
_INT_BOUND = 2**1024
_SMALL = 2**63
_DECIMAL_DIGITS = 400


def to_wire(value: object) -> JsonValue:
    """The JSON form of what a caller gives, which is its own JSON form; ValueProblem for other types.

    A dict with keys that are not all strings, or with the two keys of a `Typed`, becomes a list of [key, value] pairs.
    """
    if type(value) is str and value.isascii():
        return value
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    if value is None or type(value) is bool:
        return value
    if type(value) is Typed and is_canonical(value):
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
        return float(value) if isfinite(value) else Typed.of("float", infinity(value))
    if isinstance(value, Decimal):
        return Typed.of("decimal", _plain(value))
    if isinstance(value, datetime):
        return Typed.of("datetime", _moment(value))
    if isinstance(value, date):
        return Typed.of("date", value.isoformat())
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return typed_bytes(value)
    if isinstance(value, Typed):
        return value if is_canonical(value) else _to_wire(python_value(value), depth)
    if depth >= MAX_NESTING:
        raise ValueProblem("too_deep", f"nested deeper than {MAX_NESTING} levels")
    if isinstance(value, list | tuple):
        return _list(value, depth)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, time):
        raise no_time()
    if isinstance(value, Enum):
        raise ValueProblem("wrong_type", f"{type(value).__name__} is an Enum and cannot be sent: send its .value")
    return _to_wire(python_equivalent(value), depth + 1)


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
    if value != value:  # pandas.NaT is a datetime of no day
        raise ValueProblem("no_moment", "NaT is no moment: send None for a missing value")
    if getattr(value, "nanosecond", 0):  # pandas.Timestamp is a datetime that keeps more than it shows
        raise ValueProblem("bad_format", "a timestamp keeps microseconds, this one has nanoseconds")
    try:
        if value.utcoffset() is None:
            text = datetime.combine(value.date(), value.time()).isoformat()
            # With a fraction, the first moment of all is not what kombu makes of NaT.
            return f"{text}.000000" if text == NAT_OF_KOMBU else text
        return iso_timestamp(value.astimezone(UTC))
    except (ValueError, TypeError, OverflowError):  # 0001-01-01 east of Greenwich
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
    if value.keys() == KEYS:
        return _list([list(pair) for pair in value.items()], depth)
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
