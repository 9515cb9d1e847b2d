"""The connector as we set it: one execution a statement, and a verdict for every way it can fail."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3.exceptions as http
from databricks.sdk.core import Config
from databricks.sdk.errors.base import DatabricksError
from databricks.sql import exc as connector

from tasks.sql import Sql, Statement
from tests.fix_localwarehouse import LocalWarehouse
from worker.warehouse import Connection, Misconfigured, StatementFailed, Target, target, translate

INSERT = Statement(Sql("INSERT INTO c.s.t VALUES (1)"), does="change")
ROWS = Statement(Sql("SELECT id FROM c.s.t"))


@pytest.fixture
def where(warehouse: LocalWarehouse) -> Target:
    host = f"http://127.0.0.1:{warehouse.port}"
    config = Config(host=host, token=warehouse.token, retry_timeout_seconds=2)
    return Target(host, "/sql/1.0/warehouses/local", config)


@pytest.fixture
def connection(warehouse: LocalWarehouse, where: Target) -> Iterator[Connection]:
    """A connection to a warehouse with an empty table c.s.t."""
    opened = Connection(where, statement_timeout_s=5, socket_timeout_s=5)
    for text in ("CREATE CATALOG c", "CREATE SCHEMA c.s", "CREATE TABLE c.s.t (id BIGINT)"):
        opened.execute(Statement(Sql(text), does="define"))
    yield opened
    opened.close()


def failure_of(connection: Connection, statement: Statement = INSERT) -> tuple[str, str]:
    with pytest.raises(StatementFailed) as caught:
        connection.execute(statement)
    return caught.value.failure.verdict, caught.value.failure.cause


def test_a_reply_dropped_after_the_commit_is_one_execution(connection: Connection, warehouse: LocalWarehouse) -> None:
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_after"})
    assert failure_of(connection) == ("unknown", "answer")
    assert warehouse.counts()["INSERT"] == 1
    assert len(connection.execute(ROWS).rows) == 1


def test_a_reply_dropped_before_the_statement_ran_is_no_execution(
    connection: Connection, warehouse: LocalWarehouse
) -> None:
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "drop_before"})
    assert failure_of(connection) == ("unknown", "answer")
    assert warehouse.counts()["INSERT"] == 0
    assert len(connection.execute(ROWS).rows) == 0


def test_a_read_timeout_is_one_execution(warehouse: LocalWarehouse, where: Target, connection: Connection) -> None:
    impatient = Connection(where, statement_timeout_s=5, socket_timeout_s=0.5)
    impatient.execute(ROWS)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "delay", "seconds": 2})
    assert failure_of(impatient) == ("unknown", "answer")
    impatient.close()
    assert warehouse.counts()["INSERT"] <= 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("executed", [True, False], ids=["after the commit", "before it ran"])
def test_a_server_error_says_nothing_and_is_sent_once(
    connection: Connection, warehouse: LocalWarehouse, status: int, executed: bool
) -> None:
    rule = {"action": "status", "status": status, "executed": executed}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", **rule})
    assert failure_of(connection) == ("unknown", "answer")
    assert warehouse.counts()["INSERT"] == int(executed)


def test_too_many_requests_did_not_run(connection: Connection, warehouse: LocalWarehouse) -> None:
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "status", "status": 429})
    assert failure_of(connection) == ("transient", "warehouse")
    connection.execute(INSERT)
    assert warehouse.counts()["INSERT"] == 1


def test_a_forgotten_session_is_opened_anew_by_the_next_statement(
    connection: Connection, warehouse: LocalWarehouse
) -> None:
    warehouse.fault({"on": "ExecuteStatement", "times": 1, "action": "forget_session"})
    assert failure_of(connection) == ("transient", "session")
    assert connection.execute(INSERT).affected == 1


def test_a_server_that_is_not_there_never_ran_it(connection: Connection, warehouse: LocalWarehouse) -> None:
    warehouse.stop()
    assert failure_of(connection)[0] == "transient"


def test_a_wrong_token_is_permanent(warehouse: LocalWarehouse) -> None:
    host = f"http://127.0.0.1:{warehouse.port}"
    refused = Connection(
        Target(host, "/sql/1.0/warehouses/local", Config(host=host, token="wrong")), statement_timeout_s=5
    )
    assert failure_of(refused) == ("permanent", "permission")


def test_oauth_machine_to_machine_signs_in(warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{warehouse.port}")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "local")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "local")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    connection = Connection(target(warehouse_id="local"), statement_timeout_s=5)
    assert connection.execute(Statement(Sql("SELECT 1 AS one"))).rows[0][0] == 1
    connection.close()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"DATABRICKS_HOST": "https://x.example"}, "credentials"),
        ({"DATABRICKS_HOST": "http://x.example", "DATABRICKS_TOKEN": "t"}, "plain http"),
        ({"DATABRICKS_HOST": "http://127.0.0.1:1", "DATABRICKS_TOKEN": "t"}, "DATABRICKS_WAREHOUSE_ID"),
    ],
    ids=["no credentials", "plain http to elsewhere", "no warehouse"],
)
def test_a_target_that_cannot_be_used_says_what_to_set(
    environ: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=told):
        target(warehouse_id="")


VERDICTS: dict[type[Exception], str] = {
    # The connector's own; an HTTP status or an error class in the text says more, see the tests below.
    connector.Error: "unknown",
    connector.InterfaceError: "unknown",
    connector.DatabaseError: "unknown",
    connector.InternalError: "unknown",
    connector.OperationalError: "unknown",
    connector.ProgrammingError: "unknown",
    connector.IntegrityError: "unknown",
    connector.DataError: "unknown",
    connector.NotSupportedError: "unknown",
    connector.TransactionError: "unknown",
    connector.InvalidServerResponseError: "unknown",
    connector.ServerOperationError: "unknown",
    connector.ReydenThriftUnsupportedError: "unknown",
    connector.RequestError: "unknown",
    connector.MaxRetryDurationError: "unknown",
    connector.NonRecoverableNetworkError: "unknown",
    connector.UnsafeToRetryError: "unknown",
    connector.SessionAlreadyClosedError: "unknown",
    connector.CursorAlreadyClosedError: "unknown",
    # urllib3's. A connection that was never made carried nothing.
    http.HTTPError: "unknown",
    http.PoolError: "unknown",
    http.RequestError: "unknown",
    http.SSLError: "unknown",
    http.ProxyError: "unknown",
    http.DecodeError: "unknown",
    http.ProtocolError: "unknown",
    http.MaxRetryError: "unknown",
    http.HostChangedError: "unknown",
    http.TimeoutStateError: "unknown",
    http.TimeoutError: "unknown",
    http.ReadTimeoutError: "unknown",
    http.ConnectTimeoutError: "transient",
    http.NewConnectionError: "transient",
    http.NameResolutionError: "transient",
    http.EmptyPoolError: "unknown",
    http.FullPoolError: "unknown",
    http.ClosedPoolError: "unknown",
    http.LocationValueError: "unknown",
    http.LocationParseError: "unknown",
    http.URLSchemeUnknown: "unknown",
    http.ResponseError: "unknown",
    http.ResponseNotChunked: "unknown",
    http.BodyNotHttplibCompatible: "unknown",
    http.IncompleteRead: "unknown",
    http.InvalidChunkLength: "unknown",
    http.InvalidHeader: "unknown",
    http.ProxySchemeUnknown: "unknown",
    http.ProxySchemeUnsupported: "unknown",
    http.HeaderParsingError: "unknown",
    http.UnrewindableBodyError: "unknown",
    # The SDK's, when a token cannot be had; and the sockets'.
    DatabricksError: "unknown",
    OSError: "unknown",
    ConnectionResetError: "unknown",
    ConnectionRefusedError: "transient",
    ValueError: "unknown",
}
"""What follows when one is raised while a statement may have been sent. A class that is new has to be judged first."""


def defined() -> list[type[Exception]]:
    """Every exception class that the connector and urllib3 define."""
    return [
        each
        for module in (connector, http)
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception) and each.__module__ == module.__name__ and not each.__name__.endswith("Warning")
        if not each.__name__.startswith("Telemetry")  # never leaves the connector
    ]


def test_every_exception_class_has_been_judged() -> None:
    assert {each.__name__ for each in defined() if each not in VERDICTS} == set()


@pytest.mark.parametrize("raised", VERDICTS, ids=lambda each: f"{each.__module__}.{each.__name__}")
def test_an_exception_has_its_verdict(raised: type[Exception]) -> None:
    exc = raised.__new__(raised)
    Exception.__init__(exc, "something went wrong")
    exc.__dict__.update(message="x", reason=None, partial=0, expected=0, length=b"0")
    assert translate(exc, "sending").verdict == VERDICTS[raised]
    assert translate(exc, "connecting").verdict == "transient"
    if raised is not connector.ServerOperationError:
        assert translate(exc, "running").verdict == "unknown"


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (http.NewConnectionError(None, "refused"), "transient"),  # type: ignore[arg-type]
        (http.ConnectTimeoutError(), "transient"),
        (http.ResponseError("too many 429 error responses"), "transient"),
        (http.ResponseError("too many 503 error responses"), "unknown"),
        (http.ProtocolError("Connection aborted."), "unknown"),
        (http.ReadTimeoutError(None, "/", "Read timed out."), "unknown"),  # type: ignore[arg-type]
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each,
)
def test_retries_that_ran_out_are_judged_by_their_reason(reason: Exception, verdict: str) -> None:
    exc = http.MaxRetryError(None, "/", reason)  # type: ignore[arg-type]
    assert translate(exc, "sending").verdict == verdict
    assert translate(exc, "running").verdict == "unknown"


ERRORS: Any = connector  # its constructors are untyped


@pytest.mark.parametrize(
    ("exc", "sending", "running"),
    [
        (ERRORS.ServerOperationError("[CAST_INVALID_INPUT] x SQLSTATE: 22018"), "permanent", "permanent"),
        (ERRORS.ServerOperationError("[DELTA_CONCURRENT_APPEND] x SQLSTATE: 2D521"), "transient", "transient"),
        (ERRORS.ServerOperationError("Invalid SessionHandle: x"), "transient", "unknown"),
        (ERRORS.DatabaseError("[PARSE_SYNTAX_ERROR] x SQLSTATE: 42601"), "permanent", "unknown"),
        (ERRORS.DatabaseError("Invalid SessionHandle: x"), "transient", "unknown"),
        (ERRORS.DatabaseError("Command x unexpectedly closed server side"), "unknown", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 401}), "permanent", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 429}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 503}), "unknown", "unknown"),
    ],
    ids=lambda each: str(each)[:40] if isinstance(each, Exception) else each,
)
def test_a_statement_that_runs_is_believed_to_have_failed_by_its_own_word_only(
    exc: Exception, sending: str, running: str
) -> None:
    assert translate(exc, "sending").verdict == sending
    assert translate(exc, "running").verdict == running


FORGOTTEN = {"action": "error", "error_class": "X", "sqlstate": "HY000", "message": "Invalid SessionHandle: x"}
BUSY = {"action": "status", "status": 429, "executed": False}
AFTER = [
    ("GetOperationStatus", FORGOTTEN),
    ("GetOperationStatus", {**FORGOTTEN, "message": "Invalid OperationHandle: x"}),
    ("GetResultSetMetadata", FORGOTTEN),
    ("GetResultSetMetadata", BUSY),
    ("GetResultSetMetadata", {"action": "drop_before"}),
    ("FetchResults", FORGOTTEN),
]


@pytest.mark.parametrize(("call", "fault"), AFTER, ids=lambda each: each if isinstance(each, str) else each["action"])
def test_what_fails_after_a_slow_statement_was_taken_is_not_taken_for_its_failure(
    connection: Connection, warehouse: LocalWarehouse, call: str, fault: dict[str, Any]
) -> None:
    slow = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "delay", "seconds": 3}
    warehouse.fault(slow, {"on": call, "times": 1, **fault})
    assert verdict_of(connection, INSERT) in ("done", "unknown")
    assert warehouse.counts()["INSERT"] <= 1


def verdict_of(connection: Connection, statement: Statement) -> str:
    try:
        connection.execute(statement)
    except StatementFailed as exc:
        return exc.failure.verdict
    return "done"
