"""What a broken record of a CSV file may be, and the option that reads it: the ends of messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lakequeue.csv_dialect import Dialect
from lakequeue.csv_lines import MAX_LINE_CHARS

MOST_FOOTER_LINES = 5
"""A record with too few fields that is followed by more lines than these is no footer."""

SECOND_HEADER = (
    "repeats the header, as where files were joined by cat: take the line out, or say with --header that every line "
    "after the first is a row"
)

_BLANK_BEFORE_QUOTE = '(?:^|{delimiter}) +"'


def of_quoting(raw: str, dialect: Dialect) -> str:
    """For a record's first line, as it stands in the file."""
    if dialect.escape is None and '\\"' in raw:
        return "; a quote inside quotes is written \\\" here: --escape '\\' reads it"
    if not dialect.skip_initial_space and blank_before_quote(dialect).search(raw):
        return "; a blank stands before a quote: --skip-initial-space reads it"
    return ""


def blank_before_quote(dialect: Dialect) -> re.Pattern[str]:
    return re.compile(_BLANK_BEFORE_QUOTE.format(delimiter=re.escape(dialect.delimiter or ",")))


def of_width(raw: str, row: Sequence[str], header: int, dialect: Dialect, *, longer: bool, footer: int | None) -> str:
    """For a record with more or fewer fields than the header.

    `longer` says that all of the first rows have one field more. `footer` is how many lines there are from this one to
    the end of the file, None if they are many.
    """
    if len(raw) >= MAX_LINE_CHARS:
        return f"; a line has at most {MAX_LINE_CHARS:,} characters"
    if hint := of_quoting(raw, dialect):
        return hint
    if dialect.comment is None and raw.startswith(("#", "//", "--", "%")):
        mark = re.match(r"#|//|--|%", raw)
        return f"; if it is a comment, --comment '{mark[0] if mark else '#'}' leaves such lines out"
    if len(row) == header + 1 and not row[-1]:
        return "; it ends in a delimiter, and not every row does"
    if len(row) > header == 1:
        return (
            "; if the first line is a title and not the header, --skip-lines 1 leaves it out; if there is one column "
            "and the comma is a decimal comma: --delimiter ';' --decimal ,"
        )
    if longer:
        return "; if every row has a name before its first field, as R writes it: --skip-lines 1 --no-header"
    if footer is not None and footer <= MOST_FOOTER_LINES:
        lines = "this line is no row" if footer == 1 else f"the last {footer} lines are no rows"
        return f"; if {lines}, --skip-footer {footer} leaves {'it' if footer == 1 else 'them'} out"
    return ""
