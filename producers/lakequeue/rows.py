"""The check of a job's rows and values, which also turns them into wire form: a producer's hot path."""

from collections.abc import Mapping

from pydantic import JsonValue

from lakequeue.column_names import AUDIT, wrong_names
from lakequeue.definitions import Definition
from lakequeue.problems import Path, Problems, ValueProblem, quoted, suggestion
from lakequeue.typed_values import Typed
from lakequeue.values import to_wire

Row = dict[str, JsonValue]

_SMALL = 2**63


def check_rows(given: object, definition: Definition | None, problems: Problems) -> list[Row]:
    """The rows of a write; one object is a body of one row. A definition has every value checked."""
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", ("data",), "takes a list of rows, each an object of column and value")
        return []
    if not given:
        problems.add("wrong_length", ("data",), "takes at least one row")
    rows: list[Row] = []
    for index, row in enumerate(given):
        if problems.enough:
            break
        if type(row) is not dict and not isinstance(row, Mapping):
            problems.add("wrong_type", ("data", index), "a row is an object of column and value")
        elif not row:
            problems.add("wrong_length", ("data", index), "a row has at least one column")
        elif definition is None:
            rows.append(_free_row(row, ("data", index), problems))
        else:
            rows.append(_declared_row(row, definition, index, problems))
    return rows


def check_updates(given: object, loc: Path, problems: Problems) -> Row:
    """The new values of an update, by column."""
    if not isinstance(given, Mapping):
        problems.add("wrong_type", loc, "takes an object of column and new value")
        return {}
    if not given:
        problems.add("wrong_length", loc, "takes at least one column")
    return _free_row(given, loc, problems)


def check_scalar(given: object, loc: Path, problems: Problems) -> JsonValue:
    """A single value that is compared with a column: no null, list or object."""
    if given is None:
        problems.add("null_value", loc, "null equals nothing, not even null")
        return None
    try:
        value = to_wire(given)
    except ValueProblem as problem:
        problems.add_value(problem, loc)
        return None
    if isinstance(value, list | dict) and not isinstance(value, Typed):
        problems.add("wrong_type", loc, "takes a single value, no list or object")
    return value


def _free_row(row: Mapping[str, object], at: Path, problems: Problems) -> Row:
    """A row of columns nobody has declared here: the worker checks its values against the table's."""
    for name, kind, msg in wrong_names(tuple(row)):
        problems.add(kind, (*at, name) if name else at, msg)
    clean: Row = dict(row)  # type: ignore[arg-type]
    for name, value in row.items():
        # What is its own wire form needs no more than this look.
        if type(value) is str and value.isascii():
            continue
        if type(value) is int and -_SMALL < value < _SMALL:
            continue
        if value is None or type(value) is bool:
            continue
        try:
            clean[name] = to_wire(value)
        except ValueProblem as problem:
            problems.add_value(problem, (*at, name if isinstance(name, str) else ""))
    return clean


def _declared_row(row: Mapping[str, object], definition: Definition, index: int, problems: Problems) -> Row:
    """A row of declared columns, under their names as declared.

    Where the column tells what its text is, the text is enough: a typed value is twice as long.
    """
    encoders = definition.encoders
    clean: Row = {}
    for given, value in row.items():
        name = given if given in encoders else _declared_name(given, definition, index, problems)
        if name is None:
            continue
        if name in clean:
            msg = f"column {quoted(name)} is given twice, as names ignore case"
            problems.add("duplicate_column", ("data", index, name), msg)
        encode, nullable = encoders[name]
        try:
            clean[name] = wire = to_wire(value)
            encode(wire)
            if type(wire) is Typed and name in definition.told_by_column:
                clean[name] = wire.text
        except ValueProblem as problem:
            problems.add_value(problem, ("data", index, name))
            clean[name] = None
            continue
        if wire is None and not nullable:
            problems.add("not_null", ("data", index, name), "the column is NOT NULL")
    if not definition.required <= clean.keys():
        for name in sorted(definition.required - clean.keys()):
            problems.add("missing_column", ("data", index, name), "the column is NOT NULL")
    return clean


def _declared_name(given: object, definition: Definition, index: int, problems: Problems) -> str | None:
    if not isinstance(given, str):
        problems.add("bad_name", ("data", index), f"a column name is a string, not {quoted(given)}")
        return None
    lower = given.lower()
    name = definition.names.get(lower)
    if name is None and lower in AUDIT:
        msg = f"{quoted(given)} is stamped by the worker; leave it out"
        problems.add("audit_column", ("data", index, given), msg)
    elif name is None:
        msg = f"schema_definition has no column {quoted(given)}{suggestion(given, definition.encoders)}"
        problems.add("unknown_column", ("data", index, given), msg)
    return name
