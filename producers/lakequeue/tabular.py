"""Tables on a terminal, JSON elsewhere: how commands print what they found."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

TAKEN_TOGETHER = 100
WIDEST = 60
"""A longer cell moves the rest of its own line alone."""


def show(
    found: Iterable[T],
    headings: Sequence[str],
    cells: Callable[[T], Sequence[str]],
    to_json: Callable[[T], Mapping[str, Any]],
    *,
    as_json: bool,
) -> int:
    """Print what was found; returns how many there were."""
    count = 0

    def counted() -> Iterator[T]:
        nonlocal count
        for each in found:
            count += 1
            yield each

    if as_json or not sys.stdout.isatty():
        for each in counted():
            write(json.dumps(to_json(each)))
    else:
        for line in table(headings, (cells(each) for each in counted()), shutil.get_terminal_size().columns):
            write(line)
    return count


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Lines of a table; its columns grow as wider cells come.

    The last column says why: where a line of `width` has no room for it, it stands below, named, and is never cut.
    """
    source = iter(rows)
    widths = [len(heading) for heading in headings[:-1]]
    first = True
    while some := [[printable(cell) for cell in row] for row in islice(source, TAKEN_TOGETHER)]:
        shown = [list(headings), *some] if first else some
        first = False
        for i, wide in enumerate(widths):
            widths[i] = max([wide, *(len(row[i]) for row in shown if len(row[i]) <= WIDEST)])
        for row in shown:
            *cells, last = row
            line = "  ".join(cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True))
            if len(line) + 2 + len(last) <= width:
                yield f"{line}  {last}".rstrip()
                continue
            yield line.rstrip()
            if last and row != list(headings):
                yield f"    {headings[-1].lower()}: {last}"


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def counted(many: int, noun: str) -> str:
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, in the two largest units: `3m20s`, `2h05m`, `4d06h`."""
    if moment is None:
        return ""
    return span(((now or datetime.now(UTC)) - moment) / timedelta(seconds=1))


def span(seconds: float) -> str:
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def local(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


def say(line: str) -> None:
    sys.stderr.write(f"lakequeue: {line}\n")
    sys.stderr.flush()
