"""Another application, which has Celery and no code of ours: it sends the canvases, whatever becomes of Redis."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from celery.canvas import maybe_signature
from kombu.exceptions import OperationalError
from lakequeue import keys, outcomes, wire

from tests.fix_celery_app import celery_app, close
from tests.torture.canvas import FOREIGN, TABLES, Canvas, Shape, jobs_of
from tests.torture.model import Finding

PAUSE_S = 0.2
TIMEOUT_S = 5

LISTS = (wire.QUEUE, *(f"{wire.QUEUE}\x06\x16{step}" for step in (3, 6, 9)))


class OtherApplication:
    """A thread that sends canvases at their places in the stream, each until it was sent whole: an unsure sending is
    repeated with the same ids."""

    def __init__(self, url: str, canvases: Sequence[Canvas], *, wait_for: Callable[[float], bool]) -> None:
        """
        Args:
            wait_for: waits until this share of the stream was enqueued; false if the run is over.
        """
        self._url = url
        self._canvases = canvases
        self._wait_for = wait_for
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="other application")
        self.counts: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self.due: dict[int, datetime] = {}
        """By number of a canvas: when it was due, if it had an eta."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def finished(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        app = celery_app(self._url)
        app.set_current()  # in this thread: a chain's steps find it so
        app.conf.broker_transport_options = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        app.conf.redis_socket_timeout = app.conf.redis_socket_connect_timeout = TIMEOUT_S
        try:
            for place, canvas in enumerate(self._canvases):
                while not self._wait_for(place / len(self._canvases)):
                    if self._stopping.is_set():
                        return
                self._send(app, canvas)
        except Exception as exc:
            self.errors.append(exc)
        finally:
            close(app)

    def _send(self, app: Any, canvas: Canvas) -> None:
        options: dict[str, Any] = {} if canvas.priority is None else {"priority": canvas.priority}
        now = datetime.now(UTC)
        if canvas.eta_s is not None:
            options["eta"] = self.due[canvas.number] = now + timedelta(seconds=canvas.eta_s)
        if canvas.expires_s is not None:
            options["expires"] = now + timedelta(seconds=canvas.expires_s)
        while not self._stopping.is_set():
            try:
                # A copy: what is sent changes the signature.
                maybe_signature(json.loads(json.dumps(canvas.signature)), app=app).apply_async(**options)
            except (redis.RedisError, OperationalError, OSError):
                self.counts["unsure canvases"] += 1
                self._stopping.wait(PAUSE_S)
            else:
                self.counts["canvases"] += 1
                return


@dataclass(frozen=True)
class Traces:
    """What canvases left behind: the stamps of the rows by their keys, records by job id, and by task id the arguments
    of each message that came to the foreign queue."""

    rows: Mapping[int, Sequence[datetime]]
    records: Mapping[str, bytes]
    told: Mapping[str, Sequence[Any]]
    due: Mapping[int, datetime] = field(default_factory=dict)


def under_way(client: redis.Redis, canvases: Sequence[Canvas]) -> list[str]:
    """The jobs that have no outcome yet, and the keys in which something waits."""
    if not canvases:
        return []
    waiting = [key for key in (*LISTS, keys.ETA, keys.CALLBACKS, keys.OUTBOX) if client.exists(key)]
    return waiting or [job for job, raw in records(client, canvases).items() if not _final(raw)]


def _final(raw: bytes) -> bool:
    return bool(raw) and outcomes.load(raw)["status"] in outcomes.FINAL


def records(client: redis.Redis, canvases: Sequence[Canvas]) -> dict[str, bytes]:
    ids = [
        *jobs_of(canvases),
        *(job for canvas in canvases for told in (canvas.told or {}).values() for job in _flat(told)),
    ]
    found: list[Any] = client.mget([keys.record(job) for job in ids]) if ids else []
    return {job: raw or b"" for job, raw in zip(ids, found, strict=True)}


def _flat(shape: Shape) -> list[str]:
    return [shape] if isinstance(shape, str) else [job for each in shape for job in _flat(each)]


def told(client: redis.Redis) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    raw: list[Any] = client.lrange(FOREIGN, 0, -1)
    for message in map(json.loads, raw):
        args, _, _ = json.loads(b64decode(message["body"]))
        found.setdefault(message["headers"]["id"], []).append(args)
    return found


def rows(cursor: Any) -> dict[int, list[datetime]]:
    found: dict[int, list[datetime]] = {}
    for table in TABLES:
        cursor.execute(f"SELECT k, created_at FROM {table}")
        for key, at in cursor.fetchall():
            found.setdefault(key, []).append(at)
    return found


def judge(canvases: Sequence[Canvas], traces: Traces) -> list[Finding]:
    """What of the canvases' promises was not kept."""
    return [*(finding for canvas in canvases for finding in _judge(canvas, traces)), *_in_order(canvases, traces)]


def _judge(canvas: Canvas, traces: Traces) -> list[Finding]:
    findings: list[Finding] = []

    def found(what: str, text: str) -> None:
        findings.append(Finding(what, (canvas.id,), f"{canvas.kind} {canvas.id} in {canvas.table}: {text}"))

    for key in canvas.once:
        if (count := len(traces.rows.get(key, ()))) != 1:
            found("lost" if count == 0 else "doubled", f"the row {key} is there {count} times, not once")
    for key in canvas.never:
        if traces.rows.get(key):
            found("wrong", f"the row {key} is there, and its job was not to run")
    for job, state in (canvas.states or {}).items():
        raw = traces.records.get(job)
        is_now = outcomes.load(raw)["status"] if raw else "not known"
        if is_now != state:
            found("wrong" if is_now in outcomes.FINAL else "lost", f"{job} is {is_now}, not {state}")
    for one, other in canvas.order:
        before, after = traces.rows.get(one), traces.rows.get(other)
        if before and after and before[0] > after[0]:
            found("out of order", f"the row {one} is later than {other}, which was to wait for it")
    if canvas.number in traces.due and canvas.once:
        due = traces.due[canvas.number]
        if any(_utc(at) < due - timedelta(milliseconds=50) for at in traces.rows.get(canvas.once[0], ())):
            found("out of order", f"the row {canvas.once[0]} is earlier than its job was due, {due}")
    for task, shape in (canvas.told or {}).items():
        given = traces.told.get(task, ())
        right = [_results(shape, traces.records)]
        if not given:
            found("lost", f"the foreign task {task} was never sent")
        elif any(args != right for args in given):
            found("wrong", f"the foreign task {task} was not given the results of {shape}")
    return findings


def _in_order(canvases: Sequence[Canvas], traces: Traces) -> list[Finding]:
    """Of plain jobs of one table without priority, each is written no later than those sent after it."""
    last: dict[str, tuple[Canvas, datetime]] = {}
    findings = []
    for canvas in canvases:
        if canvas.in_order and (at := traces.rows.get(canvas.once[0])):
            if canvas.table in last and last[canvas.table][1] > at[0]:
                before = last[canvas.table][0]
                text = f"{canvas.table}: the row of {canvas.id} is earlier than that of {before.id}, sent before it"
                findings.append(Finding("out of order", (canvas.id, before.id), text))
            last[canvas.table] = canvas, at[0]
    return findings


def _results(shape: Shape, found: Mapping[str, bytes]) -> Any:
    if isinstance(shape, str):
        return outcomes.load(found[shape])["result"] if found.get(shape) else None
    return [_results(each, found) for each in shape]


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
