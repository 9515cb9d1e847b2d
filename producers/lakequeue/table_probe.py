"""What a client learns of a table through the queue, by reads: its columns, and which jobs have rows in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lakequeue import outcomes
from lakequeue.client import Queue
from lakequeue.errors import JobFailed, JobTimeout, LakequeueError, UnknownLetter
from lakequeue.identifiers import TableName

NO_WORKER_S = 5.0
"""So long a read waits for a first worker."""

ANSWER_S = 300.0
"""So long it waits for its answer while workers are alive: a warehouse may have to start."""

SILENT_S = 3.0
"""After this a person hears what is waited for."""

_MISSING = frozenset(("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND", "NO_SUCH_CATALOG_EXCEPTION"))
_MISSING_STATES = frozenset(("42P01", "42704", "42P08"))
_JOB_ID = "_job_id"

Say = Callable[[str], None]
Range = tuple[str, str]
"""Ids of jobs, the second excluded."""


class ProbeFailed(LakequeueError):
    """The table could not be looked at: `message` says why and what to do. `late` if an answer may still come."""

    late = False


class NoSuchTable(ProbeFailed):
    pass


@dataclass(frozen=True)
class Shape:
    """What a table looks like: the SQL type of each column but `_job_id`, and the columns that a write must give.

    `rows` is how many rows, deleted ones included, carry an id of the range that was asked for; None if the table has
    no `_job_id` of type STRING.
    """

    columns: Mapping[str, str]
    required: Sequence[str]
    rows: int | None


class TableProbe:
    """Reads of one table. Each is a job that a worker has to run."""

    def __init__(self, queue: Queue, table: TableName, say: Say) -> None:
        self._queue = queue
        self._table = str(table)
        self._say = say
        self._told = False

    def shape(self, ids: Range) -> Shape:
        """The table's columns, and how many rows carry an id of a range.

        Raises:
            NoSuchTable: there is no such table.
            ProbeFailed: no worker answers, or the read fails.
        """
        fields: dict[str, Any] = {"limit": 0, "include_deleted": True}
        rows: int | None = None
        try:
            result = self._read([{**fields, "filters": _within(ids)}])[0]
            rows = result["total"]
        except JobFailed as exc:
            if not _lacks_job_id(exc):
                raise self._failed(exc) from exc
            try:
                result = self._read([fields])[0]
            except JobFailed as again:
                raise self._failed(again) from again
        receipt = result["receipt"]
        return Shape(receipt.get("columns") or {}, tuple(receipt.get("required") or ()), rows)

    def counts(self, ranges: Sequence[Range]) -> list[int]:
        """How many rows carry an id of each range; the reads are sent together.

        Raises:
            ProbeFailed.
        """
        columns = {"columns": [_JOB_ID], "limit": 0, "include_deleted": True}
        try:
            return [found["total"] for found in self._read([{**columns, "filters": _within(each)} for each in ranges])]
        except JobFailed as exc:
            raise self._failed(exc) from exc

    def _read(self, reads: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        asked = [
            handle.id
            for handle in self._queue.enqueue_many({"kind": "read", "table": self._table, **each} for each in reads)
        ]
        started = time.monotonic()
        done: list[dict[str, Any]] = []
        try:
            for job_id in asked:
                done.append(self._answer(job_id, started))
        except BaseException:
            for job_id in asked[len(done) :]:
                self._forget(job_id)
            raise
        return done

    def _answer(self, job_id: str, started: float) -> dict[str, Any]:
        seen = started
        while True:
            with suppress(JobTimeout):
                record = self._queue.wait(job_id, 0.5)
                outcomes.result_of(job_id, record)  # raises what failed it
                result: dict[str, Any] = record["result"]
                return result
            now = time.monotonic()
            if self._queue.operations.workers():
                seen = now
            self._check(job_id, waited_s=now - started, alone_s=now - seen)

    def _check(self, job_id: str, *, waited_s: float, alone_s: float) -> None:
        """Say why it takes long, or give up."""
        if alone_s >= NO_WORKER_S:
            raise ProbeFailed(f"no worker is alive to look into {self._table}: start one")
        if waited_s < SILENT_S:
            return
        if paused := self._queue.operations.table(self._table).paused_since:
            raise ProbeFailed(
                f"{self._table} is paused since {paused:%Y-%m-%d %H:%M} UTC: lakequeue resume {self._table}"
            )
        if waited_s >= ANSWER_S:
            late = ProbeFailed(
                f"the read of {self._table} is not answered after {ANSWER_S:.0f} s: lakequeue status {job_id}"
            )
            late.late = True
            raise late
        if not self._told:
            self._told = True
            self._say(f"waiting for a look into {self._table}: lakequeue status {job_id}")

    def _forget(self, job_id: str) -> None:
        """Nobody waits for a read any more: it is cancelled, and leaves no dead letter."""
        with suppress(LakequeueError):
            self._queue.operations.cancel(job_id)
        with suppress(LakequeueError, UnknownLetter):
            self._queue.dead_letters.drop(job_id)

    def _failed(self, exc: JobFailed) -> ProbeFailed:
        if exc.details.get("error_class") in _MISSING or exc.details.get("sqlstate") in _MISSING_STATES:
            return NoSuchTable(f"{self._table} does not exist")
        return ProbeFailed(f"{self._table} could not be looked into: {exc.message}")


def _within(ids: Range) -> list[dict[str, str]]:
    low, high = ids
    return [{"column": _JOB_ID, "op": ">=", "value": low}, {"column": _JOB_ID, "op": "<", "value": high}]


def _lacks_job_id(exc: JobFailed) -> bool:
    """Whether a read failed since the table has no `_job_id`, or one of another type."""
    errors = exc.details.get("errors")
    return isinstance(errors, list) and any(
        isinstance(each, dict) and (each.get("loc") or [""])[0] == "filters" for each in errors
    )
