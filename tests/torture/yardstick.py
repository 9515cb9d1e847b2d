"""`python -m tests.torture.yardstick`: what a plain Celery worker loses and doubles under the same plan of faults."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from kombu.exceptions import OperationalError

from tests.fix_localwarehouse import LocalWarehouse
from tests.torture.cluster import COMMIT_MS
from tests.torture.plan import Fault, Plan, Scale, make
from worker.embedded import EmbeddedRedis

CHILDREN = 4
QUIET_S = 5.0
SETTLE_S = 240.0
READY_S = 60.0


@dataclass(frozen=True)
class Tally:
    """What became of the jobs that were accepted: rows by job, results by job (None where there is none)."""

    accepted: Sequence[str]
    rows: Counter[str]
    results: Mapping[str, str | None]

    @property
    def lost(self) -> list[str]:
        return [job for job in self.accepted if not self.rows[job]]

    @property
    def doubled(self) -> list[str]:
        return [job for job in self.accepted if self.rows[job] > 1]

    @property
    def denied(self) -> list[str]:
        """Jobs that are said to have failed, and have a row."""
        return [job for job in self.accepted if self.results.get(job) == "FAILURE" and self.rows[job]]

    @property
    def silent(self) -> list[str]:
        """Jobs without any result: nobody is told."""
        return [job for job in self.accepted if self.results.get(job) not in ("SUCCESS", "FAILURE")]


class Yardstick:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._redis = EmbeddedRedis(folder / "redis", options=("--appendfsync", "always"))
        self._workers: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []
        self._accepted: list[str] = []
        self._pauses = threading.Event()
        self.counts: Counter[str] = Counter()

    def go(self) -> Tally:
        self._redis.start()
        self._client: Any = redis.Redis.from_url(self._redis.url, socket_timeout=5)
        self._warehouse = LocalWarehouse(
            self._folder / "warehouse", options=("--faults", "--commit-ms", str(COMMIT_MS))
        )
        os.environ |= {
            "PLAIN_REDIS_URL": self._redis.url,
            "PLAIN_HOST": f"http://127.0.0.1:{self._warehouse.port}",
            "PLAIN_TOKEN": self._warehouse.token,
            "NO_PROXY": "127.0.0.1",
        }
        # Its configuration comes from the environment.
        from tests.torture import plain_celery

        try:
            with self._warehouse.connect() as connection, connection.cursor() as cursor:
                cursor.execute("CREATE CATALOG plain")
                cursor.execute("CREATE SCHEMA plain.run")
                cursor.execute(f"CREATE TABLE {plain_celery.TABLE} (job STRING)")
            self._warehouse.fault(*(dict(rule) for rule in self._plan.standing))
            self._workers = [self._spawn() for _ in range(self._plan.scale.workers)]
            for log in self._logs:
                self._wait_ready(log)
            self._deal(plain_celery.insert)
            self._wait_quiet(plain_celery.QUEUE)
            self.counts.update(self._warehouse.injected())
            self._warehouse.clear_faults()
            with self._warehouse.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT job, count(*) AS n FROM {plain_celery.TABLE} GROUP BY job")
                rows = Counter({row[0]: int(row[1]) for row in cursor.fetchall()})
            results = {job: self._result(plain_celery.app, job) for job in self._accepted}
            return Tally(self._accepted, rows, results)
        finally:
            for worker in self._workers:
                self._kill(worker)
            plain_celery.app.close()
            self._client.close()
            self._warehouse.kill()
            self._redis.kill()

    def _deal(self, task: Any) -> None:
        """The same faults at the same places of the stream; jobs go out at the pace of the faults."""
        planned_s = sum(fault.pause_s for fault in self._plan.faults) + 1
        pause_s = planned_s / len(self._plan.jobs)
        faults = list(self._plan.faults)
        for number, spec in enumerate(self._plan.jobs):
            while faults and faults[0].at <= number:
                self._strike(faults.pop(0))
            while True:
                try:
                    task.apply_async((spec.id,), task_id=spec.id)
                    break
                except (OperationalError, redis.RedisError, OSError):
                    self.counts["refused"] += 1
                    self._pauses.wait(0.2)
            self._accepted.append(spec.id)
            self._pauses.wait(pause_s)

    def _strike(self, fault: Fault) -> None:
        match fault.what:
            case "kill":
                self._wait_ready(self._logs[fault.worker])
                self._kill(self._workers[fault.worker])
                self._workers[fault.worker] = self._spawn(fault.worker)
                self.counts["kills"] += 1
            case "stop":
                group = self._workers[fault.worker].pid
                os.killpg(group, signal.SIGSTOP)
                self._pauses.wait(fault.seconds)
                os.killpg(group, signal.SIGCONT)
                self.counts["stops"] += 1
            case "redis":
                self._redis.kill()
                self._pauses.wait(fault.seconds)
                self._redis.start()
                self.counts["redis restarts"] += 1
            case "warehouse":
                self._warehouse.fault(*(dict(rule) for rule in fault.rules))

    def _spawn(self, number: int | None = None) -> subprocess.Popen[bytes]:
        log = self._folder / f"plain-{self.counts['born']:03}.log"
        self.counts["born"] += 1
        if number is None:
            self._logs.append(log)
        else:
            self._logs[number] = log
        with open(log, "ab") as out:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tests.torture.plain_celery", "worker", "-l", "info"),
                    *("-P", "prefork", "-c", str(CHILDREN), "-n", f"{log.stem}@test"),
                ],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait_ready(self, log: Path) -> None:
        deadline = time.monotonic() + READY_S
        while " ready." not in log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a plain worker is not ready, see {log}")
            self._pauses.wait(0.05)

    def _kill(self, worker: subprocess.Popen[bytes]) -> None:
        """The worker and its children, as the end of a container does."""
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()

    def _wait_quiet(self, queue: str) -> None:
        """Until nothing waits and nothing is unacknowledged, for a while."""
        deadline = time.monotonic() + SETTLE_S
        quiet_since = time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - quiet_since < QUIET_S:
            self._pauses.wait(0.2)
            if self._client.llen(queue) or self._client.hlen("unacked"):
                quiet_since = time.monotonic()

    def _result(self, app: Any, job: str) -> str | None:
        raw = self._client.get(f"celery-task-meta-{job}")
        return None if raw is None else str(app.backend.decode(raw)["status"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.yardstick", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--drop", type=float, default=0.05)
    parser.add_argument("--redis-restarts", type=int, default=1)
    given = parser.parse_args(argv)
    scale = Scale(
        jobs=given.jobs,
        kills=given.kills,
        stops=1,
        # Its connector waits a minute on each 429 and 503, and loses nothing by it: left out in its favour.
        bursts=0,
        drop=given.drop,
        redis_restarts=given.redis_restarts,
        pace_s=3.0,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending what was started
    folder = Path(tempfile.mkdtemp(prefix="yardstick-"))
    print(f"plain Celery, seed {given.seed}: {scale.jobs} jobs, {scale.workers} workers of {CHILDREN} children each")
    began = time.monotonic()
    yardstick = Yardstick(make(given.seed, scale), folder)
    tally = yardstick.go()
    counts = yardstick.counts
    print(
        f"  kill -9:    {counts['kills']} of workers, {counts['redis restarts']} of Redis; {counts['stops']} SIGSTOP\n"
        f"  replies:    {counts['drop_before']} lost before, {counts['drop_after']} after the request was served\n"
        f"  results:    {dict(Counter(tally.results.values()))}\n"
        f"  lost:       {len(tally.lost)} of {len(tally.accepted)} jobs have no row\n"
        f"  doubled:    {len(tally.doubled)} have more than one, {sum(tally.rows.values()) - len(tally.rows)} rows too "
        f"many\n"
        f"  denied:     {len(tally.denied)} failed, says their result, and have a row\n"
        f"  silent:     {len(tally.silent)} never got a result\n"
        f"  wall time:  {time.monotonic() - began:.0f} s"
    )
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
