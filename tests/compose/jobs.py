"""Jobs for the services under test: enqueued from this machine, counted in the tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lakequeue import Handle, Queue

from tests.compose.engines import Failed

TABLES = [f"shop.sales.orders_{number}" for number in range(4)]
SCHEMA = [{"name": "id", "data_type": "BIGINT", "nullable": False}]
RESULT_S = 90.0
RUNNING_S = 20.0


def write(table: str, number: int) -> dict[str, Any]:
    return {
        "kind": "write",
        "table": table,
        "data": [{"id": number}],
        "id": f"{table}-{number}",
        "auto_create": True,
        "schema_definition": SCHEMA,
    }


def by_command(url: str) -> None:
    """One job for each table through `lakequeue enqueue` and `wait`, as an operator would, from outside."""
    environ = {**os.environ, "LAKEQUEUE_REDIS_URL": url}
    lines = "".join(json.dumps(write(table, 0)) + "\n" for table in TABLES)
    command = [sys.executable, "-m", "lakequeue"]
    sent = subprocess.run(
        [*command, "enqueue", "-"], env=environ, input=lines, capture_output=True, text=True, timeout=60
    )
    told = subprocess.run(
        [*command, "wait", "-"], env=environ, input=sent.stdout, capture_output=True, text=True, timeout=RESULT_S
    )
    states = [json.loads(line)["state"] for line in told.stdout.splitlines()]
    if (sent.returncode, told.returncode, states) != (0, 0, ["SUCCESS"] * len(TABLES)):
        raise Failed(f"lakequeue enqueue | wait: {sent.stderr}{told.stdout}{told.stderr}")


def send(queue: Queue, numbers: range) -> list[Handle]:
    """So many jobs of one row for each table."""
    return list(queue.enqueue_many(write(table, number) for number in numbers for table in TABLES))


def wait_until_running(queue: Queue) -> int:
    """Until a statement is under way. Returns how many jobs wait for theirs."""
    deadline = time.monotonic() + RUNNING_S
    while True:
        tables = queue.operations.overview().tables
        if any(table.running for table in tables):
            return sum(table.waiting for table in tables)
        if time.monotonic() > deadline:
            raise Failed("no statement was under way")
        time.sleep(0.005)


def wait_for(handles: Sequence[Handle]) -> None:
    deadline = time.monotonic() + RESULT_S
    for handle in handles:
        handle.result(timeout=max(0.1, deadline - time.monotonic()))


def compare(queue: Queue, rows: range) -> None:
    """Every table holds each row once.

    Raises:
        Failed: naming what is missing or there twice.
    """
    for table in TABLES:
        page = queue.read(table, columns="id", order_by="id", limit=1000).result(timeout=RESULT_S)
        found = Counter(row["id"] for row in page.data)
        if found != Counter(rows):
            missing = [number for number in rows if not found[number]]
            doubled = [number for number, count in found.items() if count > 1]
            raise Failed(
                f"{table}: {len(missing)} rows are missing {missing[:5]}, {len(doubled)} doubled {doubled[:5]}"
            )
