"""Messages as bytes: whatever JSON a foreign producer writes is read, anything else is said to be no message."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from lakequeue import InvalidJob, parse_job, wire
from lakequeue.wire import NotAMessage

JOB = parse_job({"kind": "write", "table": "main.sales.orders", "data": [{"id": 1, "name": "Zürich 🦆"}]})
MESSAGE = wire.encode(JOB, job_id="a", now=datetime(2026, 1, 2, tzinfo=UTC)).message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_json_is_read_in_every_encoding_it_may_have(encoding: str) -> None:
    assert wire.to_job(wire.decode(MESSAGE.encode(encoding))) == JOB


@pytest.mark.parametrize(
    "message", [b"", b"\xff\xfe\x00", b"{", b"[1] 2", b"\xc3(", b"[" * 100_000, b'{"body":NaN}', b'{"body":1e999}']
)
def test_other_bytes_are_no_message(message: bytes) -> None:
    with pytest.raises(NotAMessage):
        wire.decode(message)


def sent(body: str, **envelope: Any) -> bytes:
    headers = {"id": "a", "task": "records.write"}
    return json.dumps({"body": body, "headers": headers, "properties": {}} | envelope).encode()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (sent("[[],{}"), "no JSON: Expecting ',' delimiter at character 7"),
        (sent('[[],{"data":' + "[" * 100_000 + "]" * 100_000 + "},{}]"), "nested too deep"),
        (sent('[[],{"data":' + "9" * 10_000 + "},{}]"), "a whole number of thousands of digits"),
        (sent('[[],{"data":1e999},{}]'), "a number is larger than any DOUBLE"),
        (sent("hidden", properties={"body_encoding": "base64"}), "is no base64"),
        (sent("Zürich", properties={"body_encoding": "base64"}), "is no base64"),
        (sent("/////w==", properties={"body_encoding": "base64"}), "the bytes are no UTF-8"),
        (sent("[]", headers={"task": "records.write"}), "id is missing"),
        (sent("[]", headers=None), "its parts are of other types"),
        (sent("[[],{}]"), "a list of args, kwargs and what follows"),
        (sent('"abc"'), "a list of args, kwargs and what follows"),
        (sent("null"), "a list of args, kwargs and what follows"),
    ],
)
def test_a_message_that_is_not_read_says_why(message: bytes, told: str) -> None:
    with pytest.raises(NotAMessage, match=re.escape(told)):
        wire.parse(message)


def test_an_update_takes_nothing_handed_on_and_says_so() -> None:
    message = sent('[[{"id": 1}], {"table": "a.b.c"}, {}]', headers={"id": "a", "task": "records.update"})
    with pytest.raises(InvalidJob, match=r"^an update: an update takes no positional argument"):
        wire.to_job(wire.parse(message))
