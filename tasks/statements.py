"""Every statement the product sends, and nothing else, is built here.

Rows travel as one JSON parameter of strings, each value cast by name of its type: of the forms measured the only one
that neither loses data nor is slow. `assert_true` makes a statement expire by itself: one that starts too late on the
warehouse's clock fails and writes nothing, so a time can be known after which it cannot commit any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from lakequeue.columns import Array, Char, ColumnType, Map, Scalar, Struct, Unsupported, Varchar
from lakequeue.definitions import SchemaColumn
from lakequeue.identifiers import TableName
from lakequeue.jobs import Read
from lakequeue.problems import Path, ValueProblem, quoted, suggestion
from lakequeue.selection import EVERY_COLUMN
from lakequeue.values import JsonValue, encoder

from tasks.expressions import from_text
from tasks.sql import Parameters, Sql, Statement, identifier, join, literal, qualified, sql
from tasks.table import AUDIT_TYPES, JOB_ID, Column, Table

TOTAL = "_lakequeue_total"
"""The extra column of a page that counts all rows the filters match; the table's own names go first."""

_JOBS_SCHEMA = "ARRAY<STRUCT<id: STRING, actor: STRING, rows: ARRAY<ARRAY<STRING>>>>"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_INDEXED_COLUMNS = 32
"""Delta keeps file statistics of a table's first 32 columns unless told otherwise (docs)."""


def insert(
    table: Table,
    columns: Sequence[Column],
    jobs_json: str,
    *,
    stamp_us: int,
    start_by_us: int,
    guarded: bool = False,
) -> Statement:
    """Append the rows of one or more jobs.

    Args:
        columns: the columns that every row gives, in the order of its values.
        jobs_json: `[{"id": …, "actor": …, "rows": [[…], …]}, …]`, every value a string or null; an actor of null
            is the worker's own identity.
        stamp_us: microseconds since 1970, written to created_at and updated_at.
        start_by_us: microseconds since 1970 on the warehouse's clock; it fails when it starts later.
        guarded: do nothing if a row with this stamp is there already.
    """
    parameters = Parameters()
    jobs = parameters.bind(jobs_json, "jobs")
    stamp = sql("CAST({p} AS TIMESTAMP)", p=parameters.bind(timestamp_text(stamp_us), "stamp"))
    start_by = parameters.bind(timestamp_text(start_by_us), "start_by")
    actor = Sql("coalesce(actor, current_user())")
    values = {
        "created_at": stamp,
        "created_by": actor,
        "updated_at": stamp,
        "updated_by": actor,
        JOB_ID: Sql("job"),
    }
    stamped = [name for name in values if name in table.audit]
    names = [identifier(column.name) for column in columns]
    names += [identifier(table.by_name[name].name) for name in stamped]
    expressions = [from_text(column.type, Sql(f"r[{i}]")) for i, column in enumerate(columns)]
    expressions += [values[name] for name in stamped]
    text = sql(
        "INSERT INTO {table} ({names})\n"
        "SELECT {expressions}\n"
        "FROM (SELECT j.id AS job, j.actor AS actor, explode(j.rows) AS r\n"
        "      FROM (SELECT explode(from_json({jobs}, {schema}, map('mode', 'FAILFAST'))) AS j))\n"
        "WHERE assert_true(size(r) = {width}, 'row width') IS NULL\n"
        "  AND assert_true(current_timestamp() < CAST({start_by} AS TIMESTAMP), 'expired') IS NULL",
        table=qualified(table.name),
        names=join(", ", names),
        expressions=join(", ", expressions),
        jobs=jobs,
        schema=literal(_JOBS_SCHEMA),
        width=Sql(str(len(columns))),
        start_by=start_by,
    )
    if guarded:
        if table.stamp_column is None:
            raise ValueError(f"{table.name} has no column that carries the stamp")
        guard = sql(
            "\n  AND NOT EXISTS (SELECT 1 FROM {table} WHERE {column} = {stamp})",
            table=qualified(table.name),
            column=identifier(table.by_name[table.stamp_column].name),
            stamp=stamp,
        )
        text = Sql(text.text + guard.text)
    return Statement(text, parameters.values, does="change", kind="insert", table=str(table.name))


def find_stamp(table: Table, stamp_us: int) -> Statement:
    """One row: `found`, 1 if any row carries the stamp, else 0; `now`, the warehouse's clock.

    File statistics prune the scan on a Delta table.
    """
    if table.stamp_column is None:
        raise ValueError(f"{table.name} has no column that carries the stamp")
    parameters = Parameters()
    return Statement(
        sql(
            "SELECT current_timestamp() AS now, (SELECT count(*) FROM "
            "(SELECT 1 FROM {table} WHERE {column} = CAST({stamp} AS TIMESTAMP) LIMIT 1)) AS found",
            table=qualified(table.name),
            column=identifier(table.by_name[table.stamp_column].name),
            stamp=parameters.bind(timestamp_text(stamp_us), "stamp"),
        ),
        parameters.values,
        kind="proof",
        table=str(table.name),
    )


def find_jobs(table: Table, job_ids: Sequence[str], *, since: datetime | None = None) -> Statement:
    """Which of the jobs have inserted rows that are in the table: `id`, and how many `rows`.

    Args:
        since: no row was written earlier, if that is known; file statistics then prune the scan on a Delta table.
    """
    parameters = Parameters()
    ids = parameters.bind(json.dumps(list(job_ids)), "ids")
    t, j = table.free("t"), table.free("j")
    written = Sql("")
    stamped = next((name for name in ("created_at", "updated_at") if name in table.audit), None)
    if since is not None and stamped is not None:
        moment = parameters.bind(since.astimezone(UTC).isoformat(timespec="microseconds"), "since")
        column = identifier(table.by_name[stamped].name)
        written = sql("\nWHERE {t}.{column} >= CAST({since} AS TIMESTAMP)", t=t, column=column, since=moment)
    return Statement(
        sql(
            "SELECT {j}.id AS id, count(*) AS rows\n"
            "FROM (SELECT explode(from_json({ids}, 'ARRAY<STRING>', map('mode', 'FAILFAST'))) AS id) AS {j}\n"
            "JOIN {table} AS {t} ON {t}.{job_id} = {j}.id{written}\n"
            "GROUP BY {j}.id",
            t=t,
            j=j,
            ids=ids,
            table=qualified(table.name),
            job_id=identifier(table.by_name[JOB_ID].name),
            written=written,
        ),
        parameters.values,
        kind="lookup",
        table=str(table.name),
    )


def select(table: Table, job: Read, columns: Sequence[Column]) -> Statement:
    """One page of rows: the columns in their order, then the total. Names of ours are none of the table's.

    Raises:
        ValueProblem: a filter or an ordering does not fit the table.
    """
    parameters = Parameters()
    where = _where(table, job, parameters)
    source = qualified(table.name)
    names = [_readable(column, table.free(f"_lakequeue_text{i}")) for i, column in enumerate(columns)]
    count = sql(
        "(SELECT count(*) FROM {source}{where}) AS {total}",
        source=source,
        where=where,
        total=table.free(TOTAL),
    )
    order = [
        sql(
            "{name}" + (" DESC NULLS LAST" if ordering.descending else " ASC NULLS FIRST"),
            name=identifier(_known(table, ordering.column, ("order_by", i)).name),
        )
        for i, ordering in enumerate(job.order_by)
    ]
    return Statement(
        sql(
            "SELECT {names} FROM {source}{where}{order} LIMIT CAST({limit} AS INT) OFFSET CAST({offset} AS INT)",
            names=join(", ", [*names, count]),
            source=source,
            where=where,
            order=Sql(f" ORDER BY {join(', ', order)}" if order else ""),
            limit=parameters.bind(str(job.limit), "limit"),
            offset=parameters.bind(str(job.offset), "offset"),
        ),
        parameters.values,
        kind="select",
        table=str(table.name),
    )


def count(table: Table, job: Read) -> Statement:
    """How many rows a read's filters match: asked only when a page beyond the first is empty."""
    parameters = Parameters()
    where = _where(table, job, parameters)
    return Statement(
        sql(
            "SELECT count(*) AS {total} FROM {source}{where}",
            total=table.free(TOTAL),
            source=qualified(table.name),
            where=where,
        ),
        parameters.values,
        kind="count",
        table=str(table.name),
    )


def describe(name: TableName) -> Statement:
    text = sql("DESCRIBE TABLE EXTENDED {table} AS JSON", table=qualified(name))
    return Statement(text, kind="describe", table=str(name))


def show_create(name: TableName) -> Statement:
    return Statement(sql("SHOW CREATE TABLE {table}", table=qualified(name)), kind="describe", table=str(name))


def create_catalog(name: TableName) -> Statement:
    text = sql("CREATE CATALOG IF NOT EXISTS {catalog}", catalog=identifier(name.catalog))
    return Statement(text, does="define", kind="create", table=str(name))


def create_schema(name: TableName) -> Statement:
    return Statement(
        sql(
            "CREATE SCHEMA IF NOT EXISTS {catalog}.{schema}",
            catalog=identifier(name.catalog),
            schema=identifier(name.schema),
        ),
        does="define",
        kind="create",
        table=str(name),
    )


def create_table(name: TableName, columns: Sequence[SchemaColumn], properties: Mapping[str, str]) -> Statement:
    """A Delta table with the given columns and all audit columns.

    A wide table names the columns to keep statistics of, or the stamp columns would have none (unconfirmed on a live
    warehouse that `delta.dataSkippingStatsColumns` is taken here).
    """
    parts = []
    for column in columns:
        # The type was parsed and is rendered by us: no text of the caller's reaches the statement.
        parts.append(Sql(f"{identifier(column.name)} {column.type.sql}{'' if column.nullable else ' NOT NULL'}"))
    parts += [Sql(f"{identifier(audit)} {sql_type}") for audit, sql_type in AUDIT_TYPES.items()]
    given = dict(properties)
    if len(parts) > _DEFAULT_INDEXED_COLUMNS:
        room = _DEFAULT_INDEXED_COLUMNS - len(AUDIT_TYPES)
        kept = [column.name for column in columns if _has_statistics(column.type)]
        indexed = kept[:room] + list(AUDIT_TYPES)
        given.setdefault("delta.dataSkippingStatsColumns", ",".join(str(identifier(n)) for n in indexed))
    rendered = join(", ", (sql("{k} = {v}", k=literal(k), v=literal(v)) for k, v in given.items()))
    return Statement(
        sql(
            "CREATE TABLE IF NOT EXISTS {table} ({parts}) USING DELTA{properties}",
            table=qualified(name),
            parts=join(", ", parts),
            properties=Sql(f" TBLPROPERTIES ({rendered})" if given else ""),
        ),
        does="define",
        kind="create",
        table=str(name),
    )


def _has_statistics(column_type: ColumnType) -> bool:
    """Delta Lake refuses a table that wants statistics of others (DELTA_COLUMN_DATA_SKIPPING_NOT_SUPPORTED_TYPE)."""
    if isinstance(column_type, (Array, Map, Struct, Varchar, Char, Unsupported)):
        return False
    return column_type not in (Scalar("BOOLEAN"), Scalar("BINARY"))


def add_audit_columns(name: TableName, missing: Sequence[str]) -> Statement:
    columns = (sql("{name} {type}", name=identifier(each), type=Sql(AUDIT_TYPES[each])) for each in missing)
    text = sql("ALTER TABLE {table} ADD COLUMNS ({columns})", table=qualified(name), columns=join(", ", columns))
    return Statement(text, does="define", kind="create", table=str(name))


def who_and_when() -> Statement:
    """The user the warehouse knows us as, and its clock."""
    return Statement(Sql("SELECT current_user() AS user, current_timestamp() AS now"), kind="clock")


def timestamp_text(micros: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")


def read_columns(table: Table, job: Read) -> list[Column]:
    """The columns a read asks for; `*` is all but `_job_id`.

    Raises:
        ValueProblem: a column is not in the table.
    """
    if job.columns == EVERY_COLUMN:
        return [column for column in table.columns if column.name.lower() != JOB_ID]
    return [_known(table, name, ("columns", i)) for i, name in enumerate(job.columns)]


def _known(table: Table, name: str, path: Path) -> Column:
    column = table.by_name.get(name.lower())
    if column is None:
        known = suggestion(name, (each.name for each in table.columns))
        raise ValueProblem("unknown_column", f"{table.name} has no column {quoted(name)}{known}", path)
    return column


def _readable(column: Column, alias: Sql) -> Sql:
    name = identifier(column.name)
    if isinstance(column.type, Unsupported):
        # Not by its own name: an ordering by that would order the texts.
        return sql("CAST({name} AS STRING) AS {alias}", name=name, alias=alias)
    return name


def _where(table: Table, job: Read, parameters: Parameters) -> Sql:
    terms = [_term(table, job, i, parameters) for i in range(len(job.filters))]
    if "deleted_at" in table.audit and not job.include_deleted:
        terms.append(sql("{column} IS NULL", column=identifier(table.by_name["deleted_at"].name)))
    return Sql(f" WHERE {join(' AND ', terms)}" if terms else "")


def _term(table: Table, job: Read, index: int, parameters: Parameters) -> Sql:
    given = job.filters[index]
    column = _known(table, given.column, ("filters", index, "column"))
    name = identifier(column.name)
    if given.op in ("IS NULL", "IS NOT NULL"):
        return Sql(f"{name} {given.op}")
    compared = _compared_as(column.type)
    if compared is None or (given.op == "LIKE" and compared != Scalar("STRING")):
        msg = f"column {column.name} is {column.type.sql}, which {given.op} cannot take"
        raise ValueProblem("filter_type", msg, ("filters", index, "op"))
    encode = encoder(compared, job.values)

    def bound(value: JsonValue, *at: int) -> Sql:
        try:
            text = encode(value)
        except ValueProblem as exc:
            raise exc.under("filters", index, "value", *at) from exc
        if text is not None and isinstance(column.type, Char) and given.op != "LIKE":
            text = text.ljust(column.type.length)  # as it is stored
        return from_text(compared, parameters.bind(text))

    if given.op in ("IN", "NOT IN"):
        values = join(", ", (bound(value, i) for i, value in enumerate(given.values)))
        return Sql(f"{name} {given.op} ({values})")
    if given.op == "BETWEEN":
        low, high = given.values
        return Sql(f"{name} BETWEEN {bound(low, 0)} AND {bound(high, 1)}")
    return Sql(f"{name} {given.op} {bound(given.values[0])}")


def _compared_as(column_type: ColumnType) -> ColumnType | None:
    """The type a filter's value is cast to; None where there is no comparison."""
    if isinstance(column_type, (Varchar, Char)):
        return Scalar("STRING")  # a longer text is no error, it just is not equal
    if isinstance(column_type, (Array, Map, Struct, Unsupported)):
        return None
    return column_type
