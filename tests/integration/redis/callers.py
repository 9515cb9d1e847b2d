"""Who uses Redis while it goes away: producers, waiting clients, Celery applications."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Celery, chain
from lakequeue import Handle, Queue, QueueUnreachable, keys

from tests.fix_celery_app import celery_app, close
from tests.fix_localwarehouse import LocalWarehouse
from tests.support import TABLE, ids, job, until

HOLD = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "hold"}


def job_id(i: int) -> str:
    return str(job(i)["id"])


def held_insert(queue: Queue, warehouse: LocalWarehouse, first: int) -> Handle:
    """Enqueue a job whose statement the warehouse keeps waiting."""
    warehouse.fault(HOLD)
    handle = queue.enqueue(job(first))
    until(lambda: warehouse.held() == 1, "the statement is under way")
    return handle


def send(queue: Queue, i: int, unreachable: threading.Event) -> Handle:
    """Enqueue until it is certain: the same id again is the same job."""
    while True:
        try:
            return queue.enqueue(job(i))
        except QueueUnreachable:
            unreachable.set()


@contextmanager
def another_app(url: str) -> Iterator[Celery]:
    app = celery_app(url)
    try:
        yield app
    finally:
        close(app)


def send_with_callback(url: str, i: int, *, callback: int) -> None:
    """A write through Celery's own door, and another that is to follow it."""
    with another_app(url) as app:
        fields = {"table": TABLE, "data": [{"id": callback}]}
        link = app.signature("records.write", kwargs=fields, immutable=True, task_id=job_id(callback), queue="records")
        fields = {"table": TABLE, "data": [{"id": i}]}
        app.send_task("records.write", kwargs=fields, task_id=job_id(i), queue="records", link=link)


def send_failing_chain(url: str, last: str) -> None:
    """A job that cannot run and one after it, which fails with it: the worker says so by Celery's result backend."""
    with another_app(url) as app:
        bad = app.signature("records.write", kwargs={"table": TABLE, "data": [{"nope": 1}]})
        after = app.signature("records.read", kwargs={"table": TABLE}, immutable=True, task_id=last)
        chain(bad, after, app=app).apply_async(ignore_result=True)


def answers(url: str) -> bool:
    """Whether a worker answers remote control."""
    with another_app(url) as app:
        return bool(app.control.ping(timeout=2))


class Producer:
    """A thread that enqueues one job after the other; `quiet` keeps it from doing so."""

    def __init__(self, url: str, first: int) -> None:
        self.quiet = threading.Lock()
        self.unreachable = threading.Event()
        """Set by the first QueueUnreachable."""
        self.next = first
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Queue(self._url) as queue:
            while not self._stop.is_set():
                with self.quiet:
                    send(queue, self.next, self.unreachable)
                self.next += 1

    @contextmanager
    def running(self) -> Iterator[Producer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()


@contextmanager
def waiting(url: str, job_id: str) -> Iterator[list[Any]]:
    """A thread in `result()` and a process in `lakequeue wait`; what they said is in the list at the end."""
    said: list[Any] = []

    def wait() -> None:
        with Queue(url) as queue:
            said.append(queue.job(job_id).result(timeout=60).count)

    thread = threading.Thread(target=wait)
    thread.start()
    command = [sys.executable, "-m", "lakequeue", "--redis", url, "wait", job_id, "--timeout", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with redis.Redis.from_url(url) as client:
            channel = keys.record(job_id)
            until(lambda: dict(client.pubsub_numsub(channel))[channel.encode()] >= 2, "both wait")
        yield said
        thread.join()
        out, _ = process.communicate(timeout=60)
        said.append((process.returncode, json.loads(out)["state"]))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        thread.join()


def all_done(queue: Queue, warehouse: LocalWarehouse, count: int) -> None:
    """Every job from 0 on has its one outcome, and its one row."""
    assert [queue.job(job_id(i)).result(timeout=60).count for i in range(count)] == [1] * count
    assert ids(warehouse) == list(range(count))
