"""The records a worker stores: Celery's own JSON, with the receipt in it. Values of rows only in a read's data."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakequeue.outcomes import FINAL, State

from tasks.history import Try

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Member:
    """What of a job every record of it repeats."""

    id: str
    task: str
    table: str
    rows: int
    digest: str
    enqueued_at: str
    root_id: str
    parent_id: str | None = None
    expires: str | None = None
    """ISO 8601 in UTC, always of one width: later times compare greater."""

    replay_of: tuple[str, ...] = ()
    """The jobs that this one repeats, oldest first."""

    replay_since: str = ""
    """When the oldest of them was enqueued."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job's new state, with the record to store for it."""

    id: str
    state: State
    record: str
    error: str | None = None
    """The error's class, for events and logs."""

    attempts: int = 1
    """How often it was tried, this time included."""

    runtime_s: float = 0.0
    brief: Mapping[str, Any] = field(default_factory=dict)
    """What events say of it: its batch, its statement."""

    @property
    def final(self) -> bool:
        return self.state in FINAL


def started(
    member: Member, *, batch: str, worker: str, attempt: int, started_at: str | None = None, history: Sequence[Try] = ()
) -> str:
    told = f',"history":{_dumps(history)}' if history else ""
    at = f',"started_at":"{started_at}"' if started_at else ""
    result = f'{{"batch":"{batch}","worker":{_dumps(worker)},"attempt":{attempt}{at}{told}}}'
    return _record(member, "STARTED", result)


def retry(member: Member, *, attempts: int, error: str, next_try: str, history: Sequence[Try] = ()) -> Outcome:
    """`history` are the tries so far, the one that brought this about included."""
    # Celery takes the result of this state for an exception, too.
    told = {"exc_type": "Retry", "exc_message": [f"{error}, next try at {next_try}"], "exc_module": "celery.exceptions"}
    result = _dumps({**told, "attempts": attempts, "error": error, "next_try": next_try, "history": history})
    brief = {"batch": history[-1]["batch"]} if history else {}
    return Outcome(member.id, "RETRY", _record(member, "RETRY", result), error, attempts, brief=brief)


_DONE = {"records.write": "written to", "records.update": "updated in", "records.delete": "deleted from"}


class Committed:
    """Outcomes of the jobs of one committed batch: what they share is put into JSON once."""

    def __init__(self, receipt: Mapping[str, Any], *, finished_at: str) -> None:
        self._receipt = _dumps(receipt)[1:]
        self._runtime_s = _runtime_s(receipt)
        self._finished_at = finished_at
        self._brief = _brief(receipt)
        self._attempts: int = receipt.get("attempts") or 1

    def outcome(self, member: Member, rows: int | None, tries: Sequence[Try] = ()) -> Outcome:
        """`rows` is None where nobody can say how many there were; `tries` came to nothing before."""
        counted = "an unknown number of rows" if rows is None else f"{rows} row{'' if rows == 1 else 's'}"
        message = _dumps(f"{counted} {_DONE.get(member.task, 'changed in')} {member.table}")
        count = "null" if rows is None else str(rows)
        result = (
            f'{{"message":{message},"count":{count},'
            f'"receipt":{{"rows":{count},"enqueued_at":{_dumps(member.enqueued_at)},{self._receipt}}}'
        )
        record = _record(member, "SUCCESS", result, self._finished_at, tries)
        return Outcome(
            member.id, "SUCCESS", record, attempts=self._attempts, runtime_s=self._runtime_s, brief=self._brief
        )


def wrote_nothing(member: Member, *, finished_at: str) -> Outcome:
    """A write to which no rows were handed on."""
    shared = {
        "batch": None,
        "batch_jobs": None,
        "batch_rows": None,
        "statement": None,
        "attempts": 0,
        "started_at": None,
        "finished_at": finished_at,
        "warehouse_ms": None,
        "notes": ["no rows were handed on"],
    }
    return Committed(shared, finished_at=finished_at).outcome(member, 0)


def page(
    member: Member, *, data: list[dict[str, Any]], total: int, receipt: Mapping[str, Any], finished_at: str
) -> Outcome:
    """A read's outcome; `data` is in the contract's JSON forms."""
    full = {"rows": len(data), "enqueued_at": member.enqueued_at, **receipt}
    result = _dumps({"data": data, "count": len(data), "total": total, "receipt": full})
    record = _record(member, "SUCCESS", result, finished_at)
    return Outcome(
        member.id,
        "SUCCESS",
        record,
        attempts=receipt.get("attempts") or 1,
        runtime_s=_runtime_s(receipt),
        brief={**_brief(receipt), "rows": len(data)},
    )


def failed(
    member: Member,
    *,
    message: str,
    details: Mapping[str, Any],
    error: str,
    finished_at: str,
    batch: str | None = None,
    attempts: int = 1,
) -> Outcome:
    """A job that failed for good. Celery rebuilds the exception from `exc_type`, `exc_module` and `exc_message`."""
    result = _dumps(
        {"exc_type": "JobFailed", "exc_message": [message, dict(details)], "exc_module": "lakequeue.errors"}
    )
    record = _record(member, "FAILURE", result, finished_at)
    return Outcome(member.id, "FAILURE", record, error, attempts, brief={"batch": batch} if batch else {})


def revoked(member: Member, *, reason: str, finished_at: str) -> str:
    """A job that was not run, since it was cancelled or came too late; as `worker/lua/revoke.lua` writes it."""
    result = _dumps(
        {"exc_type": "TaskRevokedError", "exc_message": [reason], "exc_module": "celery.exceptions"},
    )
    return _record(member, "REVOKED", result, finished_at)


def dead_letter(
    member: Member,
    *,
    message: bytes | int,
    reason: str,
    details: Mapping[str, Any],
    committed: str,
    at: str,
    batch: str | None = None,
    attempts: int = 0,
    history: Sequence[Try] = (),
) -> str:
    """A job kept for replay, its payload last: lists are made without it.

    Args:
        message: the bytes as they were read, or how many they are, if they are kept elsewhere.
        committed: `not_committed` or `unknown`.
        batch: the one that failed it; None if it failed before it was in any.
        attempts: how often it was tried in all, of which `history` holds the last few but for the one that failed it.
    """
    payload: dict[str, Any]
    if isinstance(message, int):
        payload = {"message_bytes": message}
    else:
        try:
            payload = {"message": message.decode()}
        except UnicodeDecodeError:
            payload = {"message_base64": b64encode(message).decode()}
    return _dumps(
        {
            "id": member.id,
            "table": member.table,
            "task": member.task,
            "rows": member.rows,
            "enqueued_at": member.enqueued_at,
            "committed": committed,
            "error": details.get("error"),
            "error_class": details.get("error_class"),
            "reason": reason,
            "details": dict(details),
            "at": at,
            "batch": batch,
            "attempts": attempts,
            "history": history,
            "replay_of": member.replay_of,
            "replay_since": member.replay_since,
            **payload,
        }
    )


def _brief(receipt: Mapping[str, Any]) -> dict[str, Any]:
    told = {"batch": receipt.get("batch"), "statement": receipt.get("statement"), "ms": receipt.get("warehouse_ms")}
    return {name: value for name, value in told.items() if value is not None}


def _runtime_s(receipt: Mapping[str, Any]) -> float:
    return (receipt.get("warehouse_ms") or 0.0) / 1000


def _record(
    member: Member, state: State, result: str, finished_at: str | None = None, tries: Sequence[Try] = ()
) -> str:
    done = "null" if finished_at is None else f'"{finished_at}"'
    parent = "" if member.parent_id is None else f',"parent_id":{_dumps(member.parent_id)}'
    replay = f',"replay_of":{_dumps(member.replay_of)}' if member.replay_of else ""
    before = f',"history":{_dumps(tries)}' if tries else ""
    return (
        f'{{"status":"{state}","result":{result},"traceback":null,"children":[],"date_done":{done},'
        f'"task_id":{_dumps(member.id)},"name":{_dumps(member.task)},"table":{_dumps(member.table)},"rows":{member.rows},'
        f'"digest":{_dumps(member.digest)},"enqueued_at":{_dumps(member.enqueued_at)}{parent}{replay}{before}}}'
    )
