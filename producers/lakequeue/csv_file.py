"""A CSV file as blocks of rows that know their lines, read as often as needed and never as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from lakequeue import csv_hints, csv_start
from lakequeue.csv_dialect import Dialect
from lakequeue.csv_lines import Lines
from lakequeue.csv_open import Source
from lakequeue.csv_problem import CsvProblem
from lakequeue.csv_records import Chunk
from lakequeue.csv_start import Start

MAX_BLOCK_BYTES = 4_000_000

_last = itemgetter(-1)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows; the number of the first one, from 1, and how many bytes of the file are read."""

    first: int
    rows: list[Sequence[str]]
    lines: list[int]
    offset: int

    def columns(self) -> list[tuple[str, ...]]:
        return list(zip(*self.rows, strict=True))


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
        self.given = dialect
        """What is said of the file, whatever is found in it."""
        self._source = Source(path, dialect.encoding)
        self.size = self._source.size
        self.encoding = self._source.encoding
        self._kept: tuple[int, ...] | None = None

    @cached_property
    def start(self) -> Start:
        """How it begins, and how its records are read."""
        return csv_start.look(self._source, self.given, self.max_field_chars)

    @property
    def notes(self) -> list[str]:
        """How the file is read where its user did not say so."""
        return [*self._source.notes, *self.start.notes]

    def header(self) -> list[str]:
        return list(self.start.header)

    @property
    def has_header(self) -> bool:
        return self.given.header is not False

    def keep(self, columns: Sequence[int]) -> None:
        """From now on blocks have these columns alone, by their position in the file."""
        self._kept = None if list(columns) == list(range(len(self.start.header))) else tuple(columns)

    def blocks(self, size: int) -> Iterator[Block]:
        """All rows, `size` at a time, or fewer where they are long; each has as many fields as the header."""
        self.blank_lines = 0
        width = len(self.start.header)
        repeated = self.start.header[-1] if self.given.header is None and width > 1 else None
        pick = _picker(self._kept)
        skip_header = self.has_header
        with self._source.opened() as opened:
            lines = self.start.records.lines(opened)
            first, begun, rows, numbers = 1, opened.position(), list[Sequence[str]](), list[int]()
            for records, starts in self.start.records.chunks(lines):
                if skip_header:
                    skip_header = False
                    del records[0], starts[0]
                if (
                    not set(map(len, records)) <= {width}
                    or repeated in map(_last, records)
                    or (self.start.widened and any(map(_last, records)))
                ):
                    records, starts = self._checked(records, starts, lines)
                rows.extend(map(pick, records) if pick else records)
                numbers.extend(starts)
                while len(rows) >= size or (rows and opened.position() - begun > MAX_BLOCK_BYTES):
                    self._source.check_unchanged(opened)
                    yield Block(first, rows[:size], numbers[:size], opened.offset())
                    first, begun = first + len(rows[:size]), opened.position()
                    rows, numbers = rows[size:], numbers[size:]
            self._source.check_unchanged(opened)
            if rows:
                yield Block(first, rows, numbers, opened.offset())

    def _checked(self, records: list[list[str]], starts: list[int], lines: Lines) -> Chunk:
        """The rows among some records, of which one at least is none or looks like none."""
        width, header = len(self.start.header), self.start.header
        rows, numbers = [], []
        for row, line in zip(records, starts, strict=True):
            if not row:
                self.blank_lines += 1
                if width > 1:
                    continue
                row = [""]
            elif len(row) != width or (self.start.widened and row[-1]):
                raise self._ragged(row, line, lines)
            elif self.given.header is None and width > 1 and _repeats(row, header):
                raise CsvProblem(csv_hints.SECOND_HEADER, line=line)
            rows.append(row)
            numbers.append(line)
        return rows, numbers

    def _ragged(self, row: list[str], line: int, lines: Lines) -> CsvProblem:
        header = len(self.start.header) - self.start.widened
        if self.start.widened and len(row) == header:
            return CsvProblem("the row does not end in a delimiter, as the first rows do", line=line)
        after = lines.rest(csv_hints.MOST_FOOTER_LINES) if len(row) < header else None
        footer = None if after is None else lines.number - line + 1
        raw, dialect = self.start.records.raw(line), self.start.records.dialect
        longer = all(len(each) == header + 1 for each in self.start.rows)
        hint = csv_hints.of_width(raw, row, header, dialect, longer=longer, footer=footer)
        return CsvProblem(f"{len(row)} fields, but the header names {header} columns{hint}", line=line)


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
