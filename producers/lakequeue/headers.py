"""Headers of a message as anyone may have sent them: each is read, or taken for none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lakequeue.identifiers import check_job_id
from lakequeue.problems import Problems
from lakequeue.typed_values import TYPE, VALUE

MAX_HEADER_CHARS = 300


def text_of(value: Any) -> str | None:
    """A header that is text and can be stored again; None for anything else."""
    return value if isinstance(value, str) and len(value) <= MAX_HEADER_CHARS and _encodable(value) else None


def whole_of(value: Any) -> int:
    """A header that is a whole number, else 0."""
    return value if type(value) is int and 0 <= value < 2**53 else 0


def time_of(value: Any) -> str:
    """A header that is a time with its offset, else the empty text."""
    text = text_of(value) or ""
    try:
        return text if datetime.fromisoformat(text).tzinfo else ""
    except ValueError:
        return ""


def ids_of(value: Any) -> tuple[str, ...] | None:
    """A header that is a list of job ids; None for anything else."""
    if value is None:
        return ()
    try:
        return tuple(check_job_id(each) for each in value) if isinstance(value, list) else None
    except ValueError:
        return None


def moment_of(given: Any, header: str, *, naive_is_utc: bool) -> datetime | None:
    """When a job is due or expires, in UTC.

    Raises:
        InvalidJob: it is no time in ISO 8601, or one without an offset that the message does not say is UTC.
    """
    if given is None:
        return None
    problems = Problems()
    try:
        if isinstance(given, dict) and given.get(TYPE) == "datetime":  # as kombu writes one in a header
            given = given.get(VALUE)
        at = datetime.fromisoformat(given)
        if at.tzinfo or naive_is_utc:
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        # Celery reads it as UTC, whatever the sender's timezone is: what was meant cannot be known here.
        msg = "a time without an offset: give an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)"
        problems.add("no_offset", (header,), msg)
    except (ValueError, TypeError, OverflowError):
        problems.add("bad_time", (header,), "expected a time in ISO 8601, such as 2030-01-31T12:00:00+00:00")
    raise problems.as_invalid_job("a job")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
