"""The stream: producers that enqueue the plan's jobs, each table's in their order, whatever becomes of Redis."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import redis
from lakequeue import Queue, QueueUnreachable
from lakequeue.jobs import parse_job

from tests.torture.plan import Plan, Spec
from worker.store import Store, Token

CHUNK = 12
"""Jobs enqueued at once, at most."""


class Stream:
    """Producers in threads. They never get ahead of `allowed`, the number of jobs up to which faults were dealt out."""

    def __init__(self, url: str, plan: Plan, *, producers: int, jobs_per_s: float) -> None:
        self._url = url
        self._plan = plan
        self._state = threading.Condition()
        self._enqueued = 0
        self._allowed = 0
        self._per_job_s = producers / jobs_per_s
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._run, args=(n, producers), name=f"producer {n}") for n in range(producers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._state:
            self._state.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def enqueued(self) -> int:
        return self._enqueued

    @property
    def finished(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def share(self) -> float:
        """How much of it was enqueued."""
        return self._enqueued / len(self._plan.jobs)

    def allow(self, jobs: int) -> None:
        """Let the producers go on up to so many jobs in all."""
        with self._state:
            self._allowed = max(self._allowed, jobs)
            self._state.notify_all()

    def wait_for(self, jobs: int, timeout_s: float) -> bool:
        """Wait until so many jobs were enqueued, or all producers are done."""
        with self._state:
            return self._state.wait_for(lambda: self._enqueued >= jobs or bool(self.errors), timeout_s)

    def _run(self, number: int, producers: int) -> None:
        try:
            mine = [spec for spec in self._plan.jobs if spec.table % producers == number]
            with (
                Queue(self._url) as queue,
                redis.Redis.from_url(self._url, socket_timeout=5) as client,
            ):
                store = Store(client, Token("producer"))
                for i in range(0, len(mine), CHUNK):
                    chunk = mine[i : i + CHUNK]
                    if not self._await_turn():
                        return
                    began = time.monotonic()
                    self._enqueue(queue, store, chunk)
                    with self._state:
                        self._enqueued += len(chunk)
                        self._state.notify_all()
                    self._stopping.wait(max(0.0, self._per_job_s * len(chunk) - (time.monotonic() - began)))
        except Exception as exc:
            self.errors.append(exc)
            with self._state:
                self._state.notify_all()

    def _await_turn(self) -> bool:
        with self._state:
            self._state.wait_for(lambda: self._enqueued < self._allowed or self._stopping.is_set())
        return not self._stopping.is_set()

    def _enqueue(self, queue: Queue, store: Store, chunk: Sequence[Spec]) -> None:
        """Until Redis has said yes to all of it: the same ids again are the same jobs."""
        jobs = [parse_job({**spec.fields, "id": spec.id}) for spec in chunk]
        while not self._stopping.is_set():
            try:
                handles = list(queue.enqueue_many(jobs))
                self.counts["known"] += sum(handle.known for handle in handles)
                break
            except QueueUnreachable:
                self.counts["unreachable"] += 1
                self._stopping.wait(0.2)
        revoked = [spec.id for spec in chunk if spec.revoked]
        while revoked and not self._stopping.is_set():
            try:
                store.revoke(revoked, reason="revoked", expires_s=86_400)
                break
            except (redis.RedisError, OSError):
                self._stopping.wait(0.2)
