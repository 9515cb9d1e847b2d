"""What a statement becomes before it runs: SQL for the engine, a definition of objects, or a ready answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localwarehouse.catalog import Check, Column, Table, TableName
from localwarehouse.types import DataType


@dataclass(frozen=True)
class EngineSql:
    """DuckDB SQL. `values` maps its placeholders to the statement's parameters; `uses_now` adds `$now`.

    A plan's `early` SQL gives one row: conditions that hold of no row in particular, which raise, and columns
    k0, k1, … that the main SQL has as placeholders.
    """

    text: str
    values: Mapping[str, str]
    uses_now: bool


@dataclass(frozen=True)
class Output:
    name: str
    type: DataType


@dataclass(frozen=True)
class Query:
    kind: str
    table: TableName | None
    sql: EngineSql
    outputs: tuple[Output, ...]
    early: EngineSql | None


@dataclass(frozen=True)
class Change:
    """A write to one table. Its early conditions fail it even when its source is empty, as Spark's do."""

    kind: str
    table: Table
    sql: EngineSql
    counts: tuple[str, ...]
    early: EngineSql | None


@dataclass(frozen=True)
class Step:
    """One engine statement of a MERGE, and what its number of rows counts."""

    sql: EngineSql
    counts: Literal["updated", "deleted", "inserted"]


@dataclass(frozen=True)
class Merge:
    """A write of several steps, which share one transaction.

    `source`, `matched` and `unmatched` make tables of the connection's own and tell their rows, `ambiguous` finds a row
    if the source contradicts itself, and the steps change the table by what was made.
    """

    kind: str
    table: Table
    early: EngineSql | None
    source: EngineSql
    matched: EngineSql
    unmatched: EngineSql | None
    ambiguous: EngineSql | None
    for_matched: tuple[Step, ...]
    for_unmatched: tuple[Step, ...]


@dataclass(frozen=True)
class Answer:
    """Rows the catalog alone can give."""

    kind: str
    table: TableName | None
    outputs: tuple[Output, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class CreateCatalog:
    catalog: str
    if_not_exists: bool


@dataclass(frozen=True)
class CreateSchema:
    catalog: str
    schema: str
    if_not_exists: bool


@dataclass(frozen=True)
class CreateTable:
    name: TableName
    columns: tuple[Column, ...]
    properties: tuple[tuple[str, str], ...]
    comment: str | None
    if_not_exists: bool


@dataclass(frozen=True)
class DropCatalog:
    catalog: str
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class DropSchema:
    catalog: str
    schema: str
    if_exists: bool
    cascade: bool


@dataclass(frozen=True)
class DropTable:
    name: TableName
    if_exists: bool


@dataclass(frozen=True)
class AddColumns:
    name: TableName
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class AddCheck:
    """`violations` counts the rows that are there and break it."""

    name: TableName
    check: Check
    violations: EngineSql


Action = CreateCatalog | CreateSchema | CreateTable | DropCatalog | DropSchema | DropTable | AddColumns | AddCheck


@dataclass(frozen=True)
class Definition:
    kind: str
    table: TableName | None
    action: Action


Plan = Query | Change | Merge | Answer | Definition
