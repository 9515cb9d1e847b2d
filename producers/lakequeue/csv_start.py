"""What the first lines of a CSV file show: its delimiter, its header and some rows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from lakequeue.csv_dialect import Dialect, find_delimiter, hinted_delimiter, shown, split
from lakequeue.csv_lines import Lines
from lakequeue.csv_open import Source
from lakequeue.csv_problem import CsvProblem
from lakequeue.csv_records import Records

SAMPLE_LINES = 200
SAMPLE_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """How a file begins, and how its records are read."""

    records: Records
    header: list[str]
    """The names of all columns as they are written, or `c1`, `c2`, … where no line names them."""
    header_line: int
    widened: bool
    """The rows end in a delimiter and the header does not; it has a last column without a name then."""
    rows: list[list[str]]
    """Some of the first, as good as they can be read."""
    notes: list[str]


def look(source: Source, given: Dialect, max_field_chars: int) -> Start:
    """
    Raises:
        CsvProblem: the file has no header, or its delimiter is in doubt.
    """
    dialect, skip = _after_hint(source, given)
    sample, whole = _sample(source, dialect, skip)
    notes: list[str] = []
    if dialect.delimiter is None:
        dialect = replace(dialect, delimiter=_delimiter(sample, dialect, notes, whole=whole))
    records = Records(source, dialect, skip, max_field_chars)
    header, header_line = _header(records)
    rows = split(sample, dialect.delimiter or ",", dialect)
    rows = rows if whole else rows[:-1]
    if dialect.header is False:
        header = [f"c{number}" for number in range(1, len(header) + 1)]
    else:
        rows = rows[1:]
    widened = bool(rows) and all(len(row) == len(header) + 1 and not row[-1] for row in rows)
    return Start(records, [*header, ""] if widened else header, header_line, widened, rows, notes)


def _after_hint(source: Source, given: Dialect) -> tuple[Dialect, int]:
    """The dialect and how many lines are skipped, after a line such as `sep=;` if there is one."""
    if given.skip_lines:
        return given, given.skip_lines
    first = ""
    with source.opened() as opened, suppress(UnicodeError):  # reading the header says so, with the line
        first = source.text(opened).readline(SAMPLE_CHARS)
    hinted = hinted_delimiter(first)
    if not hinted:
        return given, 0
    if given.delimiter not in (None, hinted):
        raise CsvProblem(f"says that {shown(hinted)} divides its fields, not {shown(given.delimiter or '')}", line=1)
    return replace(given, delimiter=hinted), 1


def _sample(source: Source, dialect: Dialect, skip: int) -> tuple[list[str], bool]:
    """The first lines, and whether they are all."""
    sample: list[str] = []
    chars = 0
    with source.opened() as opened, suppress(UnicodeError):
        lines = Lines(source.text(opened), replace(dialect, escape=None), skip=skip)
        for line in lines:
            lines.fresh = True
            sample.append(line)
            chars += len(line)
            if len(sample) == SAMPLE_LINES or chars > SAMPLE_CHARS:
                return sample, False
        return sample, True
    return sample, False


def _delimiter(sample: list[str], dialect: Dialect, notes: list[str], *, whole: bool) -> str:
    header = next(iter(split(islice(sample, SAMPLE_LINES), ",", dialect)), [])
    if len(header) != 1:
        return ","
    found = find_delimiter(sample, dialect, whole=whole)
    if found.certain:
        notes.append(f"its fields are divided by {shown(found.certain)}; --delimiter names another")
        return found.certain
    if found.possible:
        named = " or ".join(f"--delimiter {shown(each)}" for each in found.possible)
        raise CsvProblem(f"the comma leaves one column: give {named}, or --delimiter ',' if it is one", line=1)
    return ","


def _header(records: Records) -> tuple[list[str], int]:
    """The first record, and its line."""
    with records.source.opened() as opened:
        lines = records.lines(opened)
        for blank, record in enumerate(records.each(lines)):
            if record and not blank:
                return record, lines.start
            if record and records.dialect.header is False:
                return record, lines.start
            if record:
                skipped = records.skip + blank
                raise CsvProblem(
                    f"is blank and names no columns: --skip-lines {skipped} leaves out what is before the header",
                    line=records.skip + 1,
                )
    raise CsvProblem("is empty: its first line must name the columns", line=1)
