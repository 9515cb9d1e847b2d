"""A replay on the wire: it names the jobs it repeats, and messages that name none read as before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from lakequeue import outcomes, parse_job, wire
from lakequeue.wire import NotAMessage

from tasks import records
from tasks.records import Member

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = parse_job({"kind": "write", "table": "main.sales.orders", "data": [{"id": 1}]})
CHAIN = ("order-1", "order-1.replay1")


def replayed(header: Any) -> bytes:
    """A message with this `replay_of`."""
    message = json.loads(wire.encode(JOB, job_id="a", now=NOW).message)
    message["headers"]["replay_of"] = header
    return json.dumps(message).encode()


def test_a_replay_names_the_jobs_it_repeats_in_message_and_record() -> None:
    encoded = wire.encode(JOB, job_id="order-1.replay2", now=NOW, replay_of=CHAIN)
    received = wire.decode(encoded.message.encode())
    assert received.replay_of == CHAIN
    record = outcomes.load(encoded.record)
    assert outcomes.status_of("order-1.replay2", record).replay_of == CHAIN
    assert outcomes.to_json("order-1.replay2", record)["replay_of"] == list(CHAIN)
    assert encoded.digest == wire.encode(JOB, job_id="order-1", now=NOW).digest


def test_a_message_that_is_no_replay_has_no_such_header() -> None:
    encoded = wire.encode(JOB, job_id="a", now=NOW)
    assert "replay_of" not in encoded.message + encoded.record
    assert wire.decode(encoded.message.encode()).replay_of == ()
    assert "replay_of" not in outcomes.to_json("a", outcomes.load(encoded.record))


def test_others_see_which_job_is_replayed() -> None:
    message = json.loads(wire.encode(JOB, job_id="a", now=NOW, replay_of=CHAIN).message)
    shown = message["headers"]["kwargsrepr"]
    assert shown == "{'table': 'main.sales.orders', 'op': 'write', 'rows': 1, 'replay_of': 'order-1.replay1'}"


@pytest.mark.parametrize("header", ["order-1", [1], ["a b"], {"a": 1}, [""]], ids=str)
def test_a_replay_that_does_not_say_of_what_is_no_message(header: Any) -> None:
    with pytest.raises(NotAMessage, match="replay_of is no list of job ids"):
        wire.decode(replayed(header))


def test_what_comes_through_celerys_own_door_may_be_a_replay() -> None:
    received = wire.parse(replayed(["order-1"]))
    encoded = wire.admit(JOB, received, now=NOW)
    assert wire.decode(encoded.message.encode()).replay_of == ("order-1",)
    assert outcomes.load(encoded.record)["replay_of"] == ["order-1"]


def test_every_record_of_a_replay_names_what_it_repeats() -> None:
    member = Member("b", "records.write", "a.b.c", 1, "d", "2026-01-01T00:00:00Z", "b", replay_of=CHAIN)
    started = records.started(member, batch="x", worker="w", attempt=1)
    assert started.startswith('{"status":"STARTED"')
    assert outcomes.load(started)["replay_of"] == list(CHAIN)
    plain = Member("b", "records.write", "a.b.c", 1, "d", "2026-01-01T00:00:00Z", "b")
    assert "replay_of" not in records.started(plain, batch="x", worker="w", attempt=1)
