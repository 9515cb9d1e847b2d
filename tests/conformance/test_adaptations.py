"""What the Spark engine adds to open Spark, as DIFFERENCES.md lists it: none of it is silent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.sides import Side
from tests.fix_localwarehouse import LocalWarehouse


def _answer(side: Side, text: str) -> list[tuple[Any, ...]]:
    schema = f"`{side.catalog}`.`{side.schema}`"
    with side.connection.cursor() as cursor:
        cursor.execute(text.replace("{s}", schema))
        return [tuple(row) for row in cursor.fetchall()]


def test_catalogs_are_made_and_dropped(real: Side) -> None:
    assert real.see("", "CREATE CATALOG extra") == ("done",)
    assert real.see("", "CREATE CATALOG extra") == ("error", "CATALOG_ALREADY_EXISTS", "42P06")
    assert real.see("", "CREATE SCHEMA extra.s") == ("done",)
    assert real.see("", "DROP CATALOG extra") == ("error", "CATALOG_NOT_EMPTY", "2BP01")
    assert real.see("", "DROP CATALOG extra CASCADE") == ("done",)
    assert real.see("", "SELECT * FROM extra.s.t") == ("error", "CATALOG_NOT_FOUND", "42P08")


def test_a_table_made_anew_is_another(real: Side) -> None:
    nested = "ARRAY<STRUCT<`ab`: VARCHAR(1)>>"
    columns = f"id INT NOT NULL, c CHAR(3), n {nested}"
    assert real.see("anew", f"CREATE TABLE {{t}} ({columns}) COMMENT 'a table'") == ("done",)
    first = real.describe("anew")
    assert [(c.name, c.type.sql, c.nullable) for c in first.columns] == [
        ("id", "INT", False),
        ("c", "CHAR(3)", True),
        ("n", nested, True),
    ]
    assert real.see("anew", "DROP TABLE {t}") == ("done",)
    assert real.see("anew", "CREATE TABLE {t} (id INT)") == ("done",)
    real.tables.pop("anew")
    assert real.describe("anew").identity != first.identity


def test_the_properties_of_a_table_are_described(real: Side) -> None:
    _answer(real, "CREATE TABLE {s}.properties (a INT) TBLPROPERTIES ('delta.dataSkippingStatsColumns' = '`a`')")
    _answer(real, "ALTER TABLE {s}.properties ADD CONSTRAINT small CHECK (a < 10)")
    ((text,),) = _answer(real, "DESCRIBE TABLE EXTENDED {s}.properties AS JSON")
    properties = json.loads(text)["table_properties"]
    assert properties["delta.dataSkippingStatsColumns"] == "`a`"
    assert properties["delta.constraints.small"] == "a < 10"
    assert "location" not in properties


def test_an_insert_tells_its_rows(real: Side) -> None:
    _answer(real, "CREATE TABLE {s}.told (a INT)")
    assert _answer(real, "INSERT INTO {s}.told VALUES (1), (2)") == [(2, 2)]
    assert _answer(real, "INSERT INTO {s}.told SELECT a FROM {s}.told WHERE a > 5") == [(0, 0)]
    assert _answer(real, "INSERT INTO {s}.told SELECT a FROM {s}.told") == [(2, 2)]


def test_names_are_compared_without_case(real: Side) -> None:
    _answer(real, "CREATE TABLE {s}.`Cased` (`Id` INT)")
    _answer(real, "INSERT INTO {s}.CASED (ID) VALUES (1)")
    assert _answer(real, "SELECT iD FROM {s}.cased") == [(1,)]


@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_faults_are_the_same(real: Side, spark: LocalWarehouse, action: str) -> None:
    name = f"faults_{action}"
    _answer(real, f"CREATE TABLE {{s}}.{name} (a INT)")
    spark.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": action})
    before = spark.counts()
    with spark.connect(_retry_stop_after_attempts_count=1) as connection, connection.cursor() as cursor:
        connection.session.backend.retry_policy.read = connection.session.backend.retry_policy.other = 0
        with pytest.raises(Exception, match="Max retries exceeded"):
            cursor.execute(f"INSERT INTO `{real.catalog}`.`{real.schema}`.`{name}` VALUES (1)")
    ran = (spark.counts() - before)["INSERT"]
    assert (ran, len(_answer(real, f"SELECT a FROM {{s}}.{name}"))) == ((1, 1) if action == "drop_after" else (0, 0))


def test_a_statement_is_cancelled_by_its_time_limit(real: Side) -> None:
    limited = Side(real.name, real.connect_with({"STATEMENT_TIMEOUT": "1"}), real.catalog, real.schema)
    seen = limited.run(
        "SELECT count(*) AS n FROM (SELECT explode(sequence(1, 300000)) AS a) JOIN "
        "(SELECT explode(sequence(1, 300000)) AS b) ON a * 7 % 1000003 > b * 11 % 1000003",
        {},
    )
    limited.connection.close()
    assert seen == ("error", "STATEMENT_TIMEOUT", "57KD0")
