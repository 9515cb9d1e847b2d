"""The lists in which other Celery applications leave messages: those that workers drain, and those that they do not.

kombu keeps a queue in one list for each priority (`kombu/transport/redis.py`, `_q_for_pri`). The separator, the
priorities and a prefix of all keys are settings of the sender, `broker_transport_options`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakequeue import wire
from lakequeue.problems import MAX_SHOWN_NAME
from lakequeue.scripts import read_script

if TYPE_CHECKING:
    import redis

SEPARATOR = b"\x06\x16"
STANDARD = (wire.QUEUE.encode(), *(wire.QUEUE.encode() + SEPARATOR + str(step).encode() for step in range(1, 10)))
"""The lists of kombu's default separator, the most urgent first, whatever priorities the sender has."""

_NAME = re.compile(rb"(.*?)" + wire.QUEUE.encode() + rb"(?:(.*?[^0-9])([0-9]{1,3}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UnreadList:
    """A list with jobs that no worker drains; `remedy` is the setting that its sender has to change."""

    name: str
    messages: int
    remedy: str

    def __str__(self) -> str:
        counted = "1 message waits" if self.messages == 1 else f"{self.messages:,} messages wait"
        return f"{counted} in the list '{self.name}', which no worker reads: {self.remedy}"


def remedy_of(name: bytes, *, of_queue: bool) -> str:
    """What the sender of messages in a list has to change; '' for a list of the queue's, which workers drain.

    Args:
        of_queue: whether the messages were sent to the queue `records`, as they say themselves.
    """
    found = _NAME.fullmatch(name)
    if not of_queue or found is None:
        return f'send to queue="{wire.QUEUE}": task_routes = {{"{wire.QUEUE}.*": {{"queue": "{wire.QUEUE}"}}}}'
    if prefix := found[1]:
        return f"remove global_keyprefix '{shown(prefix)}' from broker_transport_options, and from those of the results"
    return ""


def urgency(name: bytes) -> tuple[int, bytes]:
    """A key to sort the queue's lists by: kombu's own order, the smallest number first."""
    found = _NAME.fullmatch(name)
    return (int(found[3]) if found and found[3] else 0, name)


def shown(name: bytes) -> str:
    text = name[:MAX_SHOWN_NAME].decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def arriving(client: redis.Redis) -> tuple[int, list[UnreadList]]:
    """How many messages wait in lists that workers drain, and the lists that they do not drain."""
    taken, unread = client.eval(read_script("lakequeue", "arriving"), 0, *STANDARD)  # type: ignore[no-untyped-call, unused-ignore]
    return int(taken), [UnreadList(shown(name), int(length), remedy.decode()) for name, length, remedy in unread]
