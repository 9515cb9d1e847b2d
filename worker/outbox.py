"""What follows a finished job, as Celery's trace does it: links, the rest of a chain, error links, parts of a chord.

An item leaves the outbox after its messages were sent: a crash between the two sends them again, with the same ids,
and our own jobs are told apart by those. celery 5.7: `celery/app/trace.py`, `celery/backends/base.py`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import redis
from celery import Celery
from celery.app.task import Context
from celery.canvas import maybe_signature
from kombu.exceptions import OperationalError
from lakequeue import keys
from redis.exceptions import ReadOnlyError

from worker.loop import Loop

log = logging.getLogger(__name__)

POLL_S = 0.1
LEASE_S = 15.0
FAILED_KEPT = 10_000


class Outbox:
    """A thread that sends callbacks, one item at a time, if no other worker does."""

    def __init__(self, client: redis.Redis, app: Celery, token: str) -> None:
        self._client = client
        self._app = app
        self._token = token
        self._loop = Loop("outbox", self._step, fault="callbacks wait", ended=self._give_back)
        self._until = 0.0

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    def _step(self) -> float:
        return 0.0 if self._take_one() else POLL_S

    def _take_one(self) -> bool:
        """Send what follows the oldest job in the outbox. False if there is none, or another worker is at it."""
        if not self._client.exists(keys.OUTBOX) or not self._hold():
            return False
        raw = self._client.lindex(keys.OUTBOX, 0)
        if raw is None:
            return False
        try:
            item = json.loads(raw)
            follow(self._app, item["after"], item["record"])
        except ReadOnlyError:
            # The server was demoted under the backend's connections, which Celery keeps: the next try makes them anew.
            self._app.backend.client.connection_pool.disconnect()
            raise
        except (redis.RedisError, OperationalError, OSError):
            raise
        except Exception as exc:  # a signature that cannot be sent, now or ever: it must not hold up the others
            log.exception("callbacks not sent, they are kept in %s: %s", keys.OUTBOX_FAILED, type(exc).__name__)
            with self._client.pipeline() as pipe:
                pipe.lpush(keys.OUTBOX_FAILED, raw)
                pipe.ltrim(keys.OUTBOX_FAILED, 0, FAILED_KEPT - 1)
                pipe.execute()
        self._client.lrem(keys.OUTBOX, 1, raw)  # type: ignore[arg-type]  # bytes are taken as well
        return True

    def _hold(self) -> bool:
        """Take or renew the lease on the outbox."""
        now = time.monotonic()
        if now < self._until:
            return True
        milliseconds = int(LEASE_S * 1000)
        if not self._client.set(keys.OUTBOX_LEASE, self._token, nx=True, px=milliseconds):
            if self._client.get(keys.OUTBOX_LEASE) != self._token.encode():
                return False
            self._client.pexpire(keys.OUTBOX_LEASE, milliseconds)
        self._until = now + LEASE_S / 3
        return True

    def _give_back(self) -> None:
        try:
            if self._client.get(keys.OUTBOX_LEASE) == self._token.encode():
                self._client.delete(keys.OUTBOX_LEASE)
        except (redis.RedisError, OSError):
            pass  # it runs out by itself


def follow(app: Celery, after: dict[str, Any], record: dict[str, Any]) -> None:
    """Send what follows one finished job; `after` is what its message asked for."""
    state, result = record["status"], record["result"]
    job_id = after["id"]
    chain = after["chain"] or []
    sent = {"parent_id": job_id, "root_id": after["root_id"] or job_id}
    if state == "SUCCESS":
        for place, callback in enumerate(_listed(after["callbacks"])):
            _signature(app, callback, f"{job_id}/link/{place}").apply_async((result,), **sent)
        if chain:
            following = _signature(app, chain[-1], f"{job_id}/chain/{len(chain)}")
            following.apply_async((result,), chain=chain[:-1], **sent)
    request = Context(
        {
            "id": job_id,
            "task": after["task"],
            "root_id": after["root_id"],
            "parent_id": after["parent_id"],
            "group": after["group"],
            "group_index": after["group_index"],
            "chord": after["chord"],
        }
    )
    value = result if state == "SUCCESS" else app.backend.exception_to_python(result)
    if after["chord"]:
        app.backend.on_chord_part_return(request, state, value)
    if state == "FAILURE":
        # The steps of a chain that will not run fail with it, so that whoever waits for the last one is told.
        app.backend._fail_chain(chain, value)
        for place, errback in enumerate(_listed(after["errbacks"])):
            _signature(app, errback, f"{job_id}/errback/{place}").apply_async((job_id,), **sent)


def _listed(signatures: Any) -> Iterable[dict[str, Any]]:
    if not signatures:
        return []
    return signatures if isinstance(signatures, list) else [signatures]


def _signature(app: Celery, stored: dict[str, Any], place: str) -> Any:
    return maybe_signature(with_ids(stored, place), app=app)


def with_ids(stored: dict[str, Any], place: str) -> dict[str, Any]:
    """A signature in which every task and group has an id: those without get one that follows from their place."""
    signature: dict[str, Any] = json.loads(json.dumps(stored))  # a copy in which nothing is shared
    _give_ids(signature, place)
    return signature


def _give_ids(signature: dict[str, Any], place: str) -> None:
    kind = signature.get("subtask_type")
    if kind not in ("chain", "chord"):  # their id is that of their last task
        options = signature.setdefault("options", {})
        if not options.get("task_id"):
            options["task_id"] = str(uuid5(NAMESPACE_URL, f"lakequeue:{place}"))
    if kind not in ("group", "chain", "chord"):
        return
    kwargs = signature.get("kwargs") or {}
    for name in ("tasks", "header", "body"):
        inner = kwargs.get(name)
        for i, each in enumerate(inner if isinstance(inner, list) else [inner]):
            if isinstance(each, dict):
                _give_ids(each, f"{place}/{name}/{i}")
