"""Messages that would end a worker: too large, too deep, too many rows. None is read, each sender is told."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chord
from celery.exceptions import ChordError
from lakequeue import InvalidJob, JobFailed, Queue, keys
from lakequeue.scripts import read_script
from lakequeue.settings import Settings

from tests.fix_celery_app import celery_app, close, fields, write
from tests.fix_cli import Run
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import StartProxy
from tests.fix_worker import StartWorker, Worker
from tests.support import ids, job, until

TABLE = "shop.sales.events"
MOST_RSS_KB = 512_000


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    made = celery_app(redis_url)
    yield made
    close(made)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def most_rss_kb(worker: Worker) -> int:
    with open(f"/proc/{worker.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def envelope(job_id: str, body: bytes, **headers: Any) -> bytes:
    """As kombu puts a message into Redis: the headers after the body."""
    told = {"id": job_id, "task": "records.write", "lang": "py", **headers}
    properties = {"correlation_id": job_id, "body_encoding": "base64", "delivery_tag": job_id, "priority": 0}
    rest = json.dumps({"content-encoding": "utf-8", "headers": told, "properties": properties})
    return b'{"body": "%b", %b' % (b64encode(body), rest[1:].encode())


EMBED = b', {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
BODIES: Mapping[str, Callable[[], bytes]] = {
    "20 MB of text": lambda: b'[[], {"table": "a.b.c", "data": [{"a": "' + b"x" * 20_000_000 + b'"}]}' + EMBED,
    "50 MB of brackets": lambda: b"[" * 50_000_000,
    "5 MB of brackets": lambda: b"[" * 5_000_000,
    "3,000,000 rows": lambda: b'[[], {"table": "a.b.c", "data": [' + b"{}," * 2_999_999 + b"{}]}" + EMBED,
    "1,900,000 rows": lambda: b'[[], {"table": "a.b.c", "data": [' + b"{}," * 1_899_999 + b"{}]}" + EMBED,
    "1,900,000 lists": lambda: b'[[], {"table": "a.b.c", "data": [' + b"[]," * 1_899_999 + b"[]]}" + EMBED,
    "700,000 rows of one column": lambda: (
        b'[[], {"table": "a.b.c", "data": [' + b'{"a":1},' * 699_999 + b'{"a":1}]}' + EMBED
    ),
    "290,000 rows of one column": lambda: (
        b'[[], {"table": "a.b.c", "data": [' + b'{"a":1},' * 289_999 + b'{"a":1}]}' + EMBED
    ),
    "5 MB of text": lambda: b'[[], {"table": "a.b.c", "data": [{"a": "' + b"x" * 5_000_000 + b'"}]}' + EMBED,
    "1,400,000 texts": lambda: b'[[], {"table": "a.b.c", "data": [' + b'"a",' * 1_399_999 + b'"a"]}' + EMBED,
    "2,800,000 numbers": lambda: b'[[], {"table": "a.b.c", "data": [' + b"1," * 2_799_999 + b"1]}" + EMBED,
    "a number of 5,000,000 digits": lambda: (
        b'[[], {"table": "a.b.c", "data": [{"a": ' + b"1" * 5_000_000 + b"}]}" + EMBED
    ),
    "a name of 5 MB": lambda: b'[[], {"' + b"x" * 5_000_000 + b'": 1}' + EMBED,
}


@pytest.mark.timeout(300)
def test_no_message_ends_a_worker_or_makes_it_large_and_each_sender_is_told(
    app: Celery, client: redis.Redis, start_worker: StartWorker, queue: Queue, warehouse: LocalWarehouse
) -> None:
    worker = start_worker()
    write(app, TABLE, 0).get(timeout=30)
    for name, body in BODIES.items():
        job_id = uuid4().hex
        client.lpush("records", envelope(job_id, body()))
        with pytest.raises(JobFailed):
            app.AsyncResult(job_id).get(timeout=60)
        letter = queue.dead_letters.get(job_id)
        assert letter.committed == "not_committed", name
    assert write(app, TABLE, 1).get(timeout=30)["count"] == 1
    assert worker.process.poll() is None
    assert most_rss_kb(worker) < MOST_RSS_KB
    assert ids(warehouse, TABLE) == [0, 1]


def test_a_message_that_is_too_large_is_kept_as_it_was_and_its_chord_fails(
    app: Celery, client: redis.Redis, start_worker: StartWorker, queue: Queue, run: Run
) -> None:
    start_worker(LAKEQUEUE_MAX_MESSAGE_BYTES="200000")
    large = app.signature("records.write", kwargs={**fields(TABLE), "data": [{"id": 1, "t": "x" * 300_000}]})
    large.set(task_id="large-1")
    body = app.signature("records.read", kwargs={"table": TABLE}, immutable=True)
    result = chord([large, app.signature("records.write", kwargs=fields(TABLE, 1))], body, app=app).apply_async()
    with pytest.raises(JobFailed, match=r"40\d,\d{3} bytes and a worker reads 200,000"):
        app.AsyncResult("large-1").get(timeout=30)
    until(lambda: app.AsyncResult(result.id).state == "FAILURE", "the body failed")
    with pytest.raises(ChordError):
        app.AsyncResult(result.id).get(timeout=30)
    letter = queue.dead_letters.get("large-1")
    assert (letter.error, letter.payload) == ("MESSAGE_TOO_LARGE", None)
    assert letter.payload_key is not None
    (kept,) = client.lrange(letter.payload_key, 0, -1)
    assert len(kept) == letter.payload_bytes
    shown = run("dead", "show", "large-1", "--payload")
    assert json.loads(shown.stdout)["payload"].endswith(f"LINDEX {letter.payload_key} 0")
    with pytest.raises(InvalidJob, match="in several jobs"):
        queue.dead_letters.replay("large-1")
    queue.dead_letters.drop("large-1")
    assert not client.exists(letter.payload_key)


def test_a_large_message_of_a_known_id_leaves_the_job_of_that_id_alone(
    app: Celery, client: redis.Redis, start_worker: StartWorker, queue: Queue, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_MAX_MESSAGE_BYTES="50000")
    write(app, TABLE, 1, task_id="a-1").get(timeout=30)
    client.lpush("records", envelope("a-1", b"x" * 60_000), b"\xff" * 60_000)
    assert write(app, TABLE, 2).get(timeout=30)["count"] == 1
    assert app.AsyncResult("a-1").get(timeout=30)["count"] == 1
    letters = queue.dead_letters.list().letters
    assert [each.id[:7] for each in letters] == ["unread-", "unread-"]
    assert [client.llen(keys.DEAD_LARGE + each.id) for each in letters] == [1, 1]
    assert ids(warehouse, TABLE) == [1, 2]


class Doors:
    """Doors as Redis sees them: each worker asks for messages under a token of its own, and may die with them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._peek = client.register_script(read_script("worker", "peek"))
        self._number = 0

    def next(self) -> str:
        """A new worker that lives; no other does any more."""
        self._number += 1
        self._client.delete(keys.WORKERS)
        return self.live()

    def live(self) -> str:
        token = f"w{self._number}"
        self._client.zadd(keys.WORKERS, {token: time.time() + 60})
        return token

    def take(self, token: str, *lists: str) -> list[Any]:
        found: list[Any] = self._peek(
            keys=[], args=[token, 200, 2_000_000, 1_000_000, 100, 3, *(lists or ("records",))]
        )
        return found

    def let_go(self, token: str) -> None:
        self._peek(keys=[], args=[token, 200])


@pytest.fixture
def doors(client: redis.Redis) -> Doors:
    client.lpush("records", *(f"message {i}" for i in range(8)))
    return Doors(client)


def test_each_death_at_the_door_halves_what_is_taken_and_one_message_alone_is_counted(
    doors: Doors,
) -> None:
    taken = [doors.take(doors.next())[1] for _ in range(6)]
    assert [len(each) for each in taken] == [8, 4, 2, 1, 1, 1]
    name, messages, size, head, tail, deaths = doors.take(doors.next())
    assert (name, messages, size, head, tail, deaths) == (b"records", [], 9, b"message 0", b"message 0", 3)


def test_what_is_taken_at_the_door_grows_again_as_it_goes_well(doors: Doors, client: redis.Redis) -> None:
    for _ in range(4):
        doors.take(doors.next())
    token = doors.live()
    taken = []
    for _ in range(3):
        _, messages = doors.take(token)
        taken.append(len(messages))
        client.rpop("records", len(messages))
    assert taken == [2, 4, 2]  # the one it had alone, it has survived


def test_one_worker_at_a_time_takes_messages_after_a_death(doors: Doors) -> None:
    doors.take(doors.next())
    assert len(doors.take(doors.next())[1]) == 4
    assert doors.take("another") == []


def test_a_worker_that_stops_has_not_died(doors: Doors) -> None:
    for _ in range(4):
        token = doors.next()
        assert len(doors.take(token)[1]) == 8
        doors.let_go(token)


@pytest.mark.timeout(180)
def test_a_message_with_which_three_workers_died_is_a_dead_letter_and_its_sender_is_told(
    app: Celery,
    client: redis.Redis,
    start_worker: StartWorker,
    start_proxy: StartProxy,
    queue: Queue,
    warehouse: LocalWarehouse,
    redis_url: str,
) -> None:
    """Each is killed as it has the message in hand."""
    proxy = start_proxy(int(redis_url.split(":")[2].split("/")[0]))
    peek = client.script_load(read_script("worker", "peek")).encode()
    write(app, TABLE, 1, task_id="killer-1")
    for _ in range(3):
        held = proxy.hold_replies(peek)
        worker = start_worker(ready=False, LAKEQUEUE_REDIS_URL=proxy.redis_url)
        assert held.held.wait(60), worker.text()
        worker.kill()
        proxy.release()
        until(lambda: client.zcount(keys.WORKERS, time.time(), "+inf") == 0, "it counts as dead")
    worker = start_worker()
    with pytest.raises(JobFailed, match="3 workers died with this message"):
        app.AsyncResult("killer-1").get(timeout=30)
    letter = queue.dead_letters.get("killer-1")
    assert (letter.error, letter.committed) == ("KILLED_WORKER", "not_committed")
    assert write(app, TABLE, 2).get(timeout=30)["count"] == 1
    assert ids(warehouse, TABLE) == [2]
    assert worker.stop() == 0
    assert not client.exists(keys.DOOR_HANDS)


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_message_of_a_lane_that_is_too_large_holds_up_nothing_and_its_sender_is_told(
    client: redis.Redis, start_worker: StartWorker, queue: Queue, warehouse: LocalWarehouse, redis_url: str, kind: str
) -> None:
    """As of a client that allows itself larger jobs."""
    with Queue(redis_url, settings=Settings(redis_url=redis_url, max_job_bytes=100_000_000)) as large:
        queue.enqueue(job(1))
        if kind == "write":
            sent = large.enqueue({"kind": "write", "table": TABLE, "data": [{"id": 2, "t": "x" * 30_000_000}]})
        else:
            filters = [{"column": "t", "op": "in", "value": ["x" * 150_000 for _ in range(200)]}]
            sent = large.enqueue({"kind": "read", "table": TABLE, "filters": filters})
        after = queue.enqueue(job(3))
        page = queue.enqueue({"kind": "read", "table": TABLE, "columns": ["id"], "order_by": "id", "after": after.id})
    worker = start_worker()
    with pytest.raises(JobFailed, match="bytes and a worker reads 8,000,000"):
        queue.job(sent.id).result(timeout=60)
    assert page.result(timeout=30).data == [{"id": 1}, {"id": 3}]
    letter = queue.dead_letters.get(sent.id)
    assert (letter.error, letter.table, letter.payload) == ("MESSAGE_TOO_LARGE", TABLE, None)
    assert letter.payload_key is not None
    assert client.llen(letter.payload_key) == 1
    assert most_rss_kb(worker) < 300_000
    until(lambda: not client.keys("lakequeue:jobs:*"), "the lanes are empty")
    assert ids(warehouse, TABLE) == [1, 3]
    assert worker.stop() == 0
