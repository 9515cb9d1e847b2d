"""What becomes of the jobs of a load: collected while it sends, and followed from a dead letter to its replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lakequeue import outcomes
from lakequeue.client import Queue
from lakequeue.errors import UnknownJob
from lakequeue.letters import DeadLetter
from lakequeue.load_names import bounds
from lakequeue.outcomes import Status
from lakequeue.replays import replay_id
from lakequeue.sending import ASKED_AT_ONCE, patient_statuses

_REPLAYS = 5
"""So many replays of a job are looked for once its own record has expired."""


def effective(queue: Queue, job_ids: Sequence[str]) -> list[tuple[str, Status | None]]:
    """Each job's status, that of its last replay if it was replayed, with the id it is of."""
    found = list(zip(job_ids, patient_statuses(queue, list(job_ids)), strict=True))
    while replayed := [i for i, (_, status) in enumerate(found) if status is not None and status.replayed_as]:
        ids = [str(found[i][1].replayed_as) for i in replayed]  # type: ignore[union-attr]
        for i, job_id, status in zip(replayed, ids, patient_statuses(queue, ids), strict=True):
            found[i] = job_id, status
    return found


class Outcomes:
    """The outcomes of jobs, by index: `succeeded` counts, `failed` are ids, `expired` are of those of which nothing is
    known any more. At most `ASKED_AT_ONCE` of those that are not finished are in memory.

    Args:
        ids: the jobs in the order in which they are sent.
        letters: gives the dead letters of the load by the ids of its jobs.
    """

    def __init__(
        self, queue: Queue, ids: Iterator[tuple[int, str]], letters: Callable[[], Mapping[str, DeadLetter]]
    ) -> None:
        self._queue = queue
        self._letters = letters
        self._ids = ids
        self._next = next(ids, None)
        self._open: list[tuple[int, str]] = []
        self.succeeded = 0
        self.failed: list[tuple[int, str]] = []
        self.expired: list[tuple[int, str]] = []

    @property
    def done(self) -> int:
        return self.succeeded + len(self.failed) + len(self.expired)

    def collect(self, last: int | None = None) -> None:
        """Take what is final now of the jobs up to the `last` that was sent, in order but for jobs that finish late."""
        while True:
            while (
                self._next is not None and len(self._open) < ASKED_AT_ONCE and (last is None or self._next[0] <= last)
            ):
                self._open.append(self._next)
                self._next = next(self._ids, None)
            if not self._open:
                return
            before = len(self._open)
            found = effective(self._queue, [job_id for _, job_id in self._open])
            still_open: list[tuple[int, str]] = []
            for (index, asked), (job_id, status) in zip(self._open, found, strict=True):
                if status is None:
                    self.expired.append((index, asked))
                elif status.state == "SUCCESS":
                    self.succeeded += 1
                elif status.final:
                    self.failed.append((index, job_id))
                else:
                    still_open.append((index, job_id))
            self._open = still_open
            if len(still_open) == before or before < ASKED_AT_ONCE:
                return

    def finish(self, on_change: Callable[[int], None]) -> None:
        """Wait until every job is final, and every replay of one that failed."""
        while True:
            self.collect()
            on_change(self.done)
            if self._open:
                with suppress(UnknownJob):  # expired meanwhile, as its status will say
                    self._queue.wait(self._open[0][1])
                continue
            self._open += self._replayed()
            if not self._open:
                return

    def _replayed(self) -> list[tuple[int, str]]:
        """Those of the failed that were replayed since, and those of the expired whose replay is known."""
        again: list[tuple[int, str]] = []
        for first in range(0, len(self.failed), ASKED_AT_ONCE):
            some = self.failed[first : first + ASKED_AT_ONCE]
            for (index, asked), (job_id, _) in zip(some, effective(self._queue, [i for _, i in some]), strict=True):
                if job_id != asked:
                    again.append((index, job_id))
        moved = {index for index, _ in again}
        self.failed = [each for each in self.failed if each[0] not in moved]
        self._look_for_expired(again)
        return again

    def _look_for_expired(self, again: list[tuple[int, str]]) -> None:
        """Of those whose records have expired some are dead letters still, some were replayed."""
        left: list[tuple[int, str]] = []
        letters = self._letters() if self.expired else {}
        for first in range(0, len(self.expired), ASKED_AT_ONCE):
            some = self.expired[first : first + ASKED_AT_ONCE]
            replays = replays_of(self._queue, [job_id for _, job_id in some])
            for index, job_id in some:
                if job_id in replays:
                    again.append((index, replays[job_id][0]))
                elif job_id in letters:
                    self.failed.append((index, letters[job_id].id))
                else:
                    left.append((index, job_id))
        self.expired = left

    def found_in_table(self, indexes: set[int]) -> None:
        """Those of the expired whose rows are in the table have succeeded."""
        self.succeeded += len(indexes)
        self.expired = [each for each in self.expired if each[0] not in indexes]


def shown(queue: Queue, job_id: str) -> str:
    """A failed job's outcome as one line of JSON, from its record or, once that has expired, its dead letter."""
    try:
        told: dict[str, Any] = outcomes.to_json(job_id, queue.record(job_id))
    except UnknownJob:
        told = {"id": job_id, "state": "FAILURE", "error": True, "message": "its outcome has expired", "details": {}}
        for letter in queue.dead_letters.list(ids=[job_id]).letters:
            told |= {"table": letter.table, "message": letter.reason, "details": {"error": letter.error}}
    return json.dumps(told)


def letters_of(queue: Queue, table: str, name: str) -> dict[str, DeadLetter]:
    """The dead letters of a load's jobs and of their replays, without payloads, by the id of the job itself."""
    if not queue.operations.table(table).dead:
        return {}
    first, end = bounds(name)
    return {
        (letter.replay_of or (letter.id,))[0]: letter
        for letter in queue.dead_letters.select(table=table)
        if first <= letter.id < end
    }


def replays_of(queue: Queue, job_ids: Sequence[str]) -> dict[str, tuple[str, Status]]:
    """The last replay that is known of each job, where the job's own record may have expired."""
    found: dict[str, tuple[str, Status]] = {}
    for number in range(1, _REPLAYS + 1):
        ids = [str(replay_id(job_id, number)) for job_id in job_ids]
        for job_id, (replay, status) in zip(job_ids, effective(queue, ids), strict=True):
            if status is not None:
                found[job_id] = replay, status
    return found
