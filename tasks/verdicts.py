"""Should it be tried again, and when: the verdict on a statement that brought no result.

    transient   it did not run, or its transaction did not commit: again, in place, after a wait
    permanent   it did not commit and will not: the job fails
    unknown     it may have committed: prove it before anything else

Error classes are those of https://docs.databricks.com/aws/en/error-messages/ ; a class that is not listed is permanent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["transient", "permanent", "unknown"]
Cause = Literal[
    "row",
    "shape",
    "missing",
    "permission",
    "expired",
    "conflict",
    "warehouse",
    "session",
    "answer",
    "unlisted",
]
"""Where the fault lies: `row` is some row's value (split the batch), `missing` an object that may be created, `answer`
a reply that was lost, `session` a connection that has to be opened anew."""

_ERROR = re.compile(r"\[(?P<error_class>[A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]\s*(?P<text>.*)", re.DOTALL)
_SQLSTATE = re.compile(r"SQLSTATE:?\s*(?P<state>[0-9A-Z]{5})")

_BY_CLASS: Mapping[str, tuple[Verdict, Cause]] = {
    "TABLE_OR_VIEW_NOT_FOUND": ("permanent", "missing"),
    "SCHEMA_NOT_FOUND": ("permanent", "missing"),
    "CATALOG_NOT_FOUND": ("permanent", "missing"),
    "NO_SUCH_CATALOG_EXCEPTION": ("permanent", "missing"),
    "CAST_INVALID_INPUT": ("permanent", "row"),
    "CAST_OVERFLOW": ("permanent", "row"),
    "CAST_OVERFLOW_IN_TABLE_INSERT": ("permanent", "row"),
    "CONVERSION_INVALID_INPUT": ("permanent", "row"),
    "NUMERIC_VALUE_OUT_OF_RANGE": ("permanent", "row"),
    "ARITHMETIC_OVERFLOW": ("permanent", "row"),
    "DATETIME_OVERFLOW": ("permanent", "row"),
    "CANNOT_PARSE_TIMESTAMP": ("permanent", "row"),
    "MALFORMED_RECORD_IN_PARSING": ("permanent", "row"),
    "NULL_MAP_KEY": ("permanent", "row"),
    "DUPLICATED_MAP_KEY": ("permanent", "row"),
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED": ("permanent", "row"),
    "NOT_NULL_ASSERT_VIOLATION": ("permanent", "row"),
    "NOT_NULL_CONSTRAINT_VIOLATION": ("permanent", "row"),
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES": ("permanent", "row"),
    "CHECK_CONSTRAINT_VIOLATION": ("permanent", "row"),
    "DELTA_EXCEED_CHAR_VARCHAR_LIMIT": ("permanent", "row"),
    "EXCEED_LIMIT_LENGTH": ("permanent", "row"),
    "INSERT_COLUMN_ARITY_MISMATCH": ("permanent", "shape"),
    "UNRESOLVED_COLUMN": ("permanent", "shape"),
    "INCOMPATIBLE_DATA_FOR_TABLE": ("permanent", "shape"),
    "DELTA_FAILED_TO_MERGE_FIELDS": ("permanent", "shape"),
    "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE": ("permanent", "shape"),
    "MERGE_CARDINALITY_VIOLATION": ("permanent", "shape"),
    "PARSE_SYNTAX_ERROR": ("permanent", "shape"),
    "UNSUPPORTED_LOCAL": ("permanent", "shape"),
    "INSUFFICIENT_PERMISSIONS": ("permanent", "permission"),
    "PERMISSION_DENIED": ("permanent", "permission"),
    "DELTA_CONCURRENT_APPEND": ("transient", "conflict"),
    "DELTA_CONCURRENT_DELETE_READ": ("transient", "conflict"),
    "DELTA_CONCURRENT_DELETE_DELETE": ("transient", "conflict"),
    "DELTA_CONCURRENT_WRITE": ("transient", "conflict"),
    "DELTA_CONCURRENT_TRANSACTION": ("transient", "conflict"),
    "DELTA_METADATA_CHANGED": ("transient", "conflict"),
    "DELTA_PROTOCOL_CHANGED": ("transient", "conflict"),
    "DELTA_MAX_COMMIT_RETRIES_EXCEEDED": ("transient", "conflict"),
    # Its own time limit: it was stopped before its commit (unconfirmed), but whether it was is what has to be proved.
    "STATEMENT_TIMEOUT": ("unknown", "answer"),
    "OPERATION_CANCELED": ("unknown", "answer"),
}

_BY_SQLSTATE: Mapping[str, tuple[Verdict, Cause]] = {
    "42P01": ("permanent", "missing"),
    "42704": ("permanent", "missing"),
    "42P08": ("permanent", "missing"),
    "22001": ("permanent", "row"),
    "22003": ("permanent", "row"),
    "22007": ("permanent", "row"),
    "22018": ("permanent", "row"),
    "22023": ("permanent", "row"),
    "23001": ("permanent", "row"),
    "23502": ("permanent", "row"),
    "21506": ("permanent", "shape"),
    "21S01": ("permanent", "shape"),
    "23K01": ("permanent", "shape"),
    "42601": ("permanent", "shape"),
    "42703": ("permanent", "shape"),
    "KD000": ("permanent", "shape"),
    "42501": ("permanent", "permission"),
    "08KD1": ("transient", "warehouse"),
    "2D521": ("transient", "conflict"),
    "40000": ("transient", "conflict"),
    "57KD0": ("unknown", "answer"),
    "HY008": ("unknown", "answer"),
}

NO_CLASS = "UNKNOWN_ERROR"
"""The class of an error whose text names none."""

_LOST_SESSION = ("Invalid SessionHandle", "has not been initialized or had already closed")


@dataclass(frozen=True, slots=True)
class Failure:
    """A statement that brought no result. `text` may hold values of rows: it never goes to a log."""

    verdict: Verdict
    cause: Cause
    error_class: str
    sqlstate: str | None
    text: str

    @property
    def code(self) -> str:
        """The class alone, without its sub-class: short, and free of values."""
        return self.error_class.partition(".")[0]


def of_statement(message: str) -> Failure:
    """The verdict on what the warehouse said of a statement that failed; class and SQLSTATE are in the text only."""
    if any(lost in message for lost in _LOST_SESSION):
        return Failure("transient", "session", "INVALID_SESSION", None, message)
    found = _ERROR.search(message)
    state = _SQLSTATE.search(message)
    error_class = found["error_class"] if found else NO_CLASS
    sqlstate = state["state"] if state else None
    text = _SQLSTATE.sub("", found["text"] if found else message).strip(" .\n")
    base = error_class.partition(".")[0]
    if base == "USER_RAISED_EXCEPTION" and "expired" in text:
        return Failure("transient", "expired", base, sqlstate, text)
    verdict, cause = _BY_CLASS.get(base) or _BY_SQLSTATE.get(sqlstate or "") or ("permanent", "unlisted")
    return Failure(verdict, cause, error_class, sqlstate, text)


def of_http(code: int | None, message: str) -> Failure:
    """The verdict on an HTTP status that came instead of a statement's answer."""
    if any(lost in message for lost in _LOST_SESSION):
        return Failure("transient", "session", "INVALID_SESSION", None, message)
    name = f"HTTP_{code}" if code else "HTTP"
    if code == 429:
        return Failure("transient", "warehouse", name, None, message)
    if code in (400, 404):
        return Failure("permanent", "unlisted", name, None, message)
    if code in (401, 403):
        return Failure("permanent", "permission", name, None, message)
    return Failure("unknown", "answer", name, None, message)


def never_sent(message: str, error_class: str = "UNREACHABLE") -> Failure:
    return Failure("transient", "warehouse", error_class, None, message)


def answer_lost(message: str, error_class: str = "ANSWER_LOST") -> Failure:
    return Failure("unknown", "answer", error_class, None, message)


def backoff_s(attempt: int, *, first_s: float, longest_s: float, jitter: float) -> float:
    """How long to wait before attempt `attempt` + 1: full jitter over a doubling bound, `jitter` in 0…1.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    bound: float = min(longest_s, first_s * 2.0 ** min(attempt - 1, 30))
    return bound * jitter
