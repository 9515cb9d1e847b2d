"""Signs that a file's text was read in a way that its writer did not mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lakequeue.csv_dialect import UTF_8
from lakequeue.problems import quoted

MAX_KIND_CHARS = 300
LOOKED_AT = 2_000
"""So many values of a column that are not ASCII are looked at."""

_QUOTED_AFTER_BLANK = re.compile(' +".*"')
_WHOLE = re.compile(r"0|[1-9][0-9]*")
_KINDS = {
    "number": re.compile(r"[+-]?(?:[0-9]++(?:[.,][0-9]++)?|\.[0-9]++)"),
    "time": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}.*)?|(?:[0-9]{1,2}[./]){2}[0-9]{2,4}"),
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    "address": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+"),
}
_YEARS = range(1900, 2101)


@dataclass
class _Seen:
    not_ascii: int = 0
    mojibake: int = 0
    quoted_after_blank: bool = False


class TextNotes:
    """What the values of a file's columns show, looked at block by block."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._seen: dict[str, _Seen] = {}

    def look(self, name: str, values: Sequence[str]) -> None:
        together = "\n".join(values)
        plain = together.isascii()
        if plain and ' "' not in together:
            return
        seen = self._seen.setdefault(name, _Seen())
        for text in set(values):
            if _QUOTED_AFTER_BLANK.fullmatch(text):
                seen.quoted_after_blank = True
            if not text.isascii() and seen.not_ascii < LOOKED_AT:
                seen.not_ascii += 1
                seen.mojibake += is_mojibake(text, self._encoding)

    def __iter__(self) -> Iterator[str]:
        for name, seen in self._seen.items():
            if seen.quoted_after_blank:
                yield (
                    f"column {quoted(name)} has values that begin with a blank and a quote: --skip-initial-space reads "
                    "them without"
                )
            if seen.mojibake * 2 > seen.not_ascii:
                utf_8 = self._encoding == UTF_8
                remedy = (
                    "its writer read UTF-8 as another encoding" if utf_8 else "the file may be UTF-8: --encoding utf-8"
                )
                yield f"column {quoted(name)} has text such as Ã© for é, as where UTF-8 was read as cp1252: {remedy}"


def is_mojibake(text: str, encoding: str) -> bool:
    """Whether the text is that of UTF-8 bytes read as Windows-1252, Latin-1 or the given encoding."""
    for given in {"cp1252", "latin-1", encoding} - {UTF_8}:
        try:
            text.encode(given).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _kind(text: str) -> str:
    if len(text) > MAX_KIND_CHARS:
        return "text"
    for kind, pattern in _KINDS.items():
        if pattern.fullmatch(text):
            return kind
    return "text" if text else ""


def like_data(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The names of a header that looks like the rows under it: numbers over numbers, dates over dates; else none.

    One column of values of such a kind whose name is of another kind shows that the header is one.
    """
    columns = list(zip(*(row for row in rows if len(row) == len(header)), strict=True))
    found: list[str] = []
    for name, values in zip(header, columns, strict=False):
        kinds = {_kind(text) for text in values} - {""}
        if len(kinds) != 1 or kinds == {"text"}:
            continue
        if kinds != {_kind(name)}:
            return []
        found.append(name)
    return found


def may_be_names(names: Sequence[str]) -> bool:
    """Years, and whole numbers that follow each other, name the columns of wide tables."""
    if not all(map(_WHOLE.fullmatch, names)):
        return False
    numbers = [int(name) for name in names]
    follow = len(numbers) > 1 and all(b - a == 1 for a, b in pairwise(numbers))
    return follow or all(number in _YEARS for number in numbers)
