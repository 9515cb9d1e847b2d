"""What tests with workers share: a table of ids, jobs that fill it, what is in it, and waiting with a deadline."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from lakequeue import Handle
from lakequeue.scripts import read_script

from tests.fix_localwarehouse import LocalWarehouse

TABLE = "shop.sales.events"
COLUMNS = [{"name": "id", "data_type": "BIGINT"}]
QUICK = {
    "LAKEQUEUE_START_WITHIN_S": "1",
    "LAKEQUEUE_STATEMENT_TIMEOUT_S": "1",
    "LAKEQUEUE_PROOF_MARGIN_S": "0.2",
}
"""A short fence: a statement whose answer was lost is given up after 2.2 s."""

PATIENT = {"LAKEQUEUE_BACKOFF_FIRST_S": "1000000", "LAKEQUEUE_BACKOFF_LONGEST_S": "1000000"}
"""What meets an error waits for days: pauses are drawn from nothing to the longest, so that a minute may be none."""

CONFLICT = {"action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"}
"""A fault: another commit came first."""


def job(i: int, table: str = TABLE) -> dict[str, Any]:
    return {
        "kind": "write",
        "table": table,
        "data": [{"id": i}],
        "auto_create": True,
        "schema_definition": COLUMNS,
        "id": f"{table}:{i}",
    }


def sql(warehouse: LocalWarehouse, *texts: str) -> list[Any]:
    """Run statements behind the product's back. Returns the rows of the last one."""
    with warehouse.connect() as connection, connection.cursor() as cursor:
        for text in texts:
            cursor.execute(text)
        rows: list[Any] = cursor.fetchall()
        return rows


def make_tables(
    warehouse: LocalWarehouse,
    *names: str,
    columns: str = "id BIGINT, created_at TIMESTAMP, updated_at TIMESTAMP, _job_id STRING",
) -> None:
    """Create tables in shop.sales."""
    created = (f"CREATE TABLE {name} ({columns})" for name in names)
    sql(warehouse, "CREATE CATALOG IF NOT EXISTS shop", "CREATE SCHEMA IF NOT EXISTS shop.sales", *created)


def ids(warehouse: LocalWarehouse, table: str = TABLE) -> list[int]:
    """What is in the table, asked behind the product's back."""
    return [row[0] for row in sql(warehouse, f"SELECT id FROM {table} ORDER BY id")]


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.02)


def until_it_waits(handle: Handle, for_s: float = 1) -> None:
    """Until the job waits for its next try, and for so long yet: pauses are drawn from nothing to the longest."""

    def waits() -> bool:
        told = handle.status()
        if told.state != "RETRY":
            return False
        return datetime.fromisoformat(str(told.detail["next_try"])).timestamp() - time.time() > for_s

    until(waits, "it waits for its next try")


def script_sha(name: str) -> bytes:
    """How Redis is told to run one of the worker's scripts."""
    return hashlib.sha1(read_script("worker", name).encode(), usedforsecurity=False).hexdigest().encode()
