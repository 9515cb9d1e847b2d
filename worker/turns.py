"""Which lane has the next turn. Redis knows all lanes that want one; here are those at the front, however many wait."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Literal

from lakequeue.keys import Lane, Partition

Sort = Literal["again", "oldest", "newest"]

ROTA: tuple[Sort, ...] = ("again", "oldest", "newest")
"""Who is served in turn: lanes that had a turn before, those that wait for their first one for the longest time, and
those that came last. So a new table begins at once behind any number that wait, and none of these waits for ever."""

MOST = 8192
"""Lanes that are known at once. Of more all are forgotten, and read from Redis again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    partition: Partition
    at: float
    first: bool


@dataclass(slots=True)
class Turns:
    """Lanes of one kind that want a turn. Times are those of one clock, in seconds."""

    most: int = MOST
    _entries: dict[Lane, _Entry] = field(default_factory=dict)
    _heaps: dict[Sort, list[tuple[float, int, Lane]]] = field(default_factory=lambda: {sort: [] for sort in ROTA})
    _known: Counter[tuple[Partition, bool]] = field(default_factory=Counter)
    _numbers: count[int] = field(default_factory=count)
    _next: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._entries

    def known(self, partition: Partition, *, first: bool) -> int:
        """How many lanes of a partition are known that wait for their first turn, or for another."""
        return self._known[partition, first]

    def want(self, lane: Lane, partition: Partition, at: float, *, first: bool = False) -> None:
        """A lane wants a turn at a time; the earliest counts. Its `first` one it wants since then, and has any time."""
        before = self._entries.get(lane)
        if before is not None:
            if before.first == first and before.at <= at:
                return
            self.remove(lane)
        elif len(self._entries) >= self.most:
            self.clear()
        entry = self._entries[lane] = _Entry(next(self._numbers), partition, at, first)
        self._known[partition, first] += 1
        for sort in ("oldest", "newest") if first else ("again",):
            self._push(sort, lane, entry)

    def _push(self, sort: Sort, lane: Lane, entry: _Entry) -> None:
        heap = self._heaps[sort]
        heappush(heap, (-entry.at if sort == "newest" else entry.at, entry.number, lane))
        if len(heap) > 64 + 2 * len(self._entries):  # most of it was served already
            heap[:] = [each for each in heap if self._stands(each)]
            heapify(heap)

    def _stands(self, told: tuple[float, int, Lane]) -> bool:
        entry = self._entries.get(told[2])
        return entry is not None and entry.number == told[1]

    def at(self, lane: Lane) -> float:
        """When a lane wants its turn; never, if it is not known."""
        entry = self._entries.get(lane)
        return math.inf if entry is None else entry.at

    def remove(self, lane: Lane) -> Partition | None:
        """Take a lane out. Returns its partition; None if it is not known."""
        entry = self._entries.pop(lane, None)
        if entry is None:
            return None
        self._known[entry.partition, entry.first] -= 1
        return entry.partition

    def keep(self, partitions: Container[Partition]) -> None:
        """Forget the lanes of all other partitions."""
        for lane in [lane for lane, entry in self._entries.items() if entry.partition not in partitions]:
            self.remove(lane)

    def clear(self) -> None:
        self._entries.clear()
        self._known.clear()
        for heap in self._heaps.values():
            heap.clear()

    def due(self) -> float:
        """When the next turn is due; never, if no lane is known."""
        return min(
            (top[0] if sort == "again" else -math.inf for sort in ROTA if (top := self._top(sort))), default=math.inf
        )

    def take(self, now: float) -> tuple[Lane, Partition] | None:
        """Take out the lane whose turn it is; None if no turn is due yet."""
        for _ in ROTA:
            sort = ROTA[self._next]
            self._next = (self._next + 1) % len(ROTA)
            top = self._top(sort)
            if top is not None and (sort != "again" or top[0] <= now):
                heappop(self._heaps[sort])
                partition = self.remove(top[2])
                assert partition is not None
                return top[2], partition
        return None

    def _top(self, sort: Sort) -> tuple[float, int, Lane] | None:
        heap = self._heaps[sort]
        while heap and not self._stands(heap[0]):
            heappop(heap)
        return heap[0] if heap else None
