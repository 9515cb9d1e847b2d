"""What follows from each way a statement can fail."""

from __future__ import annotations

import pytest

from tasks import verdicts
from tasks.verdicts import backoff_s, of_http, of_statement

# The rows of Databricks' error classes that the design lists, and what must follow from each.
LISTED = [
    ("TABLE_OR_VIEW_NOT_FOUND", "42P01", "permanent", "missing"),
    ("SCHEMA_NOT_FOUND", "42704", "permanent", "missing"),
    ("CATALOG_NOT_FOUND", "42P08", "permanent", "missing"),
    ("CAST_INVALID_INPUT", "22018", "permanent", "row"),
    ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003", "permanent", "row"),
    ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502", "permanent", "row"),
    ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001", "permanent", "row"),
    ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001", "permanent", "row"),
    ("INSERT_COLUMN_ARITY_MISMATCH.TOO_MANY_DATA_COLUMNS", "21S01", "permanent", "shape"),
    ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", "permanent", "shape"),
    ("INCOMPATIBLE_DATA_FOR_TABLE.CANNOT_SAFELY_CAST", "KD000", "permanent", "shape"),
    ("PARSE_SYNTAX_ERROR", "42601", "permanent", "shape"),
    ("INSUFFICIENT_PERMISSIONS", "42501", "permanent", "permission"),
    ("DELTA_CONCURRENT_APPEND.WITHOUT_HINT", "2D521", "transient", "conflict"),
    ("DELTA_CONCURRENT_DELETE_READ", "2D521", "transient", "conflict"),
    ("DELTA_CONCURRENT_DELETE_DELETE", "2D521", "transient", "conflict"),
    ("DELTA_CONCURRENT_WRITE", "2D521", "transient", "conflict"),
    ("DELTA_CONCURRENT_TRANSACTION", "2D521", "transient", "conflict"),
    ("DELTA_METADATA_CHANGED", "2D521", "transient", "conflict"),
    ("DELTA_PROTOCOL_CHANGED", "2D521", "transient", "conflict"),
    ("DELTA_MAX_COMMIT_RETRIES_EXCEEDED", "40000", "transient", "conflict"),
    ("SOMETHING_ELSE", "08KD1", "transient", "warehouse"),
    ("OPERATION_CANCELED", "HY008", "unknown", "answer"),
    ("SOME_NEW_CLASS", "99999", "permanent", "unlisted"),
]


@pytest.mark.parametrize(("error_class", "sqlstate", "verdict", "cause"), LISTED, ids=[row[0] for row in LISTED])
def test_an_error_class_has_its_verdict(error_class: str, sqlstate: str, verdict: str, cause: str) -> None:
    failure = of_statement(f"[{error_class}] Some text with a value 'x'. SQLSTATE: {sqlstate}")
    assert (failure.verdict, failure.cause) == (verdict, cause)
    assert (failure.error_class, failure.sqlstate) == (error_class, sqlstate)
    assert "SQLSTATE" not in failure.text


def test_a_sqlstate_alone_is_enough() -> None:
    assert of_statement("Error running query: something odd. SQLSTATE: 2D521").verdict == "transient"


def test_an_expired_statement_did_not_run() -> None:
    failure = of_statement("[USER_RAISED_EXCEPTION] expired SQLSTATE: P0001")
    assert (failure.verdict, failure.cause) == ("transient", "expired")


def test_another_assertion_is_no_expiry() -> None:
    assert of_statement("[USER_RAISED_EXCEPTION] row width SQLSTATE: P0001").verdict == "permanent"


def test_a_text_without_class_is_permanent_and_loud() -> None:
    failure = of_statement("who knows")
    assert (failure.verdict, failure.cause, failure.error_class) == ("permanent", "unlisted", "UNKNOWN_ERROR")


@pytest.mark.parametrize(
    "text", ["Invalid SessionHandle: x", "Session handle x has not been initialized or had already closed"]
)
def test_a_lost_session_is_opened_anew(text: str) -> None:
    assert of_statement(text).cause == of_http(400, text).cause == "session"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        *((429, "transient"), (503, "unknown"), (500, "unknown"), (502, "unknown"), (504, "unknown")),
        *((200, "unknown"), (None, "unknown"), (400, "permanent"), (401, "permanent"), (403, "permanent")),
    ],
)
def test_an_http_status_has_its_verdict(code: int | None, verdict: str) -> None:
    assert of_http(code, "").verdict == verdict


def test_a_statement_that_never_left_is_transient_and_a_lost_answer_unknown() -> None:
    assert verdicts.never_sent("refused").verdict == "transient"
    assert verdicts.answer_lost("reset").verdict == "unknown"


def test_backoff_doubles_up_to_its_bound_and_is_jittered() -> None:
    waits = [backoff_s(n, first_s=1, longest_s=60, jitter=1.0) for n in range(1, 100)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert max(waits) == 60
    assert backoff_s(5, first_s=1, longest_s=60, jitter=0.0) == 0
