"""Every fault does what its rule says, once and only where it applies; the log tells what really ran."""

from __future__ import annotations

import threading
import time
import urllib.error
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sql.exc import DatabaseError, RequestError
from urllib3.exceptions import MaxRetryError

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client

QUICK = {"_retry_delay_min": 0.1, "_retry_delay_max": 5, "_retry_stop_after_attempts_duration": 30}


@pytest.fixture
def careful(shared: LocalWarehouse, client: Client) -> Iterator[Client]:
    """A connection that never sends a write twice by itself."""
    client.run("CREATE TABLE {s}.t (a INT)")
    with shared.connect(**QUICK) as connection:
        policy = connection.session.backend.retry_policy
        policy.read = 0
        policy.other = 0
        # Its own waits are 5 s at least.
        policy.delay_max = 0.1
        yield Client(connection, client.schema)


def executions(shared: LocalWarehouse) -> int:
    return shared.counts()["INSERT"]


def test_a_reply_dropped_after_the_commit_leaves_one_execution(
    shared: LocalWarehouse, client: Client, careful: Client
) -> None:
    before = executions(shared)
    shared.fault({"match": "INSERT", "action": "drop_after", "times": 1})
    with pytest.raises(MaxRetryError):
        careful.run("INSERT INTO {s}.t VALUES (1)")
    assert client.run("SELECT a FROM {s}.t") == [(1,)]
    assert executions(shared) - before == 1


def test_the_connector_left_alone_executes_twice(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    shared.fault({"match": "INSERT", "action": "drop_after", "times": 1})
    with shared.connect(**QUICK) as connection:
        Client(connection, client.schema).run("INSERT INTO {s}.t VALUES (1)")
    assert client.run("SELECT a FROM {s}.t") == [(1,), (1,)]


def test_a_request_dropped_before_is_not_executed(shared: LocalWarehouse, client: Client, careful: Client) -> None:
    before = executions(shared)
    shared.fault({"match": "INSERT", "action": "drop_before", "times": 1})
    with pytest.raises(MaxRetryError):
        careful.run("INSERT INTO {s}.t VALUES (1)")
    assert client.run("SELECT a FROM {s}.t") == []
    assert executions(shared) == before
    careful.run("INSERT INTO {s}.t VALUES (2)")
    assert client.run("SELECT a FROM {s}.t") == [(2,)]


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("executed", [False, True])
def test_a_status_in_place_of_the_reply(
    shared: LocalWarehouse, client: Client, careful: Client, status: int, executed: bool
) -> None:
    shared.fault({"match": "INSERT", "action": "status", "status": status, "executed": executed, "times": 1})
    with pytest.raises(RequestError) as caught:
        careful.run("INSERT INTO {s}.t VALUES (1)")
    assert caught.value.context["http-code"] == status
    assert client.run("SELECT a FROM {s}.t") == ([(1,)] if executed else [])


def test_a_503_after_the_commit_makes_the_connector_write_twice(
    shared: LocalWarehouse, client: Client, careful: Client
) -> None:
    shared.fault({"match": "INSERT", "action": "status", "status": 503, "executed": True, "times": 1})
    careful.run("INSERT INTO {s}.t VALUES (1)")
    assert client.run("SELECT a FROM {s}.t") == [(1,), (1,)]


def test_429_is_tried_again_after_its_time(shared: LocalWarehouse, careful: Client) -> None:
    shared.fault({"match": "SELECT 7", "action": "status", "status": 429, "retry_after": 1, "times": 1})
    began = time.monotonic()
    assert careful.value("SELECT 7") == 7
    assert time.monotonic() - began >= 1


def test_a_forgotten_session_is_invalid(shared: LocalWarehouse) -> None:
    with shared.connect(**QUICK) as connection:
        shared.fault({"action": "forget_session", "times": 1})
        for _ in range(2):
            with pytest.raises(DatabaseError, match="Invalid SessionHandle"):
                Client(connection, "s").run("SELECT 1")
        connection.session.is_open = False


def test_sessions_of_a_former_process_are_invalid(tmp_path: Any) -> None:
    server = LocalWarehouse(tmp_path / "warehouse")
    connection = server.connect(**QUICK)
    server.kill()
    server.start(port=server.port)
    with pytest.raises(DatabaseError, match="Invalid SessionHandle"):
        Client(connection, "s").run("SELECT 1")
    connection.session.is_open = False
    server.stop()


def test_an_error_of_choice(shared: LocalWarehouse, client: Client, careful: Client) -> None:
    shared.fault({"match": "INSERT", "action": "error", "times": 1})
    assert careful.fails("INSERT INTO {s}.t VALUES (1)") == ("DELTA_CONCURRENT_APPEND", "2D521")
    shared.fault(
        {"match": "INSERT", "action": "error", "times": 1, "error_class": "X_Y", "sqlstate": "08KD1", "message": "m"}
    )
    assert careful.error("INSERT INTO {s}.t VALUES (1)") == ("X_Y", "[X_Y] m SQLSTATE: 08KD1", "08KD1")
    assert client.run("SELECT a FROM {s}.t") == []


def test_a_cold_start_answers_503_until_it_is_over(shared: LocalWarehouse, careful: Client) -> None:
    shared.fault({"on": "any", "action": "cold_start", "seconds": 1.5, "times": 1})
    began = time.monotonic()
    assert careful.value("SELECT 1") == 1
    assert time.monotonic() - began >= 1.5


def test_a_held_statement_starts_when_it_is_released(shared: LocalWarehouse, careful: Client) -> None:
    shared.fault({"match": "current_timestamp", "action": "hold", "times": 1})
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(careful.value("SELECT current_timestamp()")))
    thread.start()
    while shared.held() == 0:
        assert thread.is_alive()
    released = time.time()
    shared.release()
    thread.join(20)
    assert found[0].timestamp() >= released


def test_a_statement_held_past_its_start_by_expires(shared: LocalWarehouse, client: Client, careful: Client) -> None:
    shared.fault({"match": "INSERT", "action": "delay", "seconds": 0.7, "times": 1})
    text = (
        "INSERT INTO {s}.t SELECT x FROM (SELECT 1 AS x) WHERE "
        "assert_true(current_timestamp() < CAST(:start_by AS TIMESTAMP), 'expired') IS NULL"
    )
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 0.6))
    assert careful.fails(text, {"start_by": soon})[1] == "P0001"
    assert client.run("SELECT a FROM {s}.t") == []


def test_after_times_and_match_choose_the_requests(shared: LocalWarehouse, careful: Client) -> None:
    shared.fault({"match": "^SELECT 8$", "action": "error", "after": 1, "times": 2})
    outcomes = []
    for text in ("SELECT 8", "SELECT 9", "SELECT 8", "SELECT 8", "SELECT 8"):
        try:
            outcomes.append(careful.value(text))
        except DatabaseError:
            outcomes.append(None)
    assert outcomes == [8, 9, None, None, 8]


def test_probability_repeats_with_its_seed(shared: LocalWarehouse, careful: Client) -> None:
    def outcomes() -> list[bool]:
        shared.fault({"match": "SELECT 6", "action": "error", "probability": 0.5, "seed": 7})
        found = []
        for _ in range(12):
            try:
                careful.run("SELECT 6")
                found.append(True)
            except DatabaseError:
                found.append(False)
        shared.clear_faults()
        return found

    first = outcomes()
    assert first == outcomes()
    assert len(set(first)) == 2


def test_opening_a_session_can_fail_too(shared: LocalWarehouse) -> None:
    shared.fault({"on": "OpenSession", "action": "error", "times": 1, "error_class": "NO", "message": "no"})
    with pytest.raises(DatabaseError, match="NO"):
        shared.connect(**QUICK)
    shared.connect(**QUICK).close()


@pytest.mark.parametrize(
    "rule", [{"action": "explode"}, {"action": "status", "status": 200}, {"action": "hold", "ons": "x"}, {"match": "("}]
)
def test_a_rule_that_makes_no_sense_is_refused(shared: LocalWarehouse, rule: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        shared.fault(rule)
    caught.value.close()


def test_the_log_tells_what_ran_and_no_values(shared: LocalWarehouse, client: Client) -> None:
    seen = len(shared.statements())
    first = shared.statements()[-1]["seq"] + 1 if seen else 0
    client.run("CREATE TABLE {s}.t (a INT, b STRING)")
    with client.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {client.schema}.t VALUES (1, :secret), (2, NULL)", {"secret": "hidden-value"})
        query_id = cursor.query_id
    client.run("SELECT a FROM {s}.t")
    client.fails("SELECT nope FROM {s}.t")
    client.fails("SELEC")
    found = shared.statements(first)
    assert [(entry["kind"], entry["state"], entry["rows"]) for entry in found] == [
        ("CREATE_TABLE", "FINISHED", 0),
        ("INSERT", "FINISHED", 2),
        ("SELECT", "FINISHED", 2),
        ("SELECT", "ERROR", None),
        ("OTHER", "ERROR", None),
    ]
    inserted = found[1]
    assert inserted["id"] == query_id == str(uuid.UUID(query_id))
    assert inserted["table"] == f"{client.schema}.t"
    assert inserted["started"] <= inserted["ended"]
    assert "UNRESOLVED_COLUMN" in found[3]["error"]
    assert [entry["seq"] for entry in found] == list(range(first, first + 5))
    assert "hidden-value" not in str(shared.statements())
