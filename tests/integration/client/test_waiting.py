"""Many threads share one `Queue`: they wait over one connection, and for each other where connections are short."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis
from lakequeue import JobTimeout, Queue, QueueClosed, UnknownJob, WriteResult, keys
from lakequeue.listening import IDLE_S, SILENCE_S

from tests.fix_proxy import StartProxy
from tests.integration.client.finishing import finish, job
from tests.support import until
from worker.embedded import EmbeddedRedis

WAITING = 1000
SENDING = 150
MOST_CONNECTIONS = 40


@pytest.fixture
def admin(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, client_name="admin") as client:
        yield client


def connections(admin: redis.Redis) -> list[dict[str, str]]:
    """Those of others."""
    return [each for each in admin.client_list() if each["name"] != "admin"]


def listeners() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "lakequeue-listener"]


def subscribed(admin: redis.Redis, *job_ids: str) -> bool:
    return all(count == 1 for _, count in admin.pubsub_numsub(*map(keys.record, job_ids)))


@contextmanager
def waiting(queue: Queue, admin: redis.Redis, *job_ids: str, timeout: float | None = 60) -> Iterator[list[object]]:
    """A thread a job, of which none ends before this does; what each got, an exception too."""
    got: list[object] = []

    def wait(job_id: str) -> None:
        try:
            got.append(queue.job(job_id).result(timeout=timeout))
        except Exception as exc:
            got.append(exc)

    threads = [threading.Thread(target=wait, args=(job_id,)) for job_id in job_ids]
    for each in threads:
        each.start()
    until(lambda: subscribed(admin, *job_ids), "they listen")
    yield got
    for each in threads:
        each.join(60)
        assert not each.is_alive()


def test_a_thousand_threads_wait_and_150_enqueue_through_one_queue(queue: Queue, admin: redis.Redis) -> None:
    ids = [f"waited-{i}" for i in range(WAITING)]
    list(queue.enqueue_many(map(job, ids)))
    errors: list[BaseException] = []

    def send(sender: int) -> None:
        try:
            for i in range(10):
                queue.enqueue(job(f"sent-{sender}-{i}"))
        except BaseException as exc:
            errors.append(exc)

    with waiting(queue, admin, *ids) as got:
        senders = [threading.Thread(target=send, args=(i,)) for i in range(SENDING)]
        for each in senders:
            each.start()
        assert len(connections(admin)) <= MOST_CONNECTIONS
        for each in senders:
            each.join()
        assert len(connections(admin)) <= MOST_CONNECTIONS
        assert sum(int(each["sub"]) > 0 for each in connections(admin)) == 1
        finish(admin, *ids)
    assert errors == []
    assert len(got) == WAITING
    assert all(isinstance(each, WriteResult) for each in got)


def test_those_who_wait_cost_one_command_a_second(queue: Queue, admin: redis.Redis) -> None:
    ids = [f"quiet-{i}" for i in range(200)]
    list(queue.enqueue_many(map(job, ids)))
    with waiting(queue, admin, *ids):
        before, began = commands(admin), time.monotonic()
        until(lambda: commands(admin).get("mget", 0) >= before.get("mget", 0) + 2, "their records are read twice")
        after, took_s = commands(admin), time.monotonic() - began
        assert after.get("mget", 0) - before.get("mget", 0) <= took_s + 2
        assert after.get("get", 0) == before.get("get", 0)
        finish(admin, *ids)


def commands(admin: redis.Redis) -> dict[str, int]:
    """How often each command was run."""
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in admin.info("commandstats").items()}


def test_an_outcome_that_is_not_published_is_found(queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("silent"))
    with waiting(queue, admin, "silent") as got:
        finish(admin, "silent", publish=False)
    assert isinstance(got[0], WriteResult)


def test_threads_that_wait_for_the_same_job_all_get_its_outcome(queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("shared"))
    with waiting(queue, admin, *["shared"] * 20) as got:
        finish(admin, "shared")
    assert [type(each) for each in got] == [WriteResult] * 20


def test_a_job_that_is_forgotten_while_it_is_waited_for_is_unknown(queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("forgotten"))
    with waiting(queue, admin, "forgotten") as got:
        admin.delete(keys.record("forgotten"))
    assert isinstance(got[0], UnknownJob)


def test_a_wait_ends_at_its_deadline_and_leaves_no_subscription(queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("late"))
    queue.enqueue(job("later"))
    with waiting(queue, admin, "later") as got:
        with pytest.raises(JobTimeout, match=r"job late is QUEUED after 0.2 s"):
            queue.job("late").result(timeout=0.2)
        until(lambda: admin.pubsub_numsub(keys.record("late"))[0][1] == 0, "it is not listened for")
        finish(admin, "later")
    assert isinstance(got[0], WriteResult)


def test_closing_a_queue_tells_those_who_wait_and_leaves_no_thread(redis_url: str, admin: redis.Redis) -> None:
    others, threads = {each["id"] for each in connections(admin)}, set(listeners())  # of tests that left theirs open
    with Queue(redis_url) as queue:
        handle = queue.enqueue(job("open"))
        with waiting(queue, admin, "open", timeout=None) as got:
            queue.close()
    assert [type(each) for each in got] == [QueueClosed]
    assert "closed while somebody waited" in str(got[0])
    assert set(listeners()) <= threads
    until(lambda: {each["id"] for each in connections(admin)} <= others, "its connections are closed")
    for use in (handle.status, handle.result, lambda: queue.enqueue(job("late"))):
        with pytest.raises(QueueClosed, match="open another"):
            use()


def test_the_listening_thread_ends_when_nobody_waits_and_begins_again(queue: Queue, admin: redis.Redis) -> None:
    for name in ("first", "second"):
        queue.enqueue(job(name))
        with waiting(queue, admin, name):
            assert len(listeners()) == 1
            finish(admin, name)
        until(lambda: not listeners(), "it ends", timeout_s=IDLE_S + 10)
        assert not any(int(each["sub"]) for each in connections(admin))


def test_a_cut_connection_is_made_anew_and_what_was_missed_is_found(
    redis_server: EmbeddedRedis, start_proxy: StartProxy, admin: redis.Redis
) -> None:
    proxy = start_proxy(redis_server.port)
    with Queue(proxy.redis_url) as queue:
        ids = [f"cut-{i}" for i in range(50)]
        list(queue.enqueue_many(map(job, ids)))
        with waiting(queue, admin, *ids) as got:
            proxy.cut()
            finish(admin, *ids, publish=False)
        assert [type(each) for each in got] == [WriteResult] * 50


def test_a_connection_that_was_silent_for_long_goes_on_listening(queue: Queue, admin: redis.Redis) -> None:
    def listening() -> list[str]:
        return [each["id"] for each in connections(admin) if int(each["sub"])]

    list(queue.enqueue_many([job("before"), job("behind")]))
    with waiting(queue, admin, "before") as first:
        begun, before = time.monotonic(), listening()
        until(lambda: time.monotonic() - begun > 2 * SILENCE_S + 1, "it was silent, and asked whether it lives")
        with waiting(queue, admin, "behind") as second:
            assert listening() == before
            finish(admin, "before", "behind")
    assert [type(each) for each in first + second] == [WriteResult] * 2


def test_a_signal_handler_may_close_the_queue_that_its_thread_waits_with(
    redis_url: str, queue: Queue, admin: redis.Redis
) -> None:
    queue.enqueue(job("endless"))
    code = (
        "import signal, sys; from lakequeue import Queue, QueueClosed; queue = Queue(sys.argv[1])\n"
        "signal.signal(signal.SIGTERM, lambda *_: queue.close())\n"
        "try: queue.job('endless').result()\n"
        "except QueueClosed: print('closed')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, redis_url], stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: subscribed(admin, "endless"), "it waits")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "closed\n"
    finally:
        if process.poll() is None:
            process.kill()


def test_a_queue_is_not_pickled(queue: Queue) -> None:
    with pytest.raises(TypeError, match="make one in each process, and pickle handles"):
        pickle.dumps(queue)


def test_ctrl_c_ends_a_wait(redis_url: str, queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("endless"))
    code = "import sys; from lakequeue import Queue; Queue(sys.argv[1]).job('endless').result()"
    process = subprocess.Popen([sys.executable, "-c", code, redis_url], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: subscribed(admin, "endless"), "it waits")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
    assert told.rstrip().endswith("KeyboardInterrupt")


def test_a_wait_at_the_end_of_the_interpreter_needs_no_thread(redis_url: str, queue: Queue, admin: redis.Redis) -> None:
    queue.enqueue(job("last"))
    code = (
        "import atexit, sys; from lakequeue import Queue; queue = Queue(sys.argv[1])\n"
        "atexit.register(lambda: print(queue.job('last').result(timeout=30).count))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, redis_url], stdout=subprocess.PIPE, text=True)
    until(lambda: len(connections(admin)) > 1, "it waits")
    finish(admin, "last")
    assert process.communicate(timeout=30)[0] == "1\n"


@pytest.mark.parametrize("timeout", ["5", float("nan"), object()], ids=["text", "nan", "object"])
def test_a_timeout_that_is_none_is_refused(queue: Queue, timeout: object) -> None:
    handle = queue.enqueue(job("odd"))
    with pytest.raises(ValueError, match="a timeout is a number of seconds"):
        handle.result(timeout=timeout)  # type: ignore[arg-type]


def test_more_threads_than_connections_wait_their_turn(redis_url: str) -> None:
    with Queue(f"{redis_url}?max_connections=2") as queue, ThreadPoolExecutor(30) as pool:
        sends: list[Callable[[], object]] = [lambda i=i: queue.enqueue(job(f"turn-{i}")) for i in range(300)]  # type: ignore[misc]
        assert len([future.result() for future in [pool.submit(each) for each in sends]]) == 300
