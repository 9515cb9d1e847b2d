"""What an operator does: a table is paused, jobs are cancelled, a table is purged, while workers run and die."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import redis
from lakequeue import Handle, JobFailed, Queue, UnknownJob, keys

from tests.fix_celery_app import SendLater
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import CONFLICT, PATIENT, QUICK, TABLE, ids, job, make_tables, sql, until, until_it_waits

OTHER = "shop.sales.other"


def states(handles: list[Handle]) -> set[str]:
    return {handle.status().state for handle in handles}


def ended(queue: Queue, table: str = TABLE) -> None:
    until(lambda: queue.operations.table(table).waiting == 0, f"nothing of {table} waits")


def test_a_paused_table_begins_nothing_until_it_is_resumed(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """A restart of the worker changes nothing, and other tables go on."""
    make_tables(warehouse, TABLE, OTHER)
    paused = queue.operations.pause(TABLE)
    assert paused.paused_since is not None
    waiting = [*queue.enqueue_many(job(i) for i in range(3)), queue.read(TABLE)]
    first = start_worker()
    queue.enqueue(job(1, OTHER)).result(timeout=30)
    assert first.stop() == 0
    second = start_worker()
    queue.enqueue(job(2, OTHER)).result(timeout=30)
    assert states(waiting) == {"QUEUED"}
    assert queue.operations.pause(TABLE).paused_since == paused.paused_since
    assert queue.operations.resume(TABLE)
    for handle in waiting:
        handle.result(timeout=30)
    assert not queue.operations.resume(TABLE)
    assert ids(warehouse) == [0, 1, 2]
    assert second.stop() == 0


def test_a_batch_under_way_is_finished_though_its_table_is_paused_and_its_worker_dies(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "hold"})
    worker = start_worker(**QUICK)
    under_way = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the statement is held")
    queue.operations.pause(TABLE)
    behind = queue.enqueue(job(2))
    worker.kill()
    warehouse.release()
    start_worker(**QUICK)
    under_way.result(timeout=30)
    until(lambda: queue.operations.table(TABLE).running == 0, "nothing runs any more")
    assert behind.status().state == "QUEUED"
    assert ids(warehouse) == [1]
    queue.operations.resume(TABLE)
    behind.result(timeout=30)


def test_what_waits_for_another_try_waits_on_while_its_table_is_paused(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE, OTHER)
    warehouse.fault({"match": "^INSERT.*events`", **CONFLICT})
    start_worker(LAKEQUEUE_BACKOFF_FIRST_S="4", LAKEQUEUE_BACKOFF_LONGEST_S="4")
    waiting = queue.enqueue(job(1))
    until_it_waits(waiting, 2)
    queue.operations.pause(TABLE)
    until(lambda: queue.operations.table(TABLE).running == 0, "no try is under way")
    warehouse.clear_faults()
    next_try = datetime.fromisoformat(waiting.status().detail["next_try"])
    until(lambda: datetime.now(UTC) > next_try, "it would be tried again")
    for i in range(5):  # turns of the worker go by
        queue.enqueue(job(i, OTHER)).result(timeout=30)
    assert waiting.status().state == "RETRY"
    queue.operations.resume(TABLE)
    waiting.result(timeout=30)


def test_a_cancelled_job_never_runs_and_whoever_waits_for_it_hears_so(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker, send_later: SendLater
) -> None:
    make_tables(warehouse, TABLE)
    queue.operations.pause(TABLE)
    jobs = list(queue.enqueue_many(job(i) for i in range(3)))
    delayed = send_later(TABLE)
    start_worker()
    until(lambda: queue.operations.overview().delayed == 1, "the delayed job is taken in")
    assert queue.operations.cancel(jobs[1].id) == "QUEUED"
    assert queue.operations.cancel(delayed.id) == "QUEUED"
    assert queue.operations.cancel(jobs[1].id) == "REVOKED"
    for handle in (jobs[1], delayed):
        with pytest.raises(JobFailed, match="was cancelled"):
            handle.result(timeout=10)
    assert queue.operations.overview().delayed == 0
    queue.operations.resume(TABLE)
    jobs[0].result(timeout=30), jobs[2].result(timeout=30)
    assert ids(warehouse) == [0, 2]
    assert queue.operations.cancel(jobs[0].id) == "SUCCESS"
    with pytest.raises(UnknownJob):
        queue.operations.cancel("no-such-job")


def test_a_job_under_way_is_left_and_one_that_waits_for_a_retry_is_cancelled(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE, OTHER)
    warehouse.fault(
        {"match": "^INSERT.*events`", "times": 1, "action": "hold"}, {"match": "^INSERT.*other`", **CONFLICT}
    )
    start_worker(**PATIENT)
    under_way, waiting = queue.enqueue(job(1)), queue.enqueue(job(1, OTHER))
    until(lambda: warehouse.held() == 1, "the statement is held")
    until_it_waits(waiting, 300)
    assert queue.operations.cancel(under_way.id) == "STARTED"
    assert queue.operations.cancel(waiting.id) == "RETRY"
    warehouse.release()
    under_way.result(timeout=30)
    with pytest.raises(JobFailed, match="was cancelled"):
        waiting.result(timeout=10)


def test_a_purge_takes_what_waits_and_leaves_what_runs_and_what_comes(
    queue: Queue, warehouse: LocalWarehouse, worker: Worker, send_later: SendLater
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "hold"})
    under_way = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the statement is held")
    waiting = list(queue.enqueue_many(job(i) for i in range(100, 2_600)))
    delayed, elsewhere = send_later(TABLE), send_later(OTHER)
    until(lambda: queue.operations.overview().delayed == 2, "the delayed jobs are taken in")
    assert queue.operations.purge(TABLE) == 2_501
    after = list(queue.enqueue_many(job(i) for i in range(2, 5)))
    warehouse.release()
    for handle in (under_way, *after):
        handle.result(timeout=30)
    assert states([*waiting, delayed]) == {"REVOKED"}
    assert elsewhere.status().state == "QUEUED"
    ended(queue)
    assert queue.operations.table(TABLE).discarding == 0
    assert ids(warehouse) == [1, 2, 3, 4]


def test_a_purge_goes_on_where_a_worker_died_and_reaches_a_paused_table(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    queue.operations.pause(TABLE)
    waiting = list(queue.enqueue_many(job(i) for i in range(20_000)))
    assert queue.operations.purge(TABLE) == 20_000
    after = queue.enqueue(job(20_000))
    first = start_worker()
    until(lambda: queue.operations.table(TABLE).discarding < 20_000, "it has begun")
    first.kill()
    start_worker()
    until(lambda: queue.operations.table(TABLE).discarding == 0, "it is done")
    assert states(waiting[::500]) == {"REVOKED"}
    assert after.status().state == "QUEUED"
    assert queue.operations.table(TABLE).queued == 1
    queue.operations.resume(TABLE)
    after.result(timeout=30)
    assert ids(warehouse) == [20_000]


def test_a_purge_lets_be_proved_what_a_dead_worker_had_sent(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "hold"})
    worker = start_worker(**QUICK)
    sent = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the statement is held")
    behind = queue.enqueue(job(2))
    worker.kill()
    assert queue.operations.purge(TABLE) == 1
    warehouse.release()
    start_worker(**QUICK)
    sent.result(timeout=30)
    with pytest.raises(JobFailed, match="was cancelled"):
        behind.result(timeout=30)
    assert ids(warehouse) == [1]


def test_what_may_have_taken_effect_is_neither_cancelled_nor_purged(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """An update was committed and its answer lost; without a stamp it is repeated, and meets a conflict."""
    make_tables(warehouse, TABLE, columns="id BIGINT, note STRING")
    sql(warehouse, f"INSERT INTO {TABLE} VALUES (1, 'old')")
    warehouse.fault({"match": "^MERGE", "times": 1, "action": "drop_after"}, {"match": "^MERGE", **CONFLICT})
    start_worker(**QUICK, LAKEQUEUE_BACKOFF_FIRST_S="4", LAKEQUEUE_BACKOFF_LONGEST_S="4")
    committed = queue.update(TABLE, key={"id": 1}, updates={"note": "new"})
    until_it_waits(committed, 2)
    with redis.Redis.from_url(redis_url) as client:
        assert client.hkeys(keys.counted(keys.lane_of("update", TABLE))) == [committed.id.encode()]
    assert queue.operations.cancel(committed.id) == "STARTED"
    behind = queue.update(TABLE, key={"id": 1}, updates={"note": "newest"})
    assert queue.operations.purge(TABLE) == 2
    warehouse.clear_faults()
    committed.result(timeout=30)
    with pytest.raises(JobFailed, match="was cancelled"):
        behind.result(timeout=30)
    assert sql(warehouse, f"SELECT note FROM {TABLE}") == [("new",)]


def test_a_purge_of_a_table_that_waits_for_a_retry_ends_the_waiting(
    queue: Queue, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """A job that comes later is not held up by what others met."""
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, **CONFLICT})
    start_worker(**PATIENT)
    waiting = queue.enqueue(job(1))
    until_it_waits(waiting, 300)
    assert queue.operations.purge(TABLE) == 1
    with pytest.raises(JobFailed, match="was cancelled"):
        waiting.result(timeout=30)
    queue.enqueue(job(2)).result(timeout=30)
    assert ids(warehouse) == [2]


def test_a_purge_leaves_no_record_behind_for_ever(queue: Queue, redis_url: str, start_worker: StartWorker) -> None:
    queue.operations.pause(TABLE)
    waiting = list(queue.enqueue_many(job(i) for i in range(3)))
    queue.operations.cancel(waiting[0].id)
    queue.operations.purge(TABLE)
    start_worker()
    ended(queue)
    with redis.Redis.from_url(redis_url) as client:
        assert all(0 < client.ttl(keys.record(each.id)) <= 86_400 for each in waiting)
        assert client.hgetall(keys.PURGES) == {}


def test_purging_an_empty_table_does_nothing(queue: Queue) -> None:
    assert queue.operations.purge(TABLE) == 0
    assert queue.operations.table(TABLE).discarding == 0
