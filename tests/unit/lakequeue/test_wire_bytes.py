"""Messages as bytes: whatever JSON a foreign producer writes is read, anything else is said to be no message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lakequeue import parse_job, wire
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
