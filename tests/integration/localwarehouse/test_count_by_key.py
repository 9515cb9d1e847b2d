"""Rows counted by key: `posexplode` of a JSON parameter, joined with the table."""

from __future__ import annotations

import json

import pytest

from tests.integration.localwarehouse.client import Client

KEYS = "(SELECT posexplode(from_json(:keys, 'ARRAY<ARRAY<STRING>>', map('mode', 'FAILFAST'))) AS (i, r)) AS k"
COUNT = (
    "SELECT k.i AS i, count_if(t.`deleted_at` IS NULL) AS live, count_if(t.`deleted_at` IS NOT NULL) AS deleted\n"
    f"FROM {KEYS}\n"
    "JOIN {s}.t AS t ON t.`id` = CAST(k.r[0] AS BIGINT) AND t.`name` = k.r[1]\n"
    "GROUP BY k.i"
)


@pytest.fixture
def table(client: Client) -> Client:
    client.run("CREATE TABLE {s}.t (id BIGINT, name STRING, deleted_at TIMESTAMP)")
    client.run(
        "INSERT INTO {s}.t VALUES (1, 'a', NULL), (1, 'a', NULL), (1, 'a', CAST('2024-01-01' AS TIMESTAMP)), "
        "(1, 'b', NULL), (2, 'a', CAST('2024-01-01' AS TIMESTAMP)), (NULL, 'a', NULL), (3, NULL, NULL)"
    )
    return client


def counted(client: Client, text: str, keys: list[list[str | None]]) -> list[tuple[int, ...]]:
    return sorted(client.run(text, {"keys": json.dumps(keys)}))


def test_rows_are_counted_by_the_keys_place(table: Client) -> None:
    keys: list[list[str | None]] = [["9", "a"], ["1", "a"], ["2", "a"], [None, "a"], ["3", None], ["1", "b"]]
    assert counted(table, COUNT, keys) == [(1, 2, 1), (2, 0, 1), (5, 1, 0)]
    assert counted(table, COUNT, []) == []


@pytest.mark.parametrize("deleted", ["count_if(false)", "0"])
def test_rows_are_counted_without_deletion(table: Client, deleted: str) -> None:
    text = (
        f"SELECT k.i AS i, count(*) AS live, {deleted} AS deleted "
        f"FROM {KEYS} JOIN {{s}}.t AS t ON t.id = k.r[0] GROUP BY k.i"
    )
    assert counted(table, text, [["1"], ["7"], ["3"]]) == [(0, 4, 0), (2, 1, 0)]


def test_the_columns_have_names_and_types(table: Client) -> None:
    with table.connection.cursor() as cursor:
        cursor.execute(COUNT.replace("{s}", table.schema), {"keys": '[["1","a"]]'})
        assert [column[:2] for column in cursor.description] == [
            ("i", "int"),
            ("live", "bigint"),
            ("deleted", "bigint"),
        ]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ('[["1","a"],["1.5","a"]]', ("CAST_INVALID_INPUT", "22018")),
        ('[["1"]]', ("INVALID_ARRAY_INDEX", "22003")),
        ('[["1","a"]', ("MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", "22023")),
    ],
)
def test_a_bad_key_fails_the_count(table: Client, keys: str, error: tuple[str, str]) -> None:
    assert table.fails(COUNT, {"keys": keys}) == error


def test_ten_thousand_keys(table: Client) -> None:
    keys = json.dumps([[str(number), f"n{number}"] for number in range(10_000)])
    table.run(
        f"INSERT INTO {{s}}.t SELECT CAST(k.r[0] AS BIGINT), k.r[1], NULL FROM {KEYS} WHERE k.i >= 5000", {"keys": keys}
    )
    found = sorted(table.run(COUNT, {"keys": keys}))
    assert found == [(number, 1, 0) for number in range(5_000, 10_000)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT posexplode(array('x', NULL, 'y'))", [(0, "x"), (1, None), (2, "y")]),
        ("SELECT posexplode(array('x', 'y')) AS (n, v), 5 AS w", [(0, "x", 5), (1, "y", 5)]),
        ("SELECT posexplode(CAST(NULL AS ARRAY<INT>))", []),
        ("SELECT explode(array(1, 2)) AS v", [(1,), (2,)]),
        ("SELECT v + i FROM (SELECT posexplode(array(10, 20)) AS (i, v))", [(10,), (21,)]),
        (
            "SELECT a.x, b.x FROM (VALUES (1), (2)) AS a (x) JOIN (VALUES (2), (3)) AS b (x) ON a.x < b.x",
            [(1, 2), (1, 3), (2, 3)],
        ),
        ("SELECT * FROM (VALUES (1)) AS a (x) INNER JOIN (VALUES (1, 2)) AS b (x, y) ON a.x = b.x", [(1, 1, 2)]),
        (
            "SELECT substr('häuser', 2, 3), substring('abc', 3), substr('abc', 9, 1), substr(NULL, 1)",
            [("äus", "c", "", None)],
        ),
    ],
)
def test_generators_joins_and_substrings(client: Client, text: str, rows: list[tuple[object, ...]]) -> None:
    assert sorted(client.run(text), key=repr) == sorted(rows, key=repr)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SELECT posexplode(array(1)) AS (a, b, c)", ("UDTF_ALIAS_NUMBER_MISMATCH", "42802")),
        ("SELECT posexplode(array(1)) AS a", ("UDTF_ALIAS_NUMBER_MISMATCH", "42802")),
        ("SELECT explode(array(1)), posexplode(array(1))", ("UNSUPPORTED_GENERATOR.MULTI_GENERATOR", "42K0E")),
        ("SELECT 1 + posexplode(array(1))", ("UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS", "42K0E")),
        ("SELECT x FROM (VALUES (1)) AS a (x) JOIN (VALUES (1)) AS b (x) ON true", ("AMBIGUOUS_REFERENCE", "42704")),
        ("SELECT count_if(1)", ("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09")),
    ],
)
def test_errors_have_sparks_classes(client: Client, text: str, error: tuple[str, str]) -> None:
    assert client.fails(text) == error
