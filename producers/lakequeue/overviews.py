"""Reads how tables stand in Redis: those that wait for the longest time, at a cost that no backlog changes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from lakequeue import celery_lists, keys
from lakequeue.connections import Client
from lakequeue.scripts import read_script
from lakequeue.table_states import Overview, TableState, lane_state, table_state, text_of

PARTITIONS_AT_ONCE = 4
TABLES_AT_ONCE = 50
"""What one script looks at: Redis serves others between two of them."""


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Tables with lanes that hold messages: `first` wait for their first turn, the longest wait first; `again` for
    another, the last due first. `least` is how many tables there are, or more."""

    owners: list[str]
    first: list[str]
    again: list[str]
    least: int


class Overviews:
    """Every method may raise `redis.RedisError`."""

    def __init__(self, client: Client) -> None:
        self._redis = client
        self._lanes = client.register_script(read_script("lakequeue", "lanes"))
        self._tables = client.register_script(read_script("lakequeue", "tables"))

    def read(self, limit: int | None) -> Overview:
        """Of more tables than `limit` those that wait for the longest time, then paused ones, those with dead letters,
        and others that were ever written to."""
        with self._redis.pipeline(transaction=False) as pipe:
            for hash_ in (keys.PAUSED, keys.DEAD_TABLES, keys.COMMITS):
                pipe.hlen(hash_)
            pipe.zcard(keys.ETA)
            pipe.zcard(keys.DEAD_INDEX)
            pipe.zcount(keys.WORKERS, f"({time.time():.3f}", "+inf")
            *sizes, delayed, letters, workers = pipe.execute()
        arriving, unread = celery_lists.arriving(self._redis)
        lanes = self._waiting(limit)
        names = dict.fromkeys(_in_turn(lanes.again, lanes.first))
        for hash_ in (keys.PAUSED, keys.DEAD_TABLES, keys.COMMITS):
            if limit is None or len(names) <= limit:
                names.update(dict.fromkeys(self._fields(hash_, limit)))
        names.pop("", None)
        shown = list(names) if limit is None else list(names)[: 2 * limit]
        states = sorted(self._states(shown, lanes.owners), key=_rank)[:limit]
        more = 0
        if limit is not None and len(names) > limit:
            more = max(len(names), lanes.least, *sizes) - len(states)
        states.sort(key=lambda state: state.table)
        return Overview(states, arriving, delayed, letters, workers, lanes.owners.count(""), unread, more)

    def table(self, name: str) -> TableState:
        """One table."""
        lease: bytes | None = self._redis.get(keys.lease(keys.partition_of(name)))  # type: ignore[assignment]
        owners = [""] * keys.PARTITIONS
        owners[keys.partition_of(name)] = _owner(lease or b"")
        (state,) = self._states([name], owners)
        return state

    def _waiting(self, limit: int | None) -> _Lanes:
        with self._redis.pipeline(transaction=False) as pipe:
            for kind, partition in product(keys.KINDS, map(keys.Partition, range(keys.PARTITIONS))):
                pipe.zcard(keys.first_turns(kind, partition))
                pipe.zcard(keys.next_turns(kind, partition))
            counts = pipe.execute()
        half = len(counts) // 2
        # A hash spreads tables evenly: of many a share of each partition, with some more, holds the oldest.
        some = 0 if limit is None or sum(counts) <= 4 * limit else 16 + 4 * limit // keys.PARTITIONS
        owners: list[str] = []
        first: list[tuple[float, str]] = []
        again: list[tuple[float, str]] = []
        for start in range(0, keys.PARTITIONS, PARTITIONS_AT_ONCE):
            for lease, *told in self._lanes(keys=[], args=[some, *range(start, start + PARTITIONS_AT_ONCE)]):
                owners.append(_owner(lease))
                for lanes, into in zip(told, (first, again), strict=True):
                    names = (keys.table_of(keys.Lane(text_of(each))) for each in lanes[::2])
                    into.extend(zip(map(float, lanes[1::2]), names, strict=True))
        first.sort()
        again.sort(reverse=True)
        least = max(sum(counts[:half]), sum(counts[half:]))
        return _Lanes(owners, [name for _, name in first], [name for _, name in again], least)

    def _fields(self, hash_: str, limit: int | None) -> Iterator[str]:
        """Names of fields, and of many about one more than `limit`."""
        found = self._redis.hscan_iter(hash_, count=1000)
        return (text_of(name) for name, _ in (found if limit is None else islice(found, limit + 1)))

    def _states(self, names: Sequence[str], owners: Sequence[str]) -> Iterator[TableState]:
        for start in range(0, len(names), TABLES_AT_ONCE):
            some = names[start : start + TABLES_AT_ONCE]
            told = self._tables(keys=[], args=some)
            with self._redis.pipeline(transaction=False) as pipe:
                for hash_ in (keys.DEAD_TABLES, keys.COMMITS, keys.PAUSED, keys.PAUSED_BY):
                    pipe.hmget(hash_, some)
                pipe.hmget(keys.FAILING, [lane for name in some for lane in keys.lanes_of(name)])
                dead, commits, paused, paused_by, failing = pipe.execute()
            of_lanes = iter(failing)
            for name, lanes, letters, commit, since, by in zip(
                some, told, dead, commits, paused, paused_by, strict=True
            ):
                yield table_state(
                    name,
                    [lane_state(each) for each in lanes],
                    owner=owners[keys.partition_of(name)],
                    dead=int(letters or 0),
                    commit=commit,
                    paused=since,
                    paused_by=by,
                    failing=[next(of_lanes), next(of_lanes)],
                )


def _in_turn(*lists: Iterable[str]) -> Iterator[str]:
    """The first of each, then the second of each, and so on."""
    left = [iter(each) for each in lists]
    while left:
        for each in list(left):
            if (name := next(each, None)) is None:
                left.remove(each)
            else:
                yield name


def _rank(state: TableState) -> tuple[bool, float, bool, int]:
    oldest = state.oldest_at.timestamp() if state.oldest_at else 0.0
    return not state.waiting, oldest, state.paused_since is None, -state.dead


def _owner(lease: Any) -> str:
    return text_of(lease).rpartition("#")[0]
