"""A plain Celery application, the peer: a task that does nothing, and one that runs one INSERT through the connector.

Results are kept, a minute; everything else that is not for speed is off. The connector has its own defaults.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery

from tests.plain_warehouse import connect

QUEUE = "plain"
CONFIGURATION = {
    "task_default_queue": QUEUE,
    "worker_prefetch_multiplier": 64,
    "worker_send_task_events": True,
    "task_acks_late": False,
    "result_expires": 60,
    "broker_connection_retry_on_startup": True,
}

_local = threading.local()
"""Each thread's connection."""


def _connection() -> Any:
    if not hasattr(_local, "connection"):
        _local.connection = connect()
    return _local.connection


def nothing(table: str, data: list[dict[str, Any]]) -> int:
    return len(data)


def one_insert(table: str, data: list[dict[str, Any]]) -> int:
    (row,) = data
    with _connection().cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (id, name, amount) VALUES (:id, :name, :amount)", row)
    return 1


def application(url: str) -> Celery:
    """For one Redis; a producer and a worker make one each."""
    made = Celery("plain", broker=url, backend=url, set_as_current=False)
    made.conf.update(CONFIGURATION)
    for function in (nothing, one_insert):
        made.task(name=function.__name__)(function)
    return made


def __getattr__(name: str) -> Any:
    """`app`, for `celery -A`; made when it is asked for, of the environment."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = application(os.environ["PLAIN_REDIS_URL"])
    return made
