"""Celery's task events, many in one message, sent by a thread of their own: what Flower shows of jobs."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

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
LATELY_S = 60

LONGEST_BUFFER = 100_000
"""Events kept while they cannot be sent; beyond it they are dropped: events are a window, not the record."""

LONGEST_HIDDEN = 200_000
"""Jobs that are known not to be shown; of more, those that began first are shown when they end."""


class Events:
    """Told by the lanes what happened; never blocks them.

    Of more than `most_per_s` jobs a second, those that succeed are left out; the others are not.
    """

    def __init__(self, app: Celery, hostname: str, *, most_per_s: int = 0) -> None:
        self._app = app
        self._hostname = hostname
        self._common = _dumps({"hostname": hostname, "pid": os.getpid(), "utcoffset": utcoffset()})[1:-1]
        self._queue: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._producer: Producer | None = None
        self._shown = Shown(most_per_s)
        self._loop = Loop("events", self._step, fault="events were not sent", ended=self._close)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Send what is there, and end."""
        self._queue.put(None)
        self._loop.join()

    def left_out(self) -> dict[str, int]:
        """How many successes were not shown, in all and of the last minute."""
        return self._shown.left_out()

    def notify(
        self, happened: str, members: Sequence[Member], outcomes: Sequence[Outcome], /, *, batch: str = ""
    ) -> None:
        now = time.time()
        match happened:
            case "received":
                events = [self._received(member, now) for member in self._shown.begun(members)]
            case "started":
                result = f',"result":{_dumps(repr({"batch": batch}))}' if batch else ""
                events = [self._started(member, now, result) for member in self._shown.going_on(members)]
            case "revoked" | "expired":
                self._shown.show(member.id for member in members)
                late = happened == "expired"
                events = [self._revoked(each.id, now, expired=late, asked=_asked(each)) for each in members]
            case "settled":
                results = _Results()
                told = self._shown.ended(members, outcomes)
                events = [text for each in told for text in self._settled(*each, now, results)]
            case _:  # nobody was told that these jobs were there
                return
        self._put(events)

    def _put(self, events: list[str]) -> None:
        if events and self._waiting + len(events) <= LONGEST_BUFFER:
            self._waiting += len(events)
            self._queue.put(events)

    def revoked(self, job_ids: Sequence[str]) -> None:
        now = time.time()
        self._put([self._revoked(job_id, now, expired=False) for job_id in job_ids])

    def _revoked(self, job_id: str, now: float, *, expired: bool, asked: str = "") -> str:
        told = f'{asked},"terminated":false,"signum":null,"expired":{"true" if expired else "false"}'
        return self._event("task-revoked", job_id, now, told)

    def _received(self, member: Member, now: float) -> str:
        parent = "null" if member.parent_id is None else _dumps(member.parent_id)
        told = (
            f'{_asked(member)},"args":"()","root_id":{_dumps(member.root_id)},'
            f'"parent_id":{parent},"retries":0,"eta":null,"expires":null'
        )
        return self._event("task-received", member.id, now, told)

    def _started(self, member: Member, now: float, result: str) -> str:
        return self._event("task-started", member.id, now, f"{_asked(member)}{result}")

    def _settled(self, member: Member, outcome: Outcome, anew: bool, now: float, results: _Results) -> Iterator[str]:
        """Also the event before, of a job that is shown only now."""
        if anew:
            yield self._received(member, now)
        asked = _asked(member)
        result = results.of(member, outcome)
        before = f',"retries":{max(0, outcome.attempts - 1)}'
        match outcome.state:
            case "SUCCESS":
                told = f'{asked}{before},"result":{result},"runtime":{outcome.runtime_s}'
                yield self._event("task-succeeded", member.id, now, told)
            case "RETRY":
                told = f',"exception":{_dumps(outcome.error)},"traceback":"","retries":{outcome.attempts}'
                yield self._event("task-retried", member.id, now, f'{asked}{told},"result":{result}')
            case _:
                told = f',"exception":{_dumps(f"JobFailed({outcome.error})")},"traceback":"","result":{result}'
                yield self._event("task-failed", member.id, now, asked + before + told)

    def _event(self, kind: str, job_id: str, now: float, told: str = "") -> str:
        """An event in JSON."""
        clock = self._app.clock.forward()
        return f'{{"type":"{kind}","uuid":{_dumps(job_id)},"timestamp":{now},"clock":{clock}{told},{self._common}}}'

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


def _asked(member: Member) -> str:
    """What was asked for. Each event says it: Flower may have seen none before. Of a purged job it is not known."""
    return "" if not member.task else _told(member.task, member.table, member.rows, member.replay_of)


@lru_cache(maxsize=4096)
def _told(task: str, table: str, rows: int, replay_of: tuple[str, ...]) -> str:
    shown = summary(table, task.removeprefix("records."), rows, replay_of)
    return f',"name":{_dumps(task)},"kwargs":{_dumps(shown)}'


class _Results:
    """What events say of outcomes; the jobs of a batch differ in few ways."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str | None], str] = {}

    def of(self, member: Member, outcome: Outcome) -> str:
        key = id(outcome.brief), member.rows, outcome.error
        if key not in self._known:
            error = {} if outcome.error is None else {"error": outcome.error}
            self._known[key] = _dumps(repr({"rows": member.rows, **outcome.brief, **error}))
        return self._known[key]


class Shown:
    """Which jobs are shown. A job is shown from its first event to its last, or not at all, unless it fails."""

    def __init__(self, most_per_s: int) -> None:
        self._most = most_per_s
        self._lock = threading.Lock()
        self._hidden: dict[str, None] = {}  # in the order they began
        self._second, self._used = 0, 0
        self._left_out = 0
        self._lately: deque[tuple[int, int]] = deque()

    def begun(self, members: Sequence[Member]) -> Sequence[Member]:
        """Those of new jobs that are shown."""
        if not self._most:
            return members
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._used = second, 0
            room = max(0, self._most - self._used)
            self._used += min(room, len(members))
            self._hidden.update((member.id, None) for member in members[room:])
            # Those that end elsewhere, since another worker took their table, are never heard of here again.
            if len(self._hidden) > LONGEST_HIDDEN:
                for job_id in list(islice(self._hidden, len(self._hidden) - LONGEST_HIDDEN * 3 // 4)):
                    self._hidden.pop(job_id, None)
        return members[:room]

    def going_on(self, members: Sequence[Member]) -> Sequence[Member]:
        return [member for member in members if member.id not in self._hidden] if self._hidden else members

    def show(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._hidden.pop(job_id, None)

    def ended(self, members: Sequence[Member], outcomes: Sequence[Outcome]) -> Iterator[tuple[Member, Outcome, bool]]:
        """What is shown, and whether it is shown only now."""
        left_out = 0
        for member, outcome in zip(members, outcomes, strict=True):
            hidden = member.id in self._hidden
            if hidden and outcome.state == "RETRY":
                continue
            if hidden:
                with self._lock:
                    self._hidden.pop(member.id, None)
                if outcome.state == "SUCCESS":
                    left_out += 1
                    continue
            yield member, outcome, hidden
        if left_out:
            with self._lock:
                self._left_out += left_out
                self._lately.append((int(time.monotonic()), left_out))

    def left_out(self) -> dict[str, int]:
        with self._lock:
            while self._lately and self._lately[0][0] < time.monotonic() - LATELY_S:
                self._lately.popleft()
            return {"left_out": self._left_out, "left_out_lately": sum(count for _, count in self._lately)}
