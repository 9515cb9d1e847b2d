"""The lines of a CSV file as its records take them: bounded, numbered, without what is no data."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TextIO

from lakequeue.csv_dialect import Dialect

MAX_LINE_CHARS = 4_000_000
"""A longer line is cut in two, and then has too few fields; it is more than a job can hold."""


class Lines:
    """Lines for `csv.reader`, which is told by `fresh` where a record begins.

    Attributes:
        number: how many lines are read, as an editor counts them.
        start: the line in which the record begins that is being read.
        fresh: set by the reader of records after each one, since a comment stands between two records.
    """

    def __init__(self, stream: TextIO, dialect: Dialect, *, skip: int) -> None:
        self.number = 0
        self.start = 1
        self.fresh = True
        self._comment = dialect.comment
        self._escape = dialect.escape or ""
        self._escapes = _escapes(dialect) if dialect.escape else None
        source: Iterable[str] = iter(partial(stream.readline, MAX_LINE_CHARS), "")
        self._source = without_last(source, dialect.skip_footer) if dialect.skip_footer else source
        self._plain = dialect.comment is None and dialect.escape is None
        for _ in islice(self._source, skip):
            self.number += 1

    def __iter__(self) -> Iterator[str]:
        comment, escape, escapes = self._comment, self._escape, self._escapes
        for line in self._source:
            self.number += 1
            if self.fresh:
                if comment is not None and line.startswith(comment):
                    continue
                self.start = self.number
                self.fresh = False
            if escapes is not None and escape in line:
                line = escapes.sub(_kept, line)
            yield line

    def source(self) -> Iterable[str]:
        """The lines for a reader that counts them itself, where every one is taken as it is."""
        return self._source if self._plain else self

    def rest(self, most: int) -> int | None:
        """How many more lines there are, None for more than `most`."""
        count = sum(1 for _ in islice(self._source, most + 1))
        self.number += count
        return count if count <= most else None


def _escapes(dialect: Dialect) -> re.Pattern[str]:
    """Finds each escape character, with the character that it escapes if there is one."""
    escape = re.escape(dialect.escape or "")
    return re.compile(f'{escape}(["\r\n{escape}{re.escape(dialect.delimiter or ",")}]?)')


def _kept(match: re.Match[str]) -> str:
    r"""Before any other character, as in `\N` or `C:\temp`, it stands for itself; `csv` would swallow it."""
    return match[0] if match[1] else match[0] * 2


def without_last(lines: Iterable[str], count: int) -> Iterator[str]:
    held: deque[str] = deque()
    for line in lines:
        held.append(line)
        if len(held) > count:
            yield held.popleft()
