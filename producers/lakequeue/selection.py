"""What a read selects: its columns, filters and order, each in one canonical form."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import JsonValue

from lakequeue.column_names import check_names, checked_name, listed, refuse_repeats
from lakequeue.foreign_values import python_equivalent
from lakequeue.problems import Path, Problems, ValueProblem, quoted, suggestion
from lakequeue.rows import check_scalar

_PATTERN = re.compile(r"(?:[^\\]|\\[%_\\])*", re.DOTALL)

EVERY_COLUMN = ("*",)
"""What stands for every column but `_job_id`."""

Op = Literal["=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN", "LIKE", "IS NULL", "IS NOT NULL", "BETWEEN"]

MAX_IN_VALUES = 200
# A statement takes 255 parameters; the rest is for limit, offset and what the worker adds.
MAX_BOUND_VALUES = 240

_OPS: dict[str, Op] = {op: op for op in get_args(Op)} | {"<>": "!=", "==": "="}
_FIELDS = ("column", "op", "value")


@dataclass(frozen=True, slots=True)
class Filter:
    """`value` is a list for IN, NOT IN and BETWEEN, None for IS NULL and IS NOT NULL, else one value."""

    column: str
    op: Op
    value: JsonValue = None

    @property
    def values(self) -> list[JsonValue]:
        """What a statement binds for it, in order."""
        if self.op in ("IS NULL", "IS NOT NULL"):
            return []
        return self.value if isinstance(self.value, list) else [self.value]

    def to_json(self) -> dict[str, JsonValue]:
        fields: dict[str, JsonValue] = {"column": self.column, "op": self.op}
        return fields if self.value is None else {**fields, "value": self.value}


@dataclass(frozen=True, slots=True)
class OrderBy:
    column: str
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.column} {'desc' if self.descending else 'asc'}"


def check_columns(given: object, problems: Problems) -> tuple[str, ...]:
    """Names in order, or `EVERY_COLUMN`."""
    names = listed(given, "columns", problems)
    if names is None or names == ["*"]:
        return EVERY_COLUMN
    if not names:
        problems.add("wrong_length", ("columns",), "name the columns, or leave it out or give * for all")
    return check_names(names, "columns", problems)


def check_order_by(given: object, problems: Problems) -> tuple[OrderBy, ...]:
    """From `name`, `name asc`, `name desc` or `-name`, in a list or with commas between."""
    items = listed(given, "order_by", problems) or []
    orders: list[OrderBy] = []
    for index, item in enumerate(items):
        loc = ("order_by", index)
        if isinstance(item, OrderBy):
            orders.append(OrderBy(checked_name(item.column, loc, problems), item.descending))
        elif not isinstance(item, str):
            problems.add("wrong_type", loc, "takes a column name, with asc or desc after it if need be")
        elif (words := item.strip().rsplit(None, 1)) and len(words) == 2 and words[1].lower() in ("asc", "desc"):
            orders.append(OrderBy(checked_name(words[0], loc, problems), words[1].lower() == "desc"))
        else:
            name = item.strip()
            # `-name` only without a direction, so that a column's own leading minus can be written too.
            orders.append(OrderBy(checked_name(name.removeprefix("-"), loc, problems), name.startswith("-")))
    refuse_repeats([each.column for each in orders], "order_by", problems)
    return tuple(orders)


def check_filters(given: object, problems: Problems) -> tuple[Filter, ...]:
    if given is None:
        return ()
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", ("filters",), "takes a list of {column, op, value}")
        return ()
    # Enough to say so; what a caller sends is not checked to its end when it can only be refused.
    if len(given) > MAX_BOUND_VALUES:
        problems.add("wrong_length", ("filters",), f"at most {MAX_BOUND_VALUES} filters, not {len(given)}")
        return ()
    checked = [_filter(item, ("filters", index), problems) for index, item in enumerate(given)]
    filters = tuple(each for each in checked if each is not None)
    bound = sum(len(each.values) for each in filters)
    if bound > MAX_BOUND_VALUES:
        msg = f"at most {MAX_BOUND_VALUES} values in all filters together, not {bound}"
        problems.add("wrong_length", ("filters",), msg)
    return filters


def _filter(item: object, loc: Path, problems: Problems) -> Filter | None:
    if isinstance(item, Filter):
        item = {"column": item.column, "op": item.op, "value": item.value}
    if not isinstance(item, Mapping):
        problems.add("wrong_type", loc, "takes an object {column, op, value}")
        return None
    before = len(problems)
    for field in item:
        if field not in _FIELDS:
            msg = f"unknown field {quoted(field)}{suggestion(field, _FIELDS)}"
            problems.add("unknown_field", (*loc, field) if isinstance(field, str) else loc, msg)
    column = checked_name(item.get("column"), (*loc, "column"), problems)
    op = _op(item.get("op"))
    if op is None:
        problems.add("unknown_op", (*loc, "op"), f"takes one of {', '.join(get_args(Op))}")
        return None
    value = _VALUE_OF[op](item.get("value"), (*loc, "value"), problems)
    return Filter(column, op, value) if len(problems) == before else None


def _op(given: object) -> Op | None:
    return _OPS.get(" ".join(given.upper().split())) if isinstance(given, str) and len(given) < 30 else None


def _one(given: object, loc: Path, problems: Problems) -> JsonValue:
    if given is None:
        problems.add("null_value", loc, "null equals nothing: use IS NULL or IS NOT NULL, or give a value")
        return None
    return check_scalar(given, loc, problems)


def _pattern(given: object, loc: Path, problems: Problems) -> JsonValue:
    if not isinstance(given, str):
        problems.add("wrong_type", loc, "LIKE takes text with % and _ in it")
        return None
    if _PATTERN.fullmatch(given) is None:
        msg = r"in a pattern a backslash stands before %, _ or another backslash: write \\ for one"
        problems.add("bad_format", loc, msg)
        return None
    return _one(given, loc, problems)


def _no_value(given: object, loc: Path, problems: Problems) -> JsonValue:
    if given is not None:
        problems.add("unexpected_value", loc, "IS NULL and IS NOT NULL take no value")
    return None


def _several(given: object, loc: Path, problems: Problems) -> JsonValue:
    return _values(given, loc, problems, 1, MAX_IN_VALUES, f"IN takes a list of 1 to {MAX_IN_VALUES} values")


def _two(given: object, loc: Path, problems: Problems) -> JsonValue:
    return _values(given, loc, problems, 2, 2, "BETWEEN takes a list of two values, the lower first")


def _values(given: object, loc: Path, problems: Problems, low: int, high: int, msg: str) -> JsonValue:
    if not isinstance(given, list | tuple):
        try:
            given = python_equivalent(given)  # an array of numpy
        except ValueProblem:
            given = None
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", loc, msg)
        return None
    if not low <= len(given) <= high:
        problems.add("wrong_length", loc, f"{msg}, not {len(given)}")
        return None
    return [_one(each, (*loc, index), problems) for index, each in enumerate(given)]


_VALUE_OF: dict[Op, Callable[[object, Path, Problems], JsonValue]] = {
    **dict.fromkeys(("=", "!=", "<", "<=", ">", ">="), _one),
    "IN": _several,
    "NOT IN": _several,
    "LIKE": _pattern,
    "IS NULL": _no_value,
    "IS NOT NULL": _no_value,
    "BETWEEN": _two,
}
