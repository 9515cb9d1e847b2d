"""What is acknowledged stays: over kill -9, restarts, many writers and definitions at once."""

from __future__ import annotations

import ctypes
import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client, insert_text, payload


def together(works: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(work) for work in works]]


def test_acknowledged_commits_survive_a_kill(tmp_path: Path) -> None:
    server = LocalWarehouse(tmp_path / "warehouse")
    with server.connect() as connection:
        client = Client(connection, "main.s")
        for text in ("CREATE CATALOG main", "CREATE SCHEMA {s}", "CREATE TABLE {s}.t (id INT NOT NULL, c CHAR(2))"):
            client.run(text)
        client.run("ALTER TABLE {s}.t ADD COLUMN added ARRAY<INT>")
        client.run("ALTER TABLE {s}.t ADD CONSTRAINT few CHECK (id < 100000)")
        described = client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON")
    acknowledged: list[int] = []
    enough = threading.Event()

    def insert(first: int) -> None:
        with server.connect() as connection, connection.cursor() as cursor:
            for number in range(first, first + 10_000):
                try:
                    cursor.execute(f"INSERT INTO main.s.t VALUES ({number}, 'a', array({number}))")
                except Exception:  # whatever a killed server looks like to the connector
                    return
                acknowledged.append(number)
                if len(acknowledged) >= 60:
                    enough.set()

    writers = [threading.Thread(target=insert, args=(writer * 10_000,), daemon=True) for writer in range(3)]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    server.kill()
    server.start(port=server.port)
    try:
        with server.connect() as connection:
            client = Client(connection, "main.s")
            found = [row[0] for row in client.run("SELECT id FROM {s}.t")]
            assert len(found) == len(set(found))
            assert set(acknowledged) <= set(found)
            assert client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON") == described
            assert client.fails("INSERT INTO {s}.t VALUES (100000, 'a', NULL)")[1] == "23001"
            assert client.fails("INSERT INTO {s}.t VALUES (NULL, 'a', NULL)")[1] == "23502"
    finally:
        server.stop()


def test_a_clean_stop_and_a_start_change_nothing(tmp_path: Path) -> None:
    server = LocalWarehouse(tmp_path / "warehouse")
    with server.connect() as connection:
        client = Client(connection, "workspace.default")
        client.run("CREATE TABLE {s}.t (a INT, s STRUCT<`x y`: MAP<STRING, DECIMAL(5,2)>>) TBLPROPERTIES ('k' = 'v')")
        client.run("INSERT INTO {s}.t VALUES (1, named_struct('x y', map('m', 1.25)))")
        before = client.run("SELECT * FROM {s}.t"), client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON")
    assert server.stop() == 0
    assert [path.name for path in (tmp_path / "warehouse").iterdir()] == ["warehouse.duckdb"]
    server.start()
    with server.connect() as connection:
        client = Client(connection, "workspace.default")
        assert (client.run("SELECT * FROM {s}.t"), client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON")) == before
    server.stop()


def test_a_stop_that_is_asked_for_again_and_again_is_one(tmp_path: Path) -> None:
    """Each signal meets the main thread somewhere else: while it begins to wait, and within the handler of another."""
    for number in range(5):
        server = LocalWarehouse(tmp_path / str(number) / "warehouse")
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGINT)
        assert server.stop() == 0


def test_a_stop_is_heard_whichever_thread_the_signal_meets(tmp_path: Path) -> None:
    """The kernel chooses one; here, each that is not the main one."""
    server = LocalWarehouse(tmp_path / "warehouse")
    pid = server.process.pid
    others = [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir() if int(each.name) != pid]
    assert others
    for thread in others:
        ctypes.CDLL(None).tgkill(pid, thread, signal.SIGTERM)
    assert server.ended() == 0


def test_a_stop_ends_what_is_held(tmp_path: Path) -> None:
    server = LocalWarehouse(tmp_path / "warehouse")
    server.fault({"action": "hold"})
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute_async("SELECT 1")
        assert server.stop() == 0
        cursor.active_command_id = None
        connection.session.is_open = False


def test_many_writers_of_one_table_lose_nothing(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (writer INT, n INT)")
    client.run("INSERT INTO {s}.t VALUES (-1, 0)")
    insert = insert_text(f"{client.schema}.t", ["writer", "n"], ["CAST(r[0] AS INT)", "CAST(r[1] AS INT)"])

    def write(writer: int) -> None:
        with shared.connect() as connection, connection.cursor() as cursor:
            for number in range(15):
                cursor.execute(insert, payload([str(writer), str(number)]))
                cursor.execute(f"UPDATE {client.schema}.t SET n = n + 1 WHERE writer = -1")

    together([lambda writer=writer: write(writer) for writer in range(6)])  # type: ignore[misc]
    assert client.value("SELECT count(*) FROM {s}.t") == 91
    assert client.value("SELECT n FROM {s}.t WHERE writer = -1") == 90


def test_writers_of_other_tables_and_definitions_go_on_together(shared: LocalWarehouse, client: Client) -> None:
    def work(number: int) -> None:
        table = f"{client.schema}.t{number}"
        with shared.connect() as connection:
            mine = Client(connection, client.schema)
            for turn in range(8):
                mine.run(f"CREATE TABLE IF NOT EXISTS {table} (a INT)")
                mine.run(f"INSERT INTO {table} (a) VALUES ({turn})")
                mine.run(f"ALTER TABLE {table} ADD COLUMN c{turn} INT")
                mine.run(f"INSERT INTO {table} (a, c{turn}) SELECT a + 100, 1 FROM {table}")
            assert mine.value(f"SELECT count(*) FROM {table}") == 2**9 - 2
            mine.run(f"DROP TABLE {table}")

    together([lambda number=number: work(number) for number in range(4)])  # type: ignore[misc]
    assert client.run("SHOW TABLES IN {s}") == []


def test_definitions_of_one_table_at_once_all_count(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")

    def add(number: int) -> None:
        with shared.connect() as connection:
            Client(connection, client.schema).run(f"ALTER TABLE {{s}}.t ADD COLUMN c{number} INT")

    together([lambda number=number: add(number) for number in range(6)])  # type: ignore[misc]
    client.run("INSERT INTO {s}.t (c0, c5, c3) VALUES (10, 15, 13)")
    assert client.run("SELECT c0, c1, c3, c5 FROM {s}.t") == [(10, None, 13, 15)]


def test_one_of_many_creators_wins_and_none_fails(shared: LocalWarehouse, client: Client) -> None:
    def create() -> str:
        with shared.connect() as connection:
            mine = Client(connection, client.schema)
            mine.run("CREATE TABLE IF NOT EXISTS {s}.t (a INT)")
            return str(json.loads(mine.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))["location"])

    assert len(set(together([create] * 6))) == 1


@pytest.mark.alone
def test_a_commit_takes_its_time_and_hides_until_then(tmp_path: Path) -> None:
    server = LocalWarehouse(tmp_path / "warehouse", options=("--commit-ms", "1500"))
    try:
        with server.connect() as writing, server.connect() as reading:
            writer, reader = Client(writing, "s"), Client(reading, "s")
            writer.run("CREATE TABLE t (a INT)")
            writer.run("CREATE TABLE u (a INT)")
            with ThreadPoolExecutor(2) as pool:
                began = time.monotonic()
                inserted = pool.submit(writer.run, "INSERT INTO t VALUES (1)")
                # A reader is not held up, and sees nothing before the commit.
                answered = 0
                while not inserted.done():
                    found = reader.run("SELECT a FROM t")
                    assert found == [] or time.monotonic() - began >= 1.5
                    answered += not inserted.done()
                assert answered >= 5
                assert time.monotonic() - began >= 1.5
            assert reader.run("SELECT a FROM t") == [(1,)]
            began = time.monotonic()
            with server.connect() as other:
                together(
                    [lambda: writer.run("INSERT INTO t VALUES (2)"), lambda: Client(other, "s").run("DELETE FROM t")]
                )
            assert time.monotonic() - began >= 3.0
    finally:
        server.stop()


@pytest.mark.parametrize("text", ["SELECT 1", "SHOW TABLES"])
def test_what_commits_nothing_takes_no_commit_time(tmp_path: Path, text: str) -> None:
    server = LocalWarehouse(tmp_path / "warehouse", options=("--commit-ms", "60000"))
    try:
        with server.connect() as connection:
            began = time.monotonic()
            Client(connection, "s").run(text)
            assert time.monotonic() - began < 30
    finally:
        server.stop()
