"""What is known of lanes and batches while it may be of use: a bounded number of them, however many there are."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 10_000


class Recent(OrderedDict[K, V]):
    """A dict that drops the keys set the longest time ago, so that it holds `most`."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)
