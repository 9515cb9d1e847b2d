"""The type of a column whose user gives none: the narrowest that holds every value, and loses no text of a number."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from lakequeue.columns import Scalar
from lakequeue.csv_spellings import CANDIDATES, REASONS, WITH_DECIMAL_COMMA
from lakequeue.csv_types import Column, with_point

MARKERS = frozenset(
    ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "(null)", "None", "NaN", "nan", "NaT", "\\N", "-", ".")
)
"""What other programs write for a null; a column that is otherwise of one type gets a hint about --null."""

REMEMBERED = 5_000
MAX_REMEMBERED_CHARS = 64


def remember(checked: set[str], values: Iterable[str]) -> None:
    """Add to the values of a column that need no second look: columns repeat themselves, and memory has a bound."""
    if len(checked) < REMEMBERED:
        checked.update(text for text in values if len(text) <= MAX_REMEMBERED_CHARS)


class Inference:
    """What holds every value of one column, shown to it block by block."""

    def __init__(self, column: Column, nulls: frozenset[str]) -> None:
        self._column = column
        self._nulls = nulls
        self._left = WITH_DECIMAL_COMMA if column.decimal_comma else CANDIDATES
        self._reasons = tuple(each for each in REASONS if not (column.decimal_comma and "--decimal" in each.note))
        """Looked at once no type is left, and those alone that what was seen until then implies."""
        self._fitting: set[str] = set()
        self._seen = False
        self._markers: set[str] = set()
        self._typed = ""
        """Until which line the column was of which type."""

    @property
    def is_text(self) -> bool:
        """Whether no type holds all of the values that were shown."""
        return not self._left

    def look(self, values: Sequence[str], lines: Sequence[int]) -> None:
        if not self._left and not self._reasons:
            return
        distinct = set(values) - self._nulls
        self._markers |= distinct & MARKERS
        distinct -= MARKERS
        distinct -= self._fitting
        if not distinct:
            return
        shown = list(map(with_point, distinct)) if self._column.decimal_comma else distinct
        if self._left:
            left = tuple(each for each in self._left if all(map(each.fits, shown)))
            if not left:
                self._find_end(values, lines)
                if self._seen:
                    implied = {reason.note for each in self._left for reason in each.implies}
                    self._reasons = tuple(each for each in self._reasons if each.note in implied)
            self._left = left
        if not self._left:
            self._reasons = tuple(each for each in self._reasons if all(map(each.fits, shown)))
        self._seen = True
        remember(self._fitting, distinct)

    def _find_end(self, values: Sequence[str], lines: Sequence[int]) -> None:
        left, seen = self._left, self._seen
        for text, line in zip(values, lines, strict=True):
            if text in self._nulls or text in MARKERS:
                continue
            shown = with_point(text) if self._column.decimal_comma else text
            narrowed = tuple(each for each in left if each.fits(shown))
            if not narrowed:
                self._typed = f"{left[0].type} until line {line}" if seen else ""
                return
            left, seen = narrowed, True

    def column(self) -> Column:
        name, comma = self._column.name, self._column.decimal_comma
        if not self._seen:
            # Markers alone are text.
            return Column(name, Scalar("STRING"), note="" if self._markers else "no values")
        if not self._left:
            reason = self._reasons[0].note if self._reasons else ""
            note = "; ".join(filter(None, (self._typed, _named(reason, name))))
            return Column(name, Scalar("STRING"), note=note)
        best = self._left[0]
        if not self._markers:
            return Column(name, Scalar(best.type), note=_named(best.note, name), decimal_comma=comma)
        markers = sorted(self._markers)
        options = " ".join(f"--null {shlex.quote(marker)}" for marker in markers)
        note = f"{best.type} but for {', '.join(map(repr, markers))}; if that means null: {options}"
        return Column(name, Scalar("STRING"), note=note)


def _named(note: str, name: str) -> str:
    return note.replace("NAME", shlex.quote(name))
