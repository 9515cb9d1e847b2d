"""Celery's own door: what `send_task` and the like leave in kombu's lists, and delayed jobs that are due."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import redis
from lakequeue import wire
from lakequeue.scripts import read_script

from worker import logs
from worker.admission import Admission, admission, conflict
from worker.ends import END_BYTES
from worker.lane import Notify
from worker.lists import Lists
from worker.loop import Loop
from worker.unread import MOST_DEATHS, Unread

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often the lists are looked at."""

CHUNK = 200
CHUNK_BYTES = 2_000_000
DUE_AT_ONCE = 500


class Door:
    """A thread that drains the lists in order. Any number of workers may do so: a message leaves its list, and is a
    job, in one step. What it has in hand is noted: a message that ends workers is found, and read no more."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        token: str,
        expires_s: int,
        most_bytes: int,
        most_job_bytes: int,
        notify: Notify,
    ) -> None:
        """
        Args:
            most_bytes: of a message; a larger one is not read.
            most_job_bytes: what a statement holds of one job's rows.
        """
        self._client = client
        self._token = token
        self._expires_s = expires_s
        self._most_bytes = most_bytes
        self._most_job_bytes = most_job_bytes
        self._notify = notify
        self._lists = Lists(client)
        fault = f"messages stay in the queue {wire.QUEUE}"
        self._loop = Loop("door", self._step, fault=fault, ended=self._let_go)
        self._peek, self._admit, self._due, self._refuse = (
            client.register_script(read_script("worker", name)) for name in ("peek", "admit", "due", "refuse")
        )

    def start(self) -> None:
        self._lists.start()
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()
        self._lists.stop()

    def _step(self) -> float:
        return 0.0 if self._drain() + self._move_due() else POLL_S

    def _drain(self) -> int:
        """Take the oldest messages of the most urgent list. Returns how many there were."""
        bounds = (CHUNK, CHUNK_BYTES, self._most_bytes, END_BYTES, MOST_DEATHS)
        found = self._peek(keys=[], args=[self._token, *bounds, *self._lists.names])
        if not found:
            return 0
        name, messages, *unread = found
        now = datetime.now(UTC)
        if unread:
            return self._drop(name, Unread(*unread), now)
        left = admitted(messages, now, most_job_bytes=self._most_job_bytes)
        while left:
            answers = self._send(name, left)
            if not answers:
                break  # another worker was faster
            self._tell([each for each, answer in zip(left, answers, strict=False) if answer == b"ended"])
            taken = len(answers)
            if answers[-1] == b"differs":
                left[taken - 1] = conflict(left[taken - 1], now)
                taken -= 1
            left = left[taken:]
        return len(messages)

    def _drop(self, name: bytes, unread: Unread, now: datetime) -> int:
        """Make a message a dead letter that is not read, and tell its sender."""
        told, apart = unread.refusal(now, most_bytes=self._most_bytes)
        args: list[bytes | str | int] = [name, self._expires_s, f"{time.time():.3f}", unread.size]
        args += [unread.head, unread.tail, told.id, told.record, told.callbacks]
        args += [told.letter_id, told.letter, apart.letter_id, apart.letter, unread.deaths]
        answer = self._refuse(keys=[], args=args)
        if answer != b"gone":
            self._tell([told if answer == b"ended" else apart])
        return 1

    def _let_go(self) -> None:
        """Say that this worker stops with nothing in hand: a clean end is no death."""
        with suppress(redis.RedisError, OSError):
            self._peek(keys=[], args=[self._token, CHUNK])

    def _tell(self, ended: Sequence[Admission]) -> None:
        for each in ended:
            if each.member is not None and each.outcome is not None and each.verdict != "empty":
                logs.line(
                    log,
                    logging.WARNING,
                    job=each.id or each.letter_id,
                    table=each.member.table or None,
                    verdict="permanent",
                    error=each.outcome.error,
                    letter=each.letter_id,
                )
            if each.member is not None and each.verdict == "letter" and each.outcome is not None:
                self._notify("kept", [each.member], [each.outcome])
            elif each.member is not None:
                self._notify("received", [each.member], ())
                if each.outcome is None:
                    self._notify("expired", [each.member], ())
                else:
                    self._notify("settled", [each.member], [each.outcome])

    def _send(self, name: bytes, messages: Sequence[Admission]) -> list[bytes]:
        args: list[bytes | str | int] = [name, self._expires_s, f"{time.time():.3f}"]
        for each in messages:
            args += each.args()
        answers: list[bytes] = self._admit(keys=[], args=args)
        return answers

    def _move_due(self) -> int:
        return int(self._due(keys=[], args=[f"{time.time():.6f}", DUE_AT_ONCE]))


def admitted(messages: Sequence[bytes], now: datetime, *, most_job_bytes: int) -> list[Admission]:
    """What becomes of the first messages, so many that it is not much more than `CHUNK_BYTES`: compressed ones grow."""
    found: list[Admission] = []
    size = 0
    for message in messages:
        if size >= CHUNK_BYTES:
            break
        found.append(admission(message, now, most_job_bytes=most_job_bytes))
        size += found[-1].size
    return found
