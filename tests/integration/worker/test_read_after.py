"""A read that comes `after` the write which creates its table waits for it, whatever the write meets on its way."""

from __future__ import annotations

from typing import Any

import pytest
from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import StartProxy
from tests.fix_worker import StartWorker
from tests.support import CONFLICT, QUICK, TABLE, job, until

MET = {
    "described": {"on": "ExecuteStatement", "match": "^DESCRIBE", "action": "status", "status": 503, "executed": False},
    "created": {
        "on": "ExecuteStatement",
        "match": "^CREATE TABLE",
        "action": "status",
        "status": 503,
        "executed": False,
    },
    "created, its answer lost": {"on": "ExecuteStatement", "match": "^CREATE TABLE", "action": "drop_after"},
    "refused": {"on": "ExecuteStatement", "match": "^INSERT", **CONFLICT},
    "not sent": {"on": "ExecuteStatement", "match": "^INSERT", "action": "drop_before"},
    "committed, its answer lost": {"on": "ExecuteStatement", "match": "^INSERT", "action": "drop_after"},
}


def read(after: str) -> dict[str, Any]:
    return {"kind": "read", "table": TABLE, "columns": ["id"], "after": after}


@pytest.mark.parametrize("fault", MET.values(), ids=MET.keys())
def test_a_read_waits_for_a_write_that_is_tried_again(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, fault: dict[str, Any]
) -> None:
    warehouse.fault({**fault, "times": 2})
    wrote = queue.enqueue(job(1))
    page = queue.enqueue(read(wrote.id))
    start_worker(**QUICK)
    assert page.result(timeout=60).data == [{"id": 1}]
    assert wrote.result(timeout=1).count == 1
    assert sum(warehouse.injected().values()) >= 1


def test_a_read_waits_for_a_write_whose_worker_is_killed_and_whose_connections_are_cut(
    queue: Queue, start_worker: StartWorker, start_proxy: StartProxy, warehouse: LocalWarehouse, redis_url: str
) -> None:
    proxy = start_proxy(int(redis_url.split(":")[2].split("/")[0]))
    warehouse.fault({"on": "ExecuteStatement", "match": "^CREATE TABLE", "times": 1, "action": "hold"})
    wrote = queue.enqueue(job(1))
    page = queue.enqueue(read(wrote.id))
    worker = start_worker(**QUICK, LAKEQUEUE_REDIS_URL=proxy.redis_url)
    until(lambda: warehouse.held() == 1, "the table is being created")
    worker.kill()
    start_worker(**QUICK, LAKEQUEUE_REDIS_URL=proxy.redis_url)
    for _ in range(3):
        proxy.cut()
        until(lambda: proxy.connections > 0, "it is connected again")
    assert page.status().state == "QUEUED"
    warehouse.release()
    assert page.result(timeout=60).data == [{"id": 1}]
    assert wrote.result(timeout=1).count == 1
