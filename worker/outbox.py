"""What follows a finished job, as Celery's trace does it: links, the rest of a chain, error links, parts of a chord.

An item leaves the outbox after its messages were sent: a crash between the two sends them again, with the same ids,
and our own jobs are told apart by those. A chord whose parts are all there is an item, too. celery 5.7:
`celery/app/trace.py`, `celery/backends/base.py`.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import redis
from celery import Celery
from celery.app.task import Context
from celery.exceptions import ChordError
from kombu.exceptions import OperationalError
from lakequeue import keys
from lakequeue.errors import JobFailed
from lakequeue.scripts import read_script
from redis.exceptions import ReadOnlyError

from worker import chords
from worker.loop import Loop
from worker.signatures import listed, send_errbacks, send_links, send_next, takes_result

log = logging.getLogger(__name__)

POLL_S = 0.1
LEASE_S = 15.0
FAILED_KEPT = 10_000


class Outbox:
    """A thread that sends callbacks, one item at a time, if no other worker does."""

    def __init__(self, client: redis.Redis, app: Celery, token: str, *, most_bytes: int) -> None:
        """
        Args:
            most_bytes: of a message; a larger result is not handed on.
        """
        self._client = client
        self._most_bytes = most_bytes
        self._head = client.register_script(read_script("worker", "outbox"))
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
        found = self._head(keys=[], args=[self._most_bytes])
        if not found:
            return False
        raw, *left_out = found
        try:
            item = json.loads(raw)
            if "chord" in item:
                chords.finish(self._app, item["chord"], most_bytes=self._most_bytes)
            elif left_out:
                follow_large(self._app, item["after"], left_out[0].decode(), too_large(left_out[1], self._most_bytes))
            else:
                follow(self._app, item["after"], item["record"])
        except ReadOnlyError:
            # The server was demoted under the backend's connections, which Celery keeps: the next try makes them anew.
            self._app.backend.client.connection_pool.disconnect()
            raise
        except (redis.RedisError, OperationalError, OSError):
            raise
        except Exception as exc:  # a signature that cannot be sent, now or ever: it must not hold up the others
            log.exception("callbacks not sent, they are kept in %s: %s", keys.OUTBOX_FAILED, type(exc).__name__)
            give_up(self._app, raw, exc)
            with self._client.pipeline() as pipe:
                pipe.lpush(keys.OUTBOX_FAILED, raw)
                pipe.ltrim(keys.OUTBOX_FAILED, 0, FAILED_KEPT - 1)
                pipe.execute()
        if left_out:
            self._head(keys=[], args=["done", left_out[1]])
        else:
            self._client.lrem(keys.OUTBOX, 1, raw)
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
    job_id, root_id = after["id"], after["root_id"] or after["id"]
    chain = after["chain"] or []
    if state == "SUCCESS":
        sent = {"parent_id": job_id, "root_id": root_id}
        send_links(app, after["callbacks"], result, job_id, **sent)
        send_next(app, chain, result, job_id, **sent)
    value = result if state == "SUCCESS" else app.backend.exception_to_python(result)
    _return_part(app, after, state, value)
    if state == "FAILURE":
        chords.fail_steps(app, chain[::-1], value)
        send_errbacks(app, listed(after["errbacks"]), job_id, root_id)


def follow_large(app: Celery, after: dict[str, Any], state: str, failure: JobFailed) -> None:
    """Send what follows a job whose result is too large to be handed on: what would take it fails in its place."""
    job_id, root_id = after["id"], after["root_id"] or after["id"]
    chain = after["chain"] or []
    if state != "SUCCESS":
        raise failure
    sent = {"parent_id": job_id, "root_id": root_id}
    links = listed(after["callbacks"])
    send_links(app, [None if takes_result(link) else link for link in links], None, job_id, **sent)
    chords.fail_steps(app, [link for link in links if takes_result(link)], failure)
    if chain and takes_result(chain[-1]):
        chords.fail_steps(app, chain[::-1], failure)
    else:
        send_next(app, chain, None, job_id, **sent)
    if after["chord"] and takes_result(after["chord"]):
        _return_part(app, after, "FAILURE", failure)
    else:
        _return_part(app, after, "SUCCESS", None)


def too_large(size: int, most: int) -> JobFailed:
    told = f"the result to hand on is {size:,} bytes and a message holds {most:,}"
    advice = "read fewer rows or columns, or take none of it: an immutable signature, .si(...)"
    return JobFailed(f"{told}: {advice}", {"error": "MESSAGE_TOO_LARGE"})


def _return_part(app: Celery, after: dict[str, Any], state: str, value: Any) -> None:
    if after["chord"]:
        asked = ("id", "task", "root_id", "parent_id", "group", "group_index", "chord")
        app.backend.on_chord_part_return(Context({name: after[name] for name in asked}), state, value)


def give_up(app: Celery, raw: bytes | str, exc: Exception) -> None:
    """Fail the steps of a chain, or the body of a chord, that cannot be sent: whoever waits for them is told."""
    try:
        item = json.loads(raw)
        if "chord" in item:
            chords.fail_body(app, item["chord"]["body"], ChordError(f"the body cannot be sent: {exc!r}"))
            chords.remove(app, item["chord"]["group"])
        else:
            chords.fail_steps(app, (item["after"].get("chain") or [])[::-1], exc)
    except (redis.RedisError, OSError):
        raise
    except Exception:
        log.exception("what follows a job cannot be failed either")
