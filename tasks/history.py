"""What happened to a job before: its earlier tries, which each record of it that is not final hands on to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Try = Mapping[str, Any]
"""One try that brought no outcome: `attempt`, `batch`, `error` (its class) and `at` (ISO 8601)."""

KEPT = 5
"""Tries that are handed on, the newest; how many there were in all is the number of the attempt."""

NO_ANSWER = "NO_ANSWER"
"""The error of a try that nobody learned the end of: its answer was lost, or its worker died."""


def earlier(record: Mapping[str, Any], *, before: int | None = None) -> tuple[Try, ...]:
    """The tries that a job's last record tells of.

    Args:
        before: the number of the attempt that is under way; without one, none is.
    """
    result = record.get("result")
    if record.get("status") not in ("STARTED", "RETRY") or not isinstance(result, Mapping):
        return ()
    tries = tuple(result.get("history") or ())
    attempt = result.get("attempt")
    if record["status"] == "STARTED" and isinstance(attempt, int) and (before is None or attempt < before):
        tries += (failed(attempt, str(result.get("batch")), NO_ANSWER, result.get("started_at")),)
    return tries[-KEPT:]


def failed(attempt: int, batch: str, error: str, at: str | None) -> Try:
    return {"attempt": attempt, "batch": batch, "error": error, "at": at}


def and_then(tries: tuple[Try, ...], last: Try) -> tuple[Try, ...]:
    return (*tries, last)[-KEPT:]
