"""A thread that takes one step after another until it is stopped; no error of a step ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import redis
from kombu.exceptions import OperationalError
from redis.exceptions import OutOfMemoryError

log = logging.getLogger(__name__)

OUTAGE_S = 1.0
"""The pause after an error."""

STOP_S = 10.0
"""How long a step that is under way is waited for."""


class Loop:
    """Started once, stopped once."""

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        fault: str,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            step: returns for how many seconds to pause before the next one, None to end.
            fault: what to say of a step that failed. An outage of Redis is told of once, other errors each time.
            ended: called in the thread, last of all.
        """
        self._step = step
        self._fault = fault
        self._ended = ended
        self._silent = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no further step, and wait for the one under way."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        """Wait for the step that ends it."""
        self._thread.join(timeout=STOP_S)

    def _run(self) -> None:
        pause: float | None = 0.0
        while pause is not None and not self._stopping.is_set():
            pause = self._safely()
            if pause:
                self._stopping.wait(pause)
        self._ended()

    def _safely(self) -> float | None:
        try:
            pause = self._step()
        except (redis.RedisError, OperationalError, OSError) as exc:
            if not self._silent:
                full = isinstance(exc, OutOfMemoryError)
                log.warning("%s: %s", self._fault, "redis is at its maxmemory" if full else type(exc).__name__)
            self._silent = True
            return OUTAGE_S
        except Exception:
            log.exception("%s; nothing was lost, it is tried again", self._fault)
            return OUTAGE_S
        self._silent = False
        return pause
