"""The breaker before the warehouse: who may send when, told by an injected clock. The warehouse is a stand-in."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from lakequeue.identifiers import TableName

from tasks import statements, verdicts
from tasks.sql import Statement
from tasks.verdicts import Failure
from worker.breaker import Breaker
from worker.warehouse import Answer, StatementFailed

WORK = statements.describe(TableName.parse("a.b.c"))
DONE = Answer("s", None, (), (), 0.0)
AWAY = verdicts.never_sent("refused")
LOST = verdicts.answer_lost("ProtocolError")


class Warehouse:
    """Answers, or fails with what it is told to."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.sent: list[Statement] = []
        self.now = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def execute(self, statement: Statement) -> Answer:
        self.sent.append(statement)
        self.meanwhile()
        if self.failure is not None:
            raise StatementFailed(self.failure)
        return DONE

    def breaker(self, *, jitter: Callable[[], float] = lambda: 1.0) -> Breaker:
        return Breaker(self.execute, first_s=1.0, longest_s=60.0, clock=lambda: self.now, jitter=jitter)


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


def fails(breaker: Breaker) -> Failure:
    with pytest.raises(StatementFailed) as raised:
        breaker.execute(WORK)
    return raised.value.failure


def test_an_outage_opens_it_and_nothing_is_sent_until_the_wait_is_over(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = AWAY
    fails(breaker)
    assert (breaker.state, breaker.wait_s(), len(warehouse.sent)) == ("open", 1.0, 1)
    assert fails(breaker).code == "WAREHOUSE_AWAY"
    assert len(warehouse.sent) == 1
    warehouse.now = 1.0
    assert (breaker.state, breaker.wait_s()) == ("half_open", 0.0)


def test_the_probe_is_a_short_statement_and_the_one_in_hand_follows_it(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = AWAY
    fails(breaker)
    warehouse.now, warehouse.failure = 1.0, None
    assert breaker.execute(WORK) is DONE
    assert [str(each.sql) for each in warehouse.sent[1:]] == [str(statements.who_and_when().sql), str(WORK.sql)]
    assert breaker.state == "closed"


def test_a_probe_that_fails_says_that_the_statement_was_not_sent(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = AWAY
    fails(breaker)
    warehouse.now, warehouse.failure = 1.0, LOST
    assert fails(breaker).verdict == "transient"
    assert len(warehouse.sent) == 2
    assert breaker.state == "half_open"  # a lost answer says nothing of the warehouse


def test_one_probe_at_a_time(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = AWAY
    fails(breaker)
    warehouse.now, warehouse.failure = 1.0, None
    others: list[str] = []

    def another() -> None:
        warehouse.meanwhile = lambda: None
        thread = threading.Thread(target=lambda: others.append(fails(breaker).code))
        thread.start()
        thread.join()

    warehouse.meanwhile = another
    breaker.execute(WORK)
    assert others == ["WAREHOUSE_AWAY"]


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (verdicts.of_http(429, ""), "open"),
        (verdicts.of_http(503, ""), "open"),
        (AWAY, "open"),
        (LOST, "closed"),
        (verdicts.of_statement("[CAST_INVALID_INPUT] x SQLSTATE: 22018"), "closed"),
        (verdicts.of_statement("[DELTA_CONCURRENT_APPEND] x SQLSTATE: 2D521"), "closed"),
        (verdicts.of_statement("Invalid SessionHandle"), "closed"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.error_class,
)
def test_only_what_says_that_the_warehouse_is_away_opens_it(warehouse: Warehouse, failure: Failure, state: str) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = failure
    fails(breaker)
    assert breaker.state == state


def test_those_under_way_when_it_opened_do_not_lengthen_the_wait(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = AWAY
    failures = 0

    def another() -> None:
        nonlocal failures
        failures += 1
        if failures < 8:
            fails(breaker)  # it was let pass before the first one failed

    warehouse.meanwhile = another
    fails(breaker)
    assert (failures, breaker.wait_s()) == (8, 1.0)


def test_ten_minutes_of_outage_are_a_few_dozen_probes_however_many_tables_wait(warehouse: Warehouse) -> None:
    chance = random.Random(7)
    breaker = warehouse.breaker(jitter=chance.random)
    warehouse.failure = AWAY
    while warehouse.now < 600:
        for _ in range(50):
            fails(breaker)
        warehouse.now += 0.1
    # Waits grow to 60 s; with full jitter half of that on average.
    assert 10 < len(warehouse.sent) < 60
    warehouse.failure = None
    warehouse.now += 60
    assert breaker.execute(WORK) is DONE


UNLISTED = verdicts.of_statement("[INTERNAL_ERROR] x SQLSTATE: XX000")
PROBE = str(statements.who_and_when().sql)


def test_an_error_that_only_one_statement_meets_leaves_it_closed(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()

    def only_work() -> None:
        warehouse.failure = None if str(warehouse.sent[-1].sql) == PROBE else UNLISTED

    warehouse.meanwhile = only_work
    assert fails(breaker) == UNLISTED
    assert [str(each.sql) for each in warehouse.sent] == [str(WORK.sql), PROBE]
    assert breaker.state == "closed"


def test_an_error_that_a_probe_meets_too_is_the_warehouses_and_opens_it(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = UNLISTED
    assert fails(breaker) == UNLISTED  # what was sent has to be proved, so it keeps its verdict
    assert (breaker.state, len(warehouse.sent)) == ("open", 2)
    warehouse.now = 1.0
    assert fails(breaker).cause == "warehouse"  # its probe fails: nothing more is sent
    assert (breaker.state, len(warehouse.sent)) == ("open", 3)
    warehouse.now, warehouse.failure = 10.0, None
    assert breaker.execute(WORK) is DONE
    assert breaker.state == "closed"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_only_one_statement_meets_holds_up_no_other(warehouse: Warehouse, status: int) -> None:
    breaker = warehouse.breaker()
    refused = verdicts.of_http(status, "")

    def only_work() -> None:
        warehouse.failure = None if str(warehouse.sent[-1].sql) == PROBE else refused

    warehouse.meanwhile = only_work
    failure = fails(breaker)
    assert (failure.verdict, failure.cause, failure.unexplained) == ("transient", "unlisted", True)
    assert not failure.needs_operator
    assert breaker.state == "closed"


def test_a_refusal_that_a_probe_meets_too_opens_it(warehouse: Warehouse) -> None:
    breaker = warehouse.breaker()
    warehouse.failure = verdicts.of_http(403, "")
    assert fails(breaker).needs_operator
    assert breaker.state == "open"
