"""What an update changes: the keys of rows, and their columns' new values."""

from collections.abc import Mapping
from dataclasses import dataclass

from lakequeue.problems import Problems, quoted, suggestion
from lakequeue.row_keys import Key, KeyCheck, check_count
from lakequeue.rows import Row, check_updates

_FIELDS = frozenset(("key", "updates"))


@dataclass(frozen=True, slots=True)
class Change:
    """New values for the rows of one key, both by column; shared with the job, so not to be changed."""

    key: Key
    updates: Row

    def to_json(self) -> Row:
        return {"key": self.key, "updates": self.updates}


def check_changes(given: object, problems: Problems) -> tuple[Change, ...]:
    """The `rows` of an update of many."""
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", ("rows",), "takes a list of {key, updates}")
        return ()
    if not check_count(len(given), "rows", problems):
        return ()
    keys = KeyCheck(problems)
    changes: list[Change] = []
    for index, item in enumerate(given):
        if problems.enough:
            break
        loc = ("rows", index)
        if isinstance(item, Change):
            item = item.to_json()
        elif not isinstance(item, Mapping):
            problems.add("wrong_type", loc, "takes an object {key, updates}")
            continue
        if item.keys() != _FIELDS:
            _name_fields(item, index, problems)
        key = keys.check(item["key"], (*loc, "key")) if "key" in item else {}
        updates = check_updates(item["updates"], (*loc, "updates"), problems) if "updates" in item else {}
        changes.append(Change(key, updates))
    return tuple(changes)


def _name_fields(item: Mapping[object, object], index: int, problems: Problems) -> None:
    for field in item:
        if field not in _FIELDS:
            msg = f"unknown field {quoted(field)}{suggestion(field, sorted(_FIELDS))}"
            problems.add("unknown_field", ("rows", index, field) if isinstance(field, str) else ("rows", index), msg)
    for field in sorted(_FIELDS - item.keys()):
        problems.add("missing", ("rows", index, field), "each of the rows has its key and its updates")
