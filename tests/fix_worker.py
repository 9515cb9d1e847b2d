"""Real worker processes, `celery -A worker worker`, on the Redis and the local warehouse of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from lakequeue import keys
from lakequeue.connections import connect

from tests.fix_localwarehouse import LocalWarehouse

READY_S = 60.0


class Worker:
    """One worker process; its log is in a file."""

    def __init__(
        self, environ: Mapping[str, str], log: Path, name: str, *, host: str = "test", level: str = "info"
    ) -> None:
        self.name = name
        self.hostname = f"{name}@{host}"
        self.log = log
        self._url = environ["LAKEQUEUE_REDIS_URL"]
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "worker", "worker", "-n", self.hostname, "-l", level],
                env={**os.environ, **environ},
                stdout=out,
                stderr=out,
                process_group=0,  # a session would have its own share of the processors
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        """Until it is a member, by the word of Redis, and owns partitions."""
        deadline = time.monotonic() + READY_S
        with connect(self._url, timeout_s=5) as client:
            while True:
                owned = [t for t in client.hvals(keys.OWNERS) if t.startswith(f"{self.hostname}/{self.pid}@".encode())]
                if owned:
                    return
                assert self.process.poll() is None, f"the worker ended:\n{self.text()}"
                assert time.monotonic() < deadline, f"the worker is not ready:\n{self.text()}"
                time.sleep(0.02)

    def partitions(self) -> set[keys.Partition]:
        """Those it owns now, by the word of Redis."""
        every = [keys.Partition(p) for p in range(keys.PARTITIONS)]
        mark = f"{self.hostname}/{self.pid}@".encode()
        with connect(self._url, timeout_s=5) as client:
            leases = client.mget([keys.lease(partition) for partition in every])
        return {partition for partition, lease in zip(every, leases, strict=True) if lease and lease.startswith(mark)}

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, timeout_s: float = 60) -> int:
        """SIGTERM, as a deployment does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def freeze(self) -> None:
        """SIGSTOP; returns once it stands still. Its threads run on for a moment after the signal was sent."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


StartWorker = Callable[..., Worker]


def worker_environ(redis_url: str, warehouse: LocalWarehouse, **settings: str) -> dict[str, str]:
    """The environment of a worker: short waits, so that tests do not wait."""
    return {
        "LAKEQUEUE_REDIS_URL": redis_url,
        "LAKEQUEUE_LEASE_TTL_S": "2",
        "LAKEQUEUE_BACKOFF_FIRST_S": "0.2",
        "LAKEQUEUE_BACKOFF_LONGEST_S": "1",
        "DATABRICKS_HOST": f"http://127.0.0.1:{warehouse.port}",
        "DATABRICKS_TOKEN": warehouse.token,
        "DATABRICKS_WAREHOUSE_ID": "local",
        "DATABRICKS_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        **settings,
    }


@pytest.fixture
def start_worker(redis_url: str, warehouse: LocalWarehouse, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers on demand, with settings by variable name, and ends what is left of them."""
    started: list[Worker] = []

    def start(*, ready: bool = True, **settings: str) -> Worker:
        name = f"w{len(started)}"
        worker = Worker(worker_environ(redis_url, warehouse, **settings), tmp_path / f"{name}.log", name)
        started.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture
def worker(start_worker: StartWorker) -> Worker:
    return start_worker()
