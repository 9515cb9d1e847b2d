"""The real processes of a run: Redis, the local warehouse, workers; and what the faults do to them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import redis
from lakequeue import keys

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import worker_environ
from tests.torture import canvas
from tests.torture.plan import SCHEMA, Plan, Table
from worker.embedded import EmbeddedRedis

COMMIT_MS = 120
"""What a commit takes: long enough for a kill to hit one."""

FENCE = {
    "LAKEQUEUE_LEASE_TTL_S": "2",
    "LAKEQUEUE_START_WITHIN_S": "2",
    "LAKEQUEUE_STATEMENT_TIMEOUT_S": "2",
    "LAKEQUEUE_PROOF_MARGIN_S": "0.2",
}
AUDIT = (
    "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, deleted_at TIMESTAMP, "
    "_job_id STRING"
)
READY_S = 60.0
BUSY_S = 1.0
"""So long a kill that wants a busy worker waits for one of its batches to be frozen."""

# Children are forked from a process that has these imported: a worker is there in a tenth of the time.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["celery.__main__", "celery.bin.worker", "worker.celery", "databricks.sql.thrift_backend"]
)


class ForkedWorker:
    """One worker process, `celery -A worker worker`, forked instead of started; its log is in a file."""

    def __init__(self, environ: Mapping[str, str], log: Path, name: str) -> None:
        self.name = name
        self.log = log
        self.expected = False
        """Whether it is to end: it was killed, or told to stop."""
        self._process = _forks.Process(target=_work, args=(dict(environ), str(log), name), name=name)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def sentinel(self) -> int | Connection:
        return self._process.sentinel

    @property
    def token(self) -> bytes:
        """How the tokens of its leases begin."""
        return f"{self.name}@test/{self.pid}@".encode()

    def running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.expected = True
        self._process.kill()
        self._process.join()

    def stop(self, timeout_s: float) -> int | None:
        """SIGTERM; returns the exit code, None if it does not end in time."""
        self.expected = True
        self._process.terminate()
        self._process.join(timeout_s)
        return self._process.exitcode


def _work(environ: dict[str, str], log: str, name: str) -> None:
    """What a forked child does: become the worker of this name."""
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environ)
    sys.argv = ["celery", "-A", "worker", "worker", "-n", f"{name}@test", "-l", "info"]
    from celery.__main__ import main

    main()


class Cluster:
    """Everything a run consists of but its producers. `folder` keeps all logs and data."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self._plan = plan
        self.redis = EmbeddedRedis(folder / "redis", options=("--appendfsync", "always"))
        self.warehouse: LocalWarehouse | None = None
        self.workers: list[ForkedWorker] = []
        self._born = 0
        self.counts: Counter[str] = Counter()
        self._asleep: dict[int, float] = {}

    def start(self) -> None:
        self.redis.start()
        self.client: Any = redis.Redis.from_url(self.redis.url, socket_timeout=5)
        self.warehouse = LocalWarehouse(self.folder / "warehouse", options=("--faults", "--commit-ms", str(COMMIT_MS)))
        self.environ = worker_environ(self.redis.url, self.warehouse, **FENCE)
        self._make_tables()
        self.warehouse.fault(*(dict(rule) for rule in self._plan.standing))
        self.workers = [self._spawn(n) for n in range(self._plan.scale.workers)]

    def close(self) -> None:
        """End every process that is left."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.kill()
        if self.warehouse is not None and self.warehouse.process.poll() is None:
            self.warehouse.kill()
        if hasattr(self, "client"):
            self.client.close()
        self.redis.kill()

    def died(self) -> list[ForkedWorker]:
        """Workers that ended without being told to."""
        return [worker for worker in self.workers if not worker.expected and not worker.running()]

    def kill(self, number: int, *, busy: bool) -> None:
        """kill -9 a worker that works, and start another in its place."""
        self._wake(number)
        worker = self.workers[number]
        hit = self._wait_owning(worker) and busy and self._wait_busy(worker)
        worker.kill()
        self.counts["kills"] += 1
        self.counts["kills of a worker with a batch under way"] += hit
        self.workers[number] = self._spawn(number)

    def freeze(self, number: int, seconds: float) -> None:
        """SIGSTOP a worker that works, for so long."""
        self._wake(number)
        self._wait_owning(self.workers[number])
        self.workers[number].send(signal.SIGSTOP)
        self.counts["stops"] += 1
        self._asleep[number] = time.monotonic() + seconds

    def wake_due(self, *, all_of_them: bool = False) -> None:
        """SIGCONT the workers whose time has come."""
        for number, until in list(self._asleep.items()):
            if all_of_them or time.monotonic() >= until:
                self._wake(number)

    def restart_redis(self, away_s: float, pause: Any) -> None:
        """kill -9 the server, and start it again on its port and folder after a pause."""
        self.redis.kill()
        pause(away_s)
        self.redis.start()
        self.counts["redis restarts"] += 1

    def stop_workers(self) -> list[int | None]:
        """SIGTERM to all; their exit codes."""
        self.wake_due(all_of_them=True)
        return [worker.stop(timeout_s=60) for worker in self.workers]

    def _wake(self, number: int) -> None:
        if self._asleep.pop(number, None) is not None:
            self.workers[number].send(signal.SIGCONT)

    def _spawn(self, number: int) -> ForkedWorker:
        self._born += 1
        name = f"w{number}"
        return ForkedWorker(self.environ, self.folder / f"{name}-{self._born:04}.log", name)

    def _owned(self, worker: ForkedWorker) -> set[int]:
        leases = self.client.mget([keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)])
        return {p for p, lease in enumerate(leases) if lease and lease.startswith(worker.token)}

    def _wait_owning(self, worker: ForkedWorker) -> bool:
        """Until the worker owns partitions: one that does nothing yet is not worth a kill."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and worker.running():
            with suppress(redis.RedisError):
                if self._owned(worker):
                    return True
            time.sleep(0.02)
        return False

    def _wait_busy(self, worker: ForkedWorker) -> bool:
        """For a moment, until a lane of the worker's is frozen."""
        deadline = time.monotonic() + BUSY_S
        lanes = [keys.lane_of(op, table.name) for table in self._plan.tables for op in ("write", "read")]
        while time.monotonic() < deadline:
            with suppress(redis.RedisError):
                owned = self._owned(worker)
                mine = [lane for lane in lanes if keys.partition_of(keys.table_of(lane)) in owned]
                if mine and self.client.exists(*(keys.frozen(lane) for lane in mine)):
                    return True
            time.sleep(0.01)
        return False

    def _make_tables(self) -> None:
        assert self.warehouse is not None
        catalog, _, _ = SCHEMA.partition(".")
        with self.warehouse.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE CATALOG {catalog}")
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
            for table in self._plan.tables:
                for text in _definition(table):
                    cursor.execute(text)
            for name in canvas.TABLES:
                cursor.execute(f"CREATE TABLE {name} (k BIGINT, {AUDIT})")
        for table in self._plan.tables:
            if table.kind == "adopted":
                command = [sys.executable, "-m", "worker", "adopt", table.name, "--yes"]
                subprocess.run(command, env={**os.environ, **self.environ}, check=True, capture_output=True)

    def describe(self) -> dict[str, Any]:
        """What Redis holds of the tables: for the report of a run that does not end."""
        told: dict[str, Any] = {}
        for table in self._plan.tables:
            for op in ("write", "read"):
                lane = keys.lane_of(op, table.name)
                partition = keys.partition_of(table.name)
                if not self.client.exists(keys.jobs(lane), keys.frozen(lane), keys.waiting(lane)):
                    continue
                told[lane] = {
                    "partition": partition,
                    "owner": (self.client.get(keys.lease(partition)) or b"").decode(),
                    "jobs": self.client.llen(keys.jobs(lane)),
                    "frozen": _texts(self.client.hgetall(keys.frozen(lane))),
                    "waiting": _texts(self.client.hgetall(keys.waiting(lane))),
                }
        return told

    def lines(self, needles: Sequence[str]) -> list[str]:
        """What the workers' logs say of something, with the worker's name."""
        return [
            f"{log.stem}: {line}"
            for log in sorted(self.folder.glob("w*.log"))
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if any(needle in line for needle in needles)
        ]


def _definition(table: Table) -> list[str]:
    columns = "k BIGINT, a VARCHAR(4), b INT"
    match table.kind:
        case "created":
            return []
        case "plain" | "adopted":
            return [f"CREATE TABLE {table.name} ({columns})"]
        case "checked":
            return [
                f"CREATE TABLE {table.name} ({columns}, {AUDIT})",
                f"ALTER TABLE {table.name} ADD CONSTRAINT counted CHECK (b >= 0)",
            ]


def _texts(stored: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode()[:200] for name, value in stored.items()}
