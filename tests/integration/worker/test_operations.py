"""What an operator asks: `Queue.operations` tells of real batches under way, waiting, failed and done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from lakequeue import JobFailed, Queue, UnknownJob, keys
from lakequeue.table_states import TableState

from tests.fix_celery_app import SendLater
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import CONFLICT, PATIENT, TABLE, job, make_tables, until, until_it_waits

WAITING = "shop.sales.waiting"
FAILING = "shop.sales.failing"
SECRET = "planted-value-8c1f"


def counts(state: TableState) -> tuple[int, int, int, int]:
    return state.queued, state.running, state.retrying, state.dead


def test_every_job_is_counted_once_where_it_is(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker, send_later: SendLater
) -> None:
    """Under way, behind it, waiting for another try, failed for good, delayed: each is one of these."""
    make_tables(warehouse, TABLE, WAITING, FAILING)
    conflict = {"match": "^INSERT.*waiting`", **CONFLICT}
    warehouse.fault({"match": "^INSERT.*events`", "times": 1, "action": "hold"}, conflict)
    before = datetime.now(UTC)
    running = list(queue.enqueue_many(job(i) for i in range(3)))
    waiting = list(queue.enqueue_many(job(i, WAITING) for i in range(4)))
    failing = queue.write(FAILING, [{"nope": SECRET}])
    send_later(TABLE)
    start_worker(**PATIENT)
    with pytest.raises(JobFailed):
        failing.result(timeout=30)
    until(lambda: warehouse.held() == 1, "the statement is held")
    until_it_waits(waiting[0], 300)
    behind = list(queue.enqueue_many(job(i) for i in range(10, 12)))

    until(lambda: queue.operations.overview().delayed == 1, "the delayed job is taken in")
    found = queue.operations.overview()
    assert [each.table for each in found.tables] == [TABLE, FAILING, WAITING]
    events, _, waits = found.tables
    assert [counts(each) for each in found.tables] == [(2, 3, 0, 0), (0, 0, 0, 1), (0, 0, 4, 0)]
    assert (found.dead, found.delayed, found.workers, found.unowned) == (1, 1, 1, 0)
    assert (waits.error, waits.attempts) == ("DELTA_CONCURRENT_APPEND", 1)
    assert waits.next_try_at is not None
    assert waits.next_try_at > before
    assert events.owner == "w0@test"
    assert events.oldest_at is not None
    assert before <= events.oldest_at
    assert events.last_commit_at is None
    assert events.running_since is not None
    assert before <= events.running_since
    assert waits.running_since is None
    for each in found.tables:
        assert queue.operations.table(each.table) == each

    states = [(each.state, each.table) for each in queue.operations.jobs(table=TABLE)]
    assert states == [("STARTED", TABLE)] * 3 + [("QUEUED", TABLE)] * 2
    assert [each.id for each in queue.operations.jobs(states=frozenset({"RETRY"}))] == [each.id for each in waiting]
    assert [(each.id, each.error) for each in queue.operations.jobs(states=frozenset({"FAILURE"}))] == [
        (failing.id, "INVALID_JOB")
    ]

    warehouse.clear_faults()
    warehouse.release()
    for handle in (*running, *behind):
        handle.result(timeout=30)
    done = queue.operations.table(TABLE)
    assert counts(done) == (0, 0, 0, 0)
    assert done.oldest_at is None
    assert done.last_commit_at is not None
    assert done.last_commit_at > before


def test_the_oldest_is_the_first_of_what_waits_or_runs(queue: Queue) -> None:
    first = queue.write(TABLE, [{"id": 1}])
    queue.write(TABLE, [{"id": 2}])
    queue.read(TABLE)
    state = queue.operations.table(TABLE)
    assert (state.queued, state.owner) == (3, None)
    at = queue.operations.history(first.id).enqueued_at
    assert at is not None
    assert state.oldest_at == datetime.fromisoformat(at)


def test_a_table_that_nothing_is_known_of_is_empty(queue: Queue) -> None:
    assert queue.operations.table("main.s.never") == TableState("main.s.never")
    assert queue.operations.overview().tables == []
    assert list(queue.operations.jobs()) == []


def test_jobs_that_ended_are_listed_newest_first_and_by_age(queue: Queue, worker: Worker) -> None:
    done = [queue.enqueue(job(i)) for i in range(5)]
    for handle in done:
        handle.result(timeout=30)
    ended = [each.id for each in queue.operations.jobs(table=TABLE)]
    assert sorted(ended) == sorted(each.id for each in done)
    assert ended[0] == done[-1].id
    assert len(list(queue.operations.jobs(table=TABLE, limit=2))) == 2
    assert len(list(queue.operations.jobs(table=TABLE, since_s=60))) == 5
    assert list(queue.operations.jobs(table=TABLE, since_s=0.0)) == []


def test_the_history_of_a_job_tells_each_try_and_the_statement(
    queue: Queue, warehouse: LocalWarehouse, worker: Worker
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 2, **CONFLICT})
    handle = queue.write(TABLE, [{"id": 1}])
    receipt = handle.result(timeout=30).receipt
    told = queue.operations.history(handle.id)
    assert (told.state, told.table, told.op, told.rows) == ("SUCCESS", TABLE, "write", 1)
    assert [each["error"] for each in told.tries] == ["DELTA_CONCURRENT_APPEND"] * 2
    assert [each["attempt"] for each in told.tries] == [1, 2]
    times = [told.enqueued_at, *(each["at"] for each in told.tries), told.receipt["started_at"], told.ended_at]
    assert times == sorted(times)
    assert told.receipt["statement"] == receipt.statement
    assert [each["text"][:6] for each in warehouse.statements() if each["id"] == receipt.statement] == ["INSERT"]


def test_the_history_of_a_failed_job_names_its_error_and_no_value(
    queue: Queue, warehouse: LocalWarehouse, worker: Worker
) -> None:
    make_tables(warehouse, TABLE)
    handle = queue.write(TABLE, [{"id": SECRET}])
    with pytest.raises(JobFailed):
        handle.result(timeout=30)
    told = queue.operations.history(handle.id)
    assert (told.state, told.now["error"], told.now["committed"]) == ("FAILURE", "INVALID_JOB", "not_committed")
    assert SECRET not in repr(told)


def test_a_history_survives_the_jobs_record(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, worker: Worker
) -> None:
    """Its record expires after a day; its dead letter is still there."""
    make_tables(warehouse, TABLE)
    handle = queue.write(TABLE, [{"nope": 1}])
    with pytest.raises(JobFailed):
        handle.result(timeout=30)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(keys.record(handle.id))
    told = queue.operations.history(handle.id)
    assert (told.state, told.table, told.now["error"]) == ("FAILURE", TABLE, "INVALID_JOB")


def test_a_job_that_is_not_known_has_no_history(queue: Queue) -> None:
    with pytest.raises(UnknownJob, match="no-such-job"):
        queue.operations.history("no-such-job")


def test_errors_are_counted_by_class_and_table_with_an_example(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, WAITING, FAILING)
    warehouse.fault({"match": "^INSERT.*waiting`", **CONFLICT})
    waiting = list(queue.enqueue_many(job(i, WAITING) for i in range(3)))
    failing = [queue.write(FAILING, [{"nope": i}]) for i in range(2)]
    start_worker(**PATIENT)
    for handle in failing:
        with pytest.raises(JobFailed):
            handle.result(timeout=30)
    until_it_waits(waiting[0], 300)
    found = queue.operations.errors(since_s=600)
    assert [(each.state, each.error, each.table) for each in found] == [
        ("FAILURE", "INVALID_JOB", FAILING),
        ("RETRY", "DELTA_CONCURRENT_APPEND", WAITING),
    ]
    assert [each.count for each in found] == [2, 3]
    assert found[0].example in {each.id for each in failing}
    assert found[1].example in {each.id for each in waiting}
    assert queue.operations.errors(since_s=600, table=WAITING) == found[1:]


def test_costs_are_the_statements_that_the_warehouse_had(
    queue: Queue, warehouse: LocalWarehouse, worker: Worker
) -> None:
    before = warehouse.counts()
    for handle in [queue.enqueue(job(i)) for i in range(20)]:
        handle.result(timeout=30)
    sent = warehouse.counts() - before

    def told() -> list[Any]:
        return queue.operations.costs(since_s=3600)

    until(lambda: sum(each.jobs for each in told()) == 20, "the worker told its costs")
    (cost,) = told()
    assert (cost.table, cost.statements, cost.rows) == (TABLE, sent.total(), 20)
    assert cost.warehouse_s > 0


def test_a_worker_tells_of_itself_and_is_gone_when_it_died(queue: Queue, start_worker: StartWorker) -> None:
    first, second = start_worker(), start_worker()
    until(lambda: [each.partitions for each in queue.operations.workers()] == [32, 32], "both have their share")
    until(lambda: all(each.told for each in queue.operations.workers()), "both told of themselves")
    found = queue.operations.workers()
    assert [each.name for each in found] == ["w0@test", "w1@test"]
    assert [each.told["pid"] for each in found] == [first.pid, second.pid]
    assert all(each.renewed_s is not None and each.renewed_s <= 2 for each in found)
    assert all(each.told["warehouse"] == "up" for each in found)
    first.kill()
    until(lambda: [each.partitions for each in queue.operations.workers()] == [64], "the other has all")
    second.stop()
    assert queue.operations.workers() == []
