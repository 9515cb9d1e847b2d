"""The keys by which updates and deletes name their rows: values of one or more columns."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from lakequeue.column_names import difference, wrong_names
from lakequeue.problems import Path, Problems, ValueProblem, spell
from lakequeue.rows import check_scalar
from lakequeue.typed_values import Typed

Key = dict[str, JsonValue]
"""By column. All keys of a job name the same columns, spelt alike and in the same order."""

MAX_KEYS = 10_000
"""Of one update or delete."""

NAN_KEY = "NaN names no row"
_SMALL = 2**63


def check_form(fields: Mapping[str, object], many: Literal["rows", "keys_"], problems: Problems) -> None:
    """Rows are named in one of three forms: `key`, `key_column` with `key_value`, or the field `many`.

    What is null counts as not given, except for a `key_value` whose column is named.
    """
    given = [name for name in ("key", "key_column", "key_value", many) if fields.get(name) is not None]
    if given in (["key"], ["key_column", "key_value"], [many]):
        return
    shown = many.removesuffix("_")
    if not given:
        msg = f"name the rows by key {{column: value, …}}, many of them by {shown}"
        problems.add("missing", ("key",), msg)
    elif given == ["key_value"]:
        problems.add("missing", ("key_column",), "name the column of key_value")
    elif given != ["key_column"]:
        msg = f"name the rows in one form only: key, {shown}, or key_column and key_value"
        problems.add("both_forms", (given[-1].removesuffix("_"),), msg)
    elif "key_value" not in fields:  # a null is refused as a value
        problems.add("missing", ("key_value",), "give the value of key_column")


def check_key(given: object, problems: Problems) -> Key:
    """The key of a job that has one."""
    return KeyCheck(problems).check(given, ("key",))


def check_keys(given: object, problems: Problems) -> tuple[Key, ...]:
    """The keys of a delete of many rows."""
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", ("keys",), "takes a list of keys, each an object of column and value")
        return ()
    if not check_count(len(given), "keys", problems):
        return ()
    keys = KeyCheck(problems)
    checked: list[Key] = []
    for index, key in enumerate(given):
        if problems.enough:
            break
        checked.append(keys.check(key, ("keys", index)))
    return tuple(checked)


def check_count(count: int, field: str, problems: Problems) -> bool:
    if 1 <= count <= MAX_KEYS:
        return True
    problems.add("wrong_length", (field,), f"takes 1 to {MAX_KEYS:,} of them in one job, not {count:,}")
    return False


def check_key_value(given: object, loc: Path, problems: Problems) -> JsonValue:
    """A value of a key in wire form: no null, NaN, list or object. None if it was refused."""
    # What is its own wire form needs no more than this look.
    if (type(given) is str and given.isascii()) or (type(given) is int and -_SMALL < given < _SMALL):
        return given
    value = check_scalar(given, loc, problems)
    if is_nan(value):
        problems.add("nan_key", loc, NAN_KEY)
        return None
    return None if isinstance(value, list | dict) and not isinstance(value, Typed) else value


def is_nan(value: JsonValue) -> bool:
    return isinstance(value, Typed) and value.text == "NaN"


class KeyCheck:
    """Takes the keys of one job in turn: each is sound, names the columns that the first names, and is new."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._names: tuple[str, ...] = ()
        self._seen: dict[tuple[str, ...], Path] = {}

    def check(self, given: object, loc: Path) -> Key:
        """The key under the first one's names, in their order; what is returned for a refused one is of no use."""
        problems = self._problems
        if not isinstance(given, Mapping):
            problems.add("wrong_type", loc, "a key is an object of column and value")
            return {}
        if not given:
            problems.add("wrong_length", loc, "a key has at least one column")
            return {}
        names = tuple(given)
        if names != self._names:
            respelt = self._respelt(given, names, loc)
            if respelt is None:
                return {}
            given = respelt
        key = {name: check_key_value(value, (*loc, name), problems) for name, value in given.items()}
        if None not in key.values():
            identity = tuple(map(identify, key.values()))
            first = self._seen.setdefault(identity, loc)
            if first is not loc:
                problems.add("duplicate_key", loc, f"the key is that of {spell(first)}")
        return key

    def _respelt(self, given: Mapping[str, object], names: tuple[str, ...], loc: Path) -> Mapping[str, object] | None:
        wrong = wrong_names(names)
        for name, kind, msg in wrong:
            self._problems.add(kind, (*loc, name) if name else loc, msg)
        if wrong:
            return None
        if not self._names:
            self._names = names
            return given
        if msg := difference(names, self._names):
            self._problems.add("different_columns", loc, f"all keys of a job name the same columns: {msg}")
            return None
        by_lower = {name.lower(): value for name, value in given.items()}
        return {name: by_lower[name.lower()] for name in self._names}


def identify(value: JsonValue) -> str:
    """Text that is the same for key values which are the same in any column; ValueProblem for a list or object.

    Columns may hold more values alike than this knows of, as BIGINT does 1 and "1". Text, because its hashes cannot be
    foreseen: ten thousand keys could be chosen to share the hash of a number.
    """
    if isinstance(value, Typed):
        return repr(value.text)
    if isinstance(value, list | dict):
        raise ValueProblem("wrong_type", "a key takes a single value, no list or object")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is 1, and -0.0 is 0
    return repr(value)
