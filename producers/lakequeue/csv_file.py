"""A CSV file as blocks of rows that know their lines, read as often as needed and never as a whole."""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lakequeue.problems import quoted

MAX_BLOCK_BYTES = 4_000_000


class CsvProblem(Exception):
    """What is wrong with a file, and where; never with its values."""

    def __init__(self, reason: str, *, line: int | None = None, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        places = [f"line {self.line}"] if self.line is not None else []
        if self.column is not None:
            places.append(f"column {quoted(self.column)}")
        return f"{', '.join(places)}: {self.reason}" if places else self.reason


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows; the number of the first one, from 1, and how many bytes of the file are read."""

    first: int
    rows: list[list[str]]
    lines: list[int]
    offset: int

    def columns(self) -> list[tuple[str, ...]]:
        return list(zip(*self.rows, strict=True))


class CsvFile:
    """A regular file whose first line names the columns. Blank lines are no rows, and are counted.

    Raises:
        OSError: it cannot be opened.
        CsvProblem: from any method, and if the file changes between two readings.
    """

    def __init__(self, path: Path, *, encoding: str, delimiter: str, max_field_chars: int) -> None:
        self.path = path
        self.encoding = encoding
        self.delimiter = delimiter
        self.max_field_chars = max_field_chars
        self.blank_lines = 0
        if str(path) == "-" or not stat.S_ISREG((found := os.stat(path)).st_mode):
            raise CsvProblem("is no regular file; it is read more than once, so a pipe will not do")
        self._version = _version(found)
        self.size = found.st_size

    def sha256(self) -> bytes:
        with open(self.path, "rb") as stream:
            self._check_unchanged(stream)
            return hashlib.file_digest(stream, "sha256").digest()

    def header(self) -> list[str]:
        with open(self.path, encoding=self.encoding, newline="") as stream:
            for names, line in self._records(stream):
                if line > 1:
                    break
                return names
        raise CsvProblem("is empty: its first line must name the columns", line=1)

    def blocks(self, size: int) -> Iterator[Block]:
        """All rows, `size` at a time, or fewer where they are long; each has as many fields as the header."""
        self.blank_lines = 0
        with open(self.path, encoding=self.encoding, newline="") as stream:
            self._check_unchanged(stream)
            records = self._records(stream)
            width = len(next(records)[0])
            first, start, rows, lines = 1, 0, list[list[str]](), list[int]()
            for row, line in records:
                if len(row) != width:
                    raise CsvProblem(f"{len(row)} fields, but the header names {width} columns", line=line)
                rows.append(row)
                lines.append(line)
                if len(rows) == size or (len(rows) % 16 == 0 and _offset(stream) - start > MAX_BLOCK_BYTES):
                    self._check_unchanged(stream)
                    offset = _offset(stream)
                    yield Block(first, rows, lines, offset)
                    first, start, rows, lines = first + len(rows), offset, [], []
            self._check_unchanged(stream)
            if rows:
                yield Block(first, rows, lines, _offset(stream))

    def _records(self, stream: IO[str]) -> Iterator[tuple[list[str], int]]:
        """Each record and the line it starts in."""
        csv.field_size_limit(self.max_field_chars)
        reader = csv.reader(stream, delimiter=self.delimiter, strict=True)
        line = 1
        try:
            for record in reader:
                if record:
                    yield record, line
                else:
                    self.blank_lines += 1
                line = reader.line_num + 1
        except csv.Error as exc:
            raise CsvProblem(_explained(exc, self.max_field_chars), line=line) from None
        except UnicodeError:
            reason = f"is not in {self.encoding.removesuffix('-sig')}: name its --encoding, such as cp1252 or utf-16"
            raise CsvProblem(f"{reason} (the first {reader.line_num:,} lines could be read)") from None

    def _check_unchanged(self, stream: IO[str] | IO[bytes]) -> None:
        if _version(os.fstat(stream.fileno())) != self._version:
            raise CsvProblem("changed while it was read")


def _offset(stream: IO[str]) -> int:
    return os.lseek(stream.fileno(), 0, os.SEEK_CUR)


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _explained(exc: csv.Error, max_field_chars: int) -> str:
    text = str(exc)
    if "field limit" in text:
        return f"a field of more than {max_field_chars:,} characters; is a closing quote missing?"
    if "unexpected end of data" in text:
        return "a quoted field starts here and never ends"
    return f"bad CSV: {text}"
