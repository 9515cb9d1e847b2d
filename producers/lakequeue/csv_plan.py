"""Which columns of a file are loaded, under which names and types, and what is said about it before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lakequeue import csv_notes
from lakequeue.csv_dialect import shown
from lakequeue.csv_file import CsvFile
from lakequeue.csv_header import Changes, arrange
from lakequeue.csv_problem import CsvProblem
from lakequeue.csv_types import Column, is_number, match_columns
from lakequeue.problems import quoted


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a load, in the file's order; those without a type are inferred or sent as text."""

    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def plan(
    file: CsvFile, given: Mapping[str, Column], changes: Changes, *, decimal_comma: bool = False, create: bool = True
) -> Plan:
    """Look at the file's first lines, and let it keep the columns that are loaded.

    Raises:
        CsvProblem: the header cannot name a table's columns, or looks like a row.
    """
    header = file.header()
    positional = not file.has_header and bool(given) and not any(name in header for name in given)
    try:
        if positional:
            header = _named_in_order(header, given)
        layout = arrange(header, changes)
        matched = match_columns(
            layout.names, {name: each for name, each in given.items() if name in layout.names} if positional else given
        )
    except ValueError as exc:
        raise CsvProblem(
            f"{exc}{_no_header_at_all(file)}", line=file.start.header_line if file.has_header else None
        ) from None
    notes = [*file.notes, *layout.notes]
    if file.given.header is None and not (given or changes.renames or changes.drops):
        notes += _like_data(file)
    columns = [matched.get(name) or Column(name, None) for name in layout.names]
    if decimal_comma:
        if not create and any(each.type is None for each in columns):
            raise CsvProblem("--decimal , with --no-create needs the types of all columns: give --columns")
        columns = [replace(each, decimal_comma=each.type is None or is_number(each.type)) for each in columns]
    file.keep(layout.positions)
    return Plan(tuple(columns), tuple(notes))


def _named_in_order(header: list[str], given: Mapping[str, Column]) -> list[str]:
    if len(given) != len(header):
        raise ValueError(
            f"--columns names {len(given)} columns, but the file has {len(header)}: with --no-header it names all of "
            f"them in order, or some as {header[0]} to {header[-1]}"
        )
    return list(given)


def _no_header_at_all(file: CsvFile) -> str:
    """What the first line may be where it is no header."""
    header, rows = file.header(), file.start.rows
    if not file.has_header:
        return ""
    if file.start.widened:
        return "; every row ends in a delimiter, and the header does not"
    if header[0].startswith(("#", "//", "--", "%")):
        mark = next(each for each in ("#", "//", "--", "%") if header[0].startswith(each))
        return f"; if it is a comment, --comment '{mark}' leaves such lines out"
    if file.given.delimiter is None and (found := next((c for c in ";\t" for name in header if c in name), "")):
        return f"; if {shown(found)} divides the fields: --delimiter {shown(found)}"
    if len(header) == 1 and rows and all(len(row) > 1 for row in rows):
        return f"; if it is a title, --skip-lines {file.start.header_line} leaves it out"
    return ""


def _like_data(file: CsvFile) -> list[str]:
    names = csv_notes.like_data(file.header(), file.start.rows)
    if not names:
        return []
    shown = ", ".join(quoted(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
    told = f"the first line looks like data: it names columns {shown}, of the same kind as their values"
    if csv_notes.may_be_names(names):
        return [f"{told}; if it is a row, give --no-header"]
    raise CsvProblem(f"{told}; give --no-header if it is a row, --header if it is not", line=file.start.header_line)
