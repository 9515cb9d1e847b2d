"""What a lost answer does not do: give up a job that is not at fault, or change what a job is told."""

from __future__ import annotations

import time

import pytest
import redis
from lakequeue import JobFailed, Queue, keys

from tasks.statements import timestamp_text
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import StartProxy
from tests.fix_worker import StartWorker
from tests.support import CONFLICT, QUICK, TABLE, ids, job, make_tables, script_sha, sql, until
from worker.store import Store, Token


def test_a_job_whose_answer_was_lost_once_is_not_given_up_because_it_was_tried_before(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    insert = {"on": "ExecuteStatement", "match": "^INSERT"}
    warehouse.fault({**insert, **CONFLICT, "times": 2}, {**insert, "times": 1, "action": "drop_before"})
    assert queue.enqueue(job(1)).result(timeout=30).count == 1
    assert ids(warehouse) == [0, 1]


def test_a_job_whose_requests_are_cut_off_again_and_again_is_not_at_fault(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 4, "action": "drop_before"})
    assert queue.enqueue(job(1)).result(timeout=60).count == 1
    assert ids(warehouse) == [0, 1]


def test_an_unprovable_delete_whose_count_fails_at_the_repeat_keeps_its_outcome(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    at = {"on": "ExecuteStatement", "times": 1}
    warehouse.fault(
        {**at, "match": "^MERGE", "action": "drop_after"},
        {**at, "match": "^SELECT.*explode", "after": 1, **CONFLICT},
    )
    deleted = queue.delete("shop.sales.events", key={"id": 0}, soft=False, must_exist=True)
    assert deleted.result(timeout=30).count == 1
    assert warehouse.injected()["error"] == 1
    assert ids(warehouse) == []


def test_an_unprovable_batch_whose_repeat_meets_a_conflict_keeps_its_outcomes(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    merge = {"on": "ExecuteStatement", "match": "^MERGE", "times": 1}
    warehouse.fault({**merge, "action": "drop_before"}, {**merge, **CONFLICT})
    deleted = queue.delete("shop.sales.events", key={"id": 0}, soft=False, must_exist=True)
    assert deleted.result(timeout=30).count == 1
    assert warehouse.injected()["error"] == 1
    assert ids(warehouse) == []


def test_an_unprovable_batch_whose_owner_died_keeps_its_outcomes_when_it_is_halved(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, "shop.sales.plain", columns="id BIGINT, a STRING")
    first = start_worker(LAKEQUEUE_LINGER_S="0.5", **QUICK)
    queue.write("shop.sales.plain", [{"id": 9, "a": "x"}]).result(timeout=30)
    at = {"on": "ExecuteStatement", "times": 1}
    warehouse.fault({**at, "match": "^MERGE", "action": "drop_after"}, {**at, "match": "^DESCRIBE", "action": "hold"})
    handles = [
        queue.write("shop.sales.plain", [{"id": i, "a": "x"}], mode="insert_if_absent", key_columns="id")
        for i in range(4)
    ]
    until(lambda: warehouse.held() == 1, "its proof begins")
    first.kill()
    warehouse.release()
    start_worker(**QUICK)
    assert [handle.result(timeout=30).count for handle in handles] == [1, 1, 1, 1]


def test_the_same_message_twice_is_one_job_in_a_repeat_too(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    start_worker(**QUICK).stop()
    twice = queue.enqueue(job(1))
    with redis.Redis.from_url(redis_url) as client:
        lane = keys.jobs(keys.lane_of("write", TABLE))
        client.rpush(lane, *client.lrange(lane, 0, 0))
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_before"})
    start_worker(**QUICK)
    assert twice.result(timeout=30).count == 1
    assert ids(warehouse) == [1]


def test_a_worker_that_dies_while_it_freezes_anew_forgets_no_condition(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, start_proxy: StartProxy
) -> None:
    """A job turns out to be cancelled when its batch is frozen; the batch is frozen without it, or would have been."""
    first = start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    first.stop()
    missing = queue.delete(TABLE, key={"id": 77}, must_exist=True)
    cancelled = queue.delete(TABLE, key={"id": 78})
    proxy = start_proxy(int(redis_url.split(":")[2].split("/")[0]))
    hold = proxy.hold_replies(after=script_sha("freeze"))
    with redis.Redis.from_url(redis_url) as client:
        Store(client, Token("operator")).revoke([cancelled.id], reason="revoked", expires_s=60)
    second = start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url, **QUICK)
    assert hold.held.wait(40)
    second.kill()
    start_worker(**QUICK)
    with pytest.raises(JobFailed, match="no row has this key"):
        missing.result(timeout=30)


@pytest.mark.parametrize(
    ("more", "repeat"),
    [
        pytest.param([], "INSERT", id="INSERT"),
        pytest.param([{"mode": "upsert", "key_columns": "id"}], "MERGE", id="MERGE"),
    ],
)
def test_a_first_send_that_commits_after_all_is_not_doubled_by_its_repeat(
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
    redis_url: str,
    more: list[dict[str, str]],
    repeat: str,
) -> None:
    """As a warehouse would do that does not keep to its time limit: the proof found nothing, and then it is there."""
    start_worker(LAKEQUEUE_LINGER_S="0.5", **{**QUICK, "LAKEQUEUE_START_WITHIN_S": "5"})
    queue.enqueue(job(0)).result(timeout=30)
    sent = {"on": "ExecuteStatement", "match": f"^{repeat}"}
    warehouse.fault({**sent, "times": 1, "action": "drop_before"}, {**sent, "times": 1, "action": "hold"})
    others = [{"kind": "write", "table": TABLE, "data": [{"id": 2}], **fields} for fields in more]
    handles = list(queue.enqueue_many([job(1), *others]))
    until(lambda: warehouse.held() == 1, "its repeat is on the way", 60)
    with redis.Redis.from_url(redis_url) as client:
        stamp = client.hget(keys.frozen(keys.lane_of("write", TABLE)), "stamp")
    at = f"CAST('{timestamp_text(int(stamp or 0))}' AS TIMESTAMP)"
    rows = ", ".join(f"({i}, {at}, {at}, '{handle.id}')" for i, handle in enumerate(handles, 1))
    sql(warehouse, f"INSERT INTO {TABLE} (id, created_at, updated_at, _job_id) VALUES {rows}")
    warehouse.release()
    assert [handle.result(timeout=30).count for handle in handles] == [1] * len(handles)
    assert ids(warehouse) == list(range(len(handles) + 1))


def test_what_was_sent_to_a_table_that_was_made_anew_since_is_unknown(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse
) -> None:
    start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    at = {"on": "ExecuteStatement", "times": 1}
    warehouse.fault({**at, "match": "^INSERT", "action": "drop_before"}, {**at, "match": "^DESCRIBE", "action": "hold"})
    lost = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "it is looked whether the table is the same")
    sql(warehouse, f"DROP TABLE {TABLE}")
    make_tables(warehouse, TABLE)
    warehouse.release()
    with pytest.raises(JobFailed) as failed:
        lost.result(timeout=30)
    assert failed.value.details["error"] == "UNPROVABLE"
    assert queue.dead_letters.get(lost.id).committed == "unknown"
    assert ids(warehouse) == []


def test_an_answer_is_not_lost_for_the_sake_of_the_tries_before_it(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, start_proxy: StartProxy
) -> None:
    """Redis is away for two seconds when a second try is committed, in a table in which nothing can be proved."""
    make_tables(warehouse, TABLE, columns="id BIGINT")
    insert = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1}
    warehouse.fault({**insert, **CONFLICT}, {**insert, "action": "hold"})
    proxy = start_proxy(int(redis_url.split(":")[2].split("/")[0]))
    worker = start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url, LAKEQUEUE_LEASE_TTL_S="30")
    second = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "the second try is under way")
    proxy.refuse()
    proxy.cut()
    warehouse.release()
    until(lambda: ids(warehouse) == [1], "it is committed")
    over = time.monotonic() + 2
    until(lambda: time.monotonic() > over and "ConnectionError" in worker.text(), "Redis is missed")
    proxy.accept()
    assert second.result(timeout=30).count == 1
    assert ids(warehouse) == [1]
