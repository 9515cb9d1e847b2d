"""Where the intake joins Celery's worker: started and stopped with it, apart from its broker connection."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from celery import bootsteps
from celery.worker import consumer
from lakequeue import Queue
from lakequeue.connections import connect
from lakequeue.operations import Operations

from tasks.records import Member, Outcome
from worker.breaker import Breaker
from worker.control import Control
from worker.door import Door
from worker.events import Events
from worker.figures import Figures
from worker.intake import Intake
from worker.lane import Desk, Notify
from worker.metrics import Endpoint, Metrics
from worker.outbox import Outbox
from worker.pulse import Pulse
from worker.reads import AT_ONCE, ReadLane
from worker.settings import Settings
from worker.store import Store, Token
from worker.tables import Tables
from worker.target import target
from worker.warehouse import Connections
from worker.writes import WriteLane

REDIS_TIMEOUT_S = 5.0

SCRAPE_TIMEOUT_S = 1.0
"""Prometheus waits for ten seconds, and wants to hear that Redis is away."""

GARBAGE_AFTER = 50_000
"""So many more objects than before are there when the collector looks at the youngest (Python's own: 700)."""

PATIENCE_S = 1.0
"""A command is repeated for so long; a lease that is renewed later than that is to be looked at anew."""


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer for events and remote control only. kombu pops a message before it stores it as its own, and
    so may lose it: the intake reads the queue itself, and kombu consumes none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        queues = kwargs["app"].amqp.queues
        queues.deselect(list(queues))
        super().__init__(*args, **{**kwargs, "without_mingle": True, "without_gossip": True})


class IntakeStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """The composition root of a worker process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._running: Running | None = None

    def start(self, worker: Any) -> None:
        self._running = Running(worker.app, worker.hostname)
        self._running.start()

    def stop(self, worker: Any) -> None:
        if self._running is not None:
            self._running.stop(wait=True)

    def terminate(self, worker: Any) -> None:
        if self._running is not None:
            self._running.stop(wait=False)


_NAMES = {"closed": "up", "open": "away", "half_open": "probing"}


def _both(first: Notify, second: Notify) -> Notify:
    def notify(happened: str, members: Sequence[Member], outcomes: Sequence[Outcome], /, *, batch: str = "") -> None:
        first(happened, members, outcomes, batch=batch)
        second(happened, members, outcomes, batch=batch)

    return notify


class Running:
    """All parts of a worker, built and wired."""

    def __init__(self, app: Any, hostname: str) -> None:
        settings = Settings.from_env()
        # The connector tells of every request, and urllib3 of every connection it could not make.
        # What becomes of it is said here, without the texts of their exceptions, which may hold values.
        for noisy in ("databricks", "urllib3"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        where = target(warehouse_id=os.environ.get("DATABRICKS_WAREHOUSE_ID", ""), http_path=settings.http_path)
        self._redis = connect(settings.redis_url, timeout_s=REDIS_TIMEOUT_S, patience_s=PATIENCE_S)
        self._connections = Connections(where, statement_timeout_s=settings.statement_timeout_s)
        self._events = Events(app, hostname, most_per_s=settings.events_per_s)
        figures = Figures()
        self._pool = ThreadPoolExecutor(min(AT_ONCE, settings.threads), thread_name_prefix="read")
        token = Token(f"{hostname}/{os.getpid()}@{socket.gethostname()}/{uuid4().hex[:12]}")
        store = Store(self._redis, token, most_bytes=settings.max_message_bytes)
        breaker = Breaker(
            figures.measured(self._connections.execute),
            first_s=settings.backoff_first_s,
            longest_s=settings.backoff_longest_s,
        )
        execute = breaker.execute
        tables = Tables(execute, properties=settings.table_properties)
        notify = _both(self._events.notify, figures.notify)
        desk = self._desk = Desk(store, settings, breaker, worker=hostname, notify=notify)
        self._intake = Intake(
            desk,
            writes=WriteLane(desk, tables, execute),
            reads=ReadLane(desk, tables, execute, self._pool),
            threads=settings.threads,
            lease_ttl_s=settings.lease_ttl_s,
        )
        self._door = Door(
            self._redis,
            token=token,
            expires_s=settings.result_expires_s,
            most_bytes=settings.max_message_bytes,
            most_job_bytes=settings.max_batch_bytes,
            notify=notify,
        )
        self._outbox = Outbox(self._redis, app, token, most_bytes=settings.max_message_bytes)
        self._control = Control(
            desk,
            lambda: desk.running(self._intake.places()),
            hostname=hostname,
            pid=os.getpid(),
            revoked=self._events.revoked,
        )

        self._pulse = Pulse(
            self._redis,
            token,
            figures,
            settings,
            hostname=hostname,
            doing=lambda: {
                **self._under_way(),
                "ended": figures.ended(),
                "warehouse": _NAMES[breaker.state],
                "metrics": self._endpoint.serves,
                **self._events.left_out(),
            },
        )
        self._queue = Queue(settings.redis_url)
        self._scraped = connect(settings.redis_url, timeout_s=SCRAPE_TIMEOUT_S, patience_s=0.0)
        metrics = Metrics(
            figures,
            Operations(self._queue, self._scraped),
            token=token,
            leases=lambda: len(self._intake.owned),
            up=lambda: breaker.state == "closed",
        )
        self._endpoint = Endpoint(metrics, port=settings.metrics_port, address=settings.metrics_address)

    def _under_way(self) -> dict[str, int]:
        batches = self._desk.running(self._intake.places())
        return {"running": len(batches), "running_jobs": sum(batch.jobs for batch in batches)}

    def start(self) -> None:
        # A batch is tens of thousands of objects that live for a second and make no cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        self._events.start()
        self._intake.start()
        self._door.start()
        self._outbox.start()
        self._control.install()
        self._endpoint.start()
        self._pulse.start()

    def stop(self, *, wait: bool) -> None:
        """Finish what runs, settle it, and give back the rest and the leases."""
        self._endpoint.stop()
        self._door.stop()
        self._intake.stop(wait=wait)
        self._outbox.stop()
        self._pool.shutdown(wait=wait)
        self._connections.close()
        self._pulse.stop()
        self._queue.close()
        self._scraped.close()
        self._events.stop()
        self._redis.close()
