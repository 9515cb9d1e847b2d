"""A CSV file as blocks of rows that know their lines, read as often as needed and never as a whole."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from operator import itemgetter
from pathlib import Path

from lakequeue import csv_hints
from lakequeue.csv_dialect import Dialect, find_delimiter, hinted_delimiter, shown, split
from lakequeue.csv_lines import Lines
from lakequeue.csv_open import Opened, Source
from lakequeue.csv_problem import CsvProblem

MAX_BLOCK_BYTES = 4_000_000
SAMPLE_LINES = 200
SAMPLE_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows; the number of the first one, from 1, and how many bytes of the file are read."""

    first: int
    rows: list[Sequence[str]]
    lines: list[int]
    offset: int

    def columns(self) -> list[tuple[str, ...]]:
        return list(zip(*self.rows, strict=True))


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first lines of a file show."""

    dialect: Dialect
    skip: int
    header: list[str]
    header_line: int
    widened: bool
    """The rows have one more field than the header, an empty one at their end."""
    rows: list[list[str]]
    """Of the first lines, as good as they can be read."""
    notes: list[str]


class CsvFile:
    """A regular file whose first line names the columns, perhaps compressed.

    A blank line is a row of one empty field where there is one column, and no row elsewhere; both are counted.

    Raises:
        OSError: it cannot be opened.
        CsvProblem: from any method, and if the file changes between two readings.
    """

    def __init__(self, path: Path, dialect: Dialect, *, max_field_chars: int) -> None:
        self.path = path
        self.max_field_chars = max_field_chars
        self.blank_lines = 0
        self._given = dialect
        self._source = Source(path, dialect.encoding)
        self.size = self._source.size
        self._kept: tuple[int, ...] | None = None

    @property
    def notes(self) -> list[str]:
        """How the file is read where its user did not say so."""
        return [*self._source.notes, *self._start.notes]

    def header(self) -> list[str]:
        """The names of all columns as they are written, or `c1`, `c2`, … where no line names them."""
        return list(self._start.header)

    @property
    def header_line(self) -> int:
        return self._start.header_line

    @property
    def has_header(self) -> bool:
        return self._given.header is not False

    @property
    def header_is_said(self) -> bool:
        """Whether --header says that the first line is one, whatever it looks like."""
        return self._given.header is True

    @property
    def rows_end_in_delimiter(self) -> bool:
        """Whether they do and the header does not; it has a last column without a name then."""
        return self._start.widened

    @property
    def encoding(self) -> str:
        return self._source.encoding

    @property
    def sample(self) -> list[list[str]]:
        """Some of the first rows, as good as they can be read."""
        return self._start.rows

    def keep(self, columns: Sequence[int]) -> None:
        """From now on blocks have these columns alone, by their position in the file."""
        self._kept = None if list(columns) == list(range(len(self._start.header))) else tuple(columns)

    def blocks(self, size: int) -> Iterator[Block]:
        """All rows, `size` at a time, or fewer where they are long; each has as many fields as the header."""
        self.blank_lines = 0
        start = self._start
        width = len(start.header)
        last_of_header, header = (start.header[-1], start.header) if self._checks_repeats else (None, [])
        pick = _picker(self._kept)
        with self._source.opened() as opened:
            lines = self._lines(opened, start)
            records = self._records(lines, start.dialect)
            if self.has_header:
                next(records)
            first, begun, rows, numbers = 1, 0, list[Sequence[str]](), list[int]()
            for row in records:
                if len(row) != width:
                    if row:
                        raise self._ragged(row, lines, start)
                    self.blank_lines += 1
                    if width > 1:
                        continue
                    row = [""]
                elif row[-1] == last_of_header and _repeats(row, header):
                    raise CsvProblem(csv_hints.SECOND_HEADER, line=lines.start)
                elif start.widened and row[-1]:
                    raise self._ragged(row, lines, start)
                rows.append(pick(row) if pick else row)
                numbers.append(lines.start)
                if len(rows) == size or (len(rows) % 16 == 0 and opened.offset() - begun > MAX_BLOCK_BYTES):
                    self._source.check_unchanged(opened)
                    offset = opened.offset()
                    yield Block(first, rows, numbers, offset)
                    first, begun, rows, numbers = first + len(rows), offset, [], []
            self._source.check_unchanged(opened)
            if rows:
                yield Block(first, rows, numbers, opened.offset())

    @property
    def _checks_repeats(self) -> bool:
        return self._given.header is None and len(self._start.header) > 1

    def _lines(self, opened: Opened, start: _Start) -> Lines:
        return Lines(self._source.text(opened), start.dialect, skip=start.skip)

    def _records(self, lines: Lines, dialect: Dialect) -> Iterator[list[str]]:
        """Each record, an empty list for a blank line; `lines.start` is where it begins."""
        csv.field_size_limit(self.max_field_chars)
        reader = csv.reader(
            lines,
            delimiter=dialect.delimiter or ",",
            escapechar=dialect.escape,
            skipinitialspace=dialect.skip_initial_space,
            strict=True,
        )
        try:
            for record in reader:
                lines.fresh = True
                yield record
        except csv.Error as exc:
            raise self._broken(exc, lines.start, dialect) from None
        except UnicodeError:
            reason = f"is not in {self._source.encoding.removesuffix('-sig')}: name its --encoding, such as cp1252"
            raise CsvProblem(f"{reason} or utf-16", line=self._source.bad_line()) from None

    def _broken(self, exc: csv.Error, line: int, dialect: Dialect) -> CsvProblem:
        text = str(exc)
        hint = csv_hints.of_quoting(self._raw(line), dialect)
        if "field limit" in text:
            reason = f"a field of more than {self.max_field_chars:,} characters; is a closing quote missing?"
        elif "unexpected end of data" in text:
            reason = "a quoted field starts here and never ends"
        elif hint:
            reason = "the quotes are not those of CSV"
        else:
            reason = f"bad CSV: {text}"
        return CsvProblem(f"{reason}{hint}", line=line)

    def _ragged(self, row: list[str], lines: Lines, start: _Start) -> CsvProblem:
        header = len(start.header) - start.widened
        reason = f"{len(row)} fields, but the header names {header} columns"
        line = lines.start
        raw = self._raw(line)
        after = lines.rest(csv_hints.MOST_FOOTER_LINES) if len(row) < header else None
        footer = None if after is None else lines.number - line + 1 + after
        return CsvProblem(reason + csv_hints.of_width(raw, row, header, start.dialect, footer=footer), line=line)

    def _raw(self, line: int) -> str:
        """The line itself, or as much of it as hints are found in."""
        with self._source.opened() as opened:
            stream = self._source.text(opened)
            for _ in range(line - 1):
                stream.readline()
            return stream.readline(SAMPLE_CHARS)

    @cached_property
    def _start(self) -> _Start:
        dialect, skip = self._given, self._given.skip_lines
        notes: list[str] = []
        with self._source.opened() as opened:
            try:
                stream = self._source.text(opened)
                first = "" if skip else stream.readline(SAMPLE_CHARS)
                if hinted := hinted_delimiter(first):
                    if dialect.delimiter not in (None, hinted):
                        given = shown(dialect.delimiter or "")
                        raise CsvProblem(f"says that {shown(hinted)} divides its fields, not {given}", line=1)
                    dialect, skip = replace(dialect, delimiter=hinted), 1
            except UnicodeError:
                pass  # told of with its line below
        sample, whole = self._sample(dialect, skip)
        if dialect.delimiter is None:
            dialect = replace(dialect, delimiter=_delimiter(sample, dialect, notes, whole=whole))
        with self._source.opened() as opened:
            lines = Lines(self._source.text(opened), dialect, skip=skip)
            header, blank, header_line = self._header(lines, dialect)
        rows = split(sample, dialect.delimiter or ",", dialect)
        rows = rows if whole else rows[:-1]
        if dialect.header is False:
            header = [f"c{number}" for number in range(1, len(header) + 1)]
        else:
            rows = rows[1:]
            if blank:
                raise CsvProblem(
                    f"is blank and names no columns: --skip-lines {skip + blank} leaves out what is before the header",
                    line=skip + 1,
                )
        widened = bool(rows) and len(rows[0]) == len(header) + 1 and not rows[0][-1]
        return _Start(dialect, skip, [*header, ""] if widened else header, header_line, widened, rows, notes)

    def _header(self, lines: Lines, dialect: Dialect) -> tuple[list[str], int, int]:
        """The first record that is not blank, how many blank lines are before it, and its line."""
        for blank, record in enumerate(self._records(lines, dialect)):
            if record:
                return record, blank, lines.start
        raise CsvProblem("is empty: its first line must name the columns", line=1)

    def _sample(self, dialect: Dialect, skip: int) -> tuple[list[str], bool]:
        """The first lines, and whether they are all."""
        sample: list[str] = []
        chars = 0
        with self._source.opened() as opened:
            source = Lines(self._source.text(opened), replace(dialect, escape=None), skip=skip)
            try:
                for line in source:
                    source.fresh = True
                    sample.append(line)
                    chars += len(line)
                    if len(sample) == SAMPLE_LINES or chars > SAMPLE_CHARS:
                        return sample, False
            except UnicodeError:
                return sample, False
        return sample, True


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
        raise CsvProblem(
            f"the comma leaves this file one column: give {named}, or --delimiter ',' if it is one", line=1
        )
    return ","


def _picker(kept: tuple[int, ...] | None) -> Callable[[list[str]], Sequence[str]] | None:
    if kept is None:
        return None
    if len(kept) == 1:
        (only,) = kept
        return lambda row: [row[only]]
    return itemgetter(*kept)


def _repeats(row: list[str], header: list[str]) -> bool:
    """A file that was appended to another may begin with a byte order mark."""
    return row[1:] == header[1:] and row[0].removeprefix("\ufeff") == header[0]
