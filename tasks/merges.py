"""The two statements of a folded batch: the count of rows by key, and the MERGE that carries all effects at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tasks.expressions import from_text
from tasks.fold import Source
from tasks.prepared import Key
from tasks.sql import Parameters, Sql, Statement, identifier, join, literal, qualified, sql
from tasks.statements import timestamp_text
from tasks.table import JOB_ID, Column, Table

_FAILFAST = "map('mode', 'FAILFAST')"
_ROWS = "ARRAY<ARRAY<STRING>>"
_HEAD = ("op", "mask", "job", "created_by", "updated_by", "soft")
"""What a source row says before its key and its values, in this order."""

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def count_keys(table: Table, key_columns: Sequence[Column], keys: Iterable[Key]) -> Statement:
    """How many rows each key has: `i` (the key's place, from 0), `live`, `deleted`. Keys without rows are left out."""
    parameters = Parameters()
    deleted_at = table.by_name.get("deleted_at") if "deleted_at" in table.audit else None
    t, k = table.free("t"), table.free("k")
    live, deleted = Sql("count(*)"), Sql("0")
    if deleted_at is not None:
        live = sql("count_if({t}.{name} IS NULL)", t=t, name=identifier(deleted_at.name))
        deleted = sql("count_if({t}.{name} IS NOT NULL)", t=t, name=identifier(deleted_at.name))
    equal = (
        sql("{t}.{name} = {value}", t=t, name=identifier(c.name), value=from_text(c.type, Sql(f"{k}.r[{i}]")))
        for i, c in enumerate(key_columns)
    )
    return Statement(
        sql(
            "SELECT {k}.i AS i, {live} AS live, {deleted} AS deleted\n"
            "FROM (SELECT posexplode(from_json({keys}, {schema}, " + _FAILFAST + ")) AS (i, r)) AS {k}\n"
            "JOIN {table} AS {t} ON {equal}\n"
            "GROUP BY {k}.i",
            t=t,
            k=k,
            live=live,
            deleted=deleted,
            keys=parameters.bind(_dumps(list(keys)), "keys"),
            schema=literal(_ROWS),
            table=qualified(table.name),
            equal=join(" AND ", equal),
        ),
        parameters.values,
        kind="count",
        table=str(table.name),
    )


def merge(
    table: Table,
    key_columns: Sequence[Column],
    columns: Sequence[Column],
    rows_json: str,
    *,
    stamp_us: int,
    start_by_us: int,
    every_row: bool = False,
    guarded: bool = False,
) -> Statement:
    """Apply folded sources, `rows_json` as `source_rows` writes them.

    Args:
        columns: those that some source sets or inserts, the order of their values.
        every_row: updates reach softly deleted rows too.
        stamp_us, start_by_us, guarded: as of `statements.insert`.
    """
    parameters = Parameters()
    rows = parameters.bind(rows_json, "rows")
    stamp = sql("CAST({p} AS TIMESTAMP)", p=parameters.bind(timestamp_text(stamp_us), "stamp"))
    start_by = parameters.bind(timestamp_text(start_by_us), "start_by")
    width = len(_HEAD) + len(key_columns) + len(columns)
    source = [sql("r[{i}] AS {name}", i=Sql(str(i)), name=Sql(name)) for i, name in enumerate(_HEAD)]
    for place, (name, column) in enumerate(_named(key_columns, columns), start=len(_HEAD)):
        source.append(sql("{value} AS {name}", value=from_text(column.type, Sql(f"r[{place}]")), name=Sql(name)))
    guard = Sql("")
    if guarded and table.stamp_column is not None:
        # A join, not EXISTS: open Delta Lake cannot read a table inside a condition of a MERGE's source.
        guard = sql(
            "\n       JOIN (SELECT count(*) AS written FROM {table} WHERE {column} = {stamp}) AS g ON g.written = 0",
            table=qualified(table.name),
            column=identifier(table.by_name[table.stamp_column].name),
            stamp=stamp,
        )
    t, s = table.free("t"), table.free("s")
    equal = (
        sql("{t}.{name} = {s}.k{i}", t=t, s=s, name=identifier(c.name), i=Sql(str(i)))
        for i, c in enumerate(key_columns)
    )
    return Statement(
        sql(
            "MERGE INTO {table} AS {t}\n"
            "USING (SELECT {source}\n"
            "       FROM (SELECT explode(from_json({rows}, {schema}, " + _FAILFAST + ")) AS r) AS source{guard}\n"
            "       WHERE assert_true(size(r) = {width}, 'row width') IS NULL\n"
            "         AND assert_true(current_timestamp() < CAST({start_by} AS TIMESTAMP), 'expired') IS NULL) AS {s}\n"
            "ON {s}.op <> 'I' AND {equal}\n"
            "WHEN MATCHED AND {s}.op = 'D' THEN DELETE{update}{insert}",
            t=t,
            s=s,
            table=qualified(table.name),
            source=join(", ", source),
            rows=rows,
            schema=literal(_ROWS),
            width=Sql(str(width)),
            start_by=start_by,
            guard=guard,
            equal=join(" AND ", equal),
            update=_update(table, columns, stamp, every_row=every_row),
            insert=_insert(table, columns, stamp),
        ),
        parameters.values,
        does="change",
        kind="merge",
        table=str(table.name),
    )


def source_rows(sources: Iterable[Source], key_columns: Sequence[Column], columns: Sequence[Column]) -> str:
    """The JSON parameter of a MERGE: an array a source row, every value a string or null."""
    names = [column.name.lower() for column in columns]
    no_key = [None] * len(key_columns)
    rows = []
    for each in sources:
        values = each.values
        mask = "".join("1" if name in values else "0" for name in names)
        head = [each.op, mask, each.job_id, each.created_by, each.updated_by, "1" if each.soft else "0"]
        key = no_key if each.op == "I" or each.key is None else each.key
        rows.append([*head, *key, *(values.get(name) for name in names)])
    return _dumps(rows)


def touched(sources: Iterable[Source], table: Table) -> list[Column]:
    """The columns that any source sets or inserts, in the table's order."""
    names = {name for source in sources for name in source.values}
    return [column for column in table.columns if column.name.lower() in names]


def _named(key_columns: Sequence[Column], columns: Sequence[Column]) -> Iterable[tuple[str, Column]]:
    yield from ((f"k{i}", column) for i, column in enumerate(key_columns))
    yield from ((f"c{i}", column) for i, column in enumerate(columns))


def _update(table: Table, columns: Sequence[Column], stamp: Sql, *, every_row: bool) -> Sql:
    t, s = table.free("t"), table.free("s")
    updates = [
        sql(
            "{name} = CASE WHEN substr({s}.mask, {i}, 1) = '1' THEN {s}.{value} ELSE {t}.{name} END",
            t=t,
            s=s,
            name=identifier(column.name),
            i=Sql(str(i + 1)),
            value=Sql(f"c{i}"),
        )
        for i, column in enumerate(columns)
        if not column.counts_up  # no update may set it, and none here does: it is a key, or a new row's
    ]
    stamped = {
        "updated_at": stamp,
        "updated_by": sql("coalesce({s}.updated_by, current_user())", s=s),
        "deleted_at": Sql(
            f"CASE WHEN {s}.soft = '1' THEN coalesce({t}.`deleted_at`, {stamp}) ELSE {t}.`deleted_at` END"
        ),
    }
    for name, value in stamped.items():
        if name in table.audit:
            updates.append(sql("{name} = {value}", name=identifier(table.by_name[name].name), value=value))
    if not updates:
        return Sql("")
    seen = Sql("")
    if "deleted_at" in table.audit and not every_row:
        seen = sql(" AND {t}.{name} IS NULL", t=t, name=identifier(table.by_name["deleted_at"].name))
    return sql("\nWHEN MATCHED{seen} THEN UPDATE SET {updates}", seen=seen, updates=join(", ", updates))


def _insert(table: Table, columns: Sequence[Column], stamp: Sql) -> Sql:
    s = table.free("s")
    names = [identifier(column.name) for column in columns]
    values = [Sql(f"{s}.c{i}") for i in range(len(columns))]
    stamped = {
        "created_at": stamp,
        "created_by": sql("coalesce({s}.created_by, current_user())", s=s),
        "updated_at": stamp,
        "updated_by": sql("coalesce({s}.updated_by, current_user())", s=s),
        "deleted_at": Sql(f"CASE WHEN {s}.soft = '1' THEN {stamp} END"),
        JOB_ID: Sql(f"{s}.job"),
    }
    for name, value in stamped.items():
        if name in table.audit:
            names.append(identifier(table.by_name[name].name))
            values.append(value)
    if not names:
        return Sql("")
    return sql(
        "\nWHEN NOT MATCHED AND {s}.op = 'I' THEN INSERT ({names}) VALUES ({values})",
        s=s,
        names=join(", ", names),
        values=join(", ", values),
    )
