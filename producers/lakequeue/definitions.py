"""A write's `schema_definition`: the columns a caller declares, and the check of rows against them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue

from lakequeue.columns import AUDIT_COLUMNS, ColumnType, Decimal, Scalar, parse_type
from lakequeue.encoding import Values, encoder
from lakequeue.identifiers import check_new_column_name
from lakequeue.problems import Path, Problems, quoted, suggestion
from lakequeue.scalars import Encode

MAX_COLUMNS = 2_000

_AUDIT = frozenset(AUDIT_COLUMNS)
_KEYS = frozenset(("name", "data_type", "nullable"))
_MOMENTS = (Scalar("DATE"), Scalar("TIMESTAMP"), Scalar("TIMESTAMP_NTZ"))
_Given = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class SchemaColumn:
    """One declared column; `data_type` is canonical SQL."""

    name: str
    data_type: str
    nullable: bool = True

    @property
    def type(self) -> ColumnType:
        return parse_type(self.data_type)

    def to_json(self) -> dict[str, JsonValue]:
        fields: dict[str, JsonValue] = {"name": self.name, "data_type": self.data_type}
        return fields if self.nullable else {**fields, "nullable": False}


@dataclass(frozen=True, slots=True)
class Definition:
    """All declared columns of a write, ready to check rows with."""

    columns: tuple[SchemaColumn, ...]
    encoders: Mapping[str, tuple[Encode, bool]]
    """By name as declared: the encoder, and whether null is allowed."""
    types: Mapping[str, ColumnType]
    """By name as declared."""
    names: Mapping[str, str]
    """From lowercase to as declared."""
    required: frozenset[str]
    told_by_column: frozenset[str]
    """Names of columns in which a value's text and the value itself are the same."""
    values: Values
    """How the rows were given."""


def check_definition(given: object, problems: Problems, values: Values = "json") -> Definition | None:
    """None if `problems` were added to. A definition is compiled once, however many jobs bring it."""
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", ("schema_definition",), "takes a list of {name, data_type, nullable}")
        return None
    if not 1 <= len(given) <= MAX_COLUMNS:
        problems.add("wrong_length", ("schema_definition",), f"takes 1 to {MAX_COLUMNS:,} columns")
        return None
    judged = _judged(tuple(_read(index, item, problems) for index, item in enumerate(given)), values)
    if isinstance(judged, Definition):
        return judged
    for kind, loc, msg in judged:
        problems.add(kind, loc, msg)
    return None


def _read(index: int, item: object, problems: Problems) -> _Given | None:
    loc = ("schema_definition", index)
    if isinstance(item, SchemaColumn):
        return item.name, item.data_type, item.nullable
    if not isinstance(item, Mapping):
        problems.add("wrong_type", loc, "takes an object {name, data_type, nullable}")
        return None
    name, data_type, nullable = item.get("name"), item.get("data_type"), item.get("nullable", True)
    if type(name) is str and type(data_type) is str and type(nullable) is bool and item.keys() <= _KEYS:
        return name, data_type, nullable
    for field in item:
        if field not in _KEYS:
            msg = f"unknown field {quoted(field)}{suggestion(field, sorted(_KEYS))}"
            problems.add("unknown_field", (*loc, field if isinstance(field, str) else 0), msg)
    for field, value in (("name", name), ("data_type", data_type)):
        if type(value) is not str:
            problems.add("wrong_type", (*loc, field), "takes text")
    if type(nullable) is not bool:
        problems.add("wrong_type", (*loc, "nullable"), "takes true or false")
    return None


@lru_cache(maxsize=512)
def _judged(columns: tuple[_Given | None, ...], values: Values) -> Definition | tuple[tuple[str, Path, str], ...]:
    """The compiled definition, or what is wrong with it; a column that could not be read is None."""
    wrong: list[tuple[str, Path, str]] = []
    compiled: dict[str, SchemaColumn] = {}
    for index, column in enumerate(columns):
        if column is None:
            continue
        name, data_type, nullable = column
        loc = ("schema_definition", index)
        lower = name.lower()
        try:
            check_new_column_name(name)
        except ValueError as exc:
            wrong.append(("bad_name", (*loc, "name"), str(exc)))
        if lower in _AUDIT:
            msg = f"{quoted(name)} is stamped by the worker; leave it out"
            wrong.append(("audit_column", (*loc, "name"), msg))
        if lower in compiled:
            msg = f"column {quoted(name)} is declared twice, as names ignore case"
            wrong.append(("duplicate_column", (*loc, "name"), msg))
        compiled[lower] = SchemaColumn(name, data_type, nullable)
        try:
            compiled[lower] = SchemaColumn(name, parse_type(data_type).sql, nullable)
        except ValueError as exc:
            wrong.append(("bad_type", (*loc, "data_type"), str(exc)))
    if wrong or None in columns:
        return tuple(wrong)
    types = {each.name: each.type for each in compiled.values()}
    return Definition(
        columns=tuple(compiled.values()),
        encoders={each.name: (encoder(types[each.name], values), each.nullable) for each in compiled.values()},
        types=types,
        names={lower: each.name for lower, each in compiled.items()},
        required=frozenset(each.name for each in compiled.values() if not each.nullable),
        told_by_column=frozenset(name for name, each in types.items() if isinstance(each, Decimal) or each in _MOMENTS),
        values=values,
    )
