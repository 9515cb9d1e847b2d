"""Things to do at a later time unless they are dropped first: one thread for all statements' timeouts."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Deadlines:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], object]] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def after(self, seconds: float, action: Callable[[], object]) -> int:
        """Returns the number to drop it by."""
        with self._changed:
            number = next(self._numbers)
            self._actions[number] = action
            heapq.heappush(self._heap, (time.monotonic() + seconds, number))
            if self._heap[0][1] == number:
                self._changed.notify()
            return number

    def drop(self, number: int) -> None:
        with self._changed:
            self._actions.pop(number, None)

    def _watch(self) -> None:
        while True:
            with self._changed:
                while self._heap and self._heap[0][1] not in self._actions:
                    heapq.heappop(self._heap)
                wait = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                action = self._actions.pop(heapq.heappop(self._heap)[1])
            action()
