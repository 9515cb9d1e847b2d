"""Handles and ids: what names a job, and what does not."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from lakequeue import (
    Handle,
    InvalidArgument,
    InvalidJob,
    LakequeueError,
    Queue,
    QueueFull,
    Read,
    Settings,
    UnknownJob,
    UnknownLetter,
)

from tests.integration.client.finishing import finish, job
from tests.support import until

TABLE = "shop.sales.waits"


def test_handles_of_one_id_are_equal_and_copies_are_the_same(queue: Queue, redis_url: str) -> None:
    handle = queue.enqueue(job("one"))
    with Queue(redis_url) as other:
        assert handle == other.job("one")
        assert {handle, other.job("one"), queue.job("two")} == {handle, queue.job("two")}
    assert handle != "one"
    assert copy.copy(handle) is copy.deepcopy([handle])[0] is handle


def test_an_unpickled_handle_uses_the_queue_of_the_environment_or_the_one_it_is_bound_to(
    queue: Queue, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = queue.enqueue(job("sent"))
    stored = pickle.dumps(handle)
    assert redis_url.encode() not in stored
    monkeypatch.delenv("LAKEQUEUE_REDIS_URL", raising=False)
    restored: Handle = pickle.loads(stored)
    assert (restored, restored.known) == (handle, False)
    for use in (restored.status, restored.result):
        with pytest.raises(InvalidArgument, match=r"bind it by queue.job\(handle\), or set LAKEQUEUE_REDIS_URL"):
            use()
    assert queue.job(restored).status().state == "QUEUED"
    monkeypatch.setenv("LAKEQUEUE_REDIS_URL", redis_url)
    assert restored.status().state == "QUEUED"


def test_a_handle_stands_for_its_id_everywhere(queue: Queue, redis_url: str) -> None:
    handle = queue.enqueue(job("named"))
    read = queue.read(TABLE, after=handle, id="behind")
    assert Read(table=TABLE, after=handle) == Read(table=TABLE, after="named")
    assert queue.enqueue({"kind": "read", "table": TABLE, "after": "named", "id": "behind"}).known
    assert queue.job(handle) == handle
    assert queue.record(handle)["status"] == "QUEUED"
    states = queue.statuses([handle, "unknown", read])
    assert [status.state if status else None for status in states] == ["QUEUED", None, "QUEUED"]
    assert queue.statuses(iter(["named"]))[0] == handle.status()
    assert queue.operations.history(handle).state == "QUEUED"
    assert queue.operations.due(handle) is None
    with redis.Redis.from_url(redis_url) as client:
        finish(client, "named")
    assert queue.wait(handle)["status"] == "SUCCESS"
    assert queue.operations.cancel(read) == "QUEUED"
    for use in (queue.dead_letters.get, queue.dead_letters.replay, queue.dead_letters.drop):
        with pytest.raises(UnknownLetter, match="named"):
            use(handle)
    assert queue.dead_letters.list(ids=[handle]).letters == ()


NO_ID: dict[str, Any] = {"blank": "a b", "empty": "", "long": "x" * 999, "number": 7, "none": None, "list": ["a"]}


@pytest.mark.parametrize("given", NO_ID.values(), ids=NO_ID)
@pytest.mark.parametrize("use", ["job", "record", "wait", "one of statuses", "history", "due", "cancel"])
def test_what_is_no_id_is_refused_in_one_sentence(queue: Queue, use: str, given: Any) -> None:
    uses: dict[str, Callable[[Any], object]] = {
        "job": queue.job,
        "record": queue.record,
        "wait": queue.wait,
        "one of statuses": lambda each: queue.statuses([each]),
        "history": queue.operations.history,
        "due": queue.operations.due,
        "cancel": queue.operations.cancel,
    }
    with pytest.raises(InvalidArgument) as raised:
        uses[use](given)
    assert raised.value.message.startswith(("a job id is ", "a job is named by "))
    assert "\n" not in raised.value.message


NO_JOB: dict[str, Any] = {
    "text": "text",
    "JSON text": '{"kind": "read"}',
    "None": None,
    "bytes": b"x",
    "number": 7,
    "list": [],
}


@pytest.mark.parametrize("given", NO_JOB.values(), ids=NO_JOB)
def test_what_is_no_job_is_refused(queue: Queue, given: Any) -> None:
    for enqueue in (queue.enqueue, lambda each: list(queue.enqueue_many([each]))):
        with pytest.raises(InvalidJob, match="takes a Write, Update, Delete or Read, or a mapping of its fields, not "):
            enqueue(given)


@pytest.mark.parametrize("given", ["text", None, 7, {"kind": "read"}, Read(table=TABLE)], ids=str)
def test_many_jobs_are_an_iterable_of_them(queue: Queue, given: Any) -> None:
    with pytest.raises(InvalidArgument, match="enqueue_many takes many jobs"):
        next(queue.enqueue_many(given))


@pytest.mark.parametrize(
    "use",
    [
        lambda queue: queue.statuses("named"),
        lambda queue: queue.statuses(None),
        lambda queue: queue.dead_letters.list(ids="named"),
        lambda queue: queue.dead_letters.get(7),
        lambda queue: queue.enqueue(job("x"), wait_s="5"),
        lambda queue: queue.write(TABLE, [{"id": 1}], wait_s=None),
        lambda queue: next(queue.enqueue_many([job("x")], wait_s="5")),
        lambda queue: queue.operations.table("no table"),
        lambda queue: queue.operations.pause("a.b"),
        lambda queue: queue.operations.purge(7),
        lambda queue: queue.write("a.b", [{"id": 1}]),
        lambda queue: queue.write(7, [{"id": 1}]),
        lambda queue: queue.write(TABLE, None),
        lambda queue: queue.update(TABLE),
        lambda queue: queue.delete(TABLE, keys=7),
        lambda queue: queue.read(TABLE, after=7),
        lambda queue: queue.read(TABLE, no_such_field=1),
    ],
)
def test_other_arguments_that_are_none_are_refused_by_our_own_errors(
    queue: Queue, use: Callable[[Queue], object]
) -> None:
    with pytest.raises(LakequeueError) as raised:
        use(queue)
    assert "\n" not in raised.value.message


def test_an_unknown_job_is_unknown_to_a_handle(queue: Queue) -> None:
    with pytest.raises(UnknownJob, match="no job nobody is known"):
        queue.job("nobody").result(timeout=1)


@pytest.mark.parametrize("verb", ["enqueue", "write", "update", "delete", "read"])
def test_wait_s_waits_for_room_in_a_full_queue(redis_url: str, verb: str) -> None:
    settings = Settings(max_queue_length=1)
    send: dict[str, Callable[[Queue, float], Handle]] = {
        "enqueue": lambda queue, wait_s: queue.enqueue(job("second"), wait_s=wait_s),
        "write": lambda queue, wait_s: queue.write(TABLE, [{"id": 2}], wait_s=wait_s),
        "update": lambda queue, wait_s: queue.update(TABLE, key={"id": 1}, updates={"x": 1}, wait_s=wait_s),
        "delete": lambda queue, wait_s: queue.delete(TABLE, key={"id": 1}, wait_s=wait_s),
        "read": lambda queue, wait_s: queue.read(TABLE, wait_s=wait_s),
    }
    lane = "lakequeue:jobs:" + ("r:" if verb == "read" else "w:") + TABLE
    with Queue(redis_url, settings=settings) as queue, redis.Redis.from_url(redis_url) as client:
        (queue.read(TABLE) if verb == "read" else queue.enqueue(job("first")))
        with pytest.raises(QueueFull, match="enqueue with wait_s"):
            send[verb](queue, 0.3)
        got: list[Handle] = []
        thread = threading.Thread(target=lambda: got.append(send[verb](queue, 30)))
        thread.start()
        calls = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] > calls, "it tries again")
        client.delete(lane)
        thread.join(30)
        assert got[0].status().state == "QUEUED"
