"""The records of a CSV file and the lines they begin in; what breaks one is told with its line and its remedy."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from lakequeue import csv_hints
from lakequeue.csv_dialect import Dialect
from lakequeue.csv_lines import MAX_LINE_CHARS, Lines
from lakequeue.csv_open import Opened, Source
from lakequeue.csv_problem import CsvProblem

if TYPE_CHECKING:
    from _csv import Reader

CHUNK_ROWS = 16

Chunk = tuple[list[list[str]], list[int]]
"""Records, an empty list for a blank line, and the line in which each begins."""


@dataclass(frozen=True, slots=True)
class Records:
    """How a file is divided into records."""

    source: Source
    dialect: Dialect
    skip: int
    """Lines before the first record."""
    max_field_chars: int

    def lines(self, opened: Opened) -> Lines:
        return Lines(self.source.text(opened), self.dialect, skip=self.skip)

    def each(self, lines: Lines) -> Iterator[list[str]]:
        """One by one; `lines.start` is where the latest begins."""
        with self._told_of():
            for record in self._reader(lines):
                lines.fresh = True
                yield record

    def chunks(self, lines: Lines) -> Iterator[Chunk]:
        """Some at a time, which takes a third of the time."""
        # A comment is told from a line within quotes only where each record is asked for alone.
        most = CHUNK_ROWS if self.dialect.comment is None else 1
        with self._told_of():
            reader = self._reader(lines.source())
            while True:
                before = lines.number
                records = list(islice(reader, most))
                if not records:
                    return
                lines.fresh = True
                if most == 1:
                    yield records, [lines.start]
                    continue
                lines.number = self.skip + reader.line_num
                if lines.number - before == len(records):
                    yield records, list(range(before + 1, lines.number + 1))
                else:
                    yield records, _starts(records, before + 1)

    def raw(self, line: int) -> str:
        """A line as it stands in the file, or as much of it as hints are found in."""
        with self.source.opened() as opened:
            stream = self.source.text(opened)
            for _ in range(line - 1):
                stream.readline()
            return stream.readline(MAX_LINE_CHARS)

    def _reader(self, lines: Iterable[str]) -> Reader:
        csv.field_size_limit(self.max_field_chars)
        return csv.reader(
            lines,
            delimiter=self.dialect.delimiter or ",",
            escapechar=self.dialect.escape,
            skipinitialspace=self.dialect.skip_initial_space,
            strict=True,
        )

    @contextmanager
    def _told_of(self) -> Iterator[None]:
        try:
            yield
        except csv.Error as exc:
            raise self._broken(exc, self._start_of_broken()) from None
        except UnicodeError:
            reason = f"is not in {self.source.encoding.removesuffix('-sig')}: name its --encoding, such as cp1252"
            raise CsvProblem(f"{reason} or utf-16", line=self.source.bad_line()) from None

    def _start_of_broken(self) -> int:
        """Where the first broken record begins: those up to it are read again, one by one."""
        with self.source.opened() as opened:
            lines = self.lines(opened)
            try:
                for _ in self._reader(lines):
                    lines.fresh = True
            except csv.Error:
                pass
            return lines.start

    def _broken(self, exc: csv.Error, line: int) -> CsvProblem:
        text = str(exc)
        hint = csv_hints.of_quoting(self.raw(line), self.dialect)
        if "field limit" in text:
            reason = f"a field of more than {self.max_field_chars:,} characters; is a closing quote missing?"
        elif "unexpected end of data" in text:
            reason = "a quoted field starts here and never ends"
        elif hint:
            reason = "the quotes are not those of CSV"
        else:
            reason = f"bad CSV: {text}"
        return CsvProblem(f"{reason}{hint}", line=line)


def _starts(records: list[list[str]], first: int) -> list[int]:
    """Where records begin of which some go over several lines, as line ends are in their fields."""
    starts = []
    for record in records:
        starts.append(first)
        first += 1
        for field in record:
            if "\n" in field or "\r" in field:
                first += field.count("\n") + field.count("\r") - field.count("\r\n")
    return starts
