"""What is known of a job from its record and its dead letter, without any value of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakequeue import outcomes
from lakequeue.letters import DeadLetter
from lakequeue.table_states import moment_of


@dataclass(frozen=True)
class JobState:
    """A job in a list. `error` is the class of what it met, `at` when it ended or was tried last."""

    id: str
    state: str
    table: str
    op: str | None
    rows: int | None
    enqueued_at: datetime | None
    at: datetime | None = None
    error: str | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class JobHistory:
    """All that is known of a job, without any value of a row. Times are ISO 8601 as they were recorded.

    `now` says what its state needs: who runs it in which batch, why it waits and until when, by what it failed.
    `receipt` is that of a job that succeeded, `tries` are the last few that came to nothing, oldest first.
    """

    id: str
    state: str
    table: str | None
    op: str | None
    rows: int | None
    enqueued_at: str | None
    ended_at: str | None
    now: Mapping[str, Any] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)
    tries: tuple[Mapping[str, Any], ...] = ()
    replay_of: tuple[str, ...] = ()
    replayed_as: str | None = None


def job_state(job_id: str, raw: bytes) -> JobState:
    record = outcomes.load(raw)
    result = record.get("result")
    result = result if isinstance(result, dict) else {}
    name = record.get("name")
    state = str(record.get("status"))
    error, attempts = result.get("error"), result.get("attempts") or result.get("attempt")
    at = record.get("date_done") or result.get("started_at")
    if state == "FAILURE":
        args = result.get("exc_message") or []
        error = args[1].get("error") if len(args) > 1 and isinstance(args[1], dict) else None
    elif state == "SUCCESS":
        attempts = (result.get("receipt") or {}).get("attempts")
    elif state == "RETRY" and (history := result.get("history")):
        at = history[-1].get("at")
    return JobState(
        id=job_id,
        state=state,
        table=str(record.get("table") or ""),
        op=name.removeprefix("records.") if isinstance(name, str) else None,
        rows=record.get("rows"),
        enqueued_at=moment_of(record.get("enqueued_at")),
        at=moment_of(at),
        error=error,
        attempts=attempts,
    )


_NOW = {
    "STARTED": ("batch", "worker", "attempt", "started_at"),
    "RETRY": ("error", "attempts", "next_try"),
    "FAILURE": ("error", "error_class", "sqlstate"),
}


def history_of(job_id: str, record: Mapping[str, Any], letter: DeadLetter | None) -> JobHistory:
    """From a job's record, and the dead letter that it left, if it did."""
    state, result, name = str(record["status"]), record.get("result"), record.get("name")
    result = result if isinstance(result, dict) else {}
    told, tries = dict(result), tuple(record.get("history") or result.get("history") or ())
    op = name.removeprefix("records.") if isinstance(name, str) else None
    table, rows, enqueued_at = record.get("table"), record.get("rows"), record.get("enqueued_at")
    if state == "FAILURE":
        args = result.get("exc_message") or []
        told = args[1] if isinstance(args, list) and len(args) > 1 and isinstance(args[1], dict) else {}
    now = {key: told[key] for key in _NOW.get(state, ()) if told.get(key) is not None}
    if letter is not None and state == "FAILURE":
        given = {"error": letter.error, "error_class": letter.error_class, "committed": letter.committed}
        given["reason"] = letter.reason
        now |= {key: value for key, value in given.items() if value is not None}
        now |= {"batch": letter.batch, "attempts": letter.attempts} if letter.batch else {}
        tries = letter.history
        table, op, rows = table or letter.table, op or letter.op, letter.rows if rows is None else rows
    return JobHistory(
        id=job_id,
        state=state,
        table=table,
        op=op,
        rows=rows,
        enqueued_at=enqueued_at or None,
        ended_at=record.get("date_done"),
        now=now,
        receipt=result.get("receipt") or {},
        tries=tries,
        replay_of=tuple(record.get("replay_of") or ()),
        replayed_as=record.get("replayed_as"),
    )
