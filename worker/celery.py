"""The Celery app: `celery -A worker worker`, `celery -A worker flower`. Its configuration is read when first needed."""

from __future__ import annotations

import logging
import os
import sys
from importlib.resources import files
from typing import Any

from celery import Celery, signals
from lakequeue.address import RedisAddress
from lakequeue.wire import QUEUE, TASKS

from worker import logs
from worker.bootstep import IntakeStep
from worker.pages import access
from worker.settings import Settings

TIMEOUT_S = 5

FOREIGN_QUEUE = "celery"


def configuration() -> dict[str, Any]:
    """Celery's settings, from the environment; a variable that cannot be used ends the process with one line.

    The timeouts make a half-open connection an error within seconds; by default it hangs for minutes.
    """
    try:
        settings = Settings.from_env()
    except ValueError as exc:
        sys.exit(f"lakequeue: {exc}: correct the variable")
    address = RedisAddress.parse(settings.redis_url)
    return {
        "broker_url": address.celery_url(),
        "result_backend": address.celery_url(),
        **_tls(address),
        "result_expires": settings.result_expires_s,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "task_default_queue": QUEUE,
        "task_routes": (route,),
        "worker_pool": "threads",
        "worker_concurrency": 1,
        "worker_consumer": "worker.bootstep:Consumer",
        "worker_send_task_events": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # for ever; by default a worker ends after an hour without Redis
        "broker_transport_options": {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
        "redis_socket_timeout": TIMEOUT_S,
        "redis_socket_connect_timeout": TIMEOUT_S,
        "redis_socket_keepalive": address.transport != "unix",  # redis-py takes it for TCP only
        "redis_backend_health_check_interval": 5,
    }


def _tls(address: RedisAddress) -> dict[str, Any]:
    options = address.tls_options()
    return {"broker_use_ssl": options, "redis_backend_use_ssl": options} if options else {}


def route(name: str, *_: Any, **__: Any) -> dict[str, str]:
    """Callbacks of jobs may be tasks of others: those without a queue of their own go to Celery's default one."""
    return {"queue": QUEUE if name in TASKS else FOREIGN_QUEUE}


app = Celery("lakequeue", amqp="worker.broker:AMQP", loader="worker.chords:Loader")
app.add_defaults(configuration)
app.steps["worker"].add(IntakeStep)


def _register(name: str) -> None:
    """A task to make signatures of; it checks nothing, since the intake does."""

    def refuse(data: Any = None, **fields: Any) -> None:
        raise TypeError(f"{name} runs in batches, by a worker's intake: send it, with delay or apply_async")

    app.task(name=name, typing=False)(refuse)


for _name in TASKS:
    _register(_name)


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _early(instance: Any, **_: Any) -> None:
    logs.install_early(instance, Settings.from_env().log_format)


@signals.after_setup_logger.connect  # type: ignore[untyped-decorator]
@signals.after_setup_task_logger.connect  # type: ignore[untyped-decorator]
def _format(logger: logging.Logger, **_: Any) -> None:
    logs.install(logger, Settings.from_env().log_format)


# Flower looks for its configuration in the working directory.
os.environ.setdefault("FLOWER_CONF", str(files("worker.pages").joinpath("flowerconfig.py")))
if "flower.command" in sys.modules:  # Celery's command line has loaded it, whatever its command is
    access.install()
