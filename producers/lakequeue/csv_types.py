"""The columns of a load: declared with --columns, and how their values are read from text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from lakequeue import columns, scalars
from lakequeue.columns import ColumnType, parse_type
from lakequeue.csv_header import alike
from lakequeue.definitions import SchemaColumn
from lakequeue.encoding import encoder
from lakequeue.errors import InvalidJob
from lakequeue.json_text import read_json
from lakequeue.problems import ValueProblem, quoted, suggestion
from lakequeue.scalars import Encode

_NOT_NULL = re.compile(r"\s+NOT\s+NULL\s*\Z", re.IGNORECASE)
_WHOLE = re.compile(r"([+-]?[0-9]{1,40})(?:\.0{1,40})?")
_POINT_NUMBER = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
# A point, a blank, or one that does not break or is narrow, as French and Swedish write thousands.
BETWEEN_THOUSANDS = ". \xa0\u202f"
COMMA_NUMBER = re.compile(rf"([+-]?(?:[0-9]{{1,3}}(?:[{BETWEEN_THOUSANDS}][0-9]{{3}})+|[0-9]+))(?:,([0-9]+))?")
_WITHOUT_THOUSANDS = str.maketrans("", "", BETWEEN_THOUSANDS)
_STRING = columns.Scalar("STRING")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it is loaded. Without a type its values go as text, for the table's own column to read."""

    name: str
    type: ColumnType | None
    nullable: bool = True
    note: str = ""
    decimal_comma: bool = False
    """Its numbers are written as `1.234,50`."""

    @property
    def nested(self) -> bool:
        return isinstance(self.type, columns.Array | columns.Map | columns.Struct)

    def declared(self) -> SchemaColumn:
        return SchemaColumn(self.name, (self.type or _STRING).sql, self.nullable)

    def reader(self, nulls: frozenset[str]) -> Callable[[str], JsonValue]:
        """From a field's text to the value that is sent, unchecked but for the JSON of nested values."""
        convert = _converter(self.type)
        if self.decimal_comma and is_number(self.type):
            plain, convert = convert, lambda text: plain(with_point(text))

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
            return lambda text: int(match[1]) if (match := _WHOLE.fullmatch(text)) else text
        case columns.Scalar("BOOLEAN"):
            return lambda text: {"true": True, "false": False}.get(text.lower(), text)
        case columns.Array() | columns.Map() | columns.Struct():
            return _nested_value
        case _:
            return lambda text: text


def is_number(column_type: ColumnType | None) -> bool:
    match column_type:
        case columns.Scalar(kind):
            return kind in ("BIGINT", "INT", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT")
        case columns.Decimal():
            return True
        case _:
            return False


def with_point(text: str) -> str:
    """`1.234,50` as `1234.50`; a number with a decimal point becomes none."""
    match = COMMA_NUMBER.fullmatch(text)
    if match:
        return match[1].translate(_WITHOUT_THOUSANDS) + (f".{match[2]}" if match[2] else "")
    return f"?{text}" if _POINT_NUMBER.fullmatch(text) else text


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


def match_columns(header: Sequence[str], given: Mapping[str, Column]) -> dict[str, Column]:
    """The declared columns under the header's spelling; ValueError for one that the header does not have."""
    by_lower = {alike(name): name for name in header}
    matched: dict[str, Column] = {}
    for name, column in given.items():
        spelt = name if name in header else by_lower.get(alike(name))
        if spelt is None:
            raise ValueError(f"--columns: the header has no {quoted(name)}{suggestion(name, header)}")
        if spelt in matched:
            raise ValueError(f"--columns: {quoted(name)} is given twice, as names ignore case")
        matched[spelt] = replace(column, name=spelt)
    return matched
