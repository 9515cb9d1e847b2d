"""Column types and the Python values they hold, edges included, for properties and for round trips."""

import string
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from lakequeue import columns
from lakequeue.columns import ColumnType, Scalar
from lakequeue.values import encoder, to_wire

_BITS = {"BIGINT": 63, "INT": 31, "SMALLINT": 15, "TINYINT": 7}
_ZONES = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11)))
_AWKWARD_TEXT = (
    "", " ", "'", '"', "`", ";", "--", "\\", "\\'", "a'; DROP TABLE t; --", "line\nline\r\n\ttab", "\x00", "\x7f",
    "null", "NULL", "NaN", "true", "0", "{}", "[]", "%_", "${x}", ":p", "?", "é", "é", "日本語", "🦆", "\u2028",
    "\ufeff", "\uffff", "  padded  ",
)  # fmt: skip
_AWKWARD_NAMES = ("a-b", "x.y", "größe", "select", "1st", "na`me", "a'b", 'a"b', "日本", "key", "value", "KEY")

scalar_types: SearchStrategy[ColumnType] = st.one_of(
    st.sampled_from([Scalar(kind) for kind in columns.KINDS]),
    st.integers(1, 38).flatmap(lambda p: st.integers(0, p).map(lambda s: columns.Decimal(p, s))),
    st.integers(1, 30).map(columns.Varchar),
    st.integers(1, 30).map(columns.Char),
)

column_names = st.sampled_from(_AWKWARD_NAMES) | st.text(
    string.ascii_letters + string.digits + "_", min_size=1, max_size=8
).filter(lambda name: name.lower() not in columns.AUDIT_COLUMNS)
"""Names that a job may give."""


@st.composite
def _structs(draw: DrawFn, fields: SearchStrategy[ColumnType]) -> ColumnType:
    names = draw(st.lists(column_names, min_size=1, max_size=4, unique_by=str.lower))
    return columns.Struct(tuple(columns.Field(name, draw(fields), draw(st.booleans())) for name in names))


def column_types(max_depth: int = 3) -> SearchStrategy[ColumnType]:
    """Every type that can be written, nested up to `max_depth` levels; 1 means scalars only."""
    if max_depth <= 1:
        return scalar_types
    inner = column_types(max_depth - 1)
    keys = scalar_types if max_depth == 2 else scalar_types | scalar_types.map(columns.Array)
    return st.one_of(scalar_types, inner.map(columns.Array), st.builds(columns.Map, keys, inner), _structs(inner))


def values_of(column_type: ColumnType, *, nullable: bool = True) -> SearchStrategy[object]:
    """Python values that a caller may give for the type and gets back as such.

    A CHAR's are as long as it is, since the warehouse pads; a MAP's are dicts, or lists of tuples where its keys
    are no keys of a dict.
    """
    values = _values(column_type)
    return st.none() | values if nullable else values


def _values(column_type: ColumnType) -> SearchStrategy[object]:
    match column_type:
        case Scalar(kind=kind):
            return _SCALARS[kind]
        case columns.Decimal(precision, scale):
            most = 10**precision - 1
            unscaled = st.integers(-most, most) | st.sampled_from((0, 1, -1, most, -most))
            return unscaled.map(lambda n: Decimal((n < 0, tuple(map(int, str(abs(n)))), -scale)))
        case columns.Varchar(length):
            return _texts.map(lambda text: text[:length]) | st.just("x" * min(length, 1_000))
        case columns.Char(length):
            return _texts.map(lambda text: text[:length].ljust(length))
        case columns.Array(element):
            return st.lists(values_of(element), max_size=4)
        case columns.Map(key, value):
            return _maps(key, value)
        case columns.Struct(fields):
            return st.fixed_dictionaries({f.name: values_of(f.type, nullable=f.nullable) for f in fields})
        case _:
            raise AssertionError(column_type)


def _maps(key: ColumnType, value: ColumnType) -> SearchStrategy[object]:
    encode = encoder(columns.Map(key, Scalar("INT")))

    def identity(pair: tuple[object, object]) -> str | None:
        return encode([[to_wire(pair[0]), None]])

    pairs = st.lists(st.tuples(values_of(key, nullable=False), values_of(value)), max_size=4, unique_by=identity)
    hashable = not isinstance(key, columns.Array | columns.Map | columns.Struct)
    return pairs.map(dict) if hashable else pairs


_texts = st.sampled_from(_AWKWARD_TEXT) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_EDGES = ("0001-01-01", "9999-12-31T23:59:59.999999", "1970-01-01", "1969-12-31T23:59:59.999999")
_moments = st.datetimes() | st.sampled_from(_EDGES).map(datetime.fromisoformat)
_SCALARS: Mapping[str, SearchStrategy[object]] = {
    **{
        kind: st.integers(-(2**bits), 2**bits - 1) | st.sampled_from((0, -1, -(2**bits), 2**bits - 1))
        for kind, bits in _BITS.items()
    },
    "DOUBLE": st.floats() | st.sampled_from((0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1)),
    "FLOAT": st.floats(width=32),
    "STRING": _texts,
    "BOOLEAN": st.booleans(),
    "DATE": st.dates() | st.sampled_from((date.min, date.max, date(2024, 2, 29), date(1582, 10, 10))),
    # Offsets only where they do not lead out of the years 0001 to 9999.
    "TIMESTAMP": _moments.map(lambda at: at.replace(tzinfo=UTC))
    | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from(_ZONES)),  # noqa: DTZ001
    "TIMESTAMP_NTZ": _moments,
    "BINARY": st.binary(max_size=40) | st.sampled_from((b"", b"\x00", b"\xff" * 3, b"\xfb\xef\xbe")),
}


def comparable(value: object, *, as_key: bool = False) -> object:
    """A form in which equal means: the same value of a column. NaN is itself, 0.0 is not -0.0 unless a map's key,
    maps have no order, and moments are equal whatever their offset."""
    if isinstance(value, float):
        return ("float", repr(value + 0.0 if as_key else value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return ("moment", value.astimezone(UTC).isoformat())
    if isinstance(value, Mapping):
        return ("map", frozenset((comparable(k, as_key=True), comparable(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(comparable(item) for item in value))
    return (type(value).__name__, value)
