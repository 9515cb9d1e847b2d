"""What catalogs, schemas and tables there are: one frozen snapshot, replaced whole by every definition."""

import datetime
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from localwarehouse import errors
from localwarehouse.types import Array, DataType, Decimal, Map, Simple, Struct, Text, quote, sql_name

# A workspace without Unity Catalog names: where one- and two-part names are looked up by default.
DEFAULT_CATALOG = "workspace"
DEFAULT_SCHEMA = "default"


@dataclass(frozen=True)
class TableName:
    """A full name, lowercase: Unity Catalog compares and stores object names so."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return f"{quote(self.catalog)}.{quote(self.schema)}.{quote(self.table)}"

    @property
    def dotted(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"


@dataclass(frozen=True)
class Column:
    """`storage` is the column's name inside DuckDB, which reserves and folds names in its own way.

    A column may be `generated` by an expression, in Databricks SQL, or number rows: see `Identity`.
    """

    name: str
    type: DataType
    nullable: bool
    storage: str
    comment: str | None = None
    generated: str | None = None
    identity: "Identity | None" = None


@dataclass(frozen=True)
class Identity:
    """Numbers from `start` on, in steps; `always`, or where none is given."""

    always: bool
    start: int
    step: int


@dataclass(frozen=True)
class Check:
    """`expression` is Databricks SQL over the table's columns."""

    name: str
    expression: str


@dataclass(frozen=True)
class Table:
    name: TableName
    id: uuid.UUID
    columns: tuple[Column, ...]
    properties: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...]
    created_at: datetime.datetime
    comment: str | None = None

    @property
    def storage(self) -> str:
        """The table's name inside DuckDB: unique per created table, so a dropped one is never mistaken."""
        return f"lake.t_{self.id.hex}"

    def sequence(self, column: Column) -> str:
        """The name inside DuckDB of what numbers an identity column."""
        return f"lake.s_{self.id.hex}_{column.storage}"

    def find(self, column: str) -> Column | None:
        return next((known for known in self.columns if known.name.lower() == column.lower()), None)

    def show_create(self) -> str:
        """The answer to SHOW CREATE TABLE."""
        columns = ",\n  ".join(_defined(column) for column in self.columns)
        properties = ",\n  ".join(f"'{key}' = '{value}'" for key, value in self.properties)
        told = f"\nTBLPROPERTIES (\n  {properties})" if self.properties else ""
        return f"CREATE TABLE {self.name.dotted} (\n  {columns})\nUSING delta{told}\n"

    def describe(self) -> str:
        """The document of `DESCRIBE TABLE EXTENDED … AS JSON`. It tells nothing of identity and generated columns."""
        document: dict[str, Any] = {
            "table_name": self.name.table,
            "catalog_name": self.name.catalog,
            "namespace": [self.name.schema],
            "schema_name": self.name.schema,
            "columns": [
                {
                    "name": column.name,
                    "type": _described(column.type),
                    **({"comment": column.comment} if column.comment is not None else {}),
                    "nullable": column.nullable,
                }
                for column in self.columns
            ],
            "location": f"local:/{self.id}",
            "created_time": self.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "type": "MANAGED",
            "provider": "delta",
            "table_properties": {
                **dict(self.properties),
                **{f"delta.constraints.{check.name}": check.expression for check in self.checks},
            },
        }
        if self.comment is not None:
            document["comment"] = self.comment
        return json.dumps(document, ensure_ascii=False)


def _defined(column: Column) -> str:
    name = column.name if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", column.name) else quote(column.name)
    text = f"{name} {sql_name(column.type)}"
    if column.identity is not None:
        kind = "ALWAYS" if column.identity.always else "BY DEFAULT"
        counts = f"START WITH {column.identity.start} INCREMENT BY {column.identity.step}"
        text += f" GENERATED {kind} AS IDENTITY ({counts})"
    if column.generated is not None:
        text += f" GENERATED ALWAYS AS ( {column.generated} )"
    if not column.nullable:
        text += " NOT NULL"
    if column.comment is not None:
        comment = column.comment.replace("'", "\\'")
        text += f" COMMENT '{comment}'"
    return text


def _described(data_type: DataType) -> dict[str, Any]:
    """The type as `DESCRIBE … AS JSON` describes it."""
    match data_type:
        case Simple("timestamp"):
            return {"name": "timestamp_ltz"}
        case Simple(name):
            return {"name": name}
        case Decimal(precision, scale):
            return {"name": "decimal", "precision": precision, "scale": scale}
        case Text(name, length):
            return {"name": name, "length": length}
        case Array(element):
            return {"name": "array", "element_type": _described(element), "element_nullable": True}
        case Map(key, value):
            return {
                "name": "map",
                "key_type": _described(key),
                "value_type": _described(value),
                "value_nullable": True,
            }
        case Struct(fields):
            return {
                "name": "struct",
                "fields": [
                    {"name": field.name, "type": _described(field.type), "nullable": field.nullable} for field in fields
                ],
            }
        case _:
            assert_never(data_type)


Schemas = Mapping[str, Mapping[str, Table]]


@dataclass(frozen=True)
class Catalogs:
    """All names at one moment. `version` rises with every definition, so translations can be cached by it."""

    version: int
    by_name: Mapping[str, Schemas]

    def schemas(self, catalog: str) -> Schemas:
        found = self.by_name.get(catalog)
        if found is None:
            raise errors.catalog_not_found(quote(catalog))
        return found

    def tables(self, catalog: str, schema: str) -> Mapping[str, Table]:
        found = self.schemas(catalog).get(schema)
        if found is None:
            raise errors.schema_not_found(f"{quote(catalog)}.{quote(schema)}")
        return found

    def table(self, name: TableName) -> Table:
        found = self.tables(name.catalog, name.schema).get(name.table)
        if found is None:
            raise errors.table_not_found(str(name))
        return found

    def with_catalog(self, catalog: str, schemas: Schemas | None) -> "Catalogs":
        """A copy in which this catalog is as given; None drops it."""
        by_name = dict(self.by_name)
        if schemas is None:
            by_name.pop(catalog)
        else:
            by_name[catalog] = schemas
        return replace(self, version=self.version + 1, by_name=by_name)

    def with_schema(self, catalog: str, schema: str, tables: Mapping[str, Table] | None) -> "Catalogs":
        schemas = dict(self.schemas(catalog))
        if tables is None:
            schemas.pop(schema)
        else:
            schemas[schema] = tables
        return self.with_catalog(catalog, schemas)

    def with_table(self, name: TableName, table: Table | None) -> "Catalogs":
        tables = dict(self.tables(name.catalog, name.schema))
        if table is None:
            tables.pop(name.table)
        else:
            tables[name.table] = table
        return self.with_schema(name.catalog, name.schema, tables)
