"""Random values of every type, each with what must become of it: the value that arrives, or a refusal."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from struct import pack, unpack
from typing import Any, Final

REFUSED: Final = object()
Sample = tuple[Any, Any]
"""What a caller gives, and what comes back: a value, or REFUSED."""
Draw = Callable[[random.Random], Sample]

_INTEGERS = {"TINYINT": 7, "SMALLINT": 15, "INT": 31, "BIGINT": 63}
_BAD_NUMBERS = ("", " ", "x", "1.5", "1e3x", "0x10", "--1", "1,000", "NaN", "١٢", "1_000", True, [1], {"a": 1}, 1.5)
_BAD_DATES = (
    "", "2024-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-10", "0000-01-01", "10000-01-01", "24-01-01",
    "2024-1-1x", "yesterday", "2024-01-01T00:00:00Z", 20240101, True, "2024/01/01",
)  # fmt: skip
_BAD_MOMENTS = (
    "", "2024-02-30T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T00:60:00Z", "2016-12-31T23:59:60Z",
    "2024-01-01T00:00:00.1234567Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "now", 1, True,
    "2024-01-01T00:00:00+25:00",
)  # fmt: skip
_ZONES = tuple(timezone(timedelta(minutes=minutes)) for minutes in (0, 330, -660, 845, -720, 1))
_TEXT = string.printable + "éßñ日本語🦆\u2028\ufeff\u0301\x00\x7f"
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)  # room for an offset on either side
_SECONDS = int((_LAST - _FIRST).total_seconds())


def _whole(bits: int) -> Draw:
    low, high = -(2**bits), 2**bits - 1

    def draw(chance: random.Random) -> Sample:
        kind = chance.random()
        if kind < 0.04:
            return chance.choice(_BAD_NUMBERS), REFUSED
        if kind < 0.08:
            return chance.choice((low - 1, high + 1, low * 10, str(high + 1), 2**64)), REFUSED
        value = chance.choice((low, high, 0, -1, 1)) if kind < 0.2 else chance.randint(low, high)
        if kind < 0.3:
            value = chance.randint(-100, 100)
        return (str(value) if kind > 0.8 else value), value

    return draw


def _decimal(precision: int, scale: int) -> Draw:
    most = 10**precision - 1

    def draw(chance: random.Random) -> Sample:
        kind = chance.random()
        if kind < 0.03:
            return chance.choice(("x", "", "1.2.3", "NaN", "Infinity", "1e", True, [])), REFUSED
        if kind < 0.06:
            unscaled = chance.choice((most + 1, -most - 1, most * 10))
            return str(Decimal(unscaled).scaleb(-scale)) if scale == 0 else _spelt(unscaled, scale), REFUSED
        if kind < 0.09:
            # One digit more than the scale keeps, and not a zero: it would be rounded.
            return _spelt(chance.randint(0, most // 10 + 1) * 10 + chance.randint(1, 9), scale + 1), REFUSED
        if kind < 0.11:
            return chance.random() + 0.1, REFUSED
        unscaled = chance.choice((0, 1, -1, most, -most)) if kind < 0.25 else chance.randint(-most, most)
        value = Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))
        return (value if kind < 0.6 else _spelt(unscaled, scale)), value

    return draw


def _spelt(unscaled: int, scale: int) -> str:
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{text}" if unscaled < 0 else text


def _double(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.05:
        return chance.choice(("x", "", "1.2.3", "1e400", "-1e400", "0x1p3", True, [], "1d")), REFUSED
    if kind < 0.2:
        edges = (0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, float("nan"), float("inf"), float("-inf"), 0.1)
        value = chance.choice(edges)
        return value, value
    (value,) = unpack("<d", pack("<Q", chance.getrandbits(64)))
    return (repr(value) if kind > 0.8 and value == value and abs(value) != float("inf") else value), value


def _float(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.05:
        return chance.choice(("x", "", "1e39", "-1e39", 1e39, True, [])), REFUSED
    (value,) = unpack("<f", pack("<I", chance.getrandbits(32)))
    return value, value


def _string(chance: random.Random) -> Sample:
    if chance.random() < 0.04:
        return chance.choice((1, 1.5, True, [], {"a": "b"})), REFUSED
    text = "".join(chance.choices(_TEXT, k=chance.choice((0, 1, 5, 12))))
    return text, text


def _varchar(length: int, *, padded: bool) -> Draw:
    def draw(chance: random.Random) -> Sample:
        if chance.random() < 0.08:
            return "".join(chance.choices("aé🦆", k=length + chance.randint(1, 3))), REFUSED
        text = "".join(chance.choices(_TEXT, k=chance.randint(0, length)))
        return text, text.ljust(length) if padded else text

    return draw


def _boolean(chance: random.Random) -> Sample:
    if chance.random() < 0.1:
        return chance.choice((2, -1, "ja", "", "2", [], 0.5)), REFUSED
    value = chance.random() < 0.5
    return value, value


def _date(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.06:
        return chance.choice(_BAD_DATES), REFUSED
    value = date.fromordinal(chance.randint(1, date.max.toordinal()))
    if kind < 0.2:
        value = chance.choice((date.min, date.max, date(2024, 2, 29), date(1582, 10, 10), date(1900, 3, 1)))
    return (value if kind < 0.6 else value.isoformat()), value


def _moment(chance: random.Random) -> datetime:
    if chance.random() < 0.1:
        years = (1, 1582, 1883, 1900, 1969, 1970, 2000, 2024, 2038, 9999)
        return datetime(chance.choice(years), 3, 31, 2, 30, 0, chance.choice((0, 1, 999_999)), UTC)
    return _FIRST + timedelta(seconds=chance.randint(0, _SECONDS), microseconds=chance.randint(0, 999_999))


def _timestamp(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.05:
        return chance.choice(_BAD_MOMENTS), REFUSED
    value = _moment(chance)
    if kind < 0.1:
        return value.replace(tzinfo=None).isoformat(), REFUSED
    local = value.astimezone(chance.choice(_ZONES))
    return (local if kind < 0.6 else local.isoformat()), value


def _timestamp_ntz(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.05:
        return chance.choice([bad for bad in _BAD_MOMENTS if bad not in ("0001-01-01T00:00:00+01:00",)]), REFUSED
    value = _moment(chance)
    if kind < 0.1:
        return value.isoformat(), REFUSED
    value = value.replace(tzinfo=None)
    return (value if kind < 0.6 else value.isoformat()), value


def _binary(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.06:
        return chance.choice(("!!", "a", "YQ", "YQ=", "Y Q==", 1, True)), REFUSED
    value = chance.randbytes(chance.randint(0, 12))
    return (value if kind < 0.6 else base64.b64encode(value).decode()), value


def _array(draw_item: Draw) -> Draw:
    def draw(chance: random.Random) -> Sample:
        if chance.random() < 0.02:
            return chance.choice(("x", 1, {"a": 1}, True)), REFUSED
        items = [_or_null(draw_item, chance) for _ in range(chance.choice((0, 1, 3)))]
        return [given for given, _ in items], _all([back for _, back in items])

    return draw


def _map(draw_item: Draw) -> Draw:
    def draw(chance: random.Random) -> Sample:
        keys = chance.sample(("a", "b", "", "é", "'", '"', "null"), chance.choice((0, 1, 3)))
        items = [_or_null(draw_item, chance) for _ in keys]
        given = dict(zip(keys, (given for given, _ in items), strict=True))
        if chance.random() < 0.03:
            return [["k", None], ["k", None]], REFUSED
        back = _all([back for _, back in items])
        return given, back if back is REFUSED else list(zip(keys, back, strict=True))

    return draw


def _struct(fields: Mapping[str, Draw]) -> Draw:
    def draw(chance: random.Random) -> Sample:
        items = {name: _or_null(draw_field, chance) for name, draw_field in fields.items()}
        given = {name: given for name, (given, _) in items.items()}
        if chance.random() < 0.02:
            return {**given, "unknown": 1}, REFUSED
        back = _all([back for _, back in items.values()])
        return given, back if back is REFUSED else dict(zip(items, back, strict=True))

    return draw


def _all(items: list[Any]) -> Any:
    return REFUSED if any(item is REFUSED for item in items) else items


def _or_null(draw: Draw, chance: random.Random) -> Sample:
    return (None, None) if chance.random() < 0.1 else draw(chance)


@dataclass(frozen=True)
class FuzzColumn:
    name: str
    type: str
    draw: Draw


_SCALARS: Mapping[str, Draw] = {
    **{name: _whole(bits) for name, bits in _INTEGERS.items()},
    **{f"DECIMAL({p},{s})": _decimal(p, s) for p, s in ((1, 0), (5, 5), (10, 2), (18, 6), (38, 0), (38, 19), (38, 38))},
    "DOUBLE": _double,
    "FLOAT": _float,
    "STRING": _string,
    "VARCHAR(8)": _varchar(8, padded=False),
    "CHAR(5)": _varchar(5, padded=True),
    "BOOLEAN": _boolean,
    "DATE": _date,
    "TIMESTAMP": _timestamp,
    "TIMESTAMP_NTZ": _timestamp_ntz,
    "BINARY": _binary,
}
_IN_ARRAYS = ("BIGINT", "DECIMAL(38,19)", "DOUBLE", "STRING", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "BINARY")
_IN_MAPS = ("INT", "DECIMAL(10,2)", "STRING", "TIMESTAMP")


def _columns() -> dict[str, Draw]:
    inner = {"x": _SCALARS["INT"], "y-z": _SCALARS["STRING"], "at": _SCALARS["TIMESTAMP"]}
    return {
        **_SCALARS,
        **{f"ARRAY<{kind}>": _array(_SCALARS[kind]) for kind in _IN_ARRAYS},
        **{f"MAP<STRING, {kind}>": _map(_SCALARS[kind]) for kind in _IN_MAPS},
        "STRUCT<`x`: INT, `y-z`: STRING, `at`: TIMESTAMP>": _struct(inner),
        "ARRAY<STRUCT<`x`: INT, `m`: MAP<STRING, DATE>>>": _array(
            _struct({"x": _SCALARS["INT"], "m": _map(_SCALARS["DATE"])})
        ),
        "ARRAY<ARRAY<DECIMAL(5,5)>>": _array(_array(_SCALARS["DECIMAL(5,5)"])),
        "MAP<STRING, ARRAY<FLOAT>>": _map(_array(_SCALARS["FLOAT"])),
    }


COLUMNS = tuple(FuzzColumn(f"c{i}", kind, draw) for i, (kind, draw) in enumerate(_columns().items()))


def a_row(chance: random.Random) -> list[Sample]:
    return [_or_null(column.draw, chance) for column in COLUMNS]
