"""What a table looks like: its columns, which of them are audit columns, and which table it really is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lakequeue.columns import ColumnType, Unsupported, from_describe, parse_type
from lakequeue.identifiers import TableName

JOB_ID = "_job_id"
AUDIT_TYPES: Mapping[str, str] = {
    "created_at": "TIMESTAMP",
    "created_by": "STRING",
    "updated_at": "TIMESTAMP",
    "updated_by": "STRING",
    "deleted_at": "TIMESTAMP",
    JOB_ID: "STRING",
}
"""Audit columns of a created table, in order, with their types. Elsewhere those that exist with this type are used."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: ColumnType
    nullable: bool = True
    has_default: bool = False


@dataclass(frozen=True)
class Table:
    """A table as it was described. `identity` changes when it is dropped and made anew; `constrained` tables have
    CHECK constraints, which only the warehouse can tell of a row."""

    name: TableName
    columns: tuple[Column, ...]
    identity: str
    constrained: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by lowercase name: they compare case-insensitively."""
        return {column.name.lower(): column for column in self.columns}

    @cached_property
    def audit(self) -> frozenset[str]:
        """The audit columns that this table has with the type they must have."""
        return frozenset(
            name
            for name, sql_type in AUDIT_TYPES.items()
            if name in self.by_name and self.by_name[name].type.sql == sql_type
        )

    @cached_property
    def stamp_column(self) -> str | None:
        """The column in which a statement's stamp can be looked up, if there is one."""
        return next((name for name in ("updated_at", "created_at") if name in self.audit), None)

    @cached_property
    def required(self) -> tuple[Column, ...]:
        """Columns that refuse NULL and that a job has to give."""
        return tuple(c for c in self.columns if not (c.nullable or c.has_default) and c.name.lower() not in AUDIT_TYPES)


def from_describe_json(name: TableName, text: str) -> Table:
    """Read the answer of `DESCRIBE TABLE EXTENDED … AS JSON`.

    The identity is the location (it holds a UUID for managed tables), else the time of creation; which of them a live
    workspace fills in is unconfirmed.
    https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-syntax-aux-describe-table

    Raises:
        ValueError: the text is not that JSON.
    """
    described = json.loads(text)
    if not isinstance(described, dict) or not isinstance(described.get("columns"), list):
        raise ValueError("DESCRIBE … AS JSON answered without columns")
    identity = described.get("table_id") or described.get("location") or described.get("created_time") or "unidentified"
    properties = described.get("table_properties") or {}
    constrained = any(str(key).startswith("delta.constraints.") for key in properties)
    return Table(name, tuple(_column(column) for column in described["columns"]), str(identity), constrained)


def _column(described: Mapping[str, Any]) -> Column:
    return Column(
        name=described["name"],
        type=from_describe(described["type"]),
        nullable=bool(described.get("nullable", True)),
        has_default=described.get("default") is not None,
    )


def from_type_texts(name: TableName, columns: Iterable[tuple[str, str]]) -> Table:
    """The table by its columns' names and types, as Unity Catalog's REST API spells them (`type_text`), and no more."""
    return Table(name, tuple(Column(column, _from_text(text)) for column, text in columns), "")


def _from_text(text: str) -> ColumnType:
    try:
        return parse_type(text.lower().partition(" collate ")[0])
    except ValueError:
        return Unsupported(text)


def differences(table: Table, definition: Sequence[tuple[str, str]]) -> list[str]:
    """How a table differs from a job's `schema_definition` (name and type of each column), a phrase each.

    Columns that only the table has are no difference: they take their default or NULL.
    """
    found = []
    for name, sql_type in definition:
        column = table.by_name.get(name.lower())
        if column is None:
            found.append(f"column {name} {parse_type(sql_type).sql} is not in the table")
        elif column.type != parse_type(sql_type):
            found.append(f"column {name} is {column.type.sql} in the table, not {parse_type(sql_type).sql}")
    return found
