"""What is sent and what is not when one of many jobs is refused, and what a handle says of it."""

import json

import pytest
from lakequeue import InvalidJob, JobConflict, Queue, parse_job
from lakequeue.client import Handle

from tests.fix_cli import Stored

JOB = {"kind": "write", "table": "main.s.t", "data": [{"id": 1}]}


def test_nothing_after_a_conflict_is_sent(queue: Queue, stored: Stored) -> None:
    queue.enqueue({**JOB, "id": "b"})
    given = [{**JOB, "id": job_id, "actor": "me"} for job_id in ("a", "b", "c")]
    sent = queue.enqueue_many(given)
    assert next(sent).id == "a"
    with pytest.raises(JobConflict, match="job b is known"):
        next(sent)
    assert [each.id for each in stored("main.s.t")] == ["b", "a"]


def test_after_a_conflict_the_rest_is_sent_when_errors_are_collected(queue: Queue, stored: Stored) -> None:
    queue.enqueue({**JOB, "id": "b"})
    given = [{**JOB, "id": job_id, "actor": "me"} for job_id in ("a", "b", "c")]
    answers = list(queue.enqueue_many(given, on_error="collect"))
    assert [type(each) for each in answers] == [Handle, JobConflict, Handle]
    assert [each.id for each in stored("main.s.t")] == ["b", "a", "c"]


def test_an_iterator_that_fails_is_not_taken_for_a_bad_job(queue: Queue, stored: Stored) -> None:
    jobs = (parse_job(text) for text in [json.dumps({**JOB, "id": "a"}), "{", json.dumps({**JOB, "id": "b"})])
    answers = queue.enqueue_many(jobs, on_error="collect")
    assert isinstance(next(answers), Handle)
    with pytest.raises(InvalidJob):
        next(answers)
    assert [each.id for each in stored("main.s.t")] == ["a"]


def test_a_handle_says_whether_its_job_was_known(queue: Queue) -> None:
    job = {**JOB, "id": "a"}
    assert [each.known for each in (queue.enqueue(job), queue.enqueue(job), *queue.enqueue_many([job]))] == [
        False, True, True,
    ]  # fmt: skip
