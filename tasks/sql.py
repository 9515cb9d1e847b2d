"""SQL from typed parts: identifiers are a type, values are always bound, text is written by us alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lakequeue.identifiers import TableName
from lakequeue.problems import ValueProblem, quoted

MAX_PARAMETERS = 255
"""Named parameters a Databricks statement may have (docs)."""


Kind = Literal["insert", "merge", "select", "count", "proof", "lookup", "describe", "create", "clock", "other"]
"""What a statement is for, as figures tell them apart."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement. Build it with the functions below; `text` never holds a caller's value."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Statement:
    """What is sent: one statement and its bound values by name, all as STRING, cast in the text.

    `does` says what to expect of it: rows to fetch, a count of changed rows, or neither.
    """

    sql: Sql
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    does: Literal["read", "change", "define"] = "read"
    kind: Kind = "other"
    table: str = ""
    """Of which table it is, for figures; "" of none."""

    def __post_init__(self) -> None:
        if len(self.parameters) > MAX_PARAMETERS:
            raise ValueError(f"a statement takes {MAX_PARAMETERS} parameters, not {len(self.parameters)}")

    @property
    def reads(self) -> bool:
        return self.does == "read"

    @property
    def changes_rows(self) -> bool:
        return self.does == "change"


class Parameters:
    """Collects the values of a statement under construction and names them `p0`, `p1`, …"""

    def __init__(self) -> None:
        self.values: dict[str, str | None] = {}

    def bind(self, value: str | None, name: str | None = None) -> Sql:
        key = name or f"p{len(self.values)}"
        if self.values.setdefault(key, value) != value:
            raise ValueError(f"parameter {key} is bound already")
        return Sql(f":{key}")


def identifier(name: str) -> Sql:
    """A quoted name; a backtick in it is doubled."""
    if "\x00" in name:
        raise ValueError("a name cannot hold a NUL character")
    _refuse_variable(name)
    return Sql("`" + name.replace("`", "``") + "`")


def qualified(table: TableName) -> Sql:
    return join(".", (identifier(part) for part in (table.catalog, table.schema, table.table)))


def join(separator: str, parts: Iterable[Sql]) -> Sql:
    return Sql(separator.join(part.text for part in parts))


def literal(text: str) -> Sql:
    """A string literal, for the few places that take no parameter: JSON schemas and table properties.

    Backslash and quote are escaped, as Spark reads them with its default `escapedStringLiterals=false`.
    """
    _refuse_variable(text)
    return Sql("'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'")


def _refuse_variable(text: str) -> None:
    """Spark replaces `${…}` anywhere in a statement's text by a variable's value (`spark.sql.variable.substitute`), in
    names and literals, too. A table that others made may have such a column.

    Raises:
        ValueProblem: of the kind `bad_name`.
    """
    if "${" in text:
        msg = (
            f"{quoted(text)} holds ${{, where Spark would substitute a variable: rename it, or name other columns only"
        )
        raise ValueProblem("bad_name", msg)


def sql(template: str, **parts: Sql) -> Sql:
    """Our own text with parts put in: `sql("SELECT {a} FROM {t}", a=…, t=…)`."""
    return Sql(template.format(**parts))
