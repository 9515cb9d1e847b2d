"""What a worker counts: exactly, whatever threads do, and within bounds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from tasks.records import Member, Outcome
from tasks.sql import Sql, Statement
from tasks.verdicts import Failure
from worker.figures import MOST_ERRORS, MOST_TABLES, OTHER, Figures
from worker.warehouse import Answer, StatementFailed


def member(i: int, table: str, task: str = "records.write") -> Member:
    return Member(f"j{i}", task, table, 2, "", "2026-01-01T00:00:00Z", f"j{i}")


def settle(figures: Figures, i: int, table: str, state: str = "SUCCESS", error: str | None = None) -> None:
    figures.notify("settled", [member(i, table)], [Outcome(f"j{i}", state, "", error)])  # type: ignore[arg-type]


def test_of_too_many_tables_the_rest_is_other_and_sums_stay_exact() -> None:
    figures = Figures()
    for i in range(MOST_TABLES + 100):
        settle(figures, i, f"c.s.t{i}")
        settle(figures, i, f"c.s.t{i}", "FAILURE", "INVALID_JOB")
    settle(figures, 0, f"c.s.t{MOST_TABLES - 1}")
    jobs = figures.counted().jobs
    assert len({table for table, _, _ in jobs}) == MOST_TABLES + 1
    assert jobs[OTHER, "write", "SUCCESS"] == 100
    assert jobs[f"c.s.t{MOST_TABLES - 1}", "write", "SUCCESS"] == 2
    assert jobs.total() == 2 * (MOST_TABLES + 100) + 1


def test_of_too_many_classes_of_errors_the_rest_is_other() -> None:
    figures = Figures()
    for i in range(MOST_ERRORS + 20):
        settle(figures, i, "c.s.t", "FAILURE", f"ERROR_{i}")
        settle(figures, i, "c.s.t", "RETRY", f"ERROR_{i}")
    counted = figures.counted()
    assert (len(counted.dead), counted.dead[OTHER], counted.dead.total()) == (MOST_ERRORS + 1, 20, MOST_ERRORS + 20)
    assert (len(counted.retries), counted.retries[OTHER]) == (MOST_ERRORS + 1, 20)


@pytest.mark.parametrize("task", ["records.frobnicate", "shop.mail.send", ""])
def test_a_task_or_table_that_is_none_is_other(task: str) -> None:
    figures = Figures()
    figures.notify("revoked", [member(1, "", task)], ())
    assert figures.counted().jobs == {(OTHER, OTHER, "REVOKED"): 1}


@pytest.fixture
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_copy_is_of_one_moment_while_threads_count(switching_often: None) -> None:
    """A count without its sum would make a histogram that no reader can take an average of."""
    figures = Figures()
    ending = threading.Event()

    def count(thread: int) -> None:
        i = 0
        while not ending.is_set():
            figures.notify("started", [member(i, f"c.s.t{thread}")], (), batch="b")
            settle(figures, i, f"c.s.t{thread}")
            i += 1

    threads = [threading.Thread(target=count, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        batches = 0
        while batches < 3000:
            counted = figures.counted()
            batches = sum(counted.batch_jobs.counts)
            assert (counted.batch_jobs.total, counted.batch_rows.total) == (batches, 2 * batches)
            assert sum(counted.batch_rows.counts) == batches
            assert batches - 3 <= counted.jobs.total() <= batches
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    counted = figures.counted()
    assert counted.jobs.total() == sum(counted.batch_jobs.counts)


@pytest.mark.parametrize(
    ("failure", "sent"),
    [
        (None, 1),
        (Failure("permanent", "row", "CAST_INVALID_INPUT", None, ""), 1),
        (Failure("transient", "conflict", "DELTA_CONCURRENT_APPEND", None, ""), 1),
        (Failure("unknown", "answer", "ANSWER_LOST", None, ""), 1),
        (Failure("transient", "warehouse", "HTTP_429", None, ""), 0),
        (Failure("transient", "session", "INVALID_SESSION", None, ""), 0),
    ],
    ids=["an answer", "a bad row", "a conflict", "a lost answer", "too many requests", "no session"],
)
def test_a_statement_counts_if_the_warehouse_may_have_begun_it(failure: Failure | None, sent: int) -> None:
    now = iter([10.0, 12.5])
    figures = Figures(clock=lambda: next(now))

    def execute(statement: Statement) -> Answer:
        if failure is not None:
            raise StatementFailed(failure)
        return Answer("s", 1, (), (), 2.5)

    statement = Statement(Sql("SELECT 1"), kind="select", table="c.s.t")
    if failure is None:
        figures.measured(execute)(statement)
    else:
        with pytest.raises(StatementFailed):
            figures.measured(execute)(statement)
    counted = figures.counted()
    assert counted.statements == ({"c.s.t": 1} if sent else {})
    assert counted.warehouse_s == ({"c.s.t": 2.5} if sent else {})
    assert counted.failures == ({failure.code: 1} if failure else {})
    assert sum(figures.take_costs().get("c.s.t", {}).values()) == (2501 if sent else 0)


def test_costs_that_could_not_be_told_are_told_with_the_next() -> None:
    figures = Figures()
    settle(figures, 1, "c.s.t")
    figures.give_back(figures.take_costs())
    settle(figures, 2, "c.s.t")
    assert figures.take_costs() == {"c.s.t": {"jobs": 2, "rows": 4}}
    assert figures.take_costs() == {}
