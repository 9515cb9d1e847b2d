"""The types a column can have: parsed from text or from the warehouse's own description, written as SQL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from lakequeue.identifiers import check_new_column_name
from lakequeue.problems import quoted

AUDIT_TYPES: Final = {
    "created_at": "TIMESTAMP",
    "created_by": "STRING",
    "updated_at": "TIMESTAMP",
    "updated_by": "STRING",
    "deleted_at": "TIMESTAMP",
    "_job_id": "STRING",
}
"""Audit columns of a created table, in order, with their types."""

AUDIT_COLUMNS: Final = tuple(AUDIT_TYPES)
"""Stamped by the worker, so no job may give them."""

MAX_DEPTH = 20
MAX_LENGTH = 2**31 - 1
MAX_PRECISION = 38

Kind = Literal[
    "BIGINT", "INT", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "STRING", "BOOLEAN",
    "DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "BINARY",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scalar:
    kind: Kind
    # Only of a STRING. How a column compares is no part of what can be written to it.
    collation: str = field(default="UTF8_BINARY", compare=False)

    @property
    def sql(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class Decimal:
    precision: int
    scale: int

    @property
    def sql(self) -> str:
        return f"DECIMAL({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class Varchar:
    length: int

    @property
    def sql(self) -> str:
        return f"VARCHAR({self.length})"


@dataclass(frozen=True, slots=True)
class Char:
    """Padded with spaces to its length by the warehouse."""

    length: int

    @property
    def sql(self) -> str:
        return f"CHAR({self.length})"


@dataclass(frozen=True, slots=True)
class Array:
    element: "ColumnType"

    @property
    def sql(self) -> str:
        return f"ARRAY<{self.element.sql}>"


@dataclass(frozen=True, slots=True)
class Map:
    key: "ColumnType"
    value: "ColumnType"

    @property
    def sql(self) -> str:
        return f"MAP<{self.key.sql}, {self.value.sql}>"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: "ColumnType"
    nullable: bool = True

    @property
    def sql(self) -> str:
        name = self.name.replace("`", "``")
        return f"`{name}`: {self.type.sql}" + ("" if self.nullable else " NOT NULL")


@dataclass(frozen=True, slots=True)
class Struct:
    fields: tuple[Field, ...]

    @property
    def sql(self) -> str:
        return f"STRUCT<{', '.join(each.sql for each in self.fields)}>"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A type of an existing table that can be read as text but not written, such as VARIANT."""

    name: str

    @property
    def sql(self) -> str:
        return self.name.upper()


ColumnType = Scalar | Decimal | Varchar | Char | Array | Map | Struct | Unsupported

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_SCALARS: dict[str, Kind] = {kind: kind for kind in KINDS} | {
    # Spark's synonyms; that a live warehouse takes them too is unconfirmed, and does not matter: `sql` writes none.
    "INTEGER": "INT", "LONG": "BIGINT", "SHORT": "SMALLINT", "BYTE": "TINYINT", "REAL": "FLOAT",
    "TIMESTAMP_LTZ": "TIMESTAMP",
}  # fmt: skip
_DECIMALS = ("DECIMAL", "DEC", "NUMERIC")
_EXAMPLES = {
    "ARRAY": "ARRAY<STRING>",
    "MAP": "MAP<STRING, BIGINT>",
    "STRUCT": "STRUCT<name: STRING, age: INT>",
}
_ACCEPTED = (
    "BIGINT, INT, SMALLINT, TINYINT, DOUBLE, FLOAT, DECIMAL(p,s), STRING, VARCHAR(n), CHAR(n), BOOLEAN, "
    "DATE, TIMESTAMP, TIMESTAMP_NTZ, BINARY, ARRAY<…>, MAP<…, …>, STRUCT<name: …>"
)
_TOKEN = re.compile(r"[ \t\r\n]*(?:(?P<word>[A-Za-z0-9_]+)|(?P<quoted>`(?:[^`]|``)+`)|(?P<mark>[<>(),:])|(?P<end>\Z))")


@lru_cache(maxsize=4096)
def parse_type(text: str) -> ColumnType:
    """The type that `text` names in Databricks SQL; ValueError says where it stopped making sense, and why.

    Bare VARCHAR and CHAR mean STRING, bare DECIMAL means DECIMAL(10,0).
    """
    parser = _Parser(text)
    parsed = parser.type(depth=1)
    parser.expect_end()
    return parsed


class _Parser:
    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ValueError(f"a column type is text such as BIGINT, not {quoted(text)}")
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0

    def type(self, depth: int) -> ColumnType:
        word, at = self._tokens[self._next]
        name = word.upper()
        if depth > MAX_DEPTH:
            raise self._error(at, f"types nest at most {MAX_DEPTH} deep")
        if name in _EXAMPLES:
            return self._nested(name, depth)
        self._next += 1
        if name in _SCALARS:
            return Scalar(_SCALARS[name])
        if name in _DECIMALS:
            return self._decimal()
        if name in ("VARCHAR", "CHAR"):
            if not self._take("("):
                return Scalar("STRING")
            length = self._number("a length", 1, MAX_LENGTH)
            self._expect(")")
            return Varchar(length) if name == "VARCHAR" else Char(length)
        if not word or word in "<>(),:":
            raise self._error(at, f"a type is missing; accepted are {_ACCEPTED}")
        raise self._error(at, f"unknown type {quoted(word)}; accepted are {_ACCEPTED}")

    def expect_end(self) -> None:
        word, at = self._tokens[self._next]
        if word:
            raise self._error(at, f"{quoted(word)} after the end of the type")

    def _decimal(self) -> Decimal:
        if not self._take("("):
            return Decimal(10, 0)
        precision = self._number("a precision", 1, MAX_PRECISION)
        scale = self._number(f"a scale of a DECIMAL({precision}, …)", 0, precision) if self._take(",") else 0
        self._expect(")")
        return Decimal(precision, scale)

    def _nested(self, name: str, depth: int) -> ColumnType:
        at = self._tokens[self._next][1]
        self._next += 1
        if not self._take("<"):
            raise self._error(at, f"{name} needs to say of what, as in {_EXAMPLES[name]}")
        nested: ColumnType
        if name == "ARRAY":
            nested = Array(self.type(depth + 1))
        elif name == "MAP":
            key_at = self._tokens[self._next][1]
            key = self.type(depth + 1)
            if _has_map(key):
                raise self._error(key_at, "the key of a MAP cannot be or hold a MAP")
            self._expect(",")
            nested = Map(key, self.type(depth + 1))
        else:
            nested = self._struct(depth)
        self._expect(">")
        return nested

    def _struct(self, depth: int) -> Struct:
        fields: dict[str, Field] = {}
        while True:
            name, at = self._tokens[self._next]
            if not name or name in "<>(),:":
                raise self._error(at, f"a field name is missing, as in {_EXAMPLES['STRUCT']}")
            self._next += 1
            if name.startswith("`"):
                name = name[1:-1].replace("``", "`")
            try:
                check_new_column_name(name)
            except ValueError as exc:
                raise self._error(at, str(exc)) from None
            if name.lower() in fields:
                raise self._error(at, f"field {quoted(name)} is named twice, as names ignore case")
            self._take(":")
            fields[name.lower()] = Field(name, self.type(depth + 1), nullable=not self._not_null())
            if not self._take(","):
                return Struct(tuple(fields.values()))

    def _not_null(self) -> bool:
        word, at = self._tokens[self._next]
        if word.upper() in ("COMMENT", "COLLATE"):
            raise self._error(at, f"{word.upper()} is not taken here; alter the table instead")
        if word.upper() != "NOT":
            return False
        self._next += 1
        word, at = self._tokens[self._next]
        if word.upper() != "NULL":
            raise self._error(at, "NOT is followed by NULL")
        self._next += 1
        return True

    def _number(self, what: str, low: int, high: int) -> int:
        word, at = self._tokens[self._next]
        # isascii: isdigit takes other scripts' digits; ten characters hold every number that is accepted.
        if not (word.isascii() and word.isdigit() and len(word) <= 10 and low <= int(word) <= high):
            raise self._error(at, f"{what} is a whole number from {low} to {high}")
        self._next += 1
        return int(word)

    def _take(self, mark: str) -> bool:
        if self._tokens[self._next][0] != mark:
            return False
        self._next += 1
        return True

    def _expect(self, mark: str) -> None:
        word, at = self._tokens[self._next]
        if not self._take(mark):
            raise self._error(at, f"expected {mark} instead of {quoted(word) if word else 'the end'}")

    def _error(self, at: int, reason: str) -> ValueError:
        return ValueError(f"column type {quoted(self._text)}, character {at + 1}: {reason}")


def _tokens(text: str) -> list[tuple[str, int]]:
    """Words, quoted names and marks with their offsets; the empty word ends them."""
    tokens: list[tuple[str, int]] = []
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
            raise ValueError(
                f"column type {quoted(text)}, character {at + 1}: unexpected {quoted(text[at])}; "
                "other than A-Z a-z 0-9 _ goes into backticks"
            )
        word = match[match.lastgroup or "end"]
        tokens.append((word, match.end() - len(word)))
        if not word:
            return tokens
        at = match.end()


def _has_map(column_type: ColumnType) -> bool:
    match column_type:
        case Map():
            return True
        case Array(element):
            return _has_map(element)
        case Struct(fields):
            return any(_has_map(each.type) for each in fields)
        case _:
            return False


def from_describe(described: Mapping[str, Any]) -> ColumnType:
    """The type in one `type` object of `DESCRIBE TABLE … AS JSON`.

    Its shape is that of Spark 4's DescribeRelationJsonCommand. What cannot be written is `Unsupported`.
    """
    try:
        name = str(described["name"])
        match name.lower():
            case "decimal":
                return Decimal(int(described["precision"]), int(described["scale"]))
            case "varchar":
                return Varchar(int(described["length"]))
            case "char":
                return Char(int(described["length"]))
            case "array":
                return Array(from_describe(described["element_type"]))
            case "map":
                return Map(from_describe(described["key_type"]), from_describe(described["value_type"]))
            case "struct":
                return Struct(tuple(_described_field(each) for each in described["fields"]))
            case "string":
                return Scalar("STRING", described.get("collation") or "UTF8_BINARY")
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"the warehouse describes a type in an unknown way: {exc!r}") from exc
    kind = _SCALARS.get(name.upper())
    return Scalar(kind) if kind else Unsupported(name)


def _described_field(described: Mapping[str, Any]) -> Field:
    return Field(described["name"], from_describe(described["type"]), bool(described.get("nullable", True)))
