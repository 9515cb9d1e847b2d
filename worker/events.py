"""Celery's task events, many in one message, sent by a thread of their own: what Flower shows of jobs."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.events.event import get_exchange
from celery.utils.time import utcoffset
from kombu.messaging import Producer
from lakequeue.wire import summary

from tasks.records import Member, Outcome
from worker.loop import Loop

log = logging.getLogger(__name__)

BATCH = 500
LONGEST_BUFFER = 100_000
"""Events kept while they cannot be sent; beyond it they are dropped: events are a window, not the record."""


class Events:
    """Told by the lanes what happened; never blocks them."""

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._common = {"hostname": hostname, "pid": os.getpid(), "utcoffset": utcoffset()}
        self._queue: queue.SimpleQueue[list[dict[str, Any]] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._producer: Producer | None = None
        self._loop = Loop("events", self._step, fault="events were not sent", ended=self._close)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Send what is there, and end."""
        self._queue.put(None)
        self._loop.join()

    def notify(self, happened: str, members: Sequence[Member], outcomes: Sequence[Outcome]) -> None:
        now = time.time()
        match happened:
            case "received":
                events = [self._received(member, now) for member in members]
            case "started":
                events = [self._event("task-started", member.id, now) for member in members]
            case "expired":
                events = [self._revoked(member.id, now, expired=True) for member in members]
            case _:
                events = [self._settled(m, o, now) for m, o in zip(members, outcomes, strict=True)]
        self._put(events)

    def _put(self, events: list[dict[str, Any]]) -> None:
        if events and self._waiting + len(events) <= LONGEST_BUFFER:
            self._waiting += len(events)
            self._queue.put(events)

    def revoked(self, job_ids: Sequence[str]) -> None:
        now = time.time()
        self._put([self._revoked(job_id, now, expired=False) for job_id in job_ids])

    def _revoked(self, job_id: str, now: float, *, expired: bool) -> dict[str, Any]:
        event = self._event("task-revoked", job_id, now)
        return {**event, "terminated": False, "signum": None, "expired": expired}

    def _received(self, member: Member, now: float) -> dict[str, Any]:
        op = member.task.removeprefix("records.")
        return {
            **self._event("task-received", member.id, now),
            "name": member.task,
            "args": "()",
            "kwargs": summary(member.table, op, member.rows, member.replay_of),
            "root_id": member.root_id,
            "parent_id": member.parent_id,
            "retries": 0,
            "eta": None,
            "expires": None,
        }

    def _settled(self, member: Member, outcome: Outcome, now: float) -> dict[str, Any]:
        match outcome.state:
            case "SUCCESS":
                event = self._event("task-succeeded", member.id, now)
                return {**event, "result": f"{{'rows': {member.rows}}}", "runtime": outcome.runtime_s}
            case "RETRY":
                event = self._event("task-retried", member.id, now)
                return {**event, "exception": outcome.error, "traceback": "", "retries": outcome.attempts}
            case _:
                event = self._event("task-failed", member.id, now)
                return {
                    **event,
                    "exception": f"JobFailed({outcome.error})",
                    "traceback": "",
                    "result": outcome.error,
                }

    def _event(self, kind: str, job_id: str, now: float) -> dict[str, Any]:
        return {
            "type": kind,
            "uuid": job_id,
            "timestamp": now,
            "clock": self._app.clock.forward(),
            **self._common,
        }

    def _step(self) -> float | None:
        """Send what has gathered; waits for the first. None when it was told to end."""
        events = self._queue.get()
        pending = events or []
        ending = events is None
        while len(pending) < BATCH and not ending:
            try:
                more = self._queue.get(timeout=0.05)
            except queue.Empty:
                break
            ending = more is None
            pending = pending + (more or [])
        try:
            self._publish(pending)
        except Exception as exc:  # kombu lets redis' own through
            log.warning("%d events were not sent: %s", len(pending), type(exc).__name__)
            self._close()
        self._waiting -= len(pending)
        return None if ending else 0.0

    def _publish(self, events: list[dict[str, Any]]) -> None:
        if self._producer is None:
            connection = self._app.connection_for_write()
            # On Redis the exchange is a fanout; the producer has to have declared it to know.
            exchange = get_exchange(connection, name=self._app.conf.event_exchange)
            self._producer = Producer(connection, exchange=exchange, serializer="json")
        for start in range(0, len(events), BATCH):
            self._producer.publish(
                events[start : start + BATCH],
                routing_key="task.multi",
                headers={"hostname": self._common["hostname"]},
                delivery_mode=1,
            )

    def _close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.connection.release()
