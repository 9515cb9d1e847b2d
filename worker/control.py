"""Celery's remote control, for jobs that no Celery task runs: revoke, and what `inspect` shows.

These commands take the place of Celery's own of the same names (`celery/worker/control.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import redis
from celery.worker.control import control_command, inspect_command, nok, ok
from lakequeue import keys
from lakequeue.identifiers import check_job_id
from lakequeue.problems import quoted
from lakequeue.wire import QUEUE

from worker.lane import Desk, Running

SHOWN = 100
"""Delayed jobs that `inspect scheduled` lists at most."""


class Control:
    """What the commands need of a worker; `running` are the batches under way."""

    def __init__(
        self,
        desk: Desk,
        running: Callable[[], Sequence[Running]],
        *,
        hostname: str,
        pid: int,
        revoked: Callable[[Sequence[str]], None],
    ) -> None:
        self._desk = desk
        self._running = running
        self._hostname = hostname
        self._pid = pid
        self._revoked = revoked

    def install(self) -> None:
        """Register the commands with Celery; a worker process has one set of them."""
        control_command(name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")(self.revoke)
        control_command(name="add_consumer", args=[("queue", str)])(self.add_consumer)
        inspect_command(name="active", alias="dump_active")(self.active)
        inspect_command(name="scheduled", alias="dump_schedule")(self.scheduled)
        inspect_command(name="active_queues")(self.active_queues)

    def revoke(self, state: Any, task_id: str | list[str], **options: Any) -> dict[str, Any]:
        """Revoke jobs by id that are not running yet. A batch under way is never torn apart: `terminate` adds nothing.

        Every worker is told, and the first does it. What can be no job's id is left out, and named.
        """
        ids, wrong = [], []
        for each in task_id if isinstance(task_id, list) else [task_id]:
            try:
                ids.append(check_job_id(each))
            except ValueError as exc:
                wrong.append(f"{quoted(each)}: {exc}")
        try:
            found = self._desk.store.revoke(ids, reason="revoked", expires_s=self._desk.settings.result_expires_s)
        except redis.RedisError as exc:
            return nok(f"redis: {type(exc).__name__}")  # type: ignore[no-any-return]
        if done := [each for each, was in found.items() if was in ("QUEUED", "RETRY", "UNKNOWN")]:
            self._revoked(done)
        left = {each: was for each, was in found.items() if was not in ("QUEUED", "RETRY", "UNKNOWN", "REVOKED")}
        if wrong:
            return nok(f"tasks {ids} flagged as revoked, but not {'; '.join(wrong)}")  # type: ignore[no-any-return]
        told = f"tasks {ids} flagged as revoked"
        return ok(told if not left else f"{told}, but for these, which are left: {left}")  # type: ignore[no-any-return]

    def add_consumer(self, state: Any, **options: Any) -> dict[str, Any]:
        """kombu may consume no queue here, ours least of all."""
        return nok(f"these workers take jobs of the queue {QUEUE}, and no others")  # type: ignore[no-any-return]

    def active(self, state: Any, **options: Any) -> list[dict[str, Any]]:
        """Batches whose statement is under way."""
        return [
            {
                "id": each.batch,
                "name": each.task,
                "type": each.task,
                "args": [],
                "kwargs": {"table": str(each.place.table), "jobs": each.jobs, "rows": each.rows},
                "hostname": self._hostname,
                "time_start": each.since,
                "acknowledged": True,
                "delivery_info": {"exchange": "", "routing_key": QUEUE, "priority": 0, "redelivered": False},
                "worker_pid": self._pid,
            }
            for each in self._running()
        ]

    def scheduled(self, state: Any, **options: Any) -> list[dict[str, Any]]:
        """Delayed jobs, those due first."""
        client = self._desk.store.client
        due: list[tuple[bytes, float]] = client.zrange(keys.ETA, 0, SHOWN - 1, withscores=True)  # type: ignore[assignment]
        if not due:
            return []
        found = client.mget([keys.record(job_id.decode()) for job_id, _ in due])
        shown = []
        for (job_id, at), raw in zip(due, found, strict=True):
            record = json.loads(raw) if raw else {}
            request: dict[str, Any] = {
                "id": job_id.decode(),
                "name": record.get("name"),
                "type": record.get("name"),
                "args": [],
                "kwargs": {"table": record.get("table"), "rows": record.get("rows")},
                "hostname": self._hostname,
                "time_start": None,
                "acknowledged": True,
                "delivery_info": {"exchange": "", "routing_key": QUEUE, "priority": 0, "redelivered": False},
                "worker_pid": None,
            }
            shown.append({"eta": datetime.fromtimestamp(at, UTC).isoformat(), "priority": 6, "request": request})
        return shown

    def active_queues(self, state: Any, **options: Any) -> list[dict[str, Any]]:
        """The one queue that workers drain, though not through kombu."""
        return [dict(state.app.amqp.queues[QUEUE].as_dict(recurse=True))]
