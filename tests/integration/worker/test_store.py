"""What the scripts hold to, whoever calls them and whatever the clock says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from lakequeue import keys

from tasks.records import Outcome
from tests.support import TABLE
from worker.freezing import Freezing
from worker.store import Place, Store, Token

LANE = keys.lane_of("write", TABLE)
PARTITION = keys.partition_of(TABLE)
FENCE: dict[str, Any] = {"start_within_s": 1, "open_for_s": 1, "clock_offset_us": 0, "expires_s": 60}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        opened.rpush(keys.jobs(LANE), "message")
        yield opened


@pytest.fixture
def store(client: redis.Redis) -> Store:
    return Store(client, Token("w"))


@pytest.fixture
def place(store: Store) -> Place:
    return Place(PARTITION, LANE, store.lease(ttl_s=60, only_mine=False).owned[PARTITION])


def batch(name: str = "b") -> Freezing:
    return Freezing(batch=name, span=1, started=[("j", '{"status":"STARTED"}')], attempt=1, identity="a table")


def record(client: redis.Redis) -> Any:
    return json.loads(client.get(keys.record("j")) or "null")


def test_the_first_final_outcome_wins_and_no_letter_comes_with_a_later_one(
    client: redis.Redis, store: Store, place: Place
) -> None:
    store.freeze(place, batch(), **FENCE)
    client.set(keys.record("j"), '{"status":"SUCCESS","first":true}')
    late = Outcome("j", "FAILURE", '{"status":"FAILURE"}', "LATE")
    left = store.settle(place, "b", remove=1, settled=[late], dead=[("j", '{"id":"j"}')], expires_s=60)
    assert (left, record(client)) == (0, {"status": "SUCCESS", "first": True})
    assert client.hlen(keys.DEAD) == client.zcard(keys.DEAD_INDEX) == 0


def test_settling_twice_is_settling_once(client: redis.Redis, store: Store, place: Place) -> None:
    store.freeze(place, batch(), **FENCE)
    done = Outcome("j", "SUCCESS", '{"status":"SUCCESS"}')
    assert store.settle(place, "b", remove=1, settled=[done], dead=[], expires_s=60) == 0
    client.rpush(keys.jobs(LANE), "another")
    assert store.settle(place, "b", remove=1, settled=[done], dead=[], expires_s=60) == -1
    assert client.llen(keys.jobs(LANE)) == 1


def test_a_stamp_is_later_than_the_one_before_though_the_clock_is_not(
    client: redis.Redis, store: Store, place: Place
) -> None:
    ahead = 4_000_000_000_000_000
    client.set(keys.stamp(TABLE), ahead)
    for i in (1, 2):
        frozen, *_ = store.freeze(place, batch(f"b{i}"), **FENCE)
        assert frozen.stamp_us == ahead + i
        store.settle(place, f"b{i}", remove=0, settled=[], dead=[], expires_s=60)
