"""Another application that has Celery and no code of ours, and what it sends and sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult
from kombu.pools import connections, producers
from lakequeue import Handle, Queue, keys, wire

from tests.fix_system import System
from tests.support import COLUMNS, until


def celery_app(url: str) -> Celery:
    """What another application has: a broker, a backend and a route."""
    app = Celery("elsewhere", broker=url, backend=url, set_as_current=False)
    app.conf.task_default_queue = "records"
    return app


def close(app: Celery) -> None:
    """Close an application and its sockets: to the broker, of the subscription to results and of the backend.
    `app.close()` itself (celery 5.7) leaves them to the garbage collector, which Python 3.13 warns of."""
    broker = app.connection_for_write()
    for pools in (producers, connections):  # shared by all applications of this URL
        pools[broker].force_close_all()
        del pools[broker]
    # Or each result that is forgotten later connects anew, to unsubscribe (`celery/backends/redis.py`, `cancel_for`).
    app.backend.result_consumer.subscribed_to.clear()
    app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()
    app.close()


@pytest.fixture
def app(system: System) -> Iterator[Celery]:
    made = celery_app(system.redis.url)
    yield made
    close(made)
    system.warehouse.clear_faults()
    system.warehouse.release()


@pytest.fixture
def client(system: System) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(system.redis.url) as opened:
        yield opened


def fields(table: str, *ids: int) -> dict[str, Any]:
    return {
        "table": table,
        "data": [{"id": i} for i in ids],
        "auto_create": True,
        "schema_definition": COLUMNS,
    }


def write(app: Celery, table: str, *rows: int, **options: Any) -> AsyncResult:
    return app.send_task("records.write", kwargs=fields(table, *rows), **options)


def hold(system: System, app: Celery, table: str) -> AsyncResult:
    """Create a table with row 0, and keep the statement of row 1 under way."""
    write(app, table, 0).get(timeout=30)
    return held_write(system, app, table, 1)


def held_write(system: System, app: Celery, table: str, row: int, **options: Any) -> AsyncResult:
    """Write a row to a table that is there, and keep the statement under way."""
    match = f"INSERT.*{table[-12:]}"
    system.warehouse.fault({"on": "ExecuteStatement", "match": match, "times": 1, "action": "hold"})
    running = write(app, table, row, **options)
    until(lambda: system.warehouse.held() == 1, "a statement is under way")
    return running


def in_lane(client: redis.Redis, table: str) -> list[str]:
    """The ids of the jobs in a table's lane of writes, oldest first."""
    found: list[bytes] = client.lrange(keys.jobs(keys.lane_of("write", table)), 0, -1)  # type: ignore[assignment]
    return [wire.decode(each).id for each in found]


SendLater = Callable[[str], Handle]


@pytest.fixture
def send_later(queue: Queue, redis_url: str) -> Iterator[SendLater]:
    """Sends a job that is not due in this century; it is known once a worker took it in."""
    made = celery_app(redis_url)
    far = datetime(2099, 1, 1, tzinfo=UTC)
    yield lambda table: queue.job(write(made, table, 9, eta=far).id)
    close(made)
