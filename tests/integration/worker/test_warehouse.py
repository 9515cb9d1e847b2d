"""The connector as we set it: one execution a statement, and a verdict for every way it fails at a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sdk.core import Config

from tasks.sql import Sql, Statement
from tests.fix_localwarehouse import LocalWarehouse
from worker.target import Misconfigured, Target, target
from worker.warehouse import Connection, StatementFailed

INSERT = Statement(Sql("INSERT INTO c.s.t VALUES (1)"), does="change")
ROWS = Statement(Sql("SELECT id FROM c.s.t"))


@pytest.fixture
def where(warehouse: LocalWarehouse) -> Target:
    host = f"http://127.0.0.1:{warehouse.port}"
    config = Config(host=host, token=warehouse.token, retry_timeout_seconds=2)
    return Target(host, "/sql/1.0/warehouses/local", config.authenticate)


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
    impatient = Connection(where, statement_timeout_s=5, socket_timeout_s=1)
    impatient.execute(ROWS)
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "delay", "seconds": 4})
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
    assert failure_of(connection) == ("unknown", "warehouse")
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


def test_a_wrong_token_is_no_jobs_fault(warehouse: LocalWarehouse, caplog: pytest.LogCaptureFixture) -> None:
    host = f"http://127.0.0.1:{warehouse.port}"
    refused = Connection(
        Target(host, "/sql/1.0/warehouses/local", Config(host=host, token="wrong").authenticate), statement_timeout_s=5
    )
    assert failure_of(refused) == ("transient", "warehouse")
    assert "UNAUTHENTICATED" in caplog.text
    assert "renew or correct them" in caplog.text


def test_a_token_that_expires_within_a_session_is_no_jobs_fault(
    connection: Connection, warehouse: LocalWarehouse
) -> None:
    connection.execute(INSERT)
    warehouse.stop()
    warehouse.token = "renewed"
    warehouse.start(port=warehouse.port)
    with pytest.raises(StatementFailed) as caught:
        connection.execute(INSERT)
    failure = caught.value.failure
    assert (failure.verdict, failure.cause, failure.code) == ("transient", "warehouse", "UNAUTHENTICATED")


def test_a_warehouse_that_is_not_there_is_no_jobs_fault(
    warehouse: LocalWarehouse, where: Target, caplog: pytest.LogCaptureFixture
) -> None:
    deleted = Connection(Target(where.host, "/sql/1.0/warehouses/deleted", where.authenticate), statement_timeout_s=5)
    assert failure_of(deleted) == ("transient", "warehouse")
    assert "WAREHOUSE_NOT_FOUND" in caplog.text
    assert "DATABRICKS_WAREHOUSE_ID" in caplog.text


def test_a_client_secret_that_is_refused_is_no_jobs_fault(
    warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    host = f"http://127.0.0.1:{warehouse.port}"
    config = Config(host=host, client_id="local", client_secret="expired", retry_timeout_seconds=2)
    refused = Connection(Target(host, "/sql/1.0/warehouses/local", config.authenticate), statement_timeout_s=5)
    assert failure_of(refused) == ("transient", "warehouse")
    assert "UNAUTHENTICATED" in caplog.text


def test_oauth_machine_to_machine_signs_in(warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{warehouse.port}")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "local")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "local")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    connection = Connection(target(warehouse_id="local"), statement_timeout_s=5)
    assert connection.execute(Statement(Sql("SELECT 1 AS one"))).rows[0][0] == 1
    connection.close()


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}/"])
def test_a_token_leads_where_the_sdk_would_lead(
    form: str, warehouse: LocalWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", form.format(port=warehouse.port))
    monkeypatch.setenv("DATABRICKS_TOKEN", "t")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", "/dev/null")
    alone = target(warehouse_id="local")
    monkeypatch.setenv("DATABRICKS_AUTH_TYPE", "pat")  # not for us to read: the SDK is asked
    unified = target(warehouse_id="local")
    assert alone == unified
    assert alone.authenticate() == unified.authenticate() == {"Authorization": "Bearer t"}


@pytest.mark.parametrize("host", ["x.example", "https://x.example", "https://x.example/", "https://x.example:443"])
def test_a_host_may_be_written_in_several_ways(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", host)
    monkeypatch.setenv("DATABRICKS_TOKEN", "t")
    assert target(warehouse_id="local").host == "https://x.example"


def test_a_worker_with_a_token_does_without_the_sdk() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, worker.bootstep; sys.exit('databricks.sdk' in sys.modules)"], check=True
    )


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


@pytest.mark.parametrize(
    "fault", [{"action": "drop_before"}, BUSY, {**BUSY, "status": 503}], ids=["drop", "429", "503"]
)
def test_a_lost_answer_to_how_a_statement_is_doing_is_asked_for_again(
    connection: Connection, warehouse: LocalWarehouse, fault: dict[str, Any]
) -> None:
    slow = {"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "delay", "seconds": 2.5}
    warehouse.fault(slow, {"on": "GetOperationStatus", "times": 1, **fault})
    assert connection.execute(INSERT).affected == 1
    assert warehouse.counts()["INSERT"] == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("retry_after", [None, 1, 60])
def test_a_session_that_is_not_to_be_had_is_asked_for_once(
    warehouse: LocalWarehouse, where: Target, status: int, retry_after: int | None
) -> None:
    """Whatever the server says, the connector waits for nothing; the second fault would be met by a second request."""
    rule = {"on": "OpenSession", "times": 1, "action": "status", "status": status, "retry_after": retry_after}
    warehouse.fault(rule, rule)
    refused = Connection(where, statement_timeout_s=5)
    assert failure_of(refused) == failure_of(refused) == ("transient", "warehouse")
    assert refused.execute(Statement(Sql("SELECT 1"))).rows[0][0] == 1
    refused.close()


def verdict_of(connection: Connection, statement: Statement) -> str:
    try:
        connection.execute(statement)
    except StatementFailed as exc:
        return exc.failure.verdict
    return "done"
