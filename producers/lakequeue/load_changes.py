"""What a file that has changed shares with what was loaded before: equal rows are the same jobs still."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

from lakequeue.load_plan import ROW_BYTES, Cutter, Plan, digest_of

_SAME_HEADS = 8
"""Of jobs that begin with equal rows so many are tried where the file may go on as before."""


class Rows:
    """The rows of a file by digest and weight: some 12 bytes a row."""

    def __init__(self) -> None:
        self.digests = bytearray()
        self.weights = array("L")

    def add(self, digest: bytes, weight: int) -> None:
        self.digests += digest
        self.weights.append(weight)

    def __len__(self) -> int:
        return len(self.weights)

    def digest(self, start: int, count: int) -> int:
        return digest_of(memoryview(self.digests)[start * ROW_BYTES : (start + count) * ROW_BYTES])

    def head(self, at: int) -> bytes:
        return bytes(self.digests[at * ROW_BYTES : at * ROW_BYTES + 4])


@dataclass
class Comparison:
    """`kept` are the jobs of before whose rows the file still has, `gone` the others, by index; `fresh` are the rows
    that none of `kept` has, each `(start, count)`, counted from 0. `order` has both as they come in the file."""

    kept: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    fresh: list[tuple[int, int]] = field(default_factory=list)
    order: list[int | tuple[int, int]] = field(default_factory=list)

    @property
    def fresh_rows(self) -> int:
        return sum(count for _, count in self.fresh)

    def keep(self, index: int) -> None:
        self.kept.append(index)
        self.order.append(index)

    def add(self, start: int, count: int) -> None:
        if count:
            self.fresh.append((start, count))
            self.order.append((start, count))


def compare(before: Plan, rows: Rows) -> Comparison:
    """Find the jobs of `before` in a file again, in order: rows between them may be changed, added and removed."""
    found = Comparison()
    heads: dict[bytes, list[int]] = {}
    for index, part in enumerate(before):
        heads.setdefault(part.head, []).append(index)
    at, index = 0, 0
    while index < len(before):
        place = _next(before, rows, heads, at, index)
        if place is None:
            break
        start, match = place
        found.add(at, start - at)
        found.gone += range(index, match)
        found.keep(match)
        at, index = start + before[match].rows, match + 1
    found.gone += range(index, len(before))
    found.add(at, len(rows) - at)
    return found


def _next(before: Plan, rows: Rows, heads: dict[bytes, list[int]], at: int, index: int) -> tuple[int, int] | None:
    """Where, from row `at` on, the first job from `index` on is found, and which it is."""
    for start in range(at, len(rows)):
        alike = heads.get(rows.head(start), [])
        left = bisect_left(alike, index)
        for match in alike[left : left + _SAME_HEADS]:
            part = before[match]
            if start + part.rows <= len(rows) and rows.digest(start, part.rows) == part.digest:
                return start, match
    return None


def merged(before: Plan, rows: Rows, found: Comparison, *, rows_per_job: int, room: int) -> tuple[Plan, bytearray]:
    """The plan of the changed file, and for each of its jobs whether it is new. The new ones have no tag yet."""
    plan, new = Plan(), bytearray()
    for step in found.order:
        if isinstance(step, int):
            plan.append(before[step])
            new.append(0)
            continue
        start, count = step
        cutter = Cutter(rows_per_job, room, first=start + 1)
        for at in range(start, start + count):
            cutter.add(bytes(rows.digests[at * ROW_BYTES : (at + 1) * ROW_BYTES]), rows.weights[at])
        for part in cutter.parts():
            plan.append(part)
            new.append(1)
    return plan, new
