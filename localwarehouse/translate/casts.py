"""Casts as Spark's ANSI mode has them: a value that does not fit is an error, never NULL, never another value.

DuckDB's own casts differ silently: they take `'1.5'` for a BIGINT and `'0x1F'` for a number, keep no zone of a
TIMESTAMP, and round a DOUBLE where Spark cuts it. So each cast from STRING checks the text first.
"""

from localwarehouse import errors
from localwarehouse.errors import Unsupported
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    FRACTIONS,
    INTEGRAL_DIGITS,
    INTEGRALS,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    VOID,
    Array,
    DataType,
    Decimal,
    Field,
    Map,
    Simple,
    Struct,
    Text,
    as_expression,
    duckdb_name,
    identifier,
    sql_name,
)

# What each cast reads. Blanks around a value are trimmed by DuckDB's casts as well as by Spark's.
_INTEGER = r"\s*[+-]?\d{1,38}\s*"
# Digits are counted where there is an exponent: DuckDB reads a longer number wrong.
_DECIMAL = r"\s*[+-]?((\d+\.?\d*|\.\d+)|(\d{1,30}\.?\d{0,30}|\.\d{1,30})[eE][+-]?\d\d?)\s*"
_FRACTION = r"(?i)\s*([+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)|nan)\s*"
_DAY = r"([1-9]\d\d\d|0[1-9]\d\d|00[1-9]\d|000[1-9])-\d\d?-\d\d?"
_CLOCK = r"([01]?\d|2[0-3]):[0-5]?\d(:[0-5]?\d(\.\d*)?)?"
_ZONE = r"Z|[+-](0\d|1[0-7])(:?[0-5]\d)?|[+-]18(:?00)?| (UTC|[A-Z][A-Za-z_]+/[A-Za-z_/+0-9-]+)"
_INSTANT = rf"\s*{_DAY}([ T]{_CLOCK}({_ZONE})?)?"
# Years 1 to 9999 only: outside them no client of the connector can read the value back.
_TOO_EARLY = "TIMESTAMP '0001-12-31 (BC) 23:59:59.999999'"
_TOO_LATE = "TIMESTAMP '10000-01-01 00:00:00'"


def cast(value: Value, target: DataType, overflow: str = "CAST_OVERFLOW") -> Value:
    """`CAST(value AS target)`. `overflow` is the class of the error when an integer does not fit."""
    target = as_expression(target)
    source = value.type
    if source == target:
        return value
    if source == VOID:
        return value.become(f"CAST(NULL AS {duckdb_name(target)})", target)
    if source == STRING and not isinstance(target, Array | Map | Struct | Text):
        return value.become(_from_string(value, target), target)
    if target == STRING:
        return value.become(_to_string(value), target)
    if isinstance(source, Simple | Decimal) and isinstance(target, Simple | Decimal):
        sql = _between_scalars(value.sql, source, target, overflow)
        if sql is not None:
            return value.become(sql, target)
    nested = _nested(value.sql, source, target)
    if nested is None:
        raise errors.WarehouseError(
            "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION",
            f'Cannot resolve a cast due to data type mismatch: cannot cast "{sql_name(source)}" to '
            f'"{sql_name(target)}".',
            "42K09",
        )
    return value.become(nested, target)


def _invalid(shown: str, target: DataType) -> str:
    """Raises for a text that is not NULL: `error(NULL)` is NULL."""
    return failure(
        "CAST_INVALID_INPUT",
        f'The value \'{{value}}\' of the type "STRING" cannot be cast to "{sql_name(target)}" because it is '
        "malformed. Correct the value as per the syntax, or change its target type. Use `try_cast` to tolerate "
        "malformed input and return NULL instead.",
        "22018",
        shown,
    )


def _from_string(value: Value, target: DataType) -> str:
    first, again, name = value.sql, value.repeated, duckdb_name(target)
    if target == BINARY:
        return f"encode({first})"
    read = f"TRY_CAST({again} AS {name})"
    invalid = _invalid(again, target)
    if isinstance(target, Decimal):
        # Too many digits before the point is another error than no number at all.
        return (
            f"CASE WHEN regexp_full_match({first}, '{_DECIMAL}') "
            f"THEN coalesce({read}, {_out_of_range(again, target)}) ELSE {invalid} END"
        )
    if target == BOOLEAN:
        return f"coalesce(TRY_CAST(trim({first}) AS BOOLEAN), {invalid})"
    if target == DATE:
        # What follows a blank or a T after the day is ignored.
        day = f"regexp_extract({first}, '(?s)^\\s*({_DAY})([ T].*|\\s*)$', 1)"
        return f"coalesce(TRY_CAST({day} AS DATE), {invalid})"
    if target in INTEGRALS:
        pattern = _INTEGER
    elif target in FRACTIONS:
        pattern = _FRACTION
    elif target == TIMESTAMP:
        # By the offset in it, else by the session's zone, which is always UTC here.
        instant = f"CAST(TRY_CAST({again} AS TIMESTAMPTZ) AS TIMESTAMP)"
        within = f"least(greatest({instant}, {_TOO_EARLY}), {_TOO_LATE})"
        pattern, read = _INSTANT, f"nullif(nullif({within}, {_TOO_EARLY}), {_TOO_LATE})"
    elif target == TIMESTAMP_NTZ:
        # A zone is read and dropped, by both.
        pattern = _INSTANT
    else:
        raise Unsupported(f'a cast from STRING to "{sql_name(target)}"')
    return f"coalesce(CASE WHEN regexp_full_match({first}, '{pattern}') THEN {read} END, {invalid})"


def _out_of_range(shown: str, target: Decimal) -> str:
    return failure(
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
        f"The {{value}} cannot be represented as Decimal({target.precision}, {target.scale}). If necessary set "
        '"ansi_mode" to "false" to bypass this error, and return NULL instead.',
        "22003",
        shown,
    )


def _overflow(shown: str, source: DataType, target: DataType, error_class: str) -> str:
    return failure(
        error_class,
        f'The value {{value}} of the type "{sql_name(source)}" cannot be cast to "{sql_name(target)}" due to an '
        "overflow. Use `try_cast` to tolerate overflow and return NULL instead.",
        "22003",
        shown,
    )


def _between_scalars(sql: str, source: Simple | Decimal, target: Simple | Decimal, overflow: str) -> str | None:
    """None where Spark has no such cast either."""
    name = duckdb_name(target)
    shown = f"CAST({sql} AS VARCHAR)"
    plain = f"CAST({sql} AS {name})"
    numeric = source in INTEGRALS or source in FRACTIONS or isinstance(source, Decimal)
    to_numeric = target in INTEGRALS or target in FRACTIONS or isinstance(target, Decimal)
    if source == BOOLEAN and to_numeric:
        return plain if not isinstance(target, Decimal) else f"CAST(CAST({sql} AS INTEGER) AS {name})"
    if numeric and target == BOOLEAN:
        return f"({sql} <> 0)"
    if source == DATE and target in (TIMESTAMP, TIMESTAMP_NTZ):
        return plain
    if source in (TIMESTAMP, TIMESTAMP_NTZ) and target == DATE:
        return plain
    if {source, target} == {TIMESTAMP, TIMESTAMP_NTZ}:
        return sql
    if not numeric or not to_numeric:
        return None
    if isinstance(target, Decimal):
        if source in FRACTIONS:
            # Spark reads the shortest text of the number; so does DuckDB's VARCHAR of it.
            sql = shown
        return (
            f"CASE WHEN {sql} IS NULL THEN NULL "
            f"ELSE coalesce(TRY_CAST({sql} AS {name}), {_out_of_range(shown, target)}) END"
        )
    if target in FRACTIONS:
        return plain
    # To an integral type: fractions are cut off, what is too large fails.
    whole = sql if source in INTEGRALS else f"trunc({sql})"
    if source in INTEGRALS and INTEGRALS.index(source) <= INTEGRALS.index(target):
        return plain
    return (
        f"CASE WHEN {sql} IS NULL THEN NULL "
        f"ELSE coalesce(TRY_CAST({whole} AS {name}), {_overflow(shown, source, target, overflow)}) END"
    )


def _to_string(value: Value) -> str:
    source = value.type
    if source == BINARY:
        return f"decode({value.sql})"
    if source in (FLOAT, DOUBLE) or isinstance(source, Array | Map | Struct):
        # Spark writes 1.0E10 and {a, b}: an imitation that is nearly right would be compared as text.
        raise Unsupported(f'a cast from "{sql_name(source)}" to STRING')
    return f"CAST({value.sql} AS VARCHAR)"


def _nested(sql: str, source: DataType, target: DataType) -> str | None:
    match source, target:
        case Array(element), Array() if element == VOID:
            return f"CAST({sql} AS {duckdb_name(target)})"
        case Array(element), Array(wanted):
            inner = cast(Value("x", element), wanted)
            return f"list_transform({sql}, lambda x: {inner.sql})"
        case Map(key, item), Map(wanted_key, wanted_item):
            inner_key = cast(Value("x.key", key), wanted_key)
            inner_item = cast(Value("x.value", item), wanted_item)
            pairs = (
                f"list_transform(map_entries({sql}), lambda x: {{'key': {inner_key.sql}, 'value': {inner_item.sql}}})"
            )
            return f"map_from_entries({pairs})"
        case Struct(fields), Struct(wanted) if len(fields) == len(wanted):
            parts = [
                f"{identifier(new.name)} := {_field(sql, old, new)}" for old, new in zip(fields, wanted, strict=True)
            ]
            return f"CASE WHEN {sql} IS NULL THEN NULL ELSE struct_pack({', '.join(parts)}) END"
        case _:
            return None


def _field(sql: str, old: Field, new: Field) -> str:
    return cast(Value(f"struct_extract({sql}, {string(old.name)})", old.type), new.type).sql


def common_type(left: DataType, right: DataType) -> DataType | None:
    """The type two operands are compared or merged in; None where Spark has none."""
    if left == right:
        return left
    if left == VOID:
        return right
    if right == VOID:
        return left
    for one, other in ((left, right), (right, left)):
        if one == STRING:
            return _with_string(other)
        if one in FRACTIONS and (other in FRACTIONS or other in INTEGRALS or isinstance(other, Decimal)):
            return FLOAT if one == FLOAT and other in INTEGRALS else DOUBLE
        if one in INTEGRALS and other in INTEGRALS:
            return max(one, other, key=lambda integral: INTEGRALS.index(integral))
        if isinstance(one, Decimal) and other in INTEGRALS:
            return _wider(one, Decimal(INTEGRAL_DIGITS[other], 0))
        if isinstance(one, Decimal) and isinstance(other, Decimal):
            return _wider(one, other)
        if one == DATE and other in (TIMESTAMP, TIMESTAMP_NTZ):
            return other
        if one == TIMESTAMP and other == TIMESTAMP_NTZ:
            return TIMESTAMP
    match left, right:
        case Array(one_element), Array(other_element):
            element = common_type(one_element, other_element)
            return None if element is None else Array(element)
        case Map(one_key, one_value), Map(other_key, other_value):
            key, item = common_type(one_key, other_key), common_type(one_value, other_value)
            return None if key is None or item is None else Map(key, item)
    return None


def _with_string(other: DataType) -> DataType | None:
    """A STRING beside another type becomes that type, at its widest."""
    if other in INTEGRALS:
        return BIGINT
    if other in FRACTIONS or isinstance(other, Decimal):
        return DOUBLE
    return other if isinstance(other, Simple) else None


def _wider(left: Decimal, right: Decimal) -> Decimal:
    scale = max(left.scale, right.scale)
    whole = max(left.precision - left.scale, right.precision - right.scale)
    return Decimal(min(38, whole + scale), min(scale, max(0, 38 - whole)))
