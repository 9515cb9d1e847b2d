"""What a worker counts: jobs, batches, statements, errors. Told by the lanes, read by metrics, pulse and operators."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tasks.records import Member, Outcome
from tasks.sql import Statement
from worker.warehouse import Answer, StatementFailed

OTHER = "other"
"""In the place of a table or an error of which there are too many, and of what is none."""

OPS = frozenset(("write", "update", "delete", "read"))

MOST_TABLES = 500
MOST_ERRORS = 100

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Bounds of the buckets of times."""

SIZES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 50_000.0)
"""Bounds of the buckets of batches."""

RATE_S = 60.0
"""Rates are those of so many seconds."""


@dataclass(slots=True)
class Distribution:
    """How often values fell between bounds; the last count is of those beyond all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Distribution:
        same = Distribution(self.bounds)
        same.counts, same.total = list(self.counts), self.total
        return same


@dataclass(slots=True)
class Counted:
    """What was counted since the worker's start."""

    jobs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By table, kind of job and state."""

    retries: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """By class of error: jobs' tries, dead letters, statements."""

    statements: Counter[str] = field(default_factory=Counter)
    warehouse_s: dict[str, float] = field(default_factory=dict)
    """By table."""

    statement_s: dict[str, Distribution] = field(default_factory=dict)
    """By kind of statement."""

    queue_s: dict[str, Distribution] = field(default_factory=dict)
    """By kind of job."""

    batch_jobs: Distribution = field(default_factory=lambda: Distribution(SIZES))
    batch_rows: Distribution = field(default_factory=lambda: Distribution(SIZES))

    def copy(self) -> Counted:
        return Counted(
            self.jobs.copy(),
            self.retries.copy(),
            self.dead.copy(),
            self.failures.copy(),
            self.statements.copy(),
            self.warehouse_s.copy(),
            {kind: each.copy() for kind, each in self.statement_s.items()},
            {op: each.copy() for op, each in self.queue_s.items()},
            self.batch_jobs.copy(),
            self.batch_rows.copy(),
        )


class Figures:
    """May be used by several threads. All of it counts from the worker's start and never grows beyond its bounds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._counted = Counted()
        self._costs: dict[str, Counter[str]] = {}
        self._tables: set[str] = set()
        self._errors: set[str] = set()
        self._done: deque[tuple[float, int, int]] = deque()
        self._sums = [0, 0]

    def counted(self) -> Counted:
        """A copy of one moment: nothing in it changes any more."""
        with self._lock:
            return self._counted.copy()

    def measured(self, execute: Callable[[Statement], Answer]) -> Callable[[Statement], Answer]:
        """The same sending of statements, each counted with its time: also such as failed, or whose answer was lost,
        but not what the warehouse never began."""

        def measuring(statement: Statement) -> Answer:
            began = self._clock()
            try:
                answer = execute(statement)
            except StatementFailed as exc:
                with self._lock:
                    self._counted.failures[self._error(exc.failure.code)] += 1
                if not exc.failure.never_ran:
                    self._sent(statement, self._clock() - began)
                raise
            self._sent(statement, self._clock() - began)
            return answer

        return measuring

    def _sent(self, statement: Statement, seconds: float) -> None:
        with self._lock:
            table = self._table(statement.table)
            counted = self._counted
            counted.statements[table] += 1
            counted.warehouse_s[table] = counted.warehouse_s.get(table, 0.0) + seconds
            counted.statement_s.setdefault(statement.kind, Distribution(SECONDS)).add(seconds)
            cost = self._costs.setdefault(statement.table, Counter())
            cost["statements"] += 1
            cost["ms"] += round(seconds * 1000)
            self._sums[1] += 1

    def notify(
        self, happened: str, members: Sequence[Member], outcomes: Sequence[Outcome], /, *, batch: str = ""
    ) -> None:
        """Told what happened to jobs, as events are."""
        if not members:
            return
        match happened:
            case "started":
                self._started(members)
            case "settled":
                self._settled(members, outcomes)
            case "revoked" | "expired" | "purged":
                with self._lock:
                    for member in members:
                        self._counted.jobs[self._table(member.table), _op(member.task), "REVOKED"] += 1
            case "kept":
                with self._lock:
                    for outcome in outcomes:
                        self._counted.dead[self._error(outcome.error or "")] += 1

    def _started(self, members: Sequence[Member]) -> None:
        now = time.time()
        ages = [(_op(member.task), age) for member in members if (age := _age_s(member.enqueued_at, now)) is not None]
        with self._lock:
            self._counted.batch_jobs.add(len(members))
            self._counted.batch_rows.add(sum(member.rows for member in members))
            for op, age in ages:
                self._counted.queue_s.setdefault(op, Distribution(SECONDS)).add(age)

    def _settled(self, members: Sequence[Member], outcomes: Sequence[Outcome]) -> None:
        counts = Counter(
            (member.table, member.task, outcome.state, outcome.error)
            for member, outcome in zip(members, outcomes, strict=True)
        )
        rows = sum(m.rows for m, o in zip(members, outcomes, strict=True) if o.state == "SUCCESS")
        with self._lock:
            for (table, task, state, error), count in counts.items():
                self._counted.jobs[self._table(table), _op(task), state] += count
                if state == "RETRY":
                    self._counted.retries[self._error(error or "")] += count
                elif state == "FAILURE":
                    self._counted.dead[self._error(error or "")] += count
                if state != "RETRY":
                    self._costs.setdefault(table, Counter())["jobs"] += count
                    self._sums[0] += count
            self._costs.setdefault(members[0].table, Counter())["rows"] += rows

    def take_costs(self) -> dict[str, Counter[str]]:
        """What was counted by table since it was taken last."""
        with self._lock:
            taken, self._costs = self._costs, {}
        return taken

    def give_back(self, costs: dict[str, Counter[str]]) -> None:
        """Costs that could not be told."""
        with self._lock:
            for table, cost in costs.items():
                self._costs.setdefault(table, Counter()).update(cost)

    def rates(self) -> tuple[float, float]:
        """Finished jobs and statements a second, lately: of the last minute, or since the start."""
        with self._lock:
            now = self._clock()
            self._done.append((now, self._sums[0], self._sums[1]))
            while len(self._done) > 2 and now - self._done[1][0] >= RATE_S:
                self._done.popleft()
            then, jobs, statements = self._done[0]
            passed = now - then
            if passed <= 0:
                return 0.0, 0.0
            return (self._sums[0] - jobs) / passed, (self._sums[1] - statements) / passed

    def ended(self) -> dict[str, int]:
        """How many jobs ended here, by state."""
        with self._lock:
            totals = Counter[str]()
            for (_, _, state), count in self._counted.jobs.items():
                totals[state] += count
        return {state: totals[state] for state in ("SUCCESS", "FAILURE", "REVOKED")}

    def _table(self, table: str) -> str:
        return bounded(table, self._tables, MOST_TABLES)

    def _error(self, error: str) -> str:
        return bounded(error, self._errors, MOST_ERRORS)


def bounded(name: str, known: set[str], most: int) -> str:
    """The name, if it is one of the first so many; `known` are those."""
    if not name:
        return OTHER
    if name in known:
        return name
    if len(known) >= most:
        return OTHER
    known.add(name)
    return name


def _op(task: str) -> str:
    op = task.removeprefix("records.")
    return op if op in OPS else OTHER  # anyone may send a task of any name


def _age_s(enqueued_at: str, now: float) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(enqueued_at).timestamp())
    except ValueError:
        return None
