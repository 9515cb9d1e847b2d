"""SELECT over a table: which rows, in which order, under which names, as in Spark."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from tests.integration.localwarehouse.client import Client


@pytest.fixture
def people(client: Client) -> Client:
    client.run("CREATE TABLE {s}.p (id INT, name STRING, amount DECIMAL(10,2), x DOUBLE, day DATE, blob BINARY)")
    client.run(
        "INSERT INTO {s}.p VALUES (1, 'Ann', 1.50, CAST('NaN' AS DOUBLE), DATE'2024-01-01', X'00'), "
        "(2, 'a%b', 2.50, 1.0, DATE'2024-01-02', NULL), (3, NULL, NULL, NULL, NULL, X'ff'), "
        "(4, 'a_b', -1, CAST('Infinity' AS DOUBLE), NULL, NULL)"
    )
    return client


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("`id` = 1 OR NOT (`id` < 4)", [1, 4]),
        ("id <> 1 AND id != 2 AND id >= 3 AND id <= 3", [3]),
        ("name IN ('Ann', 'a_b', NULL)", [1, 4]),
        ("name NOT IN ('Ann')", [2, 4]),
        ("id NOT IN (1, NULL)", []),
        ("name LIKE 'a%'", [2, 4]),
        ("name LIKE 'a\\\\_b'", [4]),
        ("name LIKE 'a\\\\%b' ESCAPE '\\\\'", [2]),
        ("name LIKE :pattern ESCAPE '\\\\'", [2]),
        ("name LIKE 'a|_b' ESCAPE '|'", [4]),
        ("name NOT LIKE 'A%'", [2, 4]),
        ("name IS NULL", [3]),
        ("name IS NOT NULL AND amount > 0", [1, 2]),
        ("amount BETWEEN 1.5 AND 2.5", [1, 2]),
        ("amount NOT BETWEEN 0 AND 2", [2, 4]),
        ("amount = CAST(:amount AS DECIMAL(10,2))", [2]),
        ("x = CAST('NaN' AS DOUBLE)", [1]),
        ("x > 5", [1, 4]),
        ("day = CAST(:day AS DATE)", [2]),
        ("day >= '2024-01-02'", [2]),
        ("blob = to_binary(:blob, 'base64')", [3]),
        ("id IN (SELECT id FROM {s}.p WHERE id > 3)", [4]),
        ("name < 'a'", [1]),
    ],
)
def test_filters_choose_the_rows_they_do_in_spark(people: Client, condition: str, ids: list[int]) -> None:
    values = {"pattern": "a\\%b", "amount": "2.50", "day": "2024-01-02", "blob": "/w=="}
    given = {name: value for name, value in values.items() if f":{name}" in condition}
    assert people.run(f"SELECT id FROM {{s}}.p WHERE {condition} ORDER BY id", given) == [(found,) for found in ids]


def test_the_products_read(people: Client) -> None:
    found = people.run(
        "SELECT `id`, `name`, (SELECT count(*) FROM {s}.p WHERE `id` > CAST(:p0 AS INT)) AS `_total` FROM {s}.p "
        "WHERE `id` > CAST(:p0 AS INT) ORDER BY `name` DESC NULLS FIRST, `id` ASC NULLS LAST "
        "LIMIT CAST(:limit AS INT) OFFSET CAST(:offset AS INT)",
        {"p0": "1", "limit": "2", "offset": "1"},
    )
    assert found == [(4, "a_b", 3), (2, "a%b", 3)]


def test_order_has_sparks_places_for_null(people: Client) -> None:
    assert people.run("SELECT name FROM {s}.p ORDER BY name LIMIT 1") == [(None,)]
    assert people.run("SELECT name FROM {s}.p ORDER BY name DESC LIMIT 1") == [("a_b",)]
    assert people.run("SELECT id AS k FROM {s}.p ORDER BY k DESC LIMIT 1") == [(4,)]
    assert people.run("SELECT id FROM {s}.p ORDER BY x DESC NULLS LAST, 1") == [(1,), (4,), (2,), (3,)]


def test_aggregates(people: Client) -> None:
    assert people.run(
        "SELECT count(*), count(name), sum(id), sum(amount), min(name), max(day), avg(id), max(x) > 1e308 FROM {s}.p"
    ) == [(4, 3, 10, Decimal("3.00"), "Ann", dt.date(2024, 1, 2), 2.5, True)]
    assert people.run(
        "SELECT id > 2 AS big, count(*) AS n FROM {s}.p GROUP BY big HAVING count(*) > 1 ORDER BY big"
    ) == [
        (False, 2),
        (True, 2),
    ]
    assert people.run("SELECT DISTINCT id > 0 FROM {s}.p") == [(True,)]
    people.run("CREATE TABLE {s}.big (n BIGINT)")
    people.run("INSERT INTO {s}.big VALUES (9223372036854775807), (1)")
    assert people.fails("SELECT sum(n) FROM {s}.big")[1] == "22003"


def test_columns_are_named_as_in_spark(people: Client) -> None:
    with people.connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ID, p.name, count(*), 1, 'x', 1 AS a, 2 AS a FROM {people.schema}.p GROUP BY ID, p.name"
        )
        assert [column[0] for column in cursor.description] == ["ID", "name", "count(1)", "1", "x", "a", "a"]
