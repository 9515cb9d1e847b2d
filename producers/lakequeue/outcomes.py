"""What became of a job: its state, its receipt, and the result records they are read from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lakequeue.columns import parse_type
from lakequeue.errors import JobFailed
from lakequeue.values import from_wire

State = Literal["QUEUED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]

FINAL: frozenset[str] = frozenset({"SUCCESS", "FAILURE", "REVOKED"})


@dataclass(frozen=True)
class Receipt:
    """What a finished job answers beside its data. Times are aware UTC; a field that is not known is None.

    `batch` is the batch the job ran in, with `batch_jobs` jobs and `batch_rows` rows; `statement` is the warehouse's id
    of the statement, to be looked up in the query history; `warehouse_ms` is the time it took there, in milliseconds,
    and `attempts` how many statements were sent for it. `columns` are the SQL types of a read's columns; of a read with
    limit 0, `required` are the columns of the table that a write must give.
    """

    rows: int | None = None
    batch: str | None = None
    batch_jobs: int | None = None
    batch_rows: int | None = None
    statement: str | None = None
    attempts: int = 0
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    warehouse_ms: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """A job's state now. `detail` is the state's own record: who runs it, why it waits, how it failed.

    `replay_of` are the jobs that it repeats, oldest first; `replayed_as` is the id under which it was replayed.
    """

    id: str
    state: State
    table: str | None
    op: str | None
    rows: int | None
    enqueued_at: datetime | None
    detail: Any
    replay_of: tuple[str, ...] = ()
    replayed_as: str | None = None

    @property
    def final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True)
class WriteResult:
    """What a write, update or delete did. `count` is None where the warehouse could not say."""

    message: str
    count: int | None
    receipt: Receipt


@dataclass(frozen=True)
class ReadResult:
    """One page of rows, as Python values by column type; `total` counts all rows the filters match."""

    data: list[dict[str, Any]]
    count: int
    total: int
    receipt: Receipt


Result = WriteResult | ReadResult


def load(record: bytes | str) -> dict[str, Any]:
    """The stored record as plain JSON."""
    loaded = json.loads(record)
    if not isinstance(loaded, dict):
        raise ValueError("a job's record is not a JSON object")
    return loaded


def status_of(job_id: str, record: Mapping[str, Any]) -> Status:
    name = record.get("name")
    return Status(
        id=job_id,
        state=record["status"],
        table=record.get("table"),
        op=name.removeprefix("records.") if isinstance(name, str) else None,
        rows=record.get("rows"),
        enqueued_at=_moment(record.get("enqueued_at")),
        detail=record.get("result"),
        replay_of=tuple(record.get("replay_of") or ()),
        replayed_as=record.get("replayed_as"),
    )


def result_of(job_id: str, record: Mapping[str, Any]) -> Result:
    """The result of a finished job.

    Raises:
        JobFailed: it failed, or was revoked.
    """
    state, result = record["status"], record.get("result")
    if state == "SUCCESS":
        return _success(result)
    if state == "REVOKED":
        late = _failure(result)[0] == "expired"
        raise JobFailed(f"job {job_id} {'expired' if late else 'was cancelled'} before it ran", {"error": "REVOKED"})
    message, details = _failure(result)
    raise JobFailed(message, details)


def to_json(job_id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome as one JSON object, values in the contract's JSON forms: what the command line prints."""
    status = status_of(job_id, record)
    shown: dict[str, Any] = {"id": job_id, "state": status.state, "table": status.table, "op": status.op}
    if status.replay_of:
        shown["replay_of"] = list(status.replay_of)
    if status.replayed_as:
        shown["replayed_as"] = status.replayed_as
    if status.state == "FAILURE":
        message, details = _failure(record.get("result"))
        return {**shown, "error": True, "message": message, "details": details}
    if status.state == "SUCCESS" and isinstance(record.get("result"), dict):
        return {**shown, **record["result"]}
    return {**shown, "rows": status.rows, "enqueued_at": record.get("enqueued_at"), "detail": status.detail}


def _failure(result: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(result, dict) and "exc_message" in result:
        args = result["exc_message"]
        if isinstance(args, list) and args:
            details = args[1] if len(args) > 1 and isinstance(args[1], dict) else {}
            return str(args[0]), details
        return str(args), {}
    return str(result), {}


def _success(result: Any) -> Result:
    if not isinstance(result, dict):
        raise JobFailed("the stored result is not one of a lakequeue worker", {"error": "FOREIGN_RESULT"})
    receipt = _receipt(result.get("receipt") or {})
    if "data" in result:
        readers = {name: _reader(sql_type) for name, sql_type in receipt.columns.items()}
        data = [
            {name: readers[name](value) if name in readers else value for name, value in row.items()}
            for row in result["data"]
        ]
        return ReadResult(data=data, count=result["count"], total=result["total"], receipt=receipt)
    return WriteResult(message=result["message"], count=result["count"], receipt=receipt)


def _reader(sql_type: str) -> Callable[[Any], Any]:
    try:
        return from_wire(parse_type(sql_type))
    except ValueError:  # a type this client does not know yet: its JSON form is shown
        return lambda value: value


def _receipt(stored: Mapping[str, Any]) -> Receipt:
    known = {name: stored[name] for name in Receipt.__dataclass_fields__ if name in stored}
    for name in ("enqueued_at", "started_at", "finished_at"):
        if name in known:
            known[name] = _moment(known[name])
    for name in ("notes", "warnings", "required"):
        if name in known:
            known[name] = tuple(known[name])
    return Receipt(**known)


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
