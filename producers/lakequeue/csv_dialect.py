"""How the text of a CSV file is divided into fields: what its user says, and what its first lines show."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

UTF_8 = "utf-8-sig"
"""With or without a byte order mark, as Excel writes it, which is no part of the first column's name."""

CANDIDATES = (";", "\t", "|", "^", ":")
"""The delimiters that are looked for where the comma divides nothing."""

_TIME_OR_ADDRESS = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ])?[0-9]{1,2}:[0-9]{2}|[A-Za-z][A-Za-z0-9+.-]*://")
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*\Z', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the options say of a file's text; without a delimiter it is the comma or one that is found."""

    encoding: str = UTF_8
    delimiter: str | None = None
    escape: str | None = None
    skip_initial_space: bool = False
    comment: str | None = None
    skip_lines: int = 0
    skip_footer: int = 0
    header: bool | None = None
    """Whether the first line names the columns; None: it does, unless it looks like data."""


def hinted_delimiter(first_line: str) -> str | None:
    """What a first line such as `sep=;`, which Excel reads and writes, says."""
    match = _SEP_LINE.match(first_line)
    return match[1] if match else None


def shown(delimiter: str) -> str:
    """The delimiter as an option takes it in a shell."""
    return "'\\t'" if delimiter == "\t" else f"'{delimiter}'"


def split(lines: Iterable[str], delimiter: str, dialect: Dialect) -> list[list[str]]:
    """The records of some lines, without the blank ones, as good as they can be read."""
    reader = csv.reader(
        lines, delimiter=delimiter, escapechar=dialect.escape, skipinitialspace=dialect.skip_initial_space
    )
    records: list[list[str]] = []
    with suppress(csv.Error):  # the reading of the file itself says so, with the line
        records.extend(record for record in reader if record)
    return records


@dataclass(frozen=True, slots=True)
class Found:
    """The delimiters that could be meant in a file of one column: one that is certain, or some that are possible."""

    certain: str | None
    possible: tuple[str, ...]


def find_delimiter(lines: Sequence[str], dialect: Dialect, *, whole: bool) -> Found:
    """Look at the first lines of a file, its header among them, that the comma leaves as one column.

    Certain is one that divides every line, and the header, into equally many fields, if no other does. Possible is
    one that divides the header and some line more. Without `whole` the last record may be cut.
    """
    certain: list[str] = []
    possible: list[str] = []
    for delimiter in CANDIDATES:
        records = split(lines, delimiter, dialect)
        widths = [len(record) for record in (records if whole else records[:-1])]
        if len(widths) < 2 or widths[0] < 2:
            continue
        if delimiter == ":" and all(map(_TIME_OR_ADDRESS.match, lines[1:])):
            if dialect.header is not False:
                possible.append(delimiter)
            continue
        if len(set(widths)) == 1:
            certain.append(delimiter)
        if max(widths[1:]) > 1:
            possible.append(delimiter)
    return Found(certain[0] if len(certain) == 1 else None, tuple(possible))
