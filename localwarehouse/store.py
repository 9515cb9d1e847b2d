"""Definitions of catalogs, schemas and tables: decided on the snapshot, kept in the same DuckDB file as the rows.

Names and rows change in one transaction, so a crash leaves both or neither.
"""

import datetime
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, assert_never

import duckdb

from localwarehouse import errors
from localwarehouse.catalog import (
    DEFAULT_CATALOG,
    DEFAULT_SCHEMA,
    Catalogs,
    Check,
    Column,
    Identity,
    Schemas,
    Table,
    TableName,
)
from localwarehouse.errors import WarehouseError
from localwarehouse.plans import (
    Action,
    AddCheck,
    AddColumns,
    CreateCatalog,
    CreateSchema,
    CreateTable,
    DropCatalog,
    DropSchema,
    DropTable,
    EngineSql,
)
from localwarehouse.types import duckdb_name, parse_type_text, quote, sql_name


@dataclass(frozen=True)
class Defined:
    """A definition that was accepted: the names after it, and the engine statements that make it so."""

    after: Catalogs
    statements: tuple[tuple[str, tuple[Any, ...]], ...]
    # A count that must be 0, and the error when it is not.
    must_be_zero: EngineSql | None = None
    otherwise: WarehouseError | None = None


def prepare(database: duckdb.DuckDBPyConnection) -> None:
    """Create what a new file lacks."""
    database.execute("CREATE SCHEMA IF NOT EXISTS lake")
    database.execute("CREATE SCHEMA IF NOT EXISTS names")
    database.execute("CREATE TABLE IF NOT EXISTS names.catalogs (catalog VARCHAR)")
    database.execute("CREATE TABLE IF NOT EXISTS names.schemas (catalog VARCHAR, schema VARCHAR)")
    database.execute(
        "CREATE TABLE IF NOT EXISTS names.tables "
        "(id VARCHAR, catalog VARCHAR, schema VARCHAR, name VARCHAR, definition VARCHAR)"
    )
    found = database.execute("SELECT count(*) FROM names.catalogs").fetchall()
    if found == [(0,)]:
        database.execute("INSERT INTO names.catalogs VALUES (?)", [DEFAULT_CATALOG])
        database.execute("INSERT INTO names.schemas VALUES (?, ?)", [DEFAULT_CATALOG, DEFAULT_SCHEMA])


def load(database: duckdb.DuckDBPyConnection) -> Catalogs:
    by_name: dict[str, dict[str, dict[str, Table]]] = {}
    for (catalog,) in database.execute("SELECT catalog FROM names.catalogs").fetchall():
        by_name[catalog] = {}
    for catalog, schema in database.execute("SELECT catalog, schema FROM names.schemas").fetchall():
        by_name[catalog][schema] = {}
    rows = database.execute("SELECT id, catalog, schema, name, definition FROM names.tables").fetchall()
    for table_id, catalog, schema, name, definition in rows:
        table = _read(uuid.UUID(table_id), TableName(catalog, schema, name), json.loads(definition))
        by_name[catalog][schema][name] = table
    return Catalogs(0, by_name)


def _read(table_id: uuid.UUID, name: TableName, definition: Mapping[str, Any]) -> Table:
    return Table(
        name,
        table_id,
        tuple(
            Column(
                column["name"],
                parse_type_text(column["type"]),
                column["nullable"],
                column["storage"],
                column["comment"],
                column.get("generated"),
                Identity(**column["identity"]) if column.get("identity") else None,
            )
            for column in definition["columns"]
        ),
        tuple((key, value) for key, value in definition["properties"]),
        tuple(Check(check["name"], check["expression"]) for check in definition["checks"]),
        datetime.datetime.fromisoformat(definition["created_at"]),
        definition["comment"],
    )


def _written(table: Table) -> str:
    return json.dumps(
        {
            "columns": [
                {
                    "name": column.name,
                    "type": sql_name(column.type),
                    "nullable": column.nullable,
                    "storage": column.storage,
                    "comment": column.comment,
                    "generated": column.generated,
                    "identity": asdict(column.identity) if column.identity is not None else None,
                }
                for column in table.columns
            ],
            "properties": table.properties,
            "checks": [{"name": check.name, "expression": check.expression} for check in table.checks],
            "created_at": table.created_at.isoformat(),
            "comment": table.comment,
        }
    )


def touched(catalogs: Catalogs, action: Action) -> list[TableName]:
    """The tables no write may be running on meanwhile."""
    match action:
        case CreateTable(name=name) | DropTable(name=name) | AddColumns(name=name) | AddCheck(name=name):
            return [name]
        case DropSchema(catalog=catalog, schema=schema):
            tables = catalogs.by_name.get(catalog, {}).get(schema, {})
            return [table.name for table in tables.values()]
        case DropCatalog(catalog=catalog):
            schemas = catalogs.by_name.get(catalog, {})
            return [table.name for tables in schemas.values() for table in tables.values()]
        case CreateCatalog() | CreateSchema():
            return []
        case _:
            assert_never(action)


def decide(catalogs: Catalogs, action: Action, now: datetime.datetime) -> Defined | None:
    """What the definition changes; None when there is nothing to do."""
    match action:
        case CreateCatalog(catalog, if_not_exists):
            if catalog in catalogs.by_name:
                _must_be_new("catalog", quote(catalog), if_not_exists)
                return None
            # Unity Catalog makes `default` with every catalog.
            after = catalogs.with_catalog(catalog, {DEFAULT_SCHEMA: {}})
            return Defined(
                after,
                (
                    ("INSERT INTO names.catalogs VALUES (?)", (catalog,)),
                    ("INSERT INTO names.schemas VALUES (?, ?)", (catalog, DEFAULT_SCHEMA)),
                ),
            )
        case CreateSchema(catalog, schema, if_not_exists):
            if schema in catalogs.schemas(catalog):
                _must_be_new("schema", f"{quote(catalog)}.{quote(schema)}", if_not_exists)
                return None
            after = catalogs.with_schema(catalog, schema, {})
            return Defined(after, (("INSERT INTO names.schemas VALUES (?, ?)", (catalog, schema)),))
        case CreateTable():
            return _create_table(catalogs, action, now)
        case DropCatalog(catalog, if_exists, cascade):
            if if_exists and catalog not in catalogs.by_name:
                return None
            schemas = catalogs.schemas(catalog)
            if not cascade and any(tables or schema != DEFAULT_SCHEMA for schema, tables in schemas.items()):
                raise errors.not_empty("catalog", quote(catalog))
            return Defined(
                catalogs.with_catalog(catalog, None),
                (
                    *_drop_tables(schemas),
                    ("DELETE FROM names.schemas WHERE catalog = ?", (catalog,)),
                    ("DELETE FROM names.catalogs WHERE catalog = ?", (catalog,)),
                ),
            )
        case DropSchema(catalog, schema, if_exists, cascade):
            if if_exists and schema not in catalogs.by_name.get(catalog, {}):
                return None
            tables = catalogs.tables(catalog, schema)
            if tables and not cascade:
                raise errors.not_empty("schema", f"{quote(catalog)}.{quote(schema)}")
            return Defined(
                catalogs.with_schema(catalog, schema, None),
                (
                    *_drop_tables({schema: tables}),
                    ("DELETE FROM names.schemas WHERE catalog = ? AND schema = ?", (catalog, schema)),
                ),
            )
        case DropTable(name, if_exists):
            try:
                table = catalogs.table(name)
            except WarehouseError:
                if if_exists:
                    return None
                raise
            return Defined(catalogs.with_table(name, None), _drop_tables({name.schema: {name.table: table}}))
        case AddColumns(name, columns):
            table = catalogs.table(name)
            changed = replace(table, columns=(*table.columns, *columns))
            added = tuple(
                (f"ALTER TABLE {table.storage} ADD COLUMN {column.storage} {duckdb_name(column.type)}", ())
                for column in columns
            )
            return Defined(catalogs.with_table(name, changed), (*added, _update(changed)))
        case AddCheck(name, check, violations):
            table = catalogs.table(name)
            if any(known.name == check.name for known in table.checks):
                raise WarehouseError(
                    "DELTA_CONSTRAINT_ALREADY_EXISTS", f"Constraint '{check.name}' already exists.", "42710"
                )
            changed = replace(table, checks=(*table.checks, check))
            broken = WarehouseError(
                "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION",
                f"Rows in {name} violate the new CHECK constraint ({check.expression}).",
                "23512",
            )
            return Defined(catalogs.with_table(name, changed), (_update(changed),), violations, broken)
        case _:
            assert_never(action)


def _must_be_new(kind: str, name: str, if_not_exists: bool) -> None:
    if not if_not_exists:
        raise errors.already_exists(kind, name)


def _create_table(catalogs: Catalogs, action: CreateTable, now: datetime.datetime) -> Defined | None:
    name = action.name
    if name.table in catalogs.tables(name.catalog, name.schema):
        _must_be_new("table", str(name), action.if_not_exists)
        return None
    table = Table(name, uuid.uuid4(), action.columns, action.properties, (), now, action.comment)
    columns = ", ".join(f"{column.storage} {duckdb_name(column.type)}" for column in table.columns)
    return Defined(
        catalogs.with_table(name, table),
        (
            (f"CREATE TABLE {table.storage} ({columns})", ()),
            *(
                (
                    f"CREATE SEQUENCE {table.sequence(column)} START {column.identity.start} "
                    f"INCREMENT {column.identity.step} MINVALUE {-(2**62)}",
                    (),
                )
                for column in table.columns
                if column.identity is not None
            ),
            (
                "INSERT INTO names.tables VALUES (?, ?, ?, ?, ?)",
                (str(table.id), name.catalog, name.schema, name.table, _written(table)),
            ),
        ),
    )


def _drop_tables(schemas: Schemas) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(
        statement
        for tables in schemas.values()
        for table in tables.values()
        for statement in (
            (f"DROP TABLE {table.storage}", ()),
            *((f"DROP SEQUENCE {table.sequence(each)}", ()) for each in table.columns if each.identity is not None),
            ("DELETE FROM names.tables WHERE id = ?", (str(table.id),)),
        )
    )


def _update(table: Table) -> tuple[str, tuple[Any, ...]]:
    return ("UPDATE names.tables SET definition = ? WHERE id = ?", (_written(table), str(table.id)))


def write(cursor: duckdb.DuckDBPyConnection, defined: Defined) -> None:
    for text, values in defined.statements:
        cursor.execute(text, list(values))
