"""The lane of a table's reads: several at once, identical ones once, none behind the table's writes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakequeue import wire
from lakequeue.columns import Unsupported
from lakequeue.errors import InvalidJob
from lakequeue.jobs import Read
from lakequeue.keys import Lane
from lakequeue.outcomes import FINAL
from lakequeue.problems import Problems, ValueProblem
from lakequeue.selection import EVERY_COLUMN
from lakequeue.values import JsonValue, decoder

from tasks import records, statements
from tasks.records import Member, Outcome
from tasks.sql import Statement
from tasks.table import JOB_ID, Column, Table
from tasks.verdicts import Failure
from worker import lines
from worker.entries import Entry, Refusal, invalid, is_killer, killed_worker, read_entry, refused_by
from worker.lane import Desk, Turn
from worker.recent import Recent
from worker.store import Frozen, Head, Place
from worker.tables import YOUNG_S, Tables
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Reads of one table that are taken together."""

WINDOW = 200
"""So far ahead of reads that wait for another job (`after`) others are let past."""

MOST_UNKNOWN = 3
"""So often a read is sent that the warehouse takes and brings no result of: too slow, or its page is never had."""

MOST_PAGE_BYTES = 64_000_000
"""A page's record: Redis holds it, and every client that waits for it gets it."""

AT_THE_SAME_TIME_S = 60.0
"""A commit so long ago shows that the warehouse can use the table now."""

STAR_AGE_S = 60.0
"""A read of all columns sees a column that was added so long ago."""

AFTER_POLL_S = 0.1
"""How often it is looked whether such a job is finished."""

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


@dataclass(slots=True)
class _Round:
    """One turn of a lane of reads: the first messages, and what becomes of those that are read now."""

    entries: list[Entry]
    ready: list[Entry] = field(default_factory=list)
    asked: list[_Asked] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    finished: frozenset[str] = frozenset()
    statements: list[str] = field(default_factory=list)
    seconds: float = 0.0
    postponed: Failure | None = None
    waiting: bool = False

    def leave_out(self, finished: frozenset[str]) -> None:
        """Jobs that have an outcome already, from an earlier turn or by being cancelled."""
        self.finished |= finished
        self.asked = [each for each in self.asked if each.entry.member.id not in self.finished]
        self.refused = [each for each in self.refused if each.entry.member.id not in self.finished]

    def done(self) -> set[str]:
        return {*self.finished, *(o.id for o in self.outcomes), *(r.entry.member.id for r in self.refused)}

    def leading(self) -> int:
        """How many messages from the first on are done with."""
        done = self.done()
        return next((i for i, each in enumerate(self.entries) if each.member.id not in done), len(self.entries))


class ReadLane:
    """Runs the read lane of any table; shared by all threads of a worker. A read may be repeated at will."""

    def __init__(
        self, desk: Desk, tables: Tables, execute: Callable[[Statement], Answer], pool: ThreadPoolExecutor
    ) -> None:
        self._desk = desk
        self._tables = tables
        self._execute = execute
        self._pool = pool
        self._lost: Recent[Lane, Counter[str]] = Recent()

    def run(self, place: Place, head: Head) -> Turn:
        """Run the first few reads that need not wait; those of a batch that its owner left behind are run again."""
        attempt = head.waiting.attempts + 1 if head.waiting else 1
        if head.frozen is not None:
            attempt = head.frozen.attempt + 1
        window = [read_entry(message, place) for message in head.messages[:WINDOW]]
        round_ = _Round(entries=window)
        awaited = [e.job.after for e in window if isinstance(e.job, Read) and e.job.after]
        states = self._desk.store.states([*awaited, *(entry.member.id for entry in window)])
        ended = [entry for entry in window if states[entry.member.id] in FINAL]  # behind one that waits
        round_.finished = frozenset(entry.member.id for entry in ended)
        ready = round_.ready
        for entry in window:
            if len(ready) == min(AT_ONCE, head.limit):
                break
            if entry.member.id in round_.finished:
                continue
            try:
                if self._must_wait(place, entry, states):
                    round_.waiting = True
                    continue
                ready.append(entry)
                if is_killer(head):
                    round_.refused.append(killed_worker(entry, head))
                    continue
                round_.asked.append(self._ask(place, entry))
            except InvalidJob as exc:
                round_.refused.append(invalid(entry, exc))
                if entry not in ready:
                    ready.append(entry)
            except StatementFailed as exc:
                if exc.failure.verdict == "permanent":
                    round_.refused.append(refused_by(entry, exc.failure, alone=True))
                else:
                    round_.postponed = exc.failure
        if not ready and not round_.leading():
            return Turn.after(AFTER_POLL_S)
        frozen, excluded = self._desk.freeze(
            place,
            [entry.member for entry in (*ready, *ended)],
            span=len(window),
            attempt=attempt,
            replaces=head.frozen.batch if head.frozen else "",
        )
        round_.leave_out(excluded)
        self._read(place, round_, frozen)
        return self._settle(place, round_, frozen)

    def _must_wait(self, place: Place, entry: Entry, states: Mapping[str, str | None]) -> bool:
        """Whether the job that a read comes `after` is not finished yet."""
        if not isinstance(entry.job, Read) or entry.job.after is None:
            return False
        state = states[entry.job.after]
        if state is None and not self._left_rows(place, entry.job.after):
            problems = Problems()
            msg = (
                "no job of this id is known: it was never enqueued here, or its result has expired and it left no row "
                "in this table"
            )
            problems.add("unknown_job", ("after",), msg)
            raise problems.as_invalid_job(f"read {place.table}")
        return state is not None and state not in FINAL

    def _left_rows(self, place: Place, job_id: str) -> bool:
        """Whether a job that Redis has forgotten inserted rows of this table: then it is finished. An unfinished one is
        never forgotten."""
        try:
            table = self._tables.get(place.table)
            if JOB_ID not in table.audit:
                return False
            return bool(self._execute(statements.find_jobs(table, [job_id])).rows)
        except StatementFailed as exc:
            if exc.failure.cause == "missing":
                return False
            raise

    def _read(self, place: Place, round_: _Round, frozen: Frozen) -> None:
        """Send the distinct statements side by side, and note what became of each read."""
        started_at = wire.isoformat(datetime.now(UTC))
        distinct = {_key(each): each for each in round_.asked}
        pages = dict(zip(distinct, self._pool.map(self._page, distinct.values()), strict=True))
        answers = [page.answer for page in pages.values() if isinstance(page, _Page)]
        round_.statements = [answer.statement_id for answer in answers if answer.statement_id]
        round_.seconds = max((answer.elapsed_s for answer in answers), default=0.0)
        for each in round_.asked:
            page = pages[_key(each)]
            if isinstance(page, _Page):
                outcome = self._outcome(each, page, frozen, len(round_.asked), started_at)
                if len(outcome.record) > MOST_PAGE_BYTES:
                    round_.refused.append(_too_large(each.entry, len(outcome.record)))
                    continue
                round_.members.append(each.entry.member)
                round_.outcomes.append(outcome)
            elif page.verdict == "permanent" or self._given_up(place, each.entry.member.id, page, bool(answers)):
                round_.refused.append(refused_by(each.entry, page, alone=True))
            else:
                round_.postponed = page

    def _given_up(self, place: Place, job_id: str, failure: Failure, others: bool) -> bool:
        """Whether a read fails for good by what is no verdict on it: while `others` of its table are answered, or
        writes of it are committed."""
        if failure.cause != "unlisted" or self._desk.breaker.state != "closed":
            return self._lost_too_often(place, job_id, failure)
        suspects = self._desk.troubles.suspects
        others = others or self._desk.store.committed_s(place) < AT_THE_SAME_TIME_S
        return suspects.failed_beside(place.lane, job_id, others=others) == "convict"

    def _lost_too_often(self, place: Place, job_id: str, failure: Failure) -> bool:
        """Whether a read is given up. That the warehouse is away, or a connection breaks, is nothing against it: so
        what this worker has seen is counted, not the tries."""
        if failure.verdict != "unknown" or not failure.taken:
            return False
        lost = self._lost.setdefault(place.lane, Counter())
        lost[job_id] += 1
        return lost[job_id] >= MOST_UNKNOWN

    def _settle(self, place: Place, round_: _Round, frozen: Frozen) -> Turn:
        """Store what is done. What is not stays in the lane, from the first undone message on."""
        if round_.postponed is None:
            self._lost.pop(place.lane, None)
            self._desk.troubles.suspects.over(place.lane)
            left = self._desk.settle(
                place,
                frozen,
                remove=round_.leading(),
                members=round_.members,
                outcomes=round_.outcomes,
                refused=round_.refused,
            )
            if left >= 0:
                self._log(place, round_, frozen)
            return Turn.after(AFTER_POLL_S) if round_.waiting and left > 0 else Turn.of(left)
        done = round_.done()
        delay = self._desk.postpone(
            place,
            frozen,
            [entry.member for entry in round_.ready if entry.member.id not in done],
            round_.postponed,
            attempts=frozen.attempt,
            done=list(zip(round_.members, round_.outcomes, strict=True)),
            refused=round_.refused,
        )
        self._log(place, round_, frozen)
        return Turn.after(delay)

    def _log(self, place: Place, round_: _Round, frozen: Frozen) -> None:
        if not round_.members:
            return
        lines.done(
            place,
            round_.members,
            frozen,
            rows=sum(outcome.brief["rows"] for outcome in round_.outcomes),
            statement=" ".join(round_.statements) or None,
            ms=round(round_.seconds * 1000, 1),
        )

    def _ask(self, place: Place, entry: Entry) -> _Asked:
        if entry.error is not None:
            raise entry.error
        job = entry.job
        assert isinstance(job, Read)
        table = self._tables.get(place.table, max_age_s=_age_s(job))
        try:
            return _asked(entry, job, table)
        except ValueProblem as exc:
            if self._tables.changed(table) is not None:
                return self._ask(place, entry)
            problems = Problems()
            problems.add_value(exc, ())
            raise problems.as_invalid_job(f"read {place.table}") from exc

    def _page(self, asked: _Asked) -> _Page | Failure:
        """One page, read now. The table is described again if it lost a column since it was."""
        try:
            if asked.job.limit == 0:
                answer = self._execute(statements.count(asked.table, asked.job))
                return _Page([], int(answer.rows[0][0]), answer)
            answer = self._execute(asked.statement)
            decoders = [decoder(column.type) for column in asked.columns]
            names = [column.name for column in asked.columns]
            data = [
                {name: decode(value) for name, decode, value in zip(names, decoders, row, strict=False)}
                for row in answer.rows
            ]
            if answer.rows:
                total = int(answer.rows[0][len(names)])
            elif asked.job.offset == 0:
                total = 0
            else:
                total = int(self._execute(statements.count(asked.table, asked.job)).rows[0][0])
        except StatementFailed as exc:
            if exc.failure.cause in ("shape", "missing"):
                self._tables.forget(asked.table.name)
            return exc.failure
        except (ValueError, OverflowError, TypeError) as exc:  # a value Python has no type for, such as the year 10000
            return Failure("permanent", "unlisted", "UNREADABLE_VALUE", None, type(exc).__name__)
        return _Page(data, total, answer)

    def _outcome(self, asked: _Asked, page: _Page, frozen: Frozen, jobs: int, started_at: str) -> Outcome:
        receipt: dict[str, Any] = self._desk.receipt(
            frozen, jobs=jobs, rows=len(page.data), answer=page.answer, started_at=started_at
        )
        receipt["columns"] = {column.name: _shown_type(column) for column in asked.columns}
        if asked.job.limit == 0 and (required := [column.name for column in asked.table.required]):
            receipt["required"] = required
        if asked.job.offset and not asked.job.order_by:
            receipt["warnings"] = [UNSTABLE]
        return records.page(
            asked.entry.member,
            data=page.data,
            total=page.total,
            receipt=receipt,
            finished_at=receipt["finished_at"],
        )


def _age_s(job: Read) -> float | None:
    """How old the description of a table may be. Without rows a read asks what the table looks like, and how many rows
    there are."""
    if job.limit == 0:
        return YOUNG_S
    return STAR_AGE_S if job.columns == EVERY_COLUMN else None


def _too_large(entry: Entry, size: int) -> Refusal:
    problems = Problems()
    told = f"the page is {size:,} bytes, a result holds {MOST_PAGE_BYTES:,}"
    problems.add("too_large", ("limit",), f"{told}: ask for fewer rows or columns")
    return invalid(entry, problems.as_invalid_job(f"read {entry.member.table}"))


def _asked(entry: Entry, job: Read, table: Table) -> _Asked:
    columns = statements.read_columns(table, job)
    return _Asked(entry, job, table, tuple(columns), statements.select(table, job, columns))


def _key(asked: _Asked) -> tuple[str, tuple[tuple[str, str | None], ...]]:
    return str(asked.statement.sql), tuple(asked.statement.parameters.items())


def _shown_type(column: Column) -> str:
    return "STRING" if isinstance(column.type, Unsupported) else column.type.sql
