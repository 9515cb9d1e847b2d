"""What follows from each way a statement can fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import verdicts
from tasks.verdict_table import ERROR_CLASSES, EXCEPTIONS, SQLSTATE_CLASSES, SQLSTATES
from tasks.verdicts import backoff_s, of_http, of_statement, of_token, reading_of, while_connecting

# The rows of Databricks' error classes that the design lists, and what must follow from each.
LISTED = [
    ("TABLE_OR_VIEW_NOT_FOUND", "42P01", "permanent", "missing"),
    ("SCHEMA_NOT_FOUND", "42704", "permanent", "missing"),
    ("CATALOG_NOT_FOUND", "42P08", "permanent", "missing"),
    ("CAST_INVALID_INPUT", "22018", "permanent", "row"),
    ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003", "permanent", "row"),
    ("SOME_DATE", "22007", "permanent", "row"),
    ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502", "permanent", "row"),
    ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001", "permanent", "row"),
    ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001", "permanent", "row"),
    ("INSERT_COLUMN_ARITY_MISMATCH.TOO_MANY_DATA_COLUMNS", "21S01", "permanent", "shape"),
    ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", "permanent", "shape"),
    ("INCOMPATIBLE_DATA_FOR_TABLE.CANNOT_SAFELY_CAST", "KD000", "permanent", "shape"),
    ("PARSE_SYNTAX_ERROR", "42601", "permanent", "shape"),
    ("DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506", "permanent", "shape"),
    ("MERGE_CARDINALITY_VIOLATION", "23K01", "permanent", "shape"),
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
    ("DELTA_POST_COMMIT_HOOK_FAILED", "2DKD0", "unknown", "answer"),
    ("SOME_NEW_CLASS", "22P99", "permanent", "row"),
    ("SOME_NEW_CONSTRAINT", "23K99", "permanent", "row"),
    ("SOME_NEW_SYNTAX", "42K99", "permanent", "shape"),
    ("SOME_NEW_CARDINALITY", "21000", "permanent", "shape"),
    ("INTERNAL_ERROR", "XX000", "transient", "unlisted"),
    ("SOME_NEW_CLASS", "99999", "transient", "unlisted"),
]


@pytest.mark.parametrize(("error_class", "sqlstate", "verdict", "cause"), LISTED, ids=[row[0] for row in LISTED])
def test_an_error_class_has_its_verdict(error_class: str, sqlstate: str, verdict: str, cause: str) -> None:
    failure = of_statement(f"[{error_class}] Some text with a value 'x'. SQLSTATE: {sqlstate}")
    assert (failure.verdict, failure.cause) == (verdict, cause)
    assert (failure.error_class, failure.sqlstate) == (error_class, sqlstate)
    assert "SQLSTATE" not in failure.text


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_a_sqlstate_alone_is_enough(sqlstate: str) -> None:
    failure = of_statement(f"Error running query: something odd. SQLSTATE: {sqlstate}")
    assert (failure.verdict, failure.cause) == SQLSTATES[sqlstate]


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_an_error_class_alone_is_enough(error_class: str) -> None:
    failure = of_statement(f"[{error_class}.SOME_SUB_CLASS] something odd")
    assert (failure.verdict, failure.cause) == ERROR_CLASSES[error_class]


def test_a_sqlstate_inside_a_value_is_not_believed() -> None:
    failure = of_statement("[SOME_NEW_CLASS] The value 'SQLSTATE: 2D521' is odd. SQLSTATE: 99999")
    assert (failure.verdict, failure.sqlstate) == ("transient", "99999")
    of_a_value = of_statement("[SOME_NEW_CLASS] The value 'SQLSTATE: 99999' is odd. SQLSTATE: 22P99")
    assert (of_a_value.verdict, of_a_value.cause) == ("permanent", "row")


def test_an_expired_statement_did_not_run() -> None:
    failure = of_statement("[USER_RAISED_EXCEPTION] expired SQLSTATE: P0001")
    assert (failure.verdict, failure.cause) == ("transient", "expired")


def test_another_assertion_is_no_expiry() -> None:
    assert of_statement("[USER_RAISED_EXCEPTION] row width SQLSTATE: P0001").verdict == "permanent"


@pytest.mark.parametrize("message", ["who knows", "[INTERNAL_ERROR] x", "[NEW] x SQLSTATE: 58000", "", "SQLSTATE: 2"])
def test_an_error_that_is_not_listed_and_of_no_class_that_says_so_is_about_no_job(message: str) -> None:
    failure = of_statement(message)
    assert (failure.verdict, failure.cause, failure.unexplained) == ("transient", "unlisted", True)


@pytest.mark.parametrize("message", [f"[{name}] x" for name in ERROR_CLASSES] + [f"SQLSTATE: {s}" for s in SQLSTATES])
def test_what_is_listed_is_explained_but_for_a_statement_that_was_stopped(message: str) -> None:
    failure = of_statement(message)
    assert failure.unexplained == (failure.verdict == "unknown")


@given(st.sampled_from(sorted(SQLSTATE_CLASSES)), st.from_regex(r"[0-9A-Z]{3}", fullmatch=True))
def test_a_class_of_sqlstates_says_who_is_at_fault_unless_the_state_itself_does(which: str, rest: str) -> None:
    failure = of_statement(f"[SOME_NEW_CLASS] x SQLSTATE: {which}{rest}")
    assert (failure.verdict, failure.cause) == SQLSTATES.get(which + rest, SQLSTATE_CLASSES[which])


@given(st.from_regex(r"[0-9A-Z]{5}", fullmatch=True))
def test_no_other_sqlstate_makes_a_job_fail(state: str) -> None:
    failure = of_statement(f"[SOME_NEW_CLASS] x SQLSTATE: {state}")
    if state not in SQLSTATES and state[:2] not in SQLSTATE_CLASSES:
        assert (failure.verdict, failure.cause) == ("transient", "unlisted")


@pytest.mark.parametrize("lost", ["Invalid SessionHandle", "session is not initialised yet"])
def test_a_value_that_reads_like_a_lost_session_fails_its_row(lost: str) -> None:
    assert of_statement(f"[CAST_INVALID_INPUT] The value '{lost}' is none. SQLSTATE: 22018").cause == "row"


@pytest.mark.parametrize(
    "text",
    [
        "Invalid SessionHandle: x",
        "Session handle x has not been initialized or had already closed",
        "requirement failed: Session handle: SessionHandle [1-2] has not been initialized or had already closed.",
        "The session is not initialised yet",
        "Couldn't create directory /local_disk0/tmp/0a_resources",
    ],
)
def test_a_lost_session_is_opened_anew(text: str) -> None:
    assert of_statement(text).cause == of_http(400, text).cause == of_http(404, text).cause == "session"


STATUSES = [
    (429, "transient", "warehouse", "HTTP_429"),
    (401, "transient", "warehouse", "UNAUTHENTICATED"),
    (403, "transient", "warehouse", "UNAUTHENTICATED"),
    (404, "transient", "warehouse", "WAREHOUSE_NOT_FOUND"),
    (400, "transient", "unlisted", "HTTP_400"),
    (413, "permanent", "row", "HTTP_413"),
    (500, "unknown", "warehouse", "HTTP_500"),
    (502, "unknown", "warehouse", "HTTP_502"),
    (503, "unknown", "warehouse", "HTTP_503"),
    (504, "unknown", "warehouse", "HTTP_504"),
    (200, "unknown", "answer", "HTTP_200"),
    (None, "unknown", "answer", "HTTP"),
]


@pytest.mark.parametrize(("code", "verdict", "cause", "name"), STATUSES, ids=[row[3] for row in STATUSES])
def test_an_http_status_has_its_verdict(code: int | None, verdict: str, cause: str, name: str) -> None:
    failure = of_http(code, "")
    assert (failure.verdict, failure.cause, failure.code) == (verdict, cause, name)
    assert failure.needs_operator == (code in (401, 403, 404))


@pytest.mark.parametrize("code", [row[0] for row in STATUSES], ids=[row[3] for row in STATUSES])
def test_while_connecting_no_job_is_at_fault(code: int | None) -> None:
    failure = while_connecting(of_http(code, ""))
    assert (failure.verdict, failure.cause) == ("transient", "warehouse")
    assert failure.error_class == (of_http(code, "").error_class if code else "WAREHOUSE_AWAY")


@pytest.mark.parametrize("error_class", ["INSUFFICIENT_PERMISSIONS", "CAST_INVALID_INPUT", "SOME_NEW_CLASS"])
def test_a_session_that_is_refused_fails_no_job_whatever_the_class(error_class: str) -> None:
    failure = while_connecting(of_statement(f"[{error_class}] x SQLSTATE: 42501"))
    assert (failure.verdict, failure.cause, failure.error_class) == ("transient", "warehouse", error_class)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("invalid_client: Client authentication failed", "UNAUTHENTICATED"),
        ("unauthorized_client: x", "UNAUTHENTICATED"),
        ("b'<html>502 Bad Gateway</html>'", "UNREACHABLE"),
    ],
)
def test_a_token_that_cannot_be_had_fails_no_job(text: str, code: str) -> None:
    failure = of_token(text)
    assert (failure.verdict, failure.cause, failure.code) == ("transient", "warehouse", code)


def test_a_statement_that_never_left_is_transient_and_a_lost_answer_unknown() -> None:
    assert verdicts.never_sent("refused").verdict == "transient"
    assert verdicts.answer_lost("reset").verdict == "unknown"


def test_a_class_that_is_not_named_is_read_as_its_nearest_base() -> None:
    class Refused(ConnectionRefusedError):
        pass

    assert reading_of(Refused) == EXCEPTIONS["builtins.ConnectionRefusedError"] == "never_sent"
    assert reading_of(ConnectionResetError) == reading_of(KeyboardInterrupt) == "lost"


WAITS = {
    "attempt": st.integers(-1, 10**9),
    "first_s": st.floats(0.001, 1e3),
    "longest_s": st.floats(0.001, 1e4),
    "jitter": st.floats(0, 1),
}


@given(**WAITS)
def test_a_wait_lies_between_nothing_and_its_cap(attempt: int, first_s: float, longest_s: float, jitter: float) -> None:
    wait = backoff_s(attempt, first_s=first_s, longest_s=longest_s, jitter=jitter)
    assert 0 <= wait <= longest_s
    assert wait <= first_s * 2.0 ** max(0, min(attempt - 1, 100))


@given(**WAITS)
def test_jitter_is_full_the_wait_is_that_fraction_of_its_bound(
    attempt: int, first_s: float, longest_s: float, jitter: float
) -> None:
    bound = backoff_s(attempt, first_s=first_s, longest_s=longest_s, jitter=1.0)
    assert backoff_s(attempt, first_s=first_s, longest_s=longest_s, jitter=jitter) == bound * jitter
    assert bound <= backoff_s(attempt + 1, first_s=first_s, longest_s=longest_s, jitter=1.0)


def test_the_bound_of_a_wait_doubles_up_to_its_cap() -> None:
    waits = [backoff_s(n, first_s=1, longest_s=60, jitter=1.0) for n in range(1, 100)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert max(waits) == 60


def test_only_what_the_warehouse_took_can_be_the_statements_own_fault() -> None:
    taken = [of_statement("[STATEMENT_TIMEOUT] x"), verdicts.answer_lost("x", verdicts.RESULT_LOST)]
    assert all(failure.taken for failure in taken)
    others = [verdicts.answer_lost("reset"), of_http(503, ""), of_http(200, ""), verdicts.never_sent("refused")]
    assert not any(failure.taken for failure in others)
