"""Values of types that JSON lacks, as they travel: `{"__type__": kind, "__value__": …}`, the form that Celery sends.

The kinds are those of kombu 5.3 and later (`kombu/utils/json.py`): `decimal`, `datetime`, `date`, `time`, `uuid`, and
`bytes` (its UTF-8 text) or `base64` for bytes. `float` is a kind of our own, for `NaN`, `Infinity` and `-Infinity`.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from lakequeue.problems import ValueProblem, quoted

TYPE, VALUE = "__type__", "__value__"
Kind = Literal["decimal", "datetime", "date", "base64", "float"]
"""The kinds that are left after `to_wire`: a UUID becomes its text, and no column holds a time of day."""

KEYS = frozenset((TYPE, VALUE))
NON_FINITE = ("NaN", "Infinity", "-Infinity")

_MOST_CHARS = 1_000
_DEEPEST = 100
"""Levels of a job; the nesting of a value is limited to fewer."""

_NANOSECONDS = re.compile(r"[.,][0-9]{7}")

_CANONICAL = {
    "decimal": re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,50})?"),
    "datetime": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?!000000)[0-9]{6})?Z?"),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "float": re.compile("NaN|-?Infinity"),
}

NAT_OF_KOMBU = "0001-01-01T00:00:00"
"""What kombu makes of pandas.NaT, which it takes for a datetime."""


class Typed(dict[str, JsonValue]):
    """One such value.

    A plain dict with the same two keys is a mapping of the caller's own. A reader of JSON makes the difference.
    """

    __slots__ = ()

    @classmethod
    def of(cls, kind: Kind, text: str) -> "Typed":
        return cls({TYPE: kind, VALUE: text})

    @property
    def kind(self) -> JsonValue:
        return self[TYPE]

    @property
    def text(self) -> str:
        """Of a value that `to_wire` returned."""
        return self[VALUE]  # type: ignore[return-value]


def typed_or_plain(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A JSON object as its reader gives it to the library; an `object_hook`."""
    return Typed(fields) if len(fields) == 2 and TYPE in fields and VALUE in fields else fields


def recognised(value: object, depth: int = 0) -> object:
    """A copy of plain JSON in which objects of the two keys are `Typed`; below `_DEEPEST` levels it is as it was."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, Mapping):
        if value.keys() == KEYS:
            return Typed(value)
        return {name: recognised(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [recognised(item, depth + 1) for item in value]
    return value


def is_canonical(value: Typed) -> bool:
    """Whether it is as `to_wire` writes it, found at a fraction of the cost of reading it: workers look at each again.

    Of bytes it is not told.
    """
    kind, text = value[TYPE], value[VALUE]
    pattern = _CANONICAL.get(kind) if isinstance(kind, str) else None
    if pattern is None or not isinstance(text, str) or not pattern.fullmatch(text):
        return False
    try:
        if kind == "date":
            date.fromisoformat(text)
        elif kind == "datetime":
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return text != NAT_OF_KOMBU


def python_value(value: Typed) -> object:
    """What a sender wrote so: a Decimal, datetime, date, bytes, UUID or float.

    Raises:
        ValueProblem: the kind is unknown, its value is none of the kind, or no column holds the kind.
    """
    kind = value.kind
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise ValueProblem(
            "unknown_type",
            f"{TYPE} takes one of {', '.join(_READERS)}; a MAP that has these two keys is given as a list of "
            "[key, value] pairs",
        )
    try:
        return read(value[VALUE])
    except (ValueError, TypeError, ArithmeticError, KeyError) as exc:
        if isinstance(exc, ValueProblem):
            raise
        raise ValueProblem("bad_format", f"the {VALUE} is no {quoted(kind)}") from None


def _decimal(given: JsonValue) -> object:
    try:
        return Decimal(_short(given))
    except InvalidOperation:
        raise ValueError from None


def _datetime(given: JsonValue) -> object:
    text = _short(given)
    if text == NAT_OF_KOMBU:
        raise ValueProblem(
            "no_moment",
            f"{NAT_OF_KOMBU} is what Celery makes of pandas.NaT: send None for a missing value, or the moment as text",
        )
    if _NANOSECONDS.search(text):
        raise ValueProblem("bad_format", "a timestamp keeps microseconds, this one has nanoseconds")
    return datetime.fromisoformat(text)


def _date(given: JsonValue) -> object:
    return date.fromisoformat(_short(given))


def no_time() -> ValueProblem:
    return ValueProblem("wrong_type", "no column holds a time: send text to a STRING, in Python value.isoformat()")


def _time(_: JsonValue) -> object:
    raise no_time()


def _utf8(given: JsonValue) -> object:
    return _text(given).encode()


def _base64(given: JsonValue) -> object:
    return binascii.a2b_base64(_text(given), strict_mode=True)


def _uuid(given: JsonValue) -> object:
    return UUID(hex=_short(given["hex"] if isinstance(given, dict) else given))


def _float(given: JsonValue) -> object:
    if given not in NON_FINITE:
        raise ValueError
    return float(str(given))


def _text(given: JsonValue) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given


def _short(given: JsonValue) -> str:
    text = _text(given)
    if len(text) > _MOST_CHARS:
        raise ValueError
    return text


_READERS: dict[str, Callable[[JsonValue], object]] = {
    "decimal": _decimal,
    "datetime": _datetime,
    "date": _date,
    "time": _time,
    "uuid": _uuid,
    "bytes": _utf8,
    "base64": _base64,
    "float": _float,
}


def typed_bytes(value: bytes | bytearray | memoryview) -> Typed:
    return Typed.of("base64", base64.b64encode(bytes(value)).decode("ascii"))
