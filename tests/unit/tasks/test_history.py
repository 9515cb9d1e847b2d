"""Earlier tries of a job, handed on from record to record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tasks import history, records
from tasks.records import Member

MEMBER = Member("a", "records.write", "a.b.c", 1, "d", "2026-01-01T00:00:00.000000Z", "a")


def started(attempt: int, tries: Sequence[history.Try] = ()) -> dict[str, Any]:
    text = records.started(MEMBER, batch=f"b{attempt}", worker="w", attempt=attempt, started_at="t", history=tries)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def waiting(attempts: int, tries: Sequence[history.Try] = ()) -> dict[str, Any]:
    all_tries = history.and_then(tuple(tries), history.failed(attempts, f"b{attempts}", "HTTP_429", "t"))
    outcome = records.retry(MEMBER, attempts=attempts, error="HTTP_429", next_try="n", history=all_tries)
    loaded: dict[str, Any] = json.loads(outcome.record)
    return loaded


def test_a_job_that_was_never_tried_has_no_history() -> None:
    assert history.earlier({"status": "QUEUED", "result": None}) == ()
    assert history.earlier({}) == ()
    assert history.earlier({"status": "SUCCESS", "result": {"history": [1]}}) == ()
    assert history.earlier(started(1), before=1) == ()


def test_a_failed_try_is_handed_on_through_start_and_wait() -> None:
    first = history.earlier(waiting(1), before=2)
    assert first == ({"attempt": 1, "batch": "b1", "error": "HTTP_429", "at": "t"},)
    assert history.earlier(started(2, first), before=2) == first
    second = history.earlier(waiting(2, first))
    assert [each["attempt"] for each in second] == [1, 2]


def test_a_try_that_nobody_learned_the_end_of_counts_once_another_follows() -> None:
    (lost,) = history.earlier(started(1), before=2)
    assert lost == {"attempt": 1, "batch": "b1", "error": "NO_ANSWER", "at": "t"}
    assert history.earlier(started(1)) == (lost,)  # nothing is under way


def test_only_the_newest_tries_are_kept() -> None:
    tries: tuple[history.Try, ...] = ()
    for attempt in range(1, 20):
        tries = history.earlier(waiting(attempt, tries))
    assert [each["attempt"] for each in tries] == [15, 16, 17, 18, 19]


def test_records_of_a_first_try_carry_no_history() -> None:
    assert "history" not in started(1)["result"]


def test_a_letter_ends_with_its_payload() -> None:
    """Lists are made by cutting it off."""
    letter = records.dead_letter(
        MEMBER, message=b'{"x":1}', reason="r", details={"error": "E"}, committed="unknown", at="t", attempts=1
    )
    assert letter.endswith(',"message":"{\\"x\\":1}"}')
    told = json.loads(letter)
    assert (told["error"], told["attempts"], told["rows"], told["history"], told["replay_of"]) == ("E", 1, 1, [], [])
