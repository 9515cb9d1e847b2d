"""Column names as a job gives them: in a list, in text with commas between, or as an object's."""

from functools import lru_cache

from lakequeue.columns import AUDIT_COLUMNS
from lakequeue.definitions import MAX_COLUMNS
from lakequeue.identifiers import check_column_name
from lakequeue.problems import Path, Problems, quoted

AUDIT = frozenset(AUDIT_COLUMNS)


@lru_cache(maxsize=256)
def wrong_names(names: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """(name, error type, message) for each name an object may not have; objects come with few sets of names.

    Names of audit columns pass: only the worker knows whether the table's are stamps.
    """
    wrong: list[tuple[str, str, str]] = []
    if len(names) > MAX_COLUMNS:
        return (("", "wrong_length", f"at most {MAX_COLUMNS:,} columns, not {len(names):,}"),)
    seen: set[str] = set()
    for name in names:
        try:
            lower = check_column_name(name).lower()
        except ValueError as exc:
            wrong.append((name if isinstance(name, str) else "", "bad_name", str(exc)))
            continue
        if lower in seen:
            wrong.append((name, "duplicate_column", f"column {quoted(name)} is given twice, as names ignore case"))
        seen.add(lower)
    return tuple(wrong)


def listed(given: object, field: str, problems: Problems) -> list[object] | None:
    """The items of a list or of a comma-separated string; None if nothing was given."""
    if given is None:
        return None
    if isinstance(given, str):
        return [part.strip() for part in given.split(",")] if given.strip() else []
    if not isinstance(given, list | tuple):
        problems.add("wrong_type", (field,), "takes a list, or text with commas between")
        return None
    if len(given) > MAX_COLUMNS:
        problems.add("wrong_length", (field,), f"at most {MAX_COLUMNS:,} columns, not {len(given):,}")
        return None
    return list(given)


def check_names(names: list[object], field: str, problems: Problems) -> tuple[str, ...]:
    """What `listed` gave, as names of which none comes twice."""
    checked = [checked_name(name, (field, index), problems) for index, name in enumerate(names)]
    refuse_repeats(checked, field, problems)
    return tuple(checked)


def checked_name(given: object, loc: Path, problems: Problems) -> str:
    """The name, or empty text where it was refused."""
    if isinstance(given, str) and given == "*":
        problems.add("bad_name", loc, "* stands alone, for every column")
    try:
        return check_column_name(given)
    except (ValueError, TypeError) as exc:  # TypeError: not even hashable
        msg = str(exc) if isinstance(exc, ValueError) else f"a column name is a string, not {quoted(given)}"
        problems.add("bad_name", loc, msg)
        return ""


def refuse_repeats(names: list[str], field: str, problems: Problems) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name and name.lower() in seen:
            msg = f"column {quoted(name)} is named twice, as names ignore case"
            problems.add("duplicate_column", (field, index), msg)
        seen.add(name.lower())


def difference(names: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """What sets two sets of names apart, for a message; empty if they are the same without case."""
    ours, theirs = ({each.lower(): each for each in names} for names in (names, wanted))
    for lower, name in theirs.items():
        if lower not in ours:
            return f"{quoted(name)} is missing"
    for lower, name in ours.items():
        if lower not in theirs:
            return f"{quoted(name)} is not among them"
    return ""
