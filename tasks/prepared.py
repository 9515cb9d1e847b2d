"""Jobs checked against their table and encoded: what of a job its statement needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lakequeue.columns import Array, Char, Map, Scalar, Struct, Unsupported
from lakequeue.jobs import Delete, Job, Read, Update, Write
from lakequeue.problems import Path, Problems, ValueProblem, quoted, suggestion
from lakequeue.values import JsonValue, encoder
from lakequeue.values import Values as GivenAs

from tasks.table import Column, Table, differences

Key = tuple[str, ...]
"""The texts of a key's values, in the order of the batch's key columns."""

Values = Mapping[str, str | None]
"""Texts by lowercase column name, as a statement casts them."""

Mode = Literal["append", "upsert", "insert_if_absent"]

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

LARGEST_BYTES = 1_000_000
"""All parameter values of a statement together (connector's documentation; unconfirmed on a live warehouse)."""

ADVICE_NO_DELETED_AT = (
    "the table has no deleted_at column of type TIMESTAMP to mark rows with: add it (python -m worker adopt TABLE), "
    "or delete with soft=false"
)


@dataclass(frozen=True, slots=True)
class Addition:
    """A write. `columns` are those it gives, in the table's order; `fragment` is its element of an INSERT's JSON
    parameter. It `leaves_defaults` if a column with a default is not given: what the table puts there is not known."""

    job_id: str
    actor: str | None
    mode: Mode
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]
    rows: tuple[Values, ...]
    fragment: str
    bytes: int
    leaves_defaults: bool = False
    alone: bool = False

    @property
    def keyed(self) -> bool:
        return self.mode != "append"


@dataclass(frozen=True, slots=True)
class Change:
    """An update: for each key the columns to set."""

    job_id: str
    actor: str | None
    key_columns: tuple[str, ...]
    changes: tuple[tuple[Key, Values], ...]
    must_exist: bool
    every_row: bool
    bytes: int
    alone: bool = False
    keyed: Literal[True] = True

    @property
    def rows(self) -> tuple[object, ...]:
        return self.changes


@dataclass(frozen=True, slots=True)
class Removal:
    """A delete of all rows of some keys."""

    job_id: str
    actor: str | None
    key_columns: tuple[str, ...]
    keys: tuple[Key, ...]
    soft: bool
    must_exist: bool
    bytes: int
    alone: bool = False
    keyed: Literal[True] = True

    @property
    def rows(self) -> tuple[object, ...]:
        return self.keys


Prepared = Addition | Change | Removal


def prepare(job_id: str, job: Job, table: Table) -> Prepared:
    """Check a job against its table and encode it.

    Raises:
        InvalidJob: naming each row and column that does not fit.
    """
    match job:
        case Write():
            return _addition(job_id, job, table)
        case Update():
            return _change(job_id, job, table)
        case Delete():
            return _removal(job_id, job, table)
        case Read():
            raise TypeError("a read is not prepared for a batch")


def size_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _addition(job_id: str, job: Write, table: Table) -> Addition:
    """A column that some of the job's rows give and others do not is NULL in the others; one that none gives is left
    to the table's default."""
    problems = Problems()
    what = f"write {table.name}"
    if job.schema_definition:
        wanted = [(column.name, column.data_type) for column in job.schema_definition]
        for phrase in differences(table, wanted):
            problems.add("schema_differs", ("schema_definition",), phrase)
    columns = _given_columns(job, table, problems) if not problems else []
    keys = _key_columns(job.key_columns, ("key_columns",), table, problems)
    for column in columns if job.mode == "upsert" else ():
        if column.counts_up and column not in keys:
            msg = f"the table numbers it itself, and no update may set it: leave {quoted(column.name)} out"
            problems.add("generated_column", ("data", 0, column.name), msg)
    if problems:
        raise problems.as_invalid_job(what)
    if len(job.data) * len(columns) * len("null,") > LARGEST_BYTES:
        # Before it is built: rows that each give few of many columns are small as they come and huge side by side.
        told = f"{len(job.data):,} rows of {len(columns):,} columns do not fit one statement of {LARGEST_BYTES:,} bytes"
        problems.add("too_large", ("data",), f"{told}: split them over several jobs")
        raise problems.as_invalid_job(what)
    encoders = [(column.name.lower(), column, encoder(column.type, job.values)) for column in columns]
    rows: list[Values] = []
    for index, given in enumerate(job.data):
        lowered = {name.lower(): value for name, value in given.items()}
        encoded: dict[str, str | None] = {}
        for key, column, encode in encoders:
            value = lowered.get(key)
            text = None
            if value is not None:
                try:
                    text = encode(value)
                except ValueProblem as exc:
                    problems.add_value(exc, ("data", index, column.name))
            elif column.counts_up:
                msg = "the table numbers its rows only where no row of a job gives a number: give it in all or in none"
                problems.add("not_null", ("data", index, column.name), msg)
            elif not column.nullable:
                problems.add("not_null", ("data", index, column.name), "the column takes no null")
            encoded[key] = text
        rows.append(encoded)
    names = tuple(key for key, _, _ in encoders)
    if keys and not problems:
        seen: set[Key] = set()
        for index, row in enumerate(rows):
            if (row_key := key_of(row, _names(keys), table)) is not None:
                _only_once(row_key, seen, ("data", index), problems)
    if problems:
        raise problems.as_invalid_job(what)
    fragment = insert_fragment(job_id, job.actor, rows, names)
    return Addition(
        job_id=job_id,
        actor=job.actor,
        mode=job.mode,
        columns=names,
        key_columns=_names(keys),
        rows=tuple(rows),
        fragment=fragment,
        bytes=size_of(fragment),
        leaves_defaults=any(c.has_default and c.name.lower() not in names for c in table.columns),
        alone=any(_compares_oddly(column) for column in keys),
    )


def insert_fragment(job_id: str, actor: str | None, rows: Iterable[Values], columns: tuple[str, ...]) -> str:
    """A job's element of an INSERT's JSON parameter, its rows in the order of `columns`."""
    return _dumps({"id": job_id, "actor": actor, "rows": [[row.get(name) for name in columns] for row in rows]})


def _change(job_id: str, job: Update, table: Table) -> Change:
    problems = Problems()
    changes: list[tuple[Key, Values]] = []
    keys: list[Column] = []
    seen: set[Key] = set()
    moved = False
    for place, change in zip(_places(job), job.changes, strict=False):
        keys = keys or _key_columns(change.key, place.key, table, problems)
        if problems:
            break
        key = _key(change.key, keys, job.values, place, problems)
        _only_once(key, seen, place.key, problems)
        values: dict[str, str | None] = {}
        for name, value in change.updates.items():
            column = _written(name, (*place.updates, name), table, problems, added=False)
            if column is not None:
                values[column.name.lower()] = _text(value, column, job.values, (*place.updates, name), problems)
                moved = moved or column in keys
        changes.append((key, values))
    if problems:
        raise problems.as_invalid_job(f"update {table.name}")
    return Change(
        job_id=job_id,
        actor=job.actor,
        key_columns=_names(keys),
        changes=tuple(changes),
        must_exist=job.must_exist,
        every_row=job.include_deleted,
        bytes=size_of(_dumps(changes)) + len(changes) * 64,
        # A key that changes, rows that are out of sight and keys whose texts do not tell whether they are equal.
        alone=moved or job.include_deleted or any(_compares_oddly(column) for column in keys),
    )


def _removal(job_id: str, job: Delete, table: Table) -> Removal:
    problems = Problems()
    if job.soft and "deleted_at" not in table.audit:
        problems.add("no_deleted_at", ("soft",), ADVICE_NO_DELETED_AT)
    found: list[Key] = []
    keys: list[Column] = []
    seen: set[Key] = set()
    for place, key in zip(_places(job), job.targets, strict=False):
        keys = keys or _key_columns(key, place.key, table, problems)
        if problems:
            break
        found.append(_key(key, keys, job.values, place, problems))
        _only_once(found[-1], seen, place.key, problems)
    if problems:
        raise problems.as_invalid_job(f"delete {table.name}")
    return Removal(
        job_id=job_id,
        actor=job.actor,
        key_columns=_names(keys),
        keys=tuple(found),
        soft=job.soft,
        must_exist=job.must_exist,
        bytes=size_of(_dumps(found)) + len(found) * 64,
        alone=any(_compares_oddly(column) for column in keys),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in its job a key and its updates stand."""

    key: Path
    named: bool = True
    updates: Path = ("updates",)

    def value(self, name: str) -> Path:
        return (*self.key, name) if self.named else ("key_value",)


def _places(job: Update | Delete) -> Iterable[_Place]:
    if job.key_column is not None:
        return [_Place(("key_column",), named=False)]
    if job.key is not None:
        return [_Place(("key",))]
    if isinstance(job, Update):
        return (_Place(("rows", i, "key"), updates=("rows", i, "updates")) for i in range(len(job.changes)))
    return (_Place(("keys", i)) for i in range(len(job.targets)))


def _given_columns(job: Write, table: Table, problems: Problems) -> list[Column]:
    """The table's columns that the job gives, in the table's order; what is wrong with them goes to `problems`."""
    given: dict[str, tuple[int, str]] = {}
    for index, row in enumerate(job.data):
        for name in row:
            given.setdefault(name.lower(), (index, name))
    for index, name in given.values():
        _written(name, ("data", index, name), table, problems, added=True)
    for column in table.required:
        if column.name.lower() not in given:
            problems.add("not_null", ("data", 0, column.name), "the column takes no null")
    return [column for column in table.columns if column.name.lower() in given]


def _column(name: str, path: Path, table: Table, problems: Problems) -> Column | None:
    """A column that can be written, by its name."""
    column = table.by_name.get(name.lower())
    if column is None:
        known = suggestion(name, (each.name for each in table.columns))
        problems.add("unknown_column", path, f"{table.name} has no column {quoted(name)}{known}")
    elif isinstance(column.type, Unsupported):
        problems.add("unsupported_type", path, f"{column.type.sql} cannot be written")
        return None
    return column


def _written(name: str, path: Path, table: Table, problems: Problems, *, added: bool) -> Column | None:
    """A column that a job may give a value for, in a row that is `added` or to one that is there."""
    column = _column(name, path, table, problems)
    if column is None:
        return None
    if name.lower() in table.audit:
        problems.add("audit_column", path, f"{quoted(name)} of {table.name} is stamped by the worker: leave it out")
    elif column.computed or (column.counts_up and not added):
        problems.add("generated_column", path, f"{quoted(name)} is filled in by {table.name} itself: leave it out")
    return column


def _text(value: JsonValue, column: Column, given_as: GivenAs, path: Path, problems: Problems) -> str | None:
    if value is None:
        if not column.nullable:
            problems.add("not_null", path, "the column takes no null")
        return None
    try:
        return encoder(column.type, given_as)(value)
    except ValueProblem as exc:
        problems.add_value(exc, path)
        return None


def _key_columns(names: Iterable[str], path: Path, table: Table, problems: Problems) -> list[Column]:
    """The columns of a key, in the table's order."""
    found = []
    for name in names:
        column = _column(name, path, table, problems)
        if column is not None and isinstance(column.type, (Array, Map, Struct)):
            problems.add("key_type", path, f"{quoted(name)} is {column.type.sql}, which cannot be a key")
        elif column is not None:
            found.append(column)
    return sorted(found, key=table.columns.index)


def _key(
    given: Mapping[str, JsonValue], keys: list[Column], given_as: GivenAs, place: _Place, problems: Problems
) -> Key:
    values = {name.lower(): (name, value) for name, value in given.items()}
    texts = []
    for column in keys:
        name, value = values[column.name.lower()]
        texts.append(_text(value, column, given_as, place.value(name), problems) or "")
    return tuple(map(_key_text, keys, texts))


def _only_once(key: Key, seen: set[Key], path: Path, problems: Problems) -> None:
    """Values that differ in the job, such as 1 and "1", may be one value of the column."""
    if key in seen:
        problems.add("duplicate_key", path, "this key was given before in the same job")
    seen.add(key)


def _key_text(column: Column, text: str) -> str:
    """Texts of equal values are equal: the two zeros of a DOUBLE are written apart, a CHAR is padded when stored."""
    if isinstance(column.type, Char):
        return text.ljust(column.type.length)  # as it is stored: a column of a query is compared as it is
    return "0.0" if text == "-0.0" and column.type in (Scalar("DOUBLE"), Scalar("FLOAT")) else text


def _names(keys: list[Column]) -> tuple[str, ...]:
    return tuple(column.name.lower() for column in keys)


def _compares_oddly(column: Column) -> bool:
    """Whether two texts may differ and yet be equal: a collation decides."""
    return isinstance(column.type, Scalar) and column.type.collation != "UTF8_BINARY"


def key_of(row: Values, key_columns: tuple[str, ...], table: Table) -> Key | None:
    """The key of a row that is added, by the batch's key columns; None where a part is null, which equals nothing."""
    texts = []
    for name in key_columns:
        text = row.get(name)
        if text is None:
            return None
        texts.append(_key_text(table.by_name[name], text))
    return tuple(texts)
