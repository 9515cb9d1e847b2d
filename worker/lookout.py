"""Which lanes want a turn, by the word of Redis: a few of each partition, however many others wait there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import redis
from lakequeue import keys
from lakequeue.keys import Lane, Partition
from lakequeue.scripts import read_script

log = logging.getLogger(__name__)

SOON_S = 2.0
"""So many seconds ahead of its time a lane is told of that wants another turn."""

PARTITIONS_AT_ONCE = 16
"""Partitions that one script looks at: Redis serves others between two of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Lanes of a kind in a partition that want a turn, some of them. `first` are those that had none since they stopped
    being empty, each with when that was (seconds from now, not above 0), `again` those that had one, with when they
    want the next. `more_first` and `more_again`: there may be others."""

    partition: Partition
    kind: keys.Kind
    first: Mapping[Lane, float]
    again: Mapping[Lane, float]
    more_first: bool
    more_again: bool


class Lookout:
    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._turns = client.register_script(read_script("worker", "turns"))

    def look(self, most: Mapping[Partition, int]) -> list[Wanted]:
        """Some of the lanes that want a turn, in each of the given partitions, and so many of a sort at most."""
        found: list[Wanted] = []
        asked = list(most.items())
        for start in range(0, len(asked), PARTITIONS_AT_ONCE):
            some = asked[start : start + PARTITIONS_AT_ONCE]
            now, *told = self._turns(keys=[], args=[SOON_S, *chain(*some)])
            lists = iter(told)
            for partition, count in some:
                for kind in keys.KINDS:
                    oldest, newest, again = (self._lanes(next(lists), kind, partition) for _ in range(3))
                    since = {lane: at - float(now) for lane, at in (*oldest, *newest)}
                    full = len(oldest) == count, len(again) == count
                    found.append(Wanted(partition, kind, since, {lane: at - float(now) for lane, at in again}, *full))
        return found

    def _lanes(self, told: list[bytes], kind: keys.Kind, partition: Partition) -> list[tuple[Lane, float]]:
        lanes: list[tuple[Lane, float]] = []
        for raw, at in zip(told[::2], told[1::2], strict=True):
            try:
                lanes.append((Lane(raw.decode()), float(at)))
            except UnicodeDecodeError:
                log.error("partition %d holds a lane whose name is no text, it is left out: %r", partition, raw)
                for key in (keys.first_turns(kind, partition), keys.next_turns(kind, partition)):
                    self._client.zrem(key, raw)
        return lanes
