"""What `appendfsync always` costs beside `everysec`: `python -m tests.bench.durability`, rounds alternating."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import Worker, worker_environ
from worker.embedded import EmbeddedRedis

POLICIES = ("everysec", "always")
TABLE = "bench.durability.rows"
DONE_S = 120.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One round under one policy."""

    many_per_s: float
    """Jobs that `enqueue_many` enqueued a second."""

    p50_ms: float
    p99_ms: float
    """Of one `enqueue` after the other."""

    done_per_s: float
    """Jobs a worker took from the queue to their outcome a second."""


def measure(policy: str, folder: Path, warehouse: LocalWarehouse, *, jobs: int, singles: int) -> Measured:
    """A server and a worker of the round's own; the producers are measured before the worker starts."""
    server = EmbeddedRedis(folder / "redis", options=("--appendfsync", policy))
    server.start()
    worker: Worker | None = None
    try:
        with Queue(server.url) as queue:
            queue.enqueue(job(-1))  # the first makes the connection
            began = time.perf_counter()
            deque(queue.enqueue_many(job(i) for i in range(jobs)), maxlen=0)
            many_per_s = jobs / (time.perf_counter() - began)
            took = []
            for i in range(singles):
                began = time.perf_counter()
                last = queue.enqueue(job(i))
                took.append((time.perf_counter() - began) * 1000)
            took.sort()
            worker = Worker(worker_environ(server.url, warehouse), folder / "worker.log", "bench")
            worker.wait_ready()
            began = time.perf_counter()
            last.result(timeout=DONE_S)
            done_per_s = (jobs + singles + 1) / (time.perf_counter() - began)
        return Measured(many_per_s, median(took), took[int(len(took) * 0.99)], done_per_s)
    finally:
        if worker is not None:
            worker.kill()
        server.stop()


def fsync_ms(folder: Path, times: int = 200) -> float:
    """The median of an fsync after 4 KiB: what `always` costs depends on the disk."""
    took = []
    with open(folder / "fsync", "wb", buffering=0) as file:
        for _ in range(times):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


def job(i: int) -> dict[str, Any]:
    columns = [{"name": "id", "data_type": "BIGINT"}]
    return {
        "kind": "write",
        "table": TABLE,
        "data": [{"id": i}],
        "auto_create": True,
        "schema_definition": columns,
        "id": uuid4().hex,
    }


def spread(values: list[float]) -> str:
    return f"{median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


def report(rounds: dict[str, list[Measured]]) -> None:
    print(f"\n{'':24}{'everysec':>36}{'always':>36}{'always / everysec':>28}")
    for name, label in (
        ("many_per_s", "enqueue_many, jobs/s"),
        ("p50_ms", "enqueue, p50 ms"),
        ("p99_ms", "enqueue, p99 ms"),
        ("done_per_s", "worker, jobs/s"),
    ):
        columns = {policy: [float(getattr(each, name)) for each in rounds[policy]] for policy in POLICIES}
        ratios = [after / before for before, after in zip(columns["everysec"], columns["always"], strict=True)]
        print(f"{label:24}{spread(columns['everysec']):>36}{spread(columns['always']):>36}{spread(ratios):>28}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs of one enqueue_many")
    parser.add_argument("--singles", type=int, default=1_000, help="jobs enqueued one by one")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; else a temporary one")
    given = parser.parse_args()
    rounds: dict[str, list[Measured]] = {policy: [] for policy in POLICIES}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        print(f"an fdatasync of 4 KiB on this disk: {fsync_ms(folder):.2f} ms")
        warehouse = LocalWarehouse(folder / "warehouse")
        try:
            for i in range(given.rounds):
                # The order changes, so that what a round leaves to the next falls on both.
                for policy in POLICIES if i % 2 == 0 else POLICIES[::-1]:
                    place = folder / f"{i}-{policy}"
                    place.mkdir()
                    measured = measure(policy, place, warehouse, jobs=given.jobs, singles=given.singles)
                    rounds[policy].append(measured)
                    print(f"round {i + 1} {policy}: {measured}", flush=True)
        finally:
            warehouse.stop()
    report(rounds)


if __name__ == "__main__":
    main()
