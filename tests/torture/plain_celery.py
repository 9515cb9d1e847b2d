"""A plain Celery application for the yardstick: one INSERT a job, every setting for safety that Celery has.

Late acknowledgement, rejection when a worker's child is lost, a prefetch of one, abandoned messages looked for every
second and given out again after `VISIBILITY_S` (by default they are after an hour), ten retries of any exception. The
connector has its own defaults.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from celery import Celery

from tests.plain_warehouse import connect

QUEUE = "plain"
TABLE = "plain.run.rows"
VISIBILITY_S = 20
TIMEOUT_S = 5


def configuration() -> dict[str, Any]:
    url = os.environ["PLAIN_REDIS_URL"]
    return {
        "broker_url": url,
        "result_backend": url,
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 2,
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "health_check_interval": TIMEOUT_S,
        },
        "redis_socket_timeout": TIMEOUT_S,
        "redis_socket_connect_timeout": TIMEOUT_S,
    }


_open: list[Any] = []
"""The connection of this process."""


def _connection() -> Any:
    if not _open:
        _open.append(connect())
    return _open[0]


def insert_row(job: str) -> None:
    try:
        with _connection().cursor() as cursor:
            cursor.execute(f"INSERT INTO {TABLE} (job) VALUES (:job)", {"job": job})
    except Exception:
        while _open:
            with suppress(Exception):
                _open.pop().close()
        raise


app = Celery("plain")
app.add_defaults(configuration)
insert = app.task(
    name="plain.insert", autoretry_for=(Exception,), max_retries=10, retry_backoff=True, retry_backoff_max=5
)(insert_row)
