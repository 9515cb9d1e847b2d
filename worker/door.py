"""Celery's own door: what `send_task` and the like leave in kombu's lists, and delayed jobs that are due."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import redis
from lakequeue import wire
from lakequeue.scripts import read_script

from worker import logs
from worker.admission import Admission, admission, conflict
from worker.lane import Notify
from worker.lists import Lists
from worker.loop import Loop

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often the lists are looked at."""

CHUNK = 200
CHUNK_BYTES = 2_000_000
DUE_AT_ONCE = 500


class Door:
    """A thread that drains the lists in order. Any number of workers may do so: a message leaves its list, and is a
    job, in one step."""

    def __init__(self, client: redis.Redis, *, expires_s: int, notify: Notify) -> None:
        self._client = client
        self._expires_s = expires_s
        self._notify = notify
        self._lists = Lists(client)
        self._loop = Loop("door", self._step, fault=f"messages stay in the queue {wire.QUEUE}")
        self._peek, self._admit, self._due = (
            client.register_script(read_script("worker", name)) for name in ("peek", "admit", "due")
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
        found = self._peek(keys=[], args=[CHUNK, CHUNK_BYTES, *self._lists.names])
        if not found:
            return 0
        name, messages = found
        now = datetime.now(UTC)
        left = [admission(message, now) for message in messages]
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
