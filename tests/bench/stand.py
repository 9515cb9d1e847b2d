"""What the measurements stand on: a Redis and a local warehouse of their own, workers, tables, and clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from lakequeue import Queue, keys

from tests.bench import plain
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import Worker, worker_environ
from worker.embedded import EmbeddedRedis
from worker.processes import stop

COLUMNS = (
    "id BIGINT, name STRING, amount DECIMAL(10,2), created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, "
    "updated_by STRING, deleted_at TIMESTAMP, _job_id STRING"
)
SCHEMA = "bench.run"
PATIENCE_S = 900.0


class Stand:
    """One Redis, one warehouse whose commits take `commit_ms` longer, and tables that all measurements share."""

    def __init__(self, folder: Path, *, commit_ms: int = 0) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.redis = EmbeddedRedis(folder / "redis")
        self.redis.start()
        self.warehouse = LocalWarehouse(
            folder / "warehouse", options=("--faults", "--commit-ms", str(commit_ms)), engine="duckdb"
        )
        self.client: Any = redis.Redis.from_url(self.redis.url)
        self.queue = Queue(self.redis.url)
        self._tables: list[str] = []
        self._next_id = 0
        self._workers = 0
        with self.warehouse.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE CATALOG bench")
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")

    def close(self) -> None:
        self.queue.close()
        self.client.close()
        self.warehouse.kill()
        self.redis.kill()

    def tables(self, count: int) -> list[str]:
        """So many tables with audit columns, always the same: making one is a commit, and may be a slow one."""
        with self.warehouse.connect() as connection, connection.cursor() as cursor:
            while len(self._tables) < count:
                name = f"{SCHEMA}.t{len(self._tables)}"
                cursor.execute(f"CREATE TABLE {name} ({COLUMNS})")
                self._tables.append(name)
        return self._tables[:count]

    def new_ids(self, count: int) -> int:
        """The first of so many ids that no row has, nor any higher one."""
        first, self._next_id = self._next_id, self._next_id + count
        return first

    def rows(self, tables: Sequence[str], first: int) -> tuple[int, int]:
        """How many rows of the tables have an id from `first` on, and how many different ones."""
        total = different = 0
        with self.warehouse.connect() as connection, connection.cursor() as cursor:
            for name in tables:
                cursor.execute(f"SELECT count(*) AS n, count(DISTINCT id) AS d FROM {name} WHERE id >= {first}")
                n, d = cursor.fetchall()[0]
                total, different = total + n, different + d
        return total, different

    def verify(self, tables: Sequence[str], first: int, rows: int) -> None:
        """A figure counts only if every row is there, once: so many, with ids from `first` on."""
        found = self.rows(tables, first)
        if found != (rows, rows):
            raise SystemExit(f"wrong: {rows} rows were sent, {found[0]} are there, {found[1]} of them different")

    @contextmanager
    def worker(self, *, ready: bool = True, **settings: str) -> Iterator[Worker]:
        """A worker of ours with its own defaults, but for short waits where something fails."""
        self._workers += 1
        environ = {
            **worker_environ(self.redis.url, self.warehouse),
            "LAKEQUEUE_LEASE_TTL_S": "10",
            "LAKEQUEUE_EVENTS_PER_S": "0",  # all jobs are shown, as the peers show theirs
            **settings,
        }
        name = f"w{self._workers}"
        worker = Worker(environ, self.folder / f"{name}.log", name)
        try:
            if ready:
                worker.wait_ready()
            yield worker
            worker.stop()
        finally:
            if worker.process.poll() is None:
                worker.kill()

    @contextmanager
    def plain_worker(self, pool: str, *, concurrency: int) -> Iterator[subprocess.Popen[bytes]]:
        """`celery worker` for the plain application, events on, gossip and mingling off."""
        self._workers += 1
        command = [sys.executable, "-m", "celery", "-A", "tests.bench.plain:app", "worker", "-E", "-l", "warning"]
        command += ["-P", pool, "-c", str(concurrency), "-n", f"p{self._workers}@bench"]
        command += ["--without-gossip", "--without-mingle"]
        environ = {
            **os.environ,
            "PLAIN_REDIS_URL": self.redis.url,
            "PLAIN_HOST": f"http://127.0.0.1:{self.warehouse.port}",
            "PLAIN_TOKEN": self.warehouse.token,
            "NO_PROXY": "127.0.0.1",
        }
        with open(self.folder / f"p{self._workers}.log", "ab") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            yield process
        finally:
            stop(process, within_s=30)


def owned(stand: Stand) -> bool:
    """Whether a worker owns partitions: it takes from now on."""
    return bool(stand.client.exists(*(keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS))))


def queued(stand: Stand, tables: Sequence[str]) -> int:
    """Jobs without an outcome: settling stores the outcome and takes the message off in one step."""
    pipeline = stand.client.pipeline(transaction=False)
    for table in tables:
        pipeline.llen(keys.jobs(keys.lane_of("write", table)))
    lengths: list[int] = pipeline.execute()
    return sum(lengths)


def until(condition: Callable[[], bool], *, every_s: float = 0.005) -> float:
    """Wait for it; returns when it was seen, on the monotonic clock."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"a measurement is not over after {PATIENCE_S:.0f} s")
        time.sleep(every_s)
    return time.monotonic()


def job(first: int, table: str, rows: int = 1) -> dict[str, Any]:
    """A write of rows with ids from `first` on."""
    return {"kind": "write", "table": table, "data": [row(first + k) for k in range(rows)]}


def row(i: int) -> dict[str, Any]:
    return {"id": i, "name": f"name {i}", "amount": "9.90"}


def drain(
    stand: Stand, tables: Sequence[str], count: int, *, rows: int = 1, workers: int = 1, every_s: float = 0.005
) -> float:
    """Preload `count` jobs of `rows` rows over the tables; returns jobs per second of the workers, rows verified.

    The clock runs from when the first worker has partitions to the last stored outcome.
    """
    stand.client.flushall()
    first = stand.new_ids(count * rows)
    for _ in stand.queue.enqueue_many(job(first + i * rows, tables[i % len(tables)], rows) for i in range(count)):
        pass
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(stand.worker(ready=False))
        began = until(lambda: owned(stand), every_s=0.001)
        ended = until(lambda: queued(stand, tables) == 0, every_s=every_s)
    stand.verify(tables, first, count * rows)
    return count / (ended - began)


def plain_drain(stand: Stand, pool: str, concurrency: int, task: str, jobs: Sequence[Mapping[str, Any]]) -> float:
    """Preload jobs for a plain worker; returns jobs per second, from the first taken to the last stored result."""
    stand.client.flushall()
    app = plain.application(stand.redis.url)
    for each in jobs:
        app.send_task(task, kwargs=dict(each), argsrepr="()", kwargsrepr="{}")
    app.close()
    before = int(stand.client.dbsize())

    def stored() -> int:
        return int(stand.client.dbsize()) - before

    waiting = len(jobs)
    with stand.plain_worker(pool, concurrency=concurrency):
        began = until(lambda: int(stand.client.llen(plain.QUEUE)) < waiting, every_s=0.001)
        # Other keys come and go; they are counted apart once nearly all are there.
        ended = until(lambda: stored() >= waiting - 5 and _results(stand) >= waiting)
    return waiting / (ended - began)


def _results(stand: Stand) -> int:
    return sum(1 for _ in stand.client.scan_iter("celery-task-meta-*", 5000))
