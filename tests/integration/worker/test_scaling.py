"""Workers come and go under load: no time is lost beyond a statement, the partitions are shared anew, nothing is lost.

Every commit takes STATEMENT_S here, as on a warehouse.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path

import pytest
from lakequeue import Queue
from lakequeue.client import Handle

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from tests.support import ids, make_tables, until

pytestmark = pytest.mark.alone

STATEMENT_S = 1.0
PERIOD_S = 0.05
"""So often a job of each table is enqueued."""

TABLES = [f"shop.sales.s{i}" for i in range(8)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[LocalWarehouse]:
    quick = LocalWarehouse(tmp_path / "warehouse")
    make_tables(quick, *TABLES)
    assert quick.stop() == 0
    options = ("--faults", "--commit-ms", str(int(STATEMENT_S * 1000)))
    server = LocalWarehouse(tmp_path / "warehouse", options=options)
    yield server
    if server.process.poll() is None:
        server.stop()


class Stream:
    """Enqueues a job of each table, again and again, until it is ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.handles: list[Handle] = []
        self.rounds = 0

    def _run(self) -> None:
        with Queue(self._url) as queue:
            for row in count():
                jobs = [{"kind": "write", "table": table, "data": [{"id": row}]} for table in TABLES]
                self.handles += queue.enqueue_many(jobs)
                self.rounds = row + 1
                if self._over.wait(PERIOD_S):
                    return

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def assert_each_took_effect_once(self, queue: Queue, warehouse: LocalWarehouse) -> None:
        for handle in self.handles:
            assert queue.job(handle.id).result(timeout=60).count == 1
        for table in TABLES:
            assert ids(warehouse, table) == list(range(self.rounds))


def commits(warehouse: LocalWarehouse, table: str) -> list[tuple[datetime, datetime]]:
    """When each INSERT of a table began and was committed."""
    return sorted(
        (datetime.fromisoformat(each["started"]), datetime.fromisoformat(each["ended"]))
        for each in warehouse.statements()
        if each["kind"] == "INSERT" and each["table"] == table and each["state"] == "FINISHED"
    )


def test_a_rolling_restart_under_load_loses_no_more_than_a_statement_and_no_job(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    # The lease's life is the default: what is given back is not waited for.
    settings = {"LAKEQUEUE_LEASE_TTL_S": "10"}
    workers = [start_worker(**settings), start_worker(**settings)]
    until(lambda: [len(w.partitions()) for w in workers] == [32, 32], "an even share")
    stream = Stream(redis_url)
    with stream.running():
        until(lambda: all(len(commits(warehouse, table)) >= 3 for table in TABLES), "all tables are written to")
        for worker in workers:
            assert worker.stop() == 0
            start_worker(**settings)
            seen = {table: len(commits(warehouse, table)) for table in TABLES}
            until(lambda: all(len(commits(warehouse, t)) >= n + 3 for t, n in seen.items()), "they go on")  # noqa: B023
    stream.assert_each_took_effect_once(queue, warehouse)
    longest = {}
    for table in TABLES:
        runs = commits(warehouse, table)
        # From one commit to the next statement's start nothing of the table happens.
        idle = max((after[0] - before[1]).total_seconds() for before, after in pairwise(runs))
        took = max((ended - began).total_seconds() for began, ended in runs)
        longest[table] = idle
        print(f"{table}: {len(runs)} commits, longest statement {took:.2f} s, longest time without one {idle:.2f} s")
    slowest = max((e - b).total_seconds() for table in TABLES for b, e in commits(warehouse, table))
    assert max(longest.values()) <= slowest + PERIOD_S


def test_scaling_from_one_to_four_to_two_workers_shares_the_partitions_within_seconds(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> None:
    def shares(workers: list[Worker]) -> list[int]:
        return sorted(len(worker.partitions()) for worker in workers)

    workers = [start_worker()]
    stream = Stream(redis_url)
    with stream.running():
        until(lambda: all(commits(warehouse, table) for table in TABLES), "all tables are written to")
        workers += [start_worker() for _ in range(3)]
        began = time.monotonic()
        until(lambda: shares(workers) == [16] * 4, "four even shares", timeout_s=5)
        print(f"1 -> 4 workers: even shares {time.monotonic() - began:.2f} s after the last was ready")
        gone, workers = workers[:2], workers[2:]
        began = time.monotonic()
        for worker in gone:
            worker.process.terminate()
        for worker in gone:
            assert worker.process.wait(timeout=60) == 0
        stopped = time.monotonic()
        until(lambda: shares(workers) == [32] * 2, "two even shares", timeout_s=5)
        print(
            f"4 -> 2 workers: stopped in {stopped - began:.2f} s, even shares {time.monotonic() - stopped:.2f} s later"
        )
    stream.assert_each_took_effect_once(queue, warehouse)
