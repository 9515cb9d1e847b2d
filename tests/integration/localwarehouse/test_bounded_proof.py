"""The proof of a batch reads a bounded part of its table, however large that has grown: here of 10,000,000 rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from lakequeue.identifiers import TableName

from localwarehouse import store
from localwarehouse.catalog import Catalogs
from localwarehouse.catalog import TableName as StoredName
from localwarehouse.planner import Planner
from localwarehouse.plans import Change, EngineSql, Query
from localwarehouse.types import STRING
from tasks import statements
from tasks.prepared import insert_fragment
from tasks.sql import Statement, qualified, sql
from tasks.table import Table, from_describe_json
from tests.fix_localwarehouse import LocalWarehouse

NAME = "shop.sales.big"
ROWS = 10_000_000
BATCH_ROWS = 10_000
FIRST_STAMP = datetime(2026, 1, 1, tzinfo=UTC)
LAST_STAMP = FIRST_STAMP + timedelta(seconds=ROWS // BATCH_ROWS - 1)
BOUND = ROWS // 50
"""2 in 100: DuckDB keeps the least and the largest value of every 122,880 rows, and a stamp's rows lie together."""


@dataclass(frozen=True)
class Filled:
    """The warehouse's file, opened behind its back while it is not running."""

    database: duckdb.DuckDBPyConnection
    catalogs: Catalogs
    table: Table

    def scanned(self, statement: Statement) -> tuple[list[Any], int]:
        """Run it as the warehouse would, and take back what it changed: its answer, and how many rows it read."""
        plan = Planner(self.database.cursor()).plan(
            self.catalogs, str(statement.sql), dict.fromkeys(statement.parameters, STRING), "workspace", "default"
        )
        assert isinstance(plan, Query | Change)

        def values(sql: EngineSql) -> dict[str, Any]:
            given: dict[str, Any] = {name: statement.parameters[bound] for name, bound in sql.values.items()}
            return {**given, "now": LAST_STAMP.replace(tzinfo=None)} if sql.uses_now else given

        with self.database.cursor() as cursor:
            cursor.execute("SET enable_profiling = 'no_output'")
            cursor.execute("BEGIN")
            early: dict[str, Any] = {}
            if plan.early is not None:
                cursor.execute(plan.early.text, values(plan.early))
                names = [column[0] for column in cursor.description or []]
                (row,) = cursor.fetchall()
                early = {name: value for name, value in zip(names, row, strict=True) if name.startswith("k")}
            answer = cursor.execute(plan.sql.text, values(plan.sql) | early).fetchall()
            profile = json.loads(cursor.get_profiling_information())
            cursor.execute("ROLLBACK")
        return answer, sum(_rows_scanned(operator) for operator in profile["operator"])


def _rows_scanned(operator: dict[str, Any]) -> int:
    return int(operator.get("rows_scanned", 0)) + sum(_rows_scanned(child) for child in operator.get("children", ()))


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """The table made by a warehouse, then filled with batches of 10,000 rows, one a second."""
    warehouse = LocalWarehouse(tmp_path_factory.mktemp("big") / "warehouse")
    columns = "id BIGINT, v STRING, created_at TIMESTAMP, updated_at TIMESTAMP, _job_id STRING"
    with warehouse.connect() as connection, connection.cursor() as cursor:
        for text in ("CREATE CATALOG shop", "CREATE SCHEMA shop.sales", f"CREATE TABLE {NAME} ({columns})"):
            cursor.execute(text)
        cursor.execute(f"DESCRIBE TABLE EXTENDED {NAME} AS JSON")
        described = from_describe_json(TableName.parse(NAME), cursor.fetchall()[0][0])
    assert warehouse.stop() == 0
    with duckdb.connect(str(warehouse.data / "warehouse.duckdb")) as database:
        database.execute("SET TimeZone = 'UTC'")
        catalogs = store.load(database)
        stored = catalogs.table(StoredName(*NAME.split(".")))
        database.execute(
            f"INSERT INTO {stored.storage} SELECT i, 'v', stamp, stamp, 'job-' || (i // {BATCH_ROWS}) "
            f"FROM (SELECT i, ?::TIMESTAMP + to_seconds(i // {BATCH_ROWS}) AS stamp FROM range({ROWS}) AS r(i))",
            [FIRST_STAMP.replace(tzinfo=None)],
        )
        database.execute("CHECKPOINT")
        yield Filled(database, catalogs, described)


STAMPS = {
    "the last batch's": (LAST_STAMP, 1),
    "a batch's in the middle": (FIRST_STAMP + timedelta(seconds=500), 1),
    "between those of two batches": (FIRST_STAMP + timedelta(seconds=500, microseconds=1), 0),
    "later than all": (LAST_STAMP + timedelta(microseconds=1), 0),
}


def test_a_proof_reads_a_bounded_part_of_the_table(filled: Filled) -> None:
    for named, (stamp, found) in STAMPS.items():
        ((_, answered),), scanned = filled.scanned(statements.find_stamp(filled.table, _micros(stamp)))
        print(f"proof, stamp {named}: {scanned:,} of {ROWS:,} rows scanned ({scanned / ROWS:.2%})")
        assert answered == found, named
        assert scanned <= BOUND, named


def test_a_guarded_repeat_reads_a_bounded_part_of_the_table(filled: Filled) -> None:
    columns = [filled.table.by_name[name] for name in ("id", "v")]
    for named, (stamp, found) in STAMPS.items():
        repeat = statements.insert(
            filled.table,
            columns,
            "[" + insert_fragment("job", None, [{"id": "1", "v": "again"}], ("id", "v")) + "]",
            stamp_us=_micros(stamp),
            start_by_us=_micros(LAST_STAMP + timedelta(seconds=1)),
            guarded=True,
        )
        ((inserted,),), scanned = filled.scanned(repeat)
        print(f"repeat, stamp {named}: {scanned:,} of {ROWS:,} rows scanned ({scanned / ROWS:.2%})")
        assert inserted == 1 - found, named
        assert scanned <= BOUND, named


def test_a_search_that_statistics_do_not_prune_would_read_all_rows(filled: Filled) -> None:
    """What the figures above are to be compared with, and that they count what is read."""
    text = sql(
        "SELECT count(*) AS found FROM {table} WHERE CAST(id AS STRING) = :v", table=qualified(filled.table.name)
    )
    ((answered,),), scanned = filled.scanned(Statement(text, {"v": "x"}))
    assert (answered, scanned) == (0, ROWS)
