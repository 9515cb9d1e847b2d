"""What is read of a lane's head: each message once, a few at a time, and never what is not there any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from lakequeue import keys

from tests.support import TABLE
from worker.freezing import Freezing
from worker.heads import CHUNK_BYTES, Heads
from worker.store import Head, Place, Store, Token

LANE = keys.lane_of("write", TABLE)
PARTITION = keys.partition_of(TABLE)
LIST = keys.jobs(LANE)
FENCE: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def store(client: redis.Redis) -> Store:
    return Store(client, Token("w"))


@pytest.fixture
def place(store: Store) -> Place:
    return Place(PARTITION, LANE, store.lease(ttl_s=60, only_mine=False).owned[PARTITION])


def message(i: int, size: int) -> bytes:
    return b"%06d" % i + b"x" * (size - 6)


def fill(client: redis.Redis, count: int, size: int) -> None:
    for i in range(count):
        client.rpush(LIST, message(i, size))


def settle(store: Store, heads: Heads, place: Place, count: int) -> None:
    store.freeze(place, Freezing(batch="b", span=count, started=[], attempt=1), **FENCE)
    store.settle(place, "b", remove=count, settled=[], dead=[], expires_s=60)
    heads.removed(place, count)
    heads.let_go(place)


def numbers(head: Head) -> list[int]:
    return [int(each[:6]) for each in head.messages]


def sent(client: redis.Redis) -> int:
    return int(client.info("stats")["total_net_output_bytes"])


def test_a_lane_of_large_messages_is_sent_once_turn_by_turn(client: redis.Redis, store: Store, place: Place) -> None:
    count, size = 60, 300_000
    fill(client, count, size)
    heads, before = Heads(store), sent(client)
    for i in range(count):
        head = heads.take(place, most=1000)
        assert numbers(head)[0] == i
        assert sum(map(len, head.messages)) <= CHUNK_BYTES
        settle(store, heads, place, 1)
    assert client.llen(LIST) == 0
    assert (sent(client) - before) / (count * size) < 1.1


def test_a_message_larger_than_a_chunk_is_read_and_no_other_with_it(
    client: redis.Redis, store: Store, place: Place
) -> None:
    client.rpush(LIST, message(0, 2 * CHUNK_BYTES), message(1, 10), message(2, 3 * CHUNK_BYTES))
    heads = Heads(store)
    head = heads.take(place, most=1000)
    assert (numbers(head), head.length) == ([0], 3)
    head = heads.more(place, head)
    assert numbers(head) == [0, 1]
    head = heads.more(place, head)
    assert numbers(head) == [0, 1, 2]
    assert heads.more(place, head) is head


def test_small_messages_are_read_in_one_go(client: redis.Redis, store: Store, place: Place) -> None:
    fill(client, 3000, 500)
    heads = Heads(store)
    head = heads.take(place, most=10_000)
    assert len(head.messages) == 1000
    assert numbers(Head(None, None, heads.first(place, head, 2500))) == list(range(2500))


def test_what_came_meanwhile_is_behind_what_is_kept(client: redis.Redis, store: Store, place: Place) -> None:
    fill(client, 5, 100)
    heads = Heads(store)
    assert len(heads.take(place, most=1000).messages) == 5
    settle(store, heads, place, 2)
    client.rpush(LIST, message(5, 100), message(6, 100))
    assert numbers(heads.take(place, most=1000)) == [2, 3, 4, 5, 6]


def test_a_server_that_holds_other_messages_than_were_read_is_believed(
    client: redis.Redis, store: Store, place: Place
) -> None:
    """A copy that takes a server's place may lack the last settling, or the last messages."""
    fill(client, 5, 100)
    heads = Heads(store)
    for changed in (
        lambda: client.lpush(LIST, message(9, 100)),
        lambda: client.rpop(LIST),
        lambda: client.lset(LIST, 0, message(8, 100).decode()),
        lambda: client.delete(LIST),
    ):
        heads.take(place, most=1000)
        heads.let_go(place)
        changed()
        assert heads.take(place, most=1000).messages == client.lrange(LIST, 0, -1)


def test_nothing_is_kept_from_an_earlier_lease(client: redis.Redis, store: Store, place: Place) -> None:
    fill(client, 5, 100)
    heads = Heads(store)
    heads.take(place, most=1000)
    heads.let_go(place)
    store.release([PARTITION], leaving=False)
    again = Place(PARTITION, LANE, store.lease(ttl_s=60, only_mine=False).owned[PARTITION])
    assert again.lease != place.lease
    before = sent(client)
    assert len(heads.take(again, most=1000).messages) == 5
    assert sent(client) - before > 500


def test_no_more_is_kept_of_all_lanes_than_a_bound(client: redis.Redis, store: Store) -> None:
    owned = store.lease(ttl_s=60, only_mine=False).owned
    heads = Heads(store, kept_bytes=1_000_000)
    places = []
    for i in range(8):
        table = f"shop.sales.t{i}"
        lane, partition = keys.lane_of("write", table), keys.partition_of(table)
        client.rpush(keys.jobs(lane), message(i, 300_000))
        places.append(Place(partition, lane, owned[partition]))
        heads.take(places[-1], most=10)
        heads.let_go(places[-1])
    kept = 0
    for place in reversed(places):
        before = sent(client)
        heads.take(place, most=10)
        kept += sent(client) - before < 100_000
    assert kept == 3


def test_a_lane_without_messages_wants_no_more_turns(client: redis.Redis, store: Store, place: Place) -> None:
    client.zadd(keys.first_turns("w", PARTITION), {LANE: 1})
    assert Heads(store).take(place, most=10).messages == []
    assert not client.exists(keys.first_turns("w", PARTITION), keys.next_turns("w", PARTITION))
