"""The names of a file's columns as a table takes them: trimmed, renamed, left out, or refused with what to do."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import normalize

from lakequeue.columns import AUDIT_COLUMNS
from lakequeue.definitions import check_definition
from lakequeue.problems import Problems, quoted, suggestion

_INVISIBLE = " \t\r\n\v\f\xa0\u200b\u2060\ufeff"
"""Blanks, and what is seen as little: a byte order mark amid a file, a space of no width."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the options --rename, --drop and --normalize-names ask for."""

    renames: tuple[tuple[str, str], ...] = ()
    drops: tuple[str, ...] = ()
    normalize: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are loaded: their names, their positions in the file, and what was done to the names."""

    names: tuple[str, ...]
    positions: tuple[int, ...]
    notes: tuple[str, ...] = ()


def parse_rename(text: str) -> tuple[str, str]:
    """`old=new`; the old name may hold a `=`, which no column of a table can."""
    old, equals, new = text.rpartition("=")
    if not equals or not new:
        raise ValueError(f"takes OLD=NEW, not {text!r}")
    return old.strip(), new


def arrange(header: Sequence[str], changes: Changes) -> Layout:
    """The layout of a file with this header.

    Raises:
        ValueError: it says, by place and name, why the header cannot name a table's columns, and what to do.
    """
    trimmed = [name.strip(_INVISIBLE) for name in header]
    notes = []
    if blanks := [index for index, name in enumerate(header) if name != trimmed[index]]:
        columns = ", ".join(str(index + 1) for index in blanks[:20])
        notes.append(f"blanks around names are left out of the header: column {columns}")
    dropped = {index for name in changes.drops for index in _find(name, trimmed, "--drop", several=True)}
    positions = [index for index in range(len(trimmed)) if index not in dropped]
    if not positions:
        raise ValueError("--drop leaves no column")
    names = list(trimmed)
    renamed: set[int] = set()
    for old, new in changes.renames:
        (index,) = _find(old, trimmed, "--rename", several=False)
        if index in renamed:
            raise ValueError(f"--rename: {quoted(old)} is given twice")
        renamed.add(index)
        names[index] = new
    if changes.normalize:
        taken = {names[index].lower() for index in renamed - dropped}
        for index in positions:
            if index not in renamed:
                names[index] = _free(normalized(names[index]) or f"column_{index + 1}", taken)
                taken.add(names[index].lower())
    _check([names[index] for index in positions], [trimmed[index] for index in positions], positions)
    return Layout(tuple(names[index] for index in positions), tuple(positions), tuple(notes))


def normalized(name: str) -> str:
    """Lowercase letters, digits and `_` alone: `Unit Price ($)` is `unit_price`."""
    return re.sub(r"\W+", "_", normalize("NFC", name).lower()).strip("_")


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _find(name: str, header: Sequence[str], option: str, *, several: bool) -> list[int]:
    """Where the header has a name: as it is written, else without case, Unicode form and kind of blanks."""
    found = [index for index, each in enumerate(header) if each == name]
    found = found or [index for index, each in enumerate(header) if alike(each) == alike(name)]
    if not found:
        raise ValueError(f"{option}: the header has no {quoted(name)}{suggestion(name, header)}")
    if len(found) > 1 and not several:
        raise ValueError(f"{option}: {len(found)} columns are named {quoted(name)}: tell them apart in the file")
    return found


def alike(name: str) -> str:
    return " ".join(normalize("NFC", name).casefold().split())


def _check(names: Sequence[str], written: Sequence[str], positions: Sequence[int]) -> None:
    problems = Problems()
    check_definition([{"name": name, "data_type": "STRING"} for name in names], problems)
    wrong = []
    for kind, loc, shown in problems.shown:
        msg = " ".join(shown.split())  # a name may hold a line break
        index = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else None
        if index is None:
            wrong.append(msg)
        else:
            wrong.append(f"column {positions[index] + 1}: {msg}{_remedy(kind, names[index], written[index])}")
    wrong += [] if wrong else _two_forms(names, positions)
    if wrong:
        raise ValueError("; ".join(wrong) + (f"; and {problems.more} more" if problems.more else ""))


def _remedy(kind: str, name: str, written: str) -> str:
    written = " ".join(written.split())  # as --rename finds it, without a line break that a message cannot show
    old = shlex.quote(written)
    if name.lower() in AUDIT_COLUMNS:
        return f", with --drop {old}, or load it as another with --rename {old}=source_{name.lower().strip('_')}"
    if not name:
        return ": give it one with --rename =NAME, or leave it out with --drop ''"
    if kind == "duplicate_column":
        return ": --normalize-names numbers such names, --drop leaves them out"
    new = normalized(name) or "NAME"
    return f": --rename {shlex.quote(f'{written}={new}')} or --normalize-names"


def _two_forms(names: Sequence[str], positions: Sequence[int]) -> list[str]:
    composed = [normalize("NFC", name).lower() for name in names]
    twice = {form for form, count in Counter(composed).items() if count > 1}
    by_form = {form: [positions[i] + 1 for i, each in enumerate(composed) if each == form] for form in twice}
    return [
        f"columns {' and '.join(map(str, places))} have the same name, {quoted(form)}, in two Unicode forms: "
        "--normalize-names numbers them, --drop leaves one out"
        for form, places in by_form.items()
    ]
