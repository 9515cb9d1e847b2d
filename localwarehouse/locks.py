"""A lock per table, which a cancelled statement stops waiting for."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# How soon a waiting statement notices that it was cancelled.
_NOTICE_S = 0.05


class Locks:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._by_name: dict[str, threading.Lock] = {}

    @contextmanager
    def held(self, names: list[str], stopped: threading.Event) -> Iterator[None]:
        """Hold all of them, taken in one order so that two holders never wait for each other.

        Returns without them once `stopped` is set; the caller looks at its statement's state next.
        """
        with ExitStack() as stack:
            for name in sorted(set(names)):
                with self._guard:
                    lock = self._by_name.setdefault(name, threading.Lock())
                while not lock.acquire(timeout=_NOTICE_S):
                    if stopped.is_set():
                        break
                else:
                    stack.callback(lock.release)
            yield
