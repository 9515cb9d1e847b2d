"""What a process keeps of its connections after a fork: nothing. A child makes its own."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    def forked(self) -> None:
        """Run in the child, by its only thread: take fresh locks and connections.

        What the parent's threads had under way stays as it was when they were copied, and their locks are never
        released here: nothing inherited may be locked, and no inherited connection may be used or shut down.
        """


_objects: WeakSet[Forked] = WeakSet()


def reset_after_fork(each: Forked) -> None:
    """Call `each.forked()` in every child forked from now on, as long as `each` lives."""
    _objects.add(each)


def _in_child() -> None:
    for each in list(_objects):
        each.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
