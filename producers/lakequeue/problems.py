"""Errors of one job as they are found, before they become an `InvalidJob`."""

import difflib
from collections.abc import Iterable

from pydantic import JsonValue

from lakequeue.errors import InvalidJob

Path = tuple[str | int, ...]

SHOWN = 20
"""So many errors of a job are reported; the rest are counted."""

COUNTED = 1_000
"""A job with so many errors is not looked at further: it may be large, and hostile."""

MAX_SHOWN_NAME = 80


class ValueProblem(ValueError):
    """One value does not fit; `path` leads to it from the value that was checked, never by a MAP's keys."""

    def __init__(self, type: str, msg: str, path: Path = ()) -> None:
        super().__init__(type, msg, path)
        self.type = type
        self.msg = msg
        self.path = path

    def __str__(self) -> str:
        return f"{spell(self.path)}: {self.msg}" if self.path else self.msg

    def under(self, *steps: str | int) -> "ValueProblem":
        return ValueProblem(self.type, self.msg, (*steps, *self.path))


class Problems:
    """The errors of one job: the first `SHOWN` of them, and how many more were found."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, Path, str]] = []
        self.more = 0

    @property
    def enough(self) -> bool:
        return len(self) >= COUNTED

    @property
    def least(self) -> str:
        return "at least " if self.enough else ""

    def __len__(self) -> int:
        return len(self.shown) + self.more

    def add(self, type: str, loc: Path, msg: str) -> None:
        if len(self.shown) < SHOWN:
            self.shown.append((type, tuple(readable(step) for step in loc), msg))
        else:
            self.more += 1

    def add_value(self, problem: ValueProblem, loc: Path) -> None:
        self.add(problem.type, (*loc, *problem.path), problem.msg)

    def as_invalid_job(self, what: str) -> InvalidJob:
        """`what` names the job, such as `write main.sales.orders`."""
        _, loc, msg = self.shown[0]
        first = f"{spell(loc)}: {msg}" if loc else msg
        others = len(self) - 1
        message = f"{what}: {first}" + (f" (and {self.least}{others} more)" if others else "")
        errors: list[JsonValue] = [{"type": kind, "loc": list(at), "msg": text} for kind, at, text in self.shown]
        if self.more:
            errors.append({"type": "more", "loc": [], "msg": f"and {self.least}{self.more} more"})
        return InvalidJob(message, {"errors": errors})


def spell(loc: Path) -> str:
    """`("data", 7, "amount")` as `data[7].amount`."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def readable(step: str | int) -> str | int:
    """A name that can always be printed and encoded: short, and without lone surrogates."""
    if isinstance(step, int):
        return step
    if len(step) > MAX_SHOWN_NAME:
        step = step[:MAX_SHOWN_NAME] + "…"
    return step if step.isascii() else step.encode("utf-8", "backslashreplace").decode()


def quoted(name: object) -> str:
    """A name as messages show it."""
    return f"'{readable(name)}'" if isinstance(name, str) else type(name).__name__


def suggestion(name: object, known: Iterable[str]) -> str:
    """A `; did you mean 'x'?` when a known name is near, else what is known."""
    names = list(known)
    near = difflib.get_close_matches(str(name)[:MAX_SHOWN_NAME], names, n=1)
    if near:
        return f"; did you mean {quoted(near[0])}?"
    listed = ", ".join(str(readable(each)) for each in names[:SHOWN])
    return f"; known are {listed}" + (", …" if len(names) > SHOWN else "")
