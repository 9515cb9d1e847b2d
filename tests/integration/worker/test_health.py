"""`python -m worker healthy`, as a container's health check runs it, beside real workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker, Worker
from worker.embedded import EmbeddedRedis, free_port
from worker.health import Health, judge, look

DEADLINE_S = 20.0
WELL = {"lakequeue_redis_up": 1.0, "lakequeue_warehouse_up": 1.0, "lakequeue_leases": 64.0}


def healthy(port: int | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "healthy"],
        # The proxy is one that is not there: it must not be asked.
        env={**os.environ, "LAKEQUEUE_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_until(port: int, good: bool, words: str) -> Health:
    deadline = time.monotonic() + DEADLINE_S
    while (found := look(port=port, address="127.0.0.1")).good != good or words not in found.told:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def measured(start_worker: StartWorker, port: int) -> Worker:
    return start_worker(LAKEQUEUE_METRICS_PORT=str(port))


@pytest.mark.usefixtures("measured")
def test_a_worker_is_healthy_also_while_it_waits_for_its_warehouse(
    port: int, queue: Queue, warehouse: LocalWarehouse
) -> None:
    wait_until(port, True, "partitions=64")
    done = healthy(port)
    assert (done.returncode, done.stdout) == (0, "partitions=64, Redis answers, the warehouse is there\n"), done.stderr
    warehouse.stop()
    queue.read("main.sales.orders")
    assert wait_until(port, True, "is waited for").told.startswith("partitions=64")


@pytest.mark.usefixtures("measured")
def test_a_worker_that_does_not_reach_redis_is_unhealthy(port: int, redis_server: EmbeddedRedis) -> None:
    redis_server.stop()
    try:
        done = healthy(port)
        assert (done.returncode, done.stdout) == (1, "the worker does not reach Redis\n"), done.stderr
    finally:
        redis_server.start()


def test_a_worker_that_stands_still_or_is_gone_is_unhealthy(port: int, measured: Worker) -> None:
    wait_until(port, True, "partitions=64")
    measured.freeze()
    stuck = look(port=port, address="127.0.0.1", within_s=0.3)
    measured.kill()
    assert not stuck.good
    assert "timed out" in stuck.told
    done = healthy(port)
    assert done.returncode == 1
    assert re.fullmatch(rf"no worker answers at 127.0.0.1:{port}: .*refused\n", done.stdout), done.stdout


def test_without_metrics_it_says_what_to_set() -> None:
    done = healthy("")
    assert done.returncode == 2
    assert "LAKEQUEUE_METRICS_PORT" in done.stderr


def test_another_server_is_no_healthy_worker(warehouse: LocalWarehouse) -> None:
    assert not look(port=warehouse.port, address="127.0.0.1").good


@pytest.mark.parametrize(
    ("figures", "good"),
    [
        pytest.param(WELL, True, id="all well"),
        pytest.param(WELL | {"lakequeue_leases": 0.0}, True, id="others have all partitions"),
        pytest.param(WELL | {"lakequeue_leases": 0.0, "lakequeue_partitions_unowned": 64.0}, False, id="takes none"),
        pytest.param(WELL | {"lakequeue_leases": 60.0, "lakequeue_partitions_unowned": 4.0}, True, id="takes some"),
        pytest.param({"lakequeue_redis_up": 1.0}, False, id="not a worker's"),
    ],
)
def test_partitions_that_nobody_takes_are_this_workers_fault_only_if_it_has_none(
    figures: dict[str, float], good: bool
) -> None:
    assert judge(figures).good is good


def test_it_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    """It runs every few seconds: the SDK and Celery would take it a second of CPU each time."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "worker", "settings"],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert not re.findall(r"\| +(celery|databricks\S*|pyarrow|pandas|duckdb)$", done.stderr, re.MULTILINE)
