"""Celery's task events, many in one message, sent by a thread of their own: what Flower shows of jobs."""

from __future__ import annotations

import json
import logging
import os
import queue
import time
from collections.abc import Sequence

from celery import Celery
from celery.events.event import get_exchange
from celery.utils.time import utcoffset
from kombu.messaging import Producer
from lakequeue.wire import summary

from tasks.records import Member, Outcome
from worker.loop import Loop

log = logging.getLogger(__name__)

_dumps = json.JSONEncoder(separators=(",", ":")).encode

BATCH = 500
LONGEST_BUFFER = 100_000
"""Events kept while they cannot be sent; beyond it they are dropped: events are a window, not the record."""


class Events:
    """Told by the lanes what happened; never blocks them."""

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._common = _dumps({"hostname": hostname, "pid": os.getpid(), "utcoffset": utcoffset()})[1:-1]
        self._queue: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
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

    def _put(self, events: list[str]) -> None:
        if events and self._waiting + len(events) <= LONGEST_BUFFER:
            self._waiting += len(events)
            self._queue.put(events)

    def revoked(self, job_ids: Sequence[str]) -> None:
        now = time.time()
        self._put([self._revoked(job_id, now, expired=False) for job_id in job_ids])

    def _revoked(self, job_id: str, now: float, *, expired: bool) -> str:
        told = f',"terminated":false,"signum":null,"expired":{"true" if expired else "false"}'
        return self._event("task-revoked", job_id, now, told)

    def _received(self, member: Member, now: float) -> str:
        shown = summary(member.table, member.task.removeprefix("records."), member.rows, member.replay_of)
        parent = "null" if member.parent_id is None else _dumps(member.parent_id)
        told = (
            f',"name":{_dumps(member.task)},"args":"()","kwargs":{_dumps(shown)},"root_id":{_dumps(member.root_id)},'
            f'"parent_id":{parent},"retries":0,"eta":null,"expires":null'
        )
        return self._event("task-received", member.id, now, told)

    def _settled(self, member: Member, outcome: Outcome, now: float) -> str:
        match outcome.state:
            case "SUCCESS":
                told = f',"result":"{{\'rows\': {member.rows}}}","runtime":{outcome.runtime_s}'
                return self._event("task-succeeded", member.id, now, told)
            case "RETRY":
                told = f',"exception":{_dumps(outcome.error)},"traceback":"","retries":{outcome.attempts}'
                return self._event("task-retried", member.id, now, told)
            case _:
                error = _dumps(outcome.error)
                told = f',"exception":{_dumps(f"JobFailed({outcome.error})")},"traceback":"","result":{error}'
                return self._event("task-failed", member.id, now, told)

    def _event(self, kind: str, job_id: str, now: float, told: str = "") -> str:
        """An event in JSON. A job's id is safe inside it."""
        clock = self._app.clock.forward()
        return f'{{"type":"{kind}","uuid":"{job_id}","timestamp":{now},"clock":{clock}{told},{self._common}}}'

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

    def _publish(self, events: list[str]) -> None:
        if self._producer is None:
            connection = self._app.connection_for_write()
            # On Redis the exchange is a fanout; the producer has to have declared it to know.
            exchange = get_exchange(connection, name=self._app.conf.event_exchange)
            self._producer = Producer(connection, exchange=exchange)
        for start in range(0, len(events), BATCH):
            self._producer.publish(
                f"[{','.join(events[start : start + BATCH])}]",
                content_type="application/json",
                content_encoding="utf-8",
                routing_key="task.multi",
                headers={"hostname": self._hostname},
                delivery_mode=1,
            )

    def _close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.connection.release()
