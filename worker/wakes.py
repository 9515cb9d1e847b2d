"""Hears what is published when a lane stops being empty, one that waits is to be hurried, or partitions are free."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import redis
from lakequeue import keys
from lakequeue.keys import Partition

log = logging.getLogger(__name__)

LISTEN_S = 1.0
"""So long one wait for a wake is at most."""

MOST_UNANSWERED = 4
"""So many PINGs in a row, one a look, without an answer: then wakes are listened for on a connection made anew."""

LOOK_ANEW = b"anew "
"""What a wake begins with that is for a lane that waits; the number of its partition follows."""


@dataclass(frozen=True, slots=True)
class Wake:
    partition: Partition
    anew: bool = False
    """Whether a lane that waits is to have its turn before its time."""


class Wakes:
    """A thread that listens. `freed` is called when another worker gave partitions back."""

    def __init__(self, client: redis.Redis, heard: Callable[[Wake], None], freed: Callable[[], None]) -> None:
        self._client = client
        self._heard = heard
        self._freed = freed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="wakes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Hear nothing more."""
        self._stopping.set()
        self._thread.join(timeout=2 * LISTEN_S)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call]
                    listener.subscribe(keys.WAKE_CHANNEL)
                    while not self._stopping.is_set():
                        message = listener.get_message(timeout=LISTEN_S)
                        if message is not None:
                            self._hear(message["data"])
                        if listener.health_check_response_counter > MOST_UNANSWERED:
                            # redis-py asks by PING when it heard nothing for seconds, and never minds the silence.
                            raise redis.TimeoutError("the connection is half-open")
            except Exception as exc:  # whatever it is, wakes have to be heard again
                log.warning("wakes not heard: %s", type(exc).__name__)
                self._stopping.wait(0.5)

    def _hear(self, told: bytes) -> None:
        if told.isdigit():
            self._heard(Wake(Partition(int(told))))
        elif told.startswith(LOOK_ANEW):
            self._heard(Wake(Partition(int(told[len(LOOK_ANEW) :])), anew=True))
        else:
            self._freed()
