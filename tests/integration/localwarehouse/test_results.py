"""How results reach the connector: pages, compression, Arrow, asynchronous statements, cancels and timeouts."""

from __future__ import annotations

from typing import Any

import pytest
from databricks.sql.backend.types import CommandState
from databricks.sql.exc import Error

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client, insert_text, payload

ROWS = 40_000


@pytest.fixture
def many(client: Client) -> Client:
    client.run("CREATE TABLE {s}.t (id BIGINT, name STRING)")
    rows = [[str(number), f"name {number}"] for number in range(ROWS)]
    client.run(insert_text("{s}.t", ["id", "name"], ["CAST(r[0] AS BIGINT)", "r[1]"]), payload(*rows))
    return client


@pytest.mark.parametrize("options", [{}, {"enable_query_result_lz4_compression": False}], ids=["lz4", "plain"])
def test_a_large_result_comes_in_pages(shared: LocalWarehouse, many: Client, options: dict[str, Any]) -> None:
    query = f"SELECT id, name FROM {many.schema}.t ORDER BY id"
    with shared.connect(**options) as connection, connection.cursor(arraysize=7_000) as cursor:
        cursor.execute(query)
        assert [row[0] for row in cursor.fetchmany(10)] == list(range(10))
        found = cursor.fetchall_arrow()
        assert found["id"].to_pylist() == list(range(10, ROWS))
        assert found["name"].to_pylist()[-1] == f"name {ROWS - 1}"


def test_pages_are_bounded_in_bytes(shared: LocalWarehouse, many: Client) -> None:
    with shared.connect() as connection, connection.cursor(buffer_size_bytes=10_000) as cursor:
        cursor.execute(f"SELECT id, name FROM {many.schema}.t ORDER BY id LIMIT 5000")
        assert [row[0] for row in cursor.fetchall()] == list(range(5000))


def test_an_asynchronous_statement_is_asked_about(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    shared.fault({"on": "ExecuteStatement", "match": "42", "action": "hold"})
    with client.connection.cursor() as cursor:
        cursor.execute_async(f"INSERT INTO {client.schema}.t VALUES (42)")
        assert cursor.get_query_state() == CommandState.PENDING
        shared.release()
        while cursor.is_query_pending():
            pass
        assert cursor.get_query_state() == CommandState.SUCCEEDED
        cursor.get_async_execution_result()
        assert [tuple(row) for row in cursor.fetchall()] == [(1, 1)]
    assert client.run("SELECT a FROM {s}.t") == [(42,)]


def test_a_statement_longer_than_the_first_wait_is_polled(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    shared.fault({"match": "43", "action": "delay", "seconds": 3})
    client.run("INSERT INTO {s}.t VALUES (43)")
    assert client.run("SELECT a FROM {s}.t") == [(43,)]


def test_a_cancelled_statement_writes_nothing(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    shared.fault({"match": "44", "action": "hold"})
    with client.connection.cursor() as cursor:
        cursor.execute_async(f"INSERT INTO {client.schema}.t VALUES (44)")
        cursor.cancel()
        while cursor.is_query_pending():
            pass
        assert cursor.get_query_state() == CommandState.CANCELLED
        with pytest.raises(Error, match="CANCELLED"):
            cursor.get_async_execution_result()
    assert shared.held() == 0
    assert client.run("SELECT a FROM {s}.t") == []


def test_a_statement_ends_at_its_timeout_and_time_in_the_queue_does_not_count(tmp_path: Any) -> None:
    server = LocalWarehouse(tmp_path / "warehouse", options=("--faults", "--commit-ms", "1500"))
    try:
        settings = {"ANSI_MODE": "true", "TIMEZONE": "UTC", "STATEMENT_TIMEOUT": "1"}
        with server.connect() as connection:
            Client(connection, "s").run("CREATE TABLE t (a INT)")
        with server.connect(session_configuration=settings) as connection:
            client = Client(connection, "s")
            assert client.fails("INSERT INTO t VALUES (1)") == ("STATEMENT_TIMEOUT", "57KD0")
            server.fault({"match": "queued", "action": "delay", "seconds": 1.5})
            assert client.value("SELECT 'queued'") == "queued"
            assert client.run("SELECT * FROM t") == []
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"ANSI_MODE": "false"}, "ANSI_MODE"),
        ({"TIMEZONE": "Europe/Paris"}, "TIMEZONE"),
        ({"STATEMENT_TIMEOUT": "soon"}, "STATEMENT_TIMEOUT"),
        ({"spark.sql.shuffle.partitions": "3"}, "CONFIG_NOT_AVAILABLE"),
    ],
)
def test_settings_it_cannot_keep_are_refused(shared: LocalWarehouse, setting: dict[str, str], text: str) -> None:
    with pytest.raises(Error, match=text):
        shared.connect(session_configuration=setting)
