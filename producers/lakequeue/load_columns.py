"""The columns of a file against those of its table: what differs, said once and before anything is sent."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Sequence

from lakequeue.columns import AUDIT_COLUMNS, ColumnType, parse_type
from lakequeue.csv_types import Column
from lakequeue.identifiers import TableName
from lakequeue.problems import SHOWN, quoted, suggestion
from lakequeue.table_probe import Shape

_PLAIN = re.compile(r"[^\s:,`<>()]+")


def drift(
    columns: Sequence[Column], shape: Shape, table: TableName, *, declared: Collection[str], typed: bool
) -> list[str]:
    """Lines for a person, the option to give last; none if the table takes the file.

    Args:
        declared: the columns whose types the user gave.
        typed: whether jobs name the types of their columns, and so are refused where the table's differ.
    """
    stored = {name.lower(): (name, _parsed(text)) for name, text in shape.columns.items()}
    lines: list[str] = []
    other: dict[str, Column] = {}
    for each in columns:
        if each.name.lower() not in stored:
            known = [name for name in shape.columns if name.lower() not in AUDIT_COLUMNS]
            lines.append(f"column {quoted(each.name)} of the file is not in {table}{suggestion(each.name, known)}")
            continue
        name, kind = stored[each.name.lower()]
        if typed and each.type is not None and kind is not None and kind != each.type:
            lines.append(f"column {quoted(name)} is {kind.sql} in {table}, not {each.type.sql}")
            other[each.name] = Column(each.name, kind, each.nullable)
    given = {each.name.lower() for each in columns}
    for name in shape.required:
        if name.lower() not in given:
            lines.append(f"column {quoted(name)} of {table} takes no null, and the file has no such column")
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"… and {len(lines) - SHOWN} more"]
    if other:
        lines.append(
            f"to load it with the table's types: --columns {shlex.quote(','.join(_spelt(columns, other, declared)))}"
        )
    return lines


def _spelt(columns: Sequence[Column], other: dict[str, Column], declared: Collection[str]) -> Iterator[str]:
    """The types of those columns that were declared, and of those that differ."""
    for each in columns:
        column = other.get(each.name, each if each.name in declared else None)
        if column is not None and column.type is not None:
            name = column.name if _PLAIN.fullmatch(column.name) else f"`{column.name.replace('`', '``')}`"
            yield f"{name}:{column.type.sql}{'' if column.nullable else ' NOT NULL'}"


def _parsed(text: str) -> ColumnType | None:
    """None for a type that this client does not know: nothing can be said of it."""
    try:
        return parse_type(text)
    except ValueError:
        return None
