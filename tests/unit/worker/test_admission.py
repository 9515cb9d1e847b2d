"""Messages at Celery's own door: none can stop it, and a job is the same through either door."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lakequeue import wire
from lakequeue.jobs import parse_job

from worker.admission import Admission, admission, conflict
from worker.signatures import with_ids

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def message(body: Any, **headers: Any) -> bytes:
    """As kombu puts it into Redis."""
    sent = {"id": "a-1", "task": "records.write", "lang": "py", **headers}
    encoded = b64encode(json.dumps(body).encode()).decode()
    properties = {"body_encoding": "base64", "delivery_tag": "t", "priority": 0}
    return json.dumps({"body": encoded, "headers": sent, "properties": properties}).encode()


def job(*args: Any, **kwargs: Any) -> list[Any]:
    fields = {"table": "a.b.c", "data": [{"id": 1}], **kwargs}
    return [list(args), fields, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def ends(found: Admission) -> bool:
    return found.verdict in ("job", "late", "bad", "letter") and len(found.args()) == 12


@given(st.binary())
def test_no_bytes_stop_the_door(raw: bytes) -> None:
    assert ends(admission(raw, NOW))
    assert admission(raw, NOW).letter_id.startswith("unreadable-")


@given(
    VALUES, st.dictionaries(st.sampled_from(["id", "task", "eta", "expires", "root_id", "parent_id", "group"]), VALUES)
)
def test_no_message_stops_the_door(body: Any, headers: dict[str, Any]) -> None:
    assert ends(admission(message(body, **headers), NOW))


@given(VALUES, VALUES, VALUES)
def test_no_arguments_stop_the_door(first: Any, data: Any, embed: Any) -> None:
    found = admission(message([[first], {"table": "a.b.c", "data": data}, embed]), NOW)
    assert ends(found)
    assert ends(conflict(found, NOW))


def test_a_job_is_the_same_through_either_door() -> None:
    fast = wire.encode(
        parse_job({"kind": "write", "catalog": "A", "schema": "b", "table": "C", "data": {"id": 1}}),
        job_id="a-1",
        now=NOW,
    )
    slow = admission(message(job(table="a.b.c")), NOW)
    assert (slow.verdict, slow.id, slow.digest, slow.lane, slow.partition) == (
        *("job", fast.id, fast.digest, fast.lane, fast.partition),
    )
    assert wire.decode(slow.message.encode()) == wire.decode(fast.message.encode())
    assert json.loads(slow.record) == json.loads(fast.record)


def test_times_without_an_offset_are_utc_and_the_past_is_no_delay() -> None:
    assert admission(message(job(), eta="2030-01-31T12:00:05"), NOW).due == NOW.timestamp() + 5
    assert admission(message(job(), eta="2030-01-31T13:00:05+01:00"), NOW).due == NOW.timestamp() + 5
    assert admission(message(job(), eta="2030-01-31T11:59:59+00:00"), NOW).due is None
    assert admission(message(job(), expires="2030-01-31T11:59:59+00:00"), NOW).verdict == "late"
    assert admission(message(job(), eta=5), NOW).verdict == "bad"


def test_every_task_of_a_callback_gets_an_id_that_follows_from_its_place() -> None:
    task: dict[str, Any] = {"task": "records.write", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
    named = {**task, "options": {"task_id": "mine"}}
    group = {"task": "celery.group", "kwargs": {"tasks": [task, named]}, "options": {}, "subtask_type": "group"}
    chord = {"task": "celery.chord", "kwargs": {"header": group, "body": task}, "options": {}, "subtask_type": "chord"}
    found, again = with_ids(chord, "p/link/0"), with_ids(chord, "p/link/0")
    assert found == again != with_ids(chord, "p/link/1")
    header, body = found["kwargs"]["header"], found["kwargs"]["body"]
    given_ids = [each["options"]["task_id"] for each in (header, *header["kwargs"]["tasks"], body)]
    assert len(set(given_ids)) == 4
    assert given_ids[2] == "mine"
    assert task["options"] == {}
