"""Which jobs Flower is told of when more end than it can follow: a law over any course that jobs take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.records import Member, Outcome
from worker import events
from worker.events import Shown


def members(*names: str) -> list[Member]:
    return [Member(name, "records.write", "a.b.c", 1, "", "", name) for name in names]


def outcomes(*states: str) -> list[Outcome]:
    return [Outcome("", state, "") for state in states]  # type: ignore[arg-type]


@given(st.integers(0, 5), st.lists(st.sampled_from(["SUCCESS", "FAILURE"]), min_size=1, max_size=30))
def test_every_job_is_shown_or_counted_and_failures_are_shown(most: int, states: list[str]) -> None:
    shown = Shown(most)
    jobs = members(*(f"j{i}" for i in range(len(states))))
    begun = {each.id for each in shown.begun(jobs)}
    told = {member.id: anew for member, _, anew in shown.ended(jobs, outcomes(*states))}
    assert {job.id for job, state in zip(jobs, states, strict=True) if state == "FAILURE"} <= told.keys()
    assert begun <= told.keys()
    # What is shown only now is told from its beginning.
    assert {job_id for job_id, anew in told.items() if anew} == told.keys() - begun
    assert len(told) + shown.left_out()["left_out"] == len(jobs)
    assert shown.left_out()["left_out_lately"] == shown.left_out()["left_out"]


def test_a_hidden_job_that_is_tried_again_stays_hidden_until_it_fails() -> None:
    shown = Shown(1)
    first, second = members("a", "b")
    assert shown.begun([first, second]) == [first]
    assert shown.going_on([first, second]) == [first]
    assert list(shown.ended([second], outcomes("RETRY"))) == []
    assert shown.going_on([second]) == []
    (told,) = shown.ended([second], outcomes("FAILURE"))
    assert told[0] is second
    assert told[2] is True


def test_a_revoked_job_is_shown_from_then_on() -> None:
    shown = Shown(1)
    first, second = members("a", "b")
    shown.begun([first, second])
    shown.show(["b"])
    assert shown.going_on([first, second]) == [first, second]


def test_jobs_that_end_elsewhere_are_forgotten() -> None:
    """Another worker took their table: nobody tells this one of their end."""
    shown = Shown(1)
    count = events.LONGEST_HIDDEN + 10
    shown.begun(members(*(f"j{i}" for i in range(count + 1))))
    first, last = members("j1", f"j{count}")
    assert shown.going_on([first, last]) == [first]
