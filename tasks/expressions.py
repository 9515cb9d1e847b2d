"""SQL expressions that turn the text of a value into a column's type, as strictly inside nested values as outside."""

from __future__ import annotations

from functools import lru_cache

from lakequeue.columns import Array, Char, ColumnType, Map, Scalar, Struct, Varchar

from tasks.sql import Sql, identifier, join, literal, sql

_FAILFAST = "map('mode', 'FAILFAST')"


@lru_cache(maxsize=4096)
def from_text(column_type: ColumnType, source: Sql) -> Sql:
    """`source`, a STRING expression as `values.encoder` writes it, as a value of the type. NULL stays NULL."""
    if not isinstance(column_type, (Array, Map, Struct)):
        return _scalar(column_type, source)
    parsed = sql(
        "from_json({source}, {schema}, " + _FAILFAST + ")",
        source=source,
        schema=literal(_json_schema(column_type)),
    )
    return _convert(column_type, parsed, depth=0)


def _scalar(column_type: ColumnType, source: Sql) -> Sql:
    if column_type == Scalar("BINARY"):
        return sql("to_binary({source}, 'base64')", source=source)
    if column_type == Scalar("STRING") or isinstance(column_type, (Varchar, Char)):
        return source  # the table itself checks the length; a cast might cut
    return Sql(f"CAST({source} AS {column_type.sql})")


def _json_schema(column_type: ColumnType) -> str:
    """The type as `from_json` reads it: every scalar a STRING, a map an array of entries."""
    match column_type:
        case Array(element):
            return f"ARRAY<{_json_schema(element)}>"
        case Map(key, value):
            return f"ARRAY<STRUCT<key: {_json_schema(key)}, value: {_json_schema(value)}>>"
        case Struct(fields):
            inner = ", ".join(f"{identifier(f.name)}: {_json_schema(f.type)}" for f in fields)
            return f"STRUCT<{inner}>"
        case _:
            return "STRING"


def _convert(column_type: ColumnType, source: Sql, depth: int) -> Sql:
    match column_type:
        case Array(element):
            item = Sql(f"x{depth}")
            body = _convert(element, item, depth + 1)
            if body == item:
                return source
            return sql("transform({source}, {item} -> {body})", source=source, item=item, body=body)
        case Map(key, value):
            item = Sql(f"x{depth}")
            return sql(
                "map_from_entries(transform({source}, {item} -> named_struct('key', {key}, 'value', {value})))",
                source=source,
                item=item,
                key=_convert(key, Sql(f"{item}.key"), depth + 1),
                value=_convert(value, Sql(f"{item}.value"), depth + 1),
            )
        case Struct(fields):
            pairs = join(
                ", ",
                (
                    sql(
                        "{name}, {value}",
                        name=literal(f.name),
                        value=_convert(f.type, Sql(f"{source}.{identifier(f.name)}"), depth + 1),
                    )
                    for f in fields
                ),
            )
            return sql("IF({source} IS NULL, NULL, named_struct({pairs}))", source=source, pairs=pairs)
        case _:
            return _scalar(column_type, source)
