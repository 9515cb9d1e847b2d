"""What a table looks like: its columns, which of them are audit columns, and which table it really is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lakequeue import columns
from lakequeue.columns import ColumnType, Unsupported, from_describe, parse_type
from lakequeue.identifiers import TableName

from tasks.fillings import Filled, of_definition, of_description
from tasks.sql import Sql

JOB_ID = "_job_id"
AUDIT_TYPES: Mapping[str, str] = columns.AUDIT_TYPES
"""Audit columns of a created table, in order, with their types. Elsewhere those that can be stamped are used."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: ColumnType
    nullable: bool = True
    filled: Filled = ""

    @property
    def has_default(self) -> bool:
        """Whether the table has a value for it where a write gives none."""
        return self.filled != ""

    @property
    def counts_up(self) -> bool:
        return self.filled in ("identity", "always")

    @property
    def computed(self) -> bool:
        """Whether no statement may give a value for it."""
        return self.filled in ("generated", "always")


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

    def free(self, name: str) -> Sql:
        """An alias that is none of the columns: this name, with as many underscores as that takes."""
        while name.lower() in self.by_name:
            name += "_"
        return Sql(name)

    @cached_property
    def audit(self) -> frozenset[str]:
        """The audit columns that this table has and that can be stamped. Others of their names are ordinary columns."""
        return frozenset(name for name in AUDIT_TYPES if name in self.by_name and not why_no_stamp(self.by_name[name]))

    @cached_property
    def stamp_column(self) -> str | None:
        """The column in which a statement's stamp can be looked up, if there is one."""
        return next((name for name in ("updated_at", "created_at") if name in self.audit), None)

    @cached_property
    def required(self) -> tuple[Column, ...]:
        """Columns that refuse NULL and that a job has to give."""
        return tuple(c for c in self.columns if not (c.nullable or c.has_default) and c.name.lower() not in self.audit)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Columns that may count up without its being known: only a BIGINT can be an identity column."""
        found = (column for column in self.columns if column.type.sql == "BIGINT" and not column.has_default)
        return frozenset(column.name.lower() for column in found) - self.audit


def ordinary(table: Table) -> list[str]:
    """Of its columns of audit columns' names those that are none, a phrase each with why."""
    odd = (column for key, column in table.by_name.items() if key in AUDIT_TYPES and key not in table.audit)
    return [f"{column.name} {why_no_stamp(column)}" for column in odd]


def with_definition(table: Table, text: str) -> Table:
    """The table with what its SHOW CREATE TABLE tells beside its description."""
    found = of_definition(text)
    filled = (replace(each, filled=each.filled or found.get(each.name.lower(), "")) for each in table.columns)
    return replace(table, columns=tuple(filled))


def why_no_stamp(column: Column) -> str:
    """Why a column of an audit column's name is none, as said after its name; empty if it is one."""
    name = column.name.lower()
    if column.type.sql != AUDIT_TYPES[name]:
        return f"is {column.type.sql}, not {AUDIT_TYPES[name]}"
    if column.computed or column.counts_up:
        return "is filled in by the table"
    if name == "deleted_at" and not column.nullable:
        return "is NOT NULL, so that every row would be a deleted one"
    return ""


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
        filled=of_description(described),
    )


def from_type_texts(name: TableName, described: Iterable[tuple[str, str, bool]]) -> Table:
    """The table by its columns' names, types, as Unity Catalog's REST API spells them (`type_text`), and whether they
    take null, and no more."""
    return Table(name, tuple(Column(column, _from_text(text), nullable) for column, text, nullable in described), "")


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
