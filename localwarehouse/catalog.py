"""What catalogs, schemas and tables there are: one frozen snapshot, replaced whole by every definition."""

import datetime
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from localwarehouse import errors
from localwarehouse.types import Array, DataType, Decimal, Map, Simple, Struct, Text, quote

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
    """`storage` is the column's name inside DuckDB, which reserves and folds names in its own way."""

    name: str
    type: DataType
    nullable: bool
    storage: str
    comment: str | None = None


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

    def find(self, column: str) -> Column | None:
        return next((known for known in self.columns if known.name.lower() == column.lower()), None)

    def describe(self) -> str:
        """The document of `DESCRIBE TABLE EXTENDED … AS JSON`."""
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
