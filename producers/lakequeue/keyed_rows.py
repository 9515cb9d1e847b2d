"""The rows of a write that looks for them by key first: an upsert, or an insert of those that are absent."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from pydantic import JsonValue

from lakequeue import columns
from lakequeue.column_names import AUDIT, check_names, difference, listed
from lakequeue.definitions import Definition
from lakequeue.encoding import Values, encoder
from lakequeue.problems import Problems, ValueProblem, quoted, suggestion
from lakequeue.row_keys import NAN_KEY, identify, is_nan
from lakequeue.rows import Row

Mode = Literal["append", "upsert", "insert_if_absent"]

_REALS = (columns.Scalar("DOUBLE"), columns.Scalar("FLOAT"))
_Plan = list[tuple[str, Callable[[JsonValue], str | None]]]


def check_key_columns(
    given: object, mode: object, definition: Definition | None, problems: Problems
) -> tuple[str, ...]:
    """The names, spelt as the definition does; none where `problems` were added to, or for an append."""
    before = len(problems)
    names = check_names(listed(given, "key_columns", problems) or [], "key_columns", problems)
    if mode == "append" and names:
        msg = "an append looks for no keys: leave it out, or give mode upsert or insert_if_absent"
        problems.add("unexpected_value", ("key_columns",), msg)
    elif mode in ("upsert", "insert_if_absent") and not names and len(problems) == before:
        problems.add("missing", ("key_columns",), f"{mode} takes the columns by which rows are told apart")
    for index, name in enumerate(names):
        if definition is not None and name.lower() in AUDIT:
            msg = f"{quoted(name)} is stamped by the worker, so no row brings it"
            problems.add("audit_column", ("key_columns", index), msg)
        elif definition is not None and name:
            _check_declared(name, index, definition, problems)
    if len(problems) > before:
        return ()
    return tuple(definition.names[name.lower()] for name in names) if definition else names


def _check_declared(name: str, index: int, definition: Definition, problems: Problems) -> None:
    declared = definition.names.get(name.lower())
    if declared is None:
        msg = f"schema_definition has no column {quoted(name)}{suggestion(name, definition.encoders)}"
        problems.add("unknown_column", ("key_columns", index), msg)
    elif isinstance(kind := definition.types[declared], columns.Array | columns.Map | columns.Struct):
        msg = f"a key column holds single values, not {kind.sql.partition('<')[0]}"
        problems.add("wrong_type", ("key_columns", index), msg)


def check_keyed_rows(
    key_columns: tuple[str, ...],
    rows: list[Row],
    definition: Definition | None,
    problems: Problems,
    *,
    same_columns: bool,
) -> tuple[str, ...]:
    """Check the keys of sound `rows`, and that they all have the `same_columns` if they must.

    Names are spelt alike in all rows, which are changed for it; the key columns are returned so.
    """
    first = rows[0]
    if definition is None:
        spelling = {name.lower(): name for name in first}
        key_columns = tuple(spelling.get(name.lower(), name) for name in key_columns)
        for index, row in enumerate(rows):
            if row.keys() != first.keys():
                rows[index] = {spelling.get(name.lower(), name): value for name, value in row.items()}
    if same_columns:
        _check_same_columns(rows, problems)
    plan: _Plan = [
        (name, _identity(definition.types[name], definition.values) if definition else identify) for name in key_columns
    ]
    seen: dict[tuple[str, ...], int] = {}
    for index, row in enumerate(rows):
        if problems.enough:
            break
        key = _key(row, plan, index, problems)
        if key is not None and (known := seen.setdefault(key, index)) != index:
            problems.add("duplicate_key", ("data", index), f"the key is that of data[{known}]")
    return key_columns


def _check_same_columns(rows: list[Row], problems: Problems) -> None:
    """Says so of the first row that differs, since one is enough to see what is meant."""
    names = rows[0].keys()
    for index, row in enumerate(rows):
        if row.keys() != names:
            msg = f"all rows of an upsert have the columns of data[0]: {difference(tuple(row), tuple(names))}"
            problems.add("different_columns", ("data", index), msg)
            return


def _key(row: Row, plan: _Plan, index: int, problems: Problems) -> tuple[str, ...] | None:
    """What identifies the row's key, or None where `problems` were added to."""
    texts: list[str] = []
    for name, identity in plan:
        value = row.get(name)
        try:
            if is_nan(value):
                raise ValueProblem("nan_key", NAN_KEY)
            text = None if value is None else identity(value)
        except ValueProblem as problem:
            problems.add_value(problem, ("data", index, name))
            continue
        if text is not None:
            texts.append(text)
        elif name in row:
            msg = "a null key equals none, so the row would be inserted each time"
            problems.add("null_value", ("data", index, name), msg)
        else:
            problems.add("missing_column", ("data", index, name), "every row gives every key column")
    return tuple(texts) if len(texts) == len(plan) else None


@lru_cache(maxsize=256)
def _identity(column_type: columns.ColumnType, values: Values) -> Callable[[JsonValue], str | None]:
    """Text by which a declared column's values are told apart."""
    encode = encoder(column_type, values)
    if column_type not in _REALS:
        return encode

    def identity(value: JsonValue) -> str | None:
        text = encode(value)
        if text == "NaN":
            raise ValueProblem("nan_key", NAN_KEY)
        return "0.0" if text == "-0.0" else text

    return identity
