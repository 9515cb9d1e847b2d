"""Which job is at fault when an error says nothing of it: found by halving, and convicted by evidence only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakequeue.keys import Lane

from worker.troubles import MOST_ALONE, Suspects

LANE = Lane("w:a.b.c")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def suspects(clock: Clock) -> Suspects:
    return Suspects(300.0, clock=clock)


def test_a_batch_is_halved_at_its_third_try_and_at_each_that_doubles_it(suspects: Suspects) -> None:
    steps = {n: suspects.failed(LANE, ["a", "b"], n) for n in range(1, 100)}
    assert [n for n, step in steps.items() if step == "halve"] == [3, 6, 12, 24, 48, 96]
    assert set(steps.values()) == {"halve", "wait"}


@given(attempts=st.lists(st.integers(1, 500), min_size=1, max_size=50))
def test_without_any_other_commit_no_job_is_at_fault_however_long_it_fails(attempts: list[int]) -> None:
    clock = Clock()
    suspects = Suspects(300.0, clock=clock)
    for attempt in attempts:
        clock.now += 1000
        assert suspects.failed(LANE, ["a"], attempt) == "wait"


def test_a_job_that_fails_alone_after_others_were_committed_is_at_fault_in_time(
    suspects: Suspects, clock: Clock
) -> None:
    suspects.failed(LANE, ["a", "b", "c"], 3)
    suspects.committed(LANE, ["a"], 3)
    for _ in range(MOST_ALONE + 5):
        assert suspects.failed(LANE, ["b"], 3) == "wait"
    assert suspects.in_lane(LANE) == {"b"}
    clock.now = 300.0
    assert suspects.failed(LANE, ["b"], 4) == "convict"


def test_time_alone_does_not_do_it_either(suspects: Suspects, clock: Clock) -> None:
    suspects.failed(LANE, ["a", "b"], 3)
    suspects.committed(LANE, ["a"], 3)
    assert suspects.failed(LANE, ["b"], 3) == "wait"
    clock.now = 1e6
    assert suspects.failed(LANE, ["b"], 4) == "wait"
    assert suspects.failed(LANE, ["b"], 5) == "convict"


def test_what_was_committed_at_its_first_try_ends_the_search(suspects: Suspects, clock: Clock) -> None:
    suspects.failed(LANE, ["a", "b"], 3)
    suspects.committed(LANE, ["a"], 3)
    suspects.failed(LANE, ["b"], 3)
    suspects.committed(LANE, ["b"], 4)
    assert not suspects.in_lane(LANE)
    clock.now = 1e6
    for attempt in range(1, 10):
        assert suspects.failed(LANE, ["c"], attempt) == "wait"


def test_a_read_is_at_fault_only_if_others_are_answered_each_time(suspects: Suspects, clock: Clock) -> None:
    for _ in range(20):
        clock.now += 100
        assert suspects.failed_beside(LANE, "r", others=False) == "wait"
    for _ in range(MOST_ALONE - 1):
        assert suspects.failed_beside(LANE, "r", others=True) == "wait"
    clock.now += 300
    assert suspects.failed_beside(LANE, "r", others=True) == "convict"
