"""Lanes' heads as far as they were read. What a batch does not take is kept, so that Redis sends each message once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from lakequeue.keys import Lane

from worker.store import Head, Lease, Place, Store

CHUNK_BYTES = 1_000_000
"""Bytes of messages read from a list at once, or one message: it bounds what a worker holds, whatever the backlog."""

KEPT_BYTES = 32_000_000
"""Bytes of messages that are kept of all lanes together. Of more, those of the lanes read least lately are dropped."""


@dataclass(slots=True)
class _Known:
    lease: Lease
    messages: list[bytes]

    @property
    def bytes(self) -> int:
        return sum(map(len, self.messages))


class Heads:
    """May be used by several threads, each lane by one of them at a time.

    Only settling and purging remove messages, at the head, and only the owner of the lease does either: what was read
    under the same lease is still there. Taking a lane in hand checks that all the same: a server that was replaced by
    its copy may have other messages there.
    """

    def __init__(self, store: Store, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._most = kept_bytes
        self._lock = threading.Lock()
        self._in_hand: dict[Lane, _Known] = {}
        self._kept: OrderedDict[Lane, _Known] = OrderedDict()
        self._bytes = 0

    def take(self, place: Place, *, most: int) -> Head:
        """Take a lane in hand, as `Store.take` does: what is kept of its head, and as much more as makes it a chunk."""
        with self._lock:
            kept = self._in_hand.pop(place.lane, None) or self._drop(place.lane)
        known = kept.messages if kept is not None and kept.lease == place.lease else []
        head = self._store.take(place, most=most, most_bytes=CHUNK_BYTES, known=known)
        self._in_hand[place.lane] = _Known(place.lease, head.messages)
        return head

    def more(self, place: Place, head: Head) -> Head:
        """The head with another chunk of messages; as it is, if there are no more."""
        if len(head.messages) >= head.length:
            return head
        found = self._store.look(place, known=len(head.messages), most_bytes=CHUNK_BYTES)
        messages = [*head.messages, *found.messages]
        self._in_hand[place.lane] = _Known(place.lease, messages)
        return replace(head, messages=messages, length=found.length if found.messages else len(messages))

    def first(self, place: Place, head: Head, span: int) -> list[bytes]:
        """The first `span` messages, or all there are."""
        while len(head.messages) < min(span, head.length):
            head = self.more(place, head)
        return head.messages[:span]

    def removed(self, place: Place, count: int) -> None:
        """So many messages at the head of a lane in hand are gone."""
        known = self._in_hand.get(place.lane)
        if known is not None:
            known.messages = known.messages[count:]

    def forget(self, place: Place) -> None:
        """What is at the head of a lane in hand has to be read."""
        self._in_hand.pop(place.lane, None)

    def let_go(self, place: Place) -> None:
        """The lane is not in hand any more; what is known of it is kept, if there is room."""
        with self._lock:
            self._drop(place.lane)
            known = self._in_hand.pop(place.lane, None)
            if known is None or not known.messages:
                return
            self._kept[place.lane] = known
            self._bytes += known.bytes
            while self._bytes > self._most:
                self._drop(next(iter(self._kept)))

    def _drop(self, lane: Lane) -> _Known | None:
        kept = self._kept.pop(lane, None)
        if kept is not None:
            self._bytes -= kept.bytes
        return kept
