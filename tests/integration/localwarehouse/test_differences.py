"""The known differences from Databricks, as `localwarehouse/DIFFERENCES.md` lists them: none is silent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.localwarehouse.client import Client

INVALID = "CAST_INVALID_INPUT"


@pytest.mark.parametrize(
    "expression",
    [
        "CAST('0000-01-01' AS DATE)",
        "CAST('10000-01-01' AS DATE)",
        "CAST('2024' AS DATE)",
        "CAST('2024-05' AS DATE)",
        "CAST('2024-01-01 10:00:00+5' AS TIMESTAMP)",
        "CAST('2024-01-01 10:00:00 +05:00' AS TIMESTAMP)",
        "CAST('2024-01-01 10:00:00 GMT' AS TIMESTAMP)",
        "CAST('10:00:00' AS TIMESTAMP)",
        "CAST('\\u0001 12' AS INT)",
        "CAST('1.5d' AS DOUBLE)",
        "CAST('1e100' AS DECIMAL(10,2))",
    ],
)
def test_stricter_casts(client: Client, expression: str) -> None:
    assert client.fails(f"SELECT {expression}") == (INVALID, "22018")


@pytest.mark.parametrize(
    "expression",
    [
        "CAST(1.5D AS STRING)",
        "CAST(array(1) AS STRING)",
        "1.5 * 2",
        "4 / 2",
        "TRY_CAST('1' AS INT)",
        "avg(1.5)",
        "from_json('[1]', 'ARRAY<INT>', map('mode', 'FAILFAST'))",
        "from_json('[]', 'ARRAY<STRING>', map('mode', 'PERMISSIVE'))",
    ],
)
def test_refused_expressions(client: Client, expression: str) -> None:
    assert client.fails(f"SELECT {expression}")[0] == "UNSUPPORTED_LOCAL"


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ('{"b": "1"}', None),
        ('{"A": "1"}', None),
        ('{"a": "1", "a": "2"}', None),
        ('{"a": "1", "more": []}', {"a": "1"}),
        ('{"a": null}', {"a": None}),
        ('{"a": [1, {"x": 2}]}', {"a": '[1,{"x":2}]'}),
    ],
)
def test_from_json_is_stricter_about_fields(client: Client, document: str, found: Any) -> None:
    text = "SELECT from_json(:d, 'STRUCT<a: STRING>', map('mode', 'FAILFAST'))"
    if found is None:
        assert client.fails(text, {"d": document})[1] == "22023"
    else:
        assert client.value(text, {"d": document}) == found


def test_a_string_is_cast_into_a_column(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    client.run("INSERT INTO {s}.t VALUES ('7')")
    assert client.value("SELECT a FROM {s}.t") == 7
    assert client.fails("INSERT INTO {s}.t VALUES ('7.5')") == (INVALID, "22018")


def test_a_char_column_is_compared_with_its_blanks(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a CHAR(3))")
    client.run("INSERT INTO {s}.t VALUES ('x')")
    assert client.run("SELECT a FROM {s}.t WHERE a = 'x'") == []
    assert client.run("SELECT a FROM {s}.t WHERE a = 'x  '") == [("x  ",)]


def test_a_merge_computes_what_it_does_not_use(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT, at TIMESTAMP)")
    source = "MERGE INTO {s}.t AS t USING (SELECT 1 AS a, CAST(:v AS TIMESTAMP) AS at) AS s ON t.a = s.a "
    clause = "MERGE INTO {s}.t AS t USING (SELECT 1 AS a) AS s ON t.a = s.a "
    assert client.fails(source + "WHEN MATCHED THEN DELETE", {"v": "x"})[0] == INVALID
    assert client.fails(clause + "WHEN MATCHED THEN UPDATE SET at = CAST(:v AS TIMESTAMP)", {"v": "x"})[0] == INVALID


def test_a_keyword_names_no_parameter(client: Client) -> None:
    assert client.fails("SELECT :like", {"like": "x"})[0] == "PARSE_SYNTAX_ERROR"


def test_columns_without_alias_have_no_brackets(client: Client) -> None:
    with client.connection.cursor() as cursor:
        cursor.execute("SELECT 1 + 2, coalesce(NULL, 1)")
        assert [column[0] for column in cursor.description] == ["1 + 2", "coalesce(NULL, 1)"]


def test_table_properties_are_only_kept(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT) TBLPROPERTIES ('delta.appendOnly' = 'true')")
    client.run("INSERT INTO {s}.t VALUES (1)")
    client.run("DELETE FROM {s}.t")
    described = json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))
    assert described["table_properties"] == {"delta.appendOnly": "true"}
