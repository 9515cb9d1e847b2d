"""The lane of a table's reads: several at once, identical ones once, none behind the table's writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lakequeue import wire
from lakequeue.columns import Unsupported
from lakequeue.errors import InvalidJob
from lakequeue.jobs import Read
from lakequeue.problems import Problems, ValueProblem
from lakequeue.values import JsonValue, decoder

from tasks import records, statements
from tasks.records import Member, Outcome
from tasks.sql import Statement
from tasks.table import Column, Table
from tasks.verdicts import Failure
from worker.lane import Desk, Entry, Place, Refusal, Turn, invalid, read_entry, refused_by
from worker.store import Frozen, Head
from worker.tables import Tables
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Reads of one table that are taken together."""

UNSTABLE = "without order_by the order of rows is not fixed: pages by offset may repeat or miss rows"


@dataclass(frozen=True, slots=True)
class _Asked:
    entry: Entry
    job: Read
    table: Table
    columns: tuple[Column, ...]
    statement: Statement


@dataclass(frozen=True, slots=True)
class _Page:
    data: list[dict[str, JsonValue]]
    total: int
    answer: Answer


class ReadLane:
    """Runs the read lane of any table; shared by all threads of a worker. A read may be repeated at will."""

    def __init__(
        self, desk: Desk, tables: Tables, execute: Callable[[Statement], Answer], pool: ThreadPoolExecutor
    ) -> None:
        self._desk = desk
        self._tables = tables
        self._execute = execute
        self._pool = pool

    def run(self, place: Place, head: Head) -> Turn:
        """Run the first few reads; those of a batch that its owner left behind are run again."""
        attempt = head.waiting.attempts + 1 if head.waiting else 1
        if head.frozen is not None:
            attempt = head.frozen.attempt + 1
        entries = [read_entry(message, place) for message in head.messages[:AT_ONCE]]
        asked: list[_Asked] = []
        refused: list[Refusal] = []
        postponed: Failure | None = None
        for entry in entries:
            try:
                asked.append(self._ask(place, entry))
            except InvalidJob as exc:
                refused.append(invalid(entry, exc))
            except StatementFailed as exc:
                if exc.failure.verdict == "permanent":
                    refused.append(refused_by(entry, exc.failure, alone=True))
                else:
                    postponed = exc.failure
        frozen, excluded = self._desk.freeze(
            place,
            [entry.member for entry in entries],
            span=len(entries),
            attempt=attempt,
            replaces=head.frozen.batch if head.frozen else "",
        )
        asked = [each for each in asked if each.entry.member.id not in excluded]
        refused = [each for each in refused if each.entry.member.id not in excluded]
        started_at = wire.isoformat(datetime.now(UTC))
        distinct = {_key(each): each for each in asked}
        pages = dict(zip(distinct, self._pool.map(self._page, distinct.values()), strict=True))
        members: list[Member] = []
        outcomes: list[Outcome] = []
        for each in asked:
            page = pages[_key(each)]
            if isinstance(page, _Page):
                members.append(each.entry.member)
                outcomes.append(self._outcome(each, page, frozen, len(asked), started_at))
            elif page.verdict == "permanent":
                refused.append(refused_by(each.entry, page, alone=True))
            else:
                postponed = page
        if postponed is None:
            left = self._desk.settle(
                place, frozen, remove=len(entries), members=members, outcomes=outcomes, refused=refused
            )
            return Turn.of(left)
        return self._postpone(place, frozen, entries, members, outcomes, refused, postponed)

    def _ask(self, place: Place, entry: Entry) -> _Asked:
        if entry.error is not None:
            raise entry.error
        job = entry.job
        assert isinstance(job, Read)
        table = self._tables.get(place.table)
        try:
            columns = statements.read_columns(table, job)
            return _Asked(entry, job, table, tuple(columns), statements.select(table, job, columns))
        except ValueProblem as exc:
            problems = Problems()
            problems.add_value(exc, ())
            raise problems.as_invalid_job(f"read {place.table}") from exc

    def _page(self, asked: _Asked) -> _Page | Failure:
        """One page, read now. The table is described again if it lost a column since it was."""
        try:
            answer = self._execute(asked.statement)
            decoders = [decoder(column.type) for column in asked.columns]
            names = [column.name for column in asked.columns]
            data = [
                {name: decode(value) for name, decode, value in zip(names, decoders, row, strict=False)}
                for row in answer.rows
            ]
            if answer.rows:
                total = int(answer.rows[0][len(names)])
            elif asked.job.offset == 0 and asked.job.limit > 0:
                total = 0
            else:
                total = int(self._execute(statements.count(asked.table, asked.job)).rows[0][0])
        except StatementFailed as exc:
            if exc.failure.cause in ("shape", "missing"):
                self._tables.forget(asked.table.name)
            return exc.failure
        return _Page(data, total, answer)

    def _outcome(self, asked: _Asked, page: _Page, frozen: Frozen, jobs: int, started_at: str) -> Outcome:
        receipt: dict[str, Any] = self._desk.receipt(
            frozen, jobs=jobs, rows=len(page.data), answer=page.answer, started_at=started_at
        )
        receipt["columns"] = {column.name: _shown_type(column) for column in asked.columns}
        if asked.job.offset and not asked.job.order_by:
            receipt["warnings"] = [UNSTABLE]
        return records.page(
            asked.entry.member,
            data=page.data,
            total=page.total,
            receipt=receipt,
            finished_at=receipt["finished_at"],
        )

    def _postpone(
        self,
        place: Place,
        frozen: Frozen,
        entries: Sequence[Entry],
        members: Sequence[Member],
        outcomes: Sequence[Outcome],
        refused: Sequence[Refusal],
        failure: Failure,
    ) -> Turn:
        """Settle what is done; what is not stays in the lane, from the first undone message on."""
        log.warning("batch=%s table=%s reads wait: error=%s", frozen.batch, place.table, failure.code)
        done = {outcome.id for outcome in outcomes} | {refusal.entry.member.id for refusal in refused}
        undone = [entry.member for entry in entries if entry.member.id not in done]
        delay = self._desk.postpone(
            place,
            frozen,
            undone,
            failure,
            attempts=frozen.attempt,
            done=list(zip(members, outcomes, strict=True)),
            refused=refused,
        )
        return Turn.after(delay)


def _key(asked: _Asked) -> tuple[str, tuple[tuple[str, str | None], ...]]:
    return str(asked.statement.sql), tuple(asked.statement.parameters.items())


def _shown_type(column: Column) -> str:
    return "STRING" if isinstance(column.type, Unsupported) else column.type.sql
