"""Dead letters and their replays with a real worker: causes that go away, ids that point back, nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from lakequeue import InvalidJob, JobFailed, Queue, ReplayRefused, keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import COLUMNS, QUICK, ids, make_tables, sql, until

TABLE = "shop.sales.orders"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def listed(queue: Queue, **choice: Any) -> list[str]:
    return [each.id for each in queue.dead_letters.list(**choice).letters]


def fails(queue: Queue, job_id: str) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        queue.job(job_id).result(timeout=30)
    return caught.value


def test_a_job_fails_and_its_replay_succeeds_once_the_table_is_there(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    ids = [queue.write(TABLE, [{"id": i}], id=f"order-{i}").id for i in range(3)]
    for each in ids:
        fails(queue, each)
    letters = queue.dead_letters.list(table=TABLE).letters
    assert [each.id for each in letters] == ids
    assert {(each.op, each.rows, each.committed) for each in letters} == {("write", 1, "not_committed")}
    assert {each.error for each in letters} <= {"TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND"}
    again = queue.dead_letters.replay("order-0")
    fails(queue, again.id)
    (letter,) = queue.dead_letters.list(ids=[again.id]).letters
    assert letter.replay_of == ("order-0",)

    make_tables(warehouse, TABLE, columns="id BIGINT, updated_at TIMESTAMP, _job_id STRING")
    done = list(queue.dead_letters.select(table=TABLE).replay())
    assert [each.of for each in done] == ["order-1", "order-2", "order-0.replay1"]
    results = [each.handle.result(timeout=30) for each in done if each.handle]
    assert [result.count for result in results] == [1, 1, 1]
    assert listed(queue) == []
    last = queue.job("order-0.replay2").status()
    assert (last.state, last.replay_of) == ("SUCCESS", ("order-0", "order-0.replay1"))
    assert queue.job("order-0").status().replayed_as == "order-0.replay1"
    assert queue.job("order-0.replay1").status().replayed_as == "order-0.replay2"
    assert [tuple(row) for row in sql(warehouse, f"SELECT id, _job_id FROM {TABLE} ORDER BY id")] == [
        (0, "order-0.replay2"), (1, "order-1.replay1"), (2, "order-2.replay1"),
    ]  # fmt: skip


def test_a_job_without_the_permission_succeeds_once_it_is_granted(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    queue.write(TABLE, [{"id": 0}], auto_create=True, schema_definition=COLUMNS).result(timeout=30)
    denied = {"action": "error", "error_class": "INSUFFICIENT_PERMISSIONS", "sqlstate": "42501"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, **denied})
    handle = queue.write(TABLE, [{"id": 1}], id="a")
    fails(queue, handle.id)
    (letter,) = queue.dead_letters.list(error="INSUFFICIENT_PERMISSIONS").letters
    assert (letter.id, letter.attempts) == ("a", 1)
    assert letter.batch is not None
    replay = queue.dead_letters.replay("a")
    assert replay.result(timeout=30).count == 1
    assert queue.dead_letters.replay("a").id == replay.id
    assert ids(warehouse, TABLE) == [0, 1]


def test_a_letter_tells_of_the_tries_before(queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse) -> None:
    first = start_worker(**QUICK)
    queue.write(TABLE, [{"id": 0}], auto_create=True, schema_definition=COLUMNS).result(timeout=30)
    conflict = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    denied = {"action": "error", "error_class": "INSUFFICIENT_PERMISSIONS", "sqlstate": "42501"}
    insert = {"on": "ExecuteStatement", "match": "^INSERT"}
    warehouse.fault({**insert, **conflict})
    handle = queue.write(TABLE, [{"id": 1}])
    until(lambda: tries(handle.status().detail) >= 2, "it was tried twice")
    first.kill()  # what was before outlives the worker
    warehouse.clear_faults()
    warehouse.fault({**insert, **denied})
    start_worker(**QUICK)
    fails(queue, handle.id)
    letter = queue.dead_letters.get(handle.id)
    assert letter.error == "INSUFFICIENT_PERMISSIONS"
    assert letter.attempts >= 3
    numbers = [each["attempt"] for each in letter.history]
    assert numbers == list(range(1, letter.attempts))[-5:]
    assert {each["error"] for each in letter.history} <= {"DELTA_CONCURRENT_APPEND", "NO_ANSWER"}
    assert all(each["batch"] and each["at"] for each in letter.history)


def tries(detail: Any) -> int:
    return len(detail.get("history", ())) if isinstance(detail, dict) else 0


def test_jobs_that_failed_in_one_batch_are_replayed_in_the_order_they_were_enqueued(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, client: redis.Redis
) -> None:
    """Their ids say nothing about it."""
    names = [f"{(i * 7919) % 1000:03}" for i in range(200)]
    jobs = [{"kind": "update", "table": TABLE, "key": {"id": 1}, "updates": {"n": i}, "id": n} for i, n in
            enumerate(names)]  # fmt: skip
    for _ in queue.enqueue_many(jobs):
        pass
    start_worker()
    fails(queue, names[-1])
    assert listed(queue, limit=1000) == names
    make_tables(warehouse, TABLE, columns="id BIGINT, n BIGINT, updated_at TIMESTAMP")
    sql(warehouse, f"INSERT INTO {TABLE} (id, n) VALUES (1, -1)")
    last = list(queue.dead_letters.select().replay())[-1].handle
    assert last is not None
    assert last.result(timeout=30).count == 1
    assert [row[0] for row in sql(warehouse, f"SELECT n FROM {TABLE}")] == [199]


def test_what_is_no_job_stays_a_letter_and_can_be_dropped(
    queue: Queue, worker: Worker, client: redis.Redis, redis_url: str
) -> None:
    app = Celery(broker=redis_url, backend=redis_url, set_as_current=False)
    app.send_task("records.write", kwargs={"table": TABLE, "data": 7}, queue="records", task_id="bad")
    app.close()
    client.rpush("records", b"\xff no message")
    until(lambda: len(listed(queue)) == 2, "both are letters")
    done = {each.of: each.error for each in queue.dead_letters.select().replay()}
    assert all(isinstance(error, InvalidJob) for error in done.values())
    assert len(listed(queue, error="INVALID_JOB")) == 2
    queue.dead_letters.drop("bad")
    (left,) = listed(queue)
    assert left.startswith("unreadable-")
    assert queue.dead_letters.get(left).payload == b"\xff no message"


def test_a_lost_append_without_a_stamp_is_replayed_by_force_only(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    make_tables(warehouse, TABLE, columns="id BIGINT")
    queue.write(TABLE, [{"id": 1}]).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_before"})
    queue.write(TABLE, [{"id": 2}], id="lost")
    fails(queue, "lost")
    with pytest.raises(ReplayRefused, match=r"may have been committed"):
        queue.dead_letters.replay("lost")
    assert ids(warehouse, TABLE) == [1]  # whoever looks, can tell
    assert queue.dead_letters.replay("lost", force=True).result(timeout=30).count == 1
    assert ids(warehouse, TABLE) == [1, 2]


def test_the_replay_of_a_job_that_was_committed_adds_no_row(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    """The table keeps no stamp, but the ids of the jobs that inserted its rows."""
    make_tables(warehouse, TABLE, columns="id BIGINT, _job_id STRING")
    queue.write(TABLE, [{"id": 1}]).result(timeout=30)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_after"})
    queue.write(TABLE, [{"id": 2}, {"id": 3}], id="lost")
    fails(queue, "lost")
    assert queue.dead_letters.get("lost").committed == "unknown"
    result = queue.dead_letters.replay("lost", force=True).result(timeout=30)
    assert result.count == 2
    assert ids(warehouse, TABLE) == [1, 2, 3]


def test_a_replay_whose_replay_was_lost_looks_for_the_rows_of_both(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    """The first attempt was not committed, its replay was, and nobody learned it."""
    make_tables(warehouse, TABLE, columns="id BIGINT, _job_id STRING")
    queue.write(TABLE, [{"id": 1}]).result(timeout=30)
    lost = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1}
    warehouse.fault({**lost, "action": "drop_before"})
    queue.write(TABLE, [{"id": 2}], id="lost")
    fails(queue, "lost")
    warehouse.fault({**lost, "action": "drop_after"})
    replay = queue.dead_letters.replay("lost", force=True)
    fails(queue, replay.id)
    assert queue.dead_letters.replay(replay.id, force=True).result(timeout=30).count == 1
    assert ids(warehouse, TABLE) == [1, 2]


def test_rows_of_an_older_job_that_had_the_id_are_not_taken_for_those_of_the_replay(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    """An id is free again a day after its job finished."""
    make_tables(warehouse, TABLE, columns="id BIGINT, created_at TIMESTAMP, _job_id STRING")
    older = "(1, TIMESTAMP '2020-01-01 00:00:00', 'a')"
    sql(warehouse, f"INSERT INTO {TABLE} (id, created_at, _job_id) VALUES {older}")
    denied = {"action": "error", "error_class": "INSUFFICIENT_PERMISSIONS", "sqlstate": "42501"}
    for job_id in ("a", "a.replay1"):
        warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, **denied})
        if job_id == "a":
            queue.write(TABLE, [{"id": 2}], id="a")
        else:
            queue.dead_letters.replay("a")
        fails(queue, job_id)
    assert queue.dead_letters.replay("a.replay1").result(timeout=30).count == 1
    assert ids(warehouse, TABLE) == [1, 2]


def test_others_see_of_what_a_job_is_a_replay(queue: Queue, worker: Worker, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call]
        listener.psubscribe("*celeryev*")
        queue.write(TABLE, [{"id": 1}], id="a")
        fails(queue, "a")
        fails(queue, queue.dead_letters.replay("a").id)
        seen: dict[str, str] = {}
        deadline = time.monotonic() + 30
        while "a.replay1" not in seen:
            assert time.monotonic() < deadline
            if (message := listener.get_message(timeout=0.2)) is not None:
                seen.update(received(message["data"]))
    assert seen["a"] == f"{{'table': '{TABLE}', 'op': 'write', 'rows': 1}}"
    assert seen["a.replay1"] == f"{{'table': '{TABLE}', 'op': 'write', 'rows': 1, 'replay_of': 'a'}}"


def received(data: bytes) -> dict[str, str]:
    """What a message of events says of the arguments of jobs, by their ids."""
    envelope = json.loads(data)
    if "body" not in envelope:
        return {}
    import base64

    body = json.loads(base64.b64decode(envelope["body"]))
    events = body if isinstance(body, list) else [body]
    return {each["uuid"]: each["kwargs"] for each in events if each["type"] == "task-received"}


def test_a_letter_that_was_dropped_or_replayed_does_not_come_back_with_a_second_look_at_its_message(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    """A refused job's message stays at the head of its list as long as the jobs beside it wait."""
    queue.write(TABLE, [{"id": 0}], auto_create=True, schema_definition=COLUMNS).result(timeout=30)
    conflict = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **conflict})
    first = queue.write(TABLE, [{"id": 1}])
    until(lambda: tries(first.status().detail) >= 1, "the lane waits")
    for letter_id in ("bad-1", "bad-2"):
        queue.write(TABLE, [{"nope": 1}], id=letter_id)
        fails(queue, letter_id)
    queue.dead_letters.drop("bad-1")
    replay = queue.dead_letters.replay("bad-2")
    seen = tries(first.status().detail)
    until(lambda: attempts(first.status().detail) > seen + 2, "it was tried again")
    assert listed(queue) in ([], [replay.id])
    warehouse.clear_faults()
    assert first.result(timeout=30).count == 1
    fails(queue, replay.id)
    assert listed(queue) == [replay.id]


def attempts(detail: Any) -> int:
    return int(detail.get("attempts") or detail.get("attempt") or 0) if isinstance(detail, dict) else 0


def test_the_commands_do_the_same(queue: Queue, worker: Worker, warehouse: LocalWarehouse, redis_url: str) -> None:
    def run(*arguments: str, given: str = "") -> str:
        return subprocess.run(
            [sys.executable, "-m", "lakequeue", *arguments, "--redis", redis_url],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    for i in range(3):
        queue.write(TABLE, [{"id": i}], id=f"order-{i}")
    fails(queue, "order-2")
    make_tables(warehouse, TABLE, columns="id BIGINT, updated_at TIMESTAMP")
    new = run("dead", "replay", "--table", TABLE, "--newer-than", "1h", "--yes")
    assert new.split() == [f"order-{i}.replay1" for i in range(3)]
    told = [json.loads(line) for line in run("wait", "-", given=new).splitlines()]
    assert [(each["state"], each["replay_of"]) for each in told] == [("SUCCESS", [f"order-{i}"]) for i in range(3)]


def test_twenty_thousand_letters_of_a_missing_table_are_listed(
    queue: Queue, start_worker: StartWorker, client: redis.Redis
) -> None:
    jobs = ({"kind": "write", "table": "shop.no.table", "data": [{"id": i}], "id": f"j{i}"} for i in range(20_000))
    for _ in queue.enqueue_many(jobs):
        pass
    start_worker()
    until(lambda: client.zcard(keys.DEAD_INDEX) == 20_000, "all have failed", timeout_s=90)
    assert [each.id for each in queue.dead_letters.select(table="shop.no.table")] == [f"j{i}" for i in range(20_000)]


def test_a_replay_that_may_not_be_looked_up_fails_by_that_and_others_go_on(
    queue: Queue, worker: Worker, warehouse: LocalWarehouse
) -> None:
    """The worker may write to the table and not read it."""
    make_tables(warehouse, TABLE)
    refused = {"action": "error", "error_class": "INSUFFICIENT_PERMISSIONS", "sqlstate": "42501"}
    warehouse.fault({"match": "^INSERT", "times": 1, **refused}, {"match": "^SELECT j.id", **refused})
    first = queue.write(TABLE, [{"id": 1}])
    fails(queue, first.id)
    queue.operations.pause(TABLE)
    replay, beside = queue.dead_letters.replay(first.id), queue.write(TABLE, [{"id": 2}])
    queue.operations.resume(TABLE)
    assert "INSUFFICIENT_PERMISSIONS" in str(fails(queue, replay.id))
    assert beside.result(timeout=30).count == 1
    (letter,) = queue.dead_letters.list(ids=[replay.id]).letters
    assert letter.committed == "unknown"
    assert ids(warehouse, TABLE) == [2]
