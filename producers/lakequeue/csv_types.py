"""What type each column of a CSV file has: declared with --columns, or inferred from all of its values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from lakequeue import columns, scalars
from lakequeue.columns import ColumnType, parse_type
from lakequeue.definitions import SchemaColumn, check_definition
from lakequeue.encoding import encoder
from lakequeue.errors import InvalidJob
from lakequeue.json_text import read_json
from lakequeue.problems import Problems, ValueProblem, quoted, suggestion
from lakequeue.scalars import Encode

MARKERS = frozenset(("", "NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan", "\\N", "-", "."))
"""What other programs write for a null; a column that is otherwise of one type gets a hint about --null."""

REMEMBERED = 5_000
MAX_REMEMBERED_CHARS = 64

_NOT_NULL = re.compile(r"\s+NOT\s+NULL\s*\Z", re.IGNORECASE)
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_GIVEN_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"-?(?=\.?[0-9])(0|[1-9][0-9]*|)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_STRING = columns.Scalar("STRING")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it is loaded. Without a type its values go as text, for the table's own column to read."""

    name: str
    type: ColumnType | None
    nullable: bool = True
    note: str = ""

    @property
    def nested(self) -> bool:
        return isinstance(self.type, columns.Array | columns.Map | columns.Struct)

    def declared(self) -> SchemaColumn:
        return SchemaColumn(self.name, (self.type or _STRING).sql, self.nullable)

    def reader(self, nulls: frozenset[str]) -> Callable[[str], JsonValue]:
        """From a field's text to the value that is sent, unchecked but for the JSON of nested values."""
        convert = _converter(self.type)

        def read(text: str) -> JsonValue:
            return None if text in nulls else convert(text)

        return read

    def checker(self, nulls: frozenset[str]) -> Callable[[str], None]:
        """Raises ValueProblem for a field's text that this column cannot hold."""
        read = self.reader(nulls)
        encode: Encode = encoder(self.type) if self.type else scalars.encode_string

        def check(text: str) -> None:
            if encode(read(text)) is None and not self.nullable:
                raise ValueProblem("not_null", "the column is NOT NULL")

        return check


def _converter(column_type: ColumnType | None) -> Callable[[str], JsonValue]:
    match column_type:
        case columns.Scalar("BIGINT" | "INT" | "SMALLINT" | "TINYINT"):
            # Text that is no number stays as it is: the encoder says what is wrong with it.
            return lambda text: int(text) if _GIVEN_WHOLE.fullmatch(text) else text
        case columns.Scalar("BOOLEAN"):
            return lambda text: {"true": True, "false": False}.get(text.lower(), text)
        case columns.Array() | columns.Map() | columns.Struct():
            return _nested_value
        case _:
            return lambda text: text


def _nested_value(text: str) -> JsonValue:
    try:
        return read_json(text)
    except InvalidJob as exc:
        raise ValueProblem("bad_format", exc.message.removeprefix("a job: ")) from None


def parse_columns(text: str) -> dict[str, Column]:
    """`name:TYPE,…` by name; a type may hold commas and end in NOT NULL, a name may be in backticks.

    Raises:
        ValueError: saying which piece makes no sense.
    """
    parsed: dict[str, Column] = {}
    for piece in _pieces(text):
        name, spelt = _name_and_type(piece.strip())
        nullable = not _NOT_NULL.search(spelt)
        try:
            column = Column(name, parse_type(_NOT_NULL.sub("", spelt).strip()), nullable)
        except ValueError as exc:
            raise ValueError(f"column {quoted(name)}: {exc}") from None
        if name in parsed:
            raise ValueError(f"column {quoted(name)} is given twice")
        parsed[name] = column
    return parsed


def _pieces(text: str) -> Iterable[str]:
    """Split at the commas that are not inside `<>`, `()` or backticks."""
    depth, start, in_ticks = 0, 0, False
    for at, character in enumerate(text):
        if character == "`":
            in_ticks = not in_ticks
        elif in_ticks:
            continue
        elif character in "<(":
            depth += 1
        elif character in ">)":
            depth -= 1
        elif character == "," and depth <= 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _name_and_type(piece: str) -> tuple[str, str]:
    if not piece:
        raise ValueError("a column is missing between two commas: write name:TYPE,name:TYPE")
    in_ticks = re.match(r"`((?:[^`]|``)+)`\s*", piece)
    name, rest = (in_ticks[1].replace("``", "`"), piece[in_ticks.end() :]) if in_ticks else ("", piece)
    before, colon, spelt = rest.partition(":")
    if not colon or (in_ticks and before):
        raise ValueError(f"{quoted(piece)} has no type: write name:TYPE, such as amount:DECIMAL(10,2)")
    name = name or before.strip()
    if not name:
        raise ValueError(f"{quoted(piece)} has no name: write name:TYPE")
    return name, spelt.strip()


def check_header(names: Sequence[str]) -> None:
    """ValueError says, by place and name, why a header's names cannot be a table's columns."""
    problems = Problems()
    check_definition([{"name": name, "data_type": "STRING"} for name in names], problems)
    wrong = [
        f"column {loc[1] + 1}: {msg}" if len(loc) > 1 and isinstance(loc[1], int) else msg
        for _, loc, msg in problems.shown
    ]
    if wrong:
        raise ValueError("; ".join(wrong) + (f"; and {problems.more} more" if problems.more else ""))


def match_columns(header: Sequence[str], given: Mapping[str, Column]) -> dict[str, Column]:
    """The declared columns under the header's spelling; ValueError for one that the header does not have."""
    by_lower = {name.lower(): name for name in header}
    matched: dict[str, Column] = {}
    for name, column in given.items():
        spelt = by_lower.get(name.lower())
        if spelt is None:
            raise ValueError(f"--columns: the header has no {quoted(name)}{suggestion(name, header)}")
        if spelt in matched:
            raise ValueError(f"--columns: {quoted(name)} is given twice, as names ignore case")
        matched[spelt] = Column(spelt, column.type, column.nullable)
    return matched


def remember(checked: set[str], values: Iterable[str]) -> None:
    """Add to the values of a column that need no second look: columns repeat themselves, and memory has a bound."""
    if len(checked) < REMEMBERED:
        checked.update(text for text in values if len(text) <= MAX_REMEMBERED_CHARS)


class Inference:
    """The narrowest type that holds every value of one column, shown to it block by block."""

    def __init__(self, name: str, nulls: frozenset[str]) -> None:
        self._name = name
        self._nulls = nulls
        self._left = _CANDIDATES
        self._fitting: set[str] = set()
        self._seen = False
        self._markers: set[str] = set()
        self._broken = ""

    def look(self, values: Sequence[str], lines: Sequence[int]) -> None:
        if not self._left:
            return
        distinct = set(values) - self._nulls
        self._markers |= distinct & MARKERS
        distinct -= MARKERS
        distinct -= self._fitting
        if not distinct:
            return
        left = tuple(each for each in self._left if all(map(each[1], distinct)))
        if not left:
            self._explain(values, lines)
        self._left = left
        self._seen = True
        remember(self._fitting, distinct)

    def _explain(self, values: Sequence[str], lines: Sequence[int]) -> None:
        left, seen = self._left, self._seen
        for text, line in zip(values, lines, strict=True):
            if text in self._nulls or text in MARKERS:
                continue
            narrowed = tuple(each for each in left if each[1](text))
            if not narrowed:
                self._broken = f"{left[0][0].sql} until line {line}" if seen else ""
                return
            left, seen = narrowed, True

    def column(self) -> Column:
        if not self._seen:
            # Markers alone are text.
            return Column(self._name, _STRING, note="" if self._markers else "no values")
        if not self._left:
            return Column(self._name, _STRING, note=self._broken)
        found = self._left[0][0]
        if not self._markers:
            return Column(self._name, found)
        shown = sorted(self._markers)
        options = " ".join(f"--null {shlex.quote(marker)}" for marker in shown)
        note = f"{found.sql} but for {', '.join(map(repr, shown))}; if that means null: {options}"
        return Column(self._name, _STRING, note=note)


def _is_bigint(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _is_double(text: str) -> bool:
    """A number that a DOUBLE keeps: past 15 digits a whole number is changed by it, past 17 any is."""
    match = _NUMBER.fullmatch(text)
    if not match:
        return False
    whole, fraction, exponent = match.groups()
    if not fraction and not exponent:
        return len(whole) <= 15
    digits = (whole + (fraction or "")[1:]).lstrip("0")
    return len(digits) <= 17 and _fits(scalars.encode_double)(text)


def _fits(encode: Encode) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            encode(text)
        except ValueProblem:
            return False
        return True

    return fits


_CANDIDATES: tuple[tuple[ColumnType, Callable[[str], bool]], ...] = (
    (columns.Scalar("BIGINT"), _is_bigint),
    (columns.Scalar("DOUBLE"), _is_double),
    (columns.Scalar("BOOLEAN"), lambda text: text.lower() in ("true", "false")),
    (columns.Scalar("DATE"), _fits(scalars.encode_date)),
    (columns.Scalar("TIMESTAMP"), _fits(scalars.encode_timestamp)),
    (columns.Scalar("TIMESTAMP_NTZ"), _fits(scalars.encode_timestamp_ntz)),
)
"""In the order of preference: whole numbers are doubles too."""
