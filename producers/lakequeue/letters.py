"""What a dead letter says: the job that failed, why, what happened before, and whether it may have been committed."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakequeue import keys
from lakequeue.identifiers import check_job_id

UNKNOWN = "unknown"
"""What `committed` says of a job whose statement may have taken effect; else it is `not_committed`."""


@dataclass(frozen=True)
class DeadLetter:
    """A job that failed for good. Times are aware UTC; a field that is not known is None.

    `error` is the error's class, `error_class` the warehouse's own with its sub-class. `details` are those of the job's
    failure: their `text`, what the warehouse said, may hold values of rows, and so does `payload`, the message as it
    was sent, which lists are without. `attempts` is how often the job was tried in all; `history` are the last few
    tries before the one that failed it, each with `attempt`, `batch`, `error` and `at`. `replay_of` are the jobs that
    this one repeated, oldest first, and `replay_since` is when the oldest was enqueued.
    """

    id: str
    table: str | None
    op: str | None
    rows: int | None
    committed: str
    error: str | None
    error_class: str | None
    reason: str
    at: datetime | None
    enqueued_at: datetime | None
    batch: str | None = None
    attempts: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    replay_of: tuple[str, ...] = ()
    replay_since: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    payload: bytes | None = field(default=None, repr=False)
    payload_bytes: int | None = None
    """The size of a payload that is too large to be read: its bytes are in Redis, in the list `payload_key`."""

    @property
    def payload_key(self) -> str | None:
        return None if self.payload_bytes is None else keys.DEAD_LARGE + self.id

    def to_json(self) -> dict[str, Any]:
        """The letter as plain JSON, without any value of a row: the payload and the warehouse's text are left out."""
        return {
            "id": self.id,
            "at": _text(self.at),
            "table": self.table,
            "op": self.op,
            "rows": self.rows,
            "committed": self.committed,
            "error": self.error,
            "error_class": self.error_class,
            "reason": self.reason,
            "enqueued_at": _text(self.enqueued_at),
            "batch": self.batch,
            "attempts": self.attempts,
            "history": list(self.history),
            "replay_of": list(self.replay_of),
            "details": {name: value for name, value in self.details.items() if name != "text"},
            **({} if self.payload_bytes is None else {"payload_bytes": self.payload_bytes}),
        }


def letter_of(letter_id: str, stored: bytes | str) -> DeadLetter:
    """A letter from its JSON, with or without its payload. What is missing or odd in it is None."""
    try:
        told = json.loads(stored)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {"reason": "the dead letter itself cannot be read"}
    task = told.get("task")
    details = told.get("details")
    return DeadLetter(
        id=letter_id,
        table=told.get("table") or None,
        op=task.removeprefix("records.") if isinstance(task, str) and task != "records.unknown" else None,
        rows=told.get("rows"),
        committed=told.get("committed", UNKNOWN),
        error=told.get("error"),
        error_class=told.get("error_class"),
        reason=str(told.get("reason")),
        at=_moment(told.get("at")),
        enqueued_at=_moment(told.get("enqueued_at")),
        batch=told.get("batch"),
        attempts=told.get("attempts") or 0,
        history=tuple(told.get("history") or ()),
        replay_of=tuple(check_job_id(each) for each in told.get("replay_of") or ()),
        replay_since=_moment(told.get("replay_since")),
        details=details if isinstance(details, dict) else {},
        payload=_payload(told),
        payload_bytes=told.get("message_bytes"),
    )


def _payload(told: Mapping[str, Any]) -> bytes | None:
    if isinstance(text := told.get("message"), str):
        return text.encode(errors="surrogatepass")
    if isinstance(text := told.get("message_base64"), str):
        return b64decode(text)
    return None


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
