"""Statements that fail by an error that says nothing of any job: which job is at fault, if one is, and when to give up.

Such an error is tried again: as a rule it is the warehouse's own trouble. If one job provokes it, its batch is halved
until that job is alone. It fails for good only on evidence: others of its table were committed after it began to fail,
and it fails alone, several times, over a while. Without evidence no job fails, and after a time the table is paused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from lakequeue.keys import Lane

from tasks.verdicts import Failure
from worker.breaker import Breaker
from worker.settings import Settings
from worker.store import Place, Store

log = logging.getLogger(__name__)

HALVED_FROM = 3
"""So often a batch is tried whole; it is halved at this try, and then at each that doubles it."""

MOST_ALONE = 3
"""So often a job fails alone before it can be taken for the cause."""

SHARE_ALONE = 12
"""For `pause_after_s` through this it has to fail alone."""

GAP_S = 600.0
"""A time without any try that ends the count of `pause_after_s`."""

Step = Literal["wait", "halve", "convict"]


@dataclass(slots=True)
class _Trouble:
    """What a worker has seen of a lane: whether others were `committed` since, and of jobs that fail alone since when
    and how often."""

    committed: bool = False
    alone: dict[str, tuple[float, int]] = field(default_factory=dict)


class Suspects:
    """Per lane, in memory: a worker that takes a table over begins anew, which only takes longer."""

    def __init__(self, alone_for_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._alone_for_s = alone_for_s
        self._clock = clock
        self._lanes: dict[Lane, _Trouble] = {}

    def failed(self, lane: Lane, job_ids: list[str], attempt: int) -> Step:
        """A statement of these jobs failed by such an error at this try."""
        trouble = self._lanes.setdefault(lane, _Trouble())
        if len(job_ids) > 1:
            return "halve" if _halves(attempt) else "wait"
        return self._alone(trouble, job_ids[0], beside=trouble.committed)

    def failed_beside(self, lane: Lane, job_id: str, *, others: bool) -> Step:
        """As `failed`, of a job that has a statement of its own; `others` succeeded at the same time."""
        trouble = self._lanes.setdefault(lane, _Trouble())
        return self._alone(trouble, job_id, beside=others) if others else "wait"

    def _alone(self, trouble: _Trouble, job_id: str, *, beside: bool) -> Step:
        since, times = trouble.alone.get(job_id, (self._clock(), 0))
        trouble.alone[job_id] = since, times + 1
        proved = beside and times + 1 >= MOST_ALONE and self._clock() - since >= self._alone_for_s
        return "convict" if proved else "wait"

    def committed(self, lane: Lane, job_ids: Iterable[str], attempt: int) -> None:
        """A statement of these jobs was committed, at this try."""
        trouble = self._lanes.get(lane)
        if trouble is None:
            return
        if attempt == 1 or not trouble.alone.keys().isdisjoint(job_ids):
            del self._lanes[lane]
        else:
            trouble.committed = True

    def over(self, lane: Lane) -> None:
        self._lanes.pop(lane, None)

    def in_lane(self, lane: Lane) -> frozenset[str]:
        """The jobs that there is reason to run alone."""
        trouble = self._lanes.get(lane)
        return frozenset(trouble.alone) if trouble is not None and trouble.committed else frozenset()


def _halves(attempt: int) -> bool:
    tries, left = divmod(attempt, HALVED_FROM)
    return left == 0 and tries > 0 and tries & (tries - 1) == 0


class Troubles:
    """Shared by all threads of a worker."""

    def __init__(self, store: Store, settings: Settings, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker
        self._pause_after_s = settings.pause_after_s
        self._gap_s = max(GAP_S, 2 * settings.backoff_longest_s)
        self.suspects = Suspects(settings.pause_after_s / SHARE_ALONE)

    def go_on(self, place: Place, failure: Failure) -> bool:
        """Whether a failure says neither that a job is at fault nor that the warehouse is away.

        A table that fails so for `pause_after_s` is paused: it waits for an operator, and no job fails for it.
        """
        if not failure.unexplained or self._breaker.state != "closed":
            return False
        for_s = self._failing_s(place)
        if for_s >= self._pause_after_s and self._store.through_outage(lambda: self._store.pause(place, failure.code)):
            told = "no job has failed for it: mend the cause, then run lakequeue resume"
            log.error("table=%s paused error=%s for_s=%.0f; %s", place.table, failure.error_class, for_s, told)
        return True

    def _failing_s(self, place: Place) -> float:
        return time.time() - self._store.through_outage(lambda: self._store.failing_since(place, gap_s=self._gap_s))
