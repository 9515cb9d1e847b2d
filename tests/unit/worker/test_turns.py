"""Whose turn it is: nobody waits behind many, and nobody for ever."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from lakequeue.keys import Lane, Partition

from worker.turns import Turns

P = Partition(7)


def lanes(turns: Turns, now: float, most: int = 1000) -> list[str]:
    taken: list[str] = []
    while len(taken) < most and (found := turns.take(now)) is not None:
        taken.append(found[0])
    return taken


@pytest.fixture
def crowd() -> Turns:
    """A thousand lanes that wait for their first turn, the first of them for the longest time."""
    turns = Turns()
    for i in range(1000):
        turns.want(Lane(f"w:c.s.t{i}"), P, float(i), first=True)
    return turns


def test_the_newest_lane_and_the_oldest_are_served_within_three_turns(crowd: Turns) -> None:
    assert {"w:c.s.t999", "w:c.s.t0"} <= set(lanes(crowd, 1000.0, 3))


def test_lanes_that_return_are_served_among_those_that_wait_for_their_first_turn(crowd: Turns) -> None:
    for i in range(3):
        crowd.want(Lane(f"w:c.s.hot{i}"), P, 1000.0 + i)
    served = lanes(crowd, 2000.0, 9)
    assert [lane for lane in served if "hot" in lane] == ["w:c.s.hot0", "w:c.s.hot1", "w:c.s.hot2"]


def test_every_lane_has_one_turn(crowd: Turns) -> None:
    assert sorted(lanes(crowd, 1000.0)) == sorted(f"w:c.s.t{i}" for i in range(1000))
    assert len(crowd) == 0
    assert crowd.due() == math.inf


def test_a_lane_that_waits_is_not_served_before_its_time() -> None:
    turns = Turns()
    turns.want(Lane("w:c.s.t"), P, 5.0)
    assert turns.take(4.9) is None
    assert turns.due() == 5.0
    assert turns.take(5.0) == ("w:c.s.t", P)


def test_the_earliest_time_that_a_lane_is_wanted_at_counts() -> None:
    turns = Turns()
    for at in (5.0, 9.0, 3.0):
        turns.want(Lane("w:c.s.t"), P, at)
    assert (turns.at(Lane("w:c.s.t")), len(turns)) == (3.0, 1)
    assert lanes(turns, 10.0) == ["w:c.s.t"]


def test_a_lane_that_has_any_time_is_due_at_once() -> None:
    turns = Turns()
    turns.want(Lane("w:c.s.t"), P, 5.0, first=True)
    assert turns.due() == -math.inf
    assert lanes(turns, 0.0) == ["w:c.s.t"]


def test_no_more_lanes_than_a_bound_are_known(crowd: Turns) -> None:
    bounded = Turns(most=100)
    for i in range(1000):
        bounded.want(Lane(f"w:c.s.t{i}"), P, float(i), first=True)
        assert len(bounded) <= 100
    assert bounded.known(P, first=True) == len(bounded)


def test_what_is_kept_of_lanes_that_were_served_does_not_grow() -> None:
    """Each lane stands in two orders, and is taken out of one."""
    turns = Turns()
    tracemalloc.start()
    try:
        for i in range(20_000):
            turns.want(Lane(f"w:c.s.t{i}"), P, float(i), first=True)
            turns.take(float(i))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 200_000


def test_lanes_of_partitions_that_are_gone_are_forgotten(crowd: Turns) -> None:
    crowd.want(Lane("w:c.s.other"), Partition(8), 0.0)
    crowd.keep({Partition(8)})
    assert lanes(crowd, 1.0) == ["w:c.s.other"]
    assert crowd.known(P, first=True) == 0
