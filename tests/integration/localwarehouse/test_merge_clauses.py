"""MERGE in general: which clause a row gets, what is stored and counted, what is refused or fails."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.localwarehouse.client import AMBIGUOUS, FAILFAST, Client, merge_counts


def test_zero_matches_its_negative(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (x DOUBLE, n INT)")
    client.run("INSERT INTO {s}.t VALUES (CAST('-0.0' AS DOUBLE), 1)")
    text = "MERGE INTO {s}.t AS t USING (SELECT 0D AS x) AS s ON t.x = s.x WHEN MATCHED THEN UPDATE SET n = 2"
    assert merge_counts(client, text) == (1, 0, 0)


@pytest.fixture
def pair(client: Client) -> Client:
    client.run("CREATE TABLE {s}.t (id INT NOT NULL, v VARCHAR(3), c CHAR(3), n INT)")
    client.run("CREATE TABLE {s}.u (id INT, v STRING, n INT)")
    client.run("INSERT INTO {s}.t VALUES (1, 'a', 'x', 10), (2, 'b', NULL, 20)")
    client.run("INSERT INTO {s}.u VALUES (1, 'one', 5), (3, 'three', NULL)")
    return client


def test_a_table_can_be_the_source_and_columns_left_out_are_null(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t USING {s}.u ON t.id = u.id "
        "WHEN MATCHED THEN UPDATE SET t.v = u.v, c = 'q', n = t.n + u.n "
        "WHEN NOT MATCHED THEN INSERT (id, c) VALUES (u.id, 'z')"
    )
    assert merge_counts(pair, text) == (1, 0, 1)
    assert pair.run("SELECT * FROM {s}.t ORDER BY id") == [
        (1, "one", "q  ", 15),
        (2, "b", None, 20),
        (3, None, "z  ", None),
    ]


def test_inline_rows_can_be_the_source(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (VALUES (1, 'k'), (9, 'new')) AS s (id, v) ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED BY TARGET THEN INSERT (id, v) VALUES (s.id, s.v)"
    )
    assert merge_counts(pair, text) == (1, 0, 1)
    assert pair.run("SELECT id, v FROM {s}.t ORDER BY id") == [(1, "k"), (2, "b"), (9, "new")]


def test_the_table_itself_can_be_the_source(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (SELECT id + 1 AS id, n FROM {s}.t) AS s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)"
    )
    assert merge_counts(pair, text) == (1, 0, 1)
    assert pair.run("SELECT id, n FROM {s}.t ORDER BY id") == [(1, 10), (2, 10), (3, 20)]


def test_the_first_clause_that_applies_is_the_only_one(pair: Client) -> None:
    pair.run("INSERT INTO {s}.t VALUES (4, 'd', NULL, NULL), (5, 'e', NULL, 50)")
    text = (
        "MERGE INTO {s}.t AS t USING (SELECT id, n FROM (VALUES (1, 1), (2, 2), (4, 4), (5, 5), (6, 6), (7, 7)) "
        "AS x (id, n)) AS s ON t.id = s.id "
        "WHEN MATCHED AND t.n > 40 THEN DELETE "
        "WHEN MATCHED AND t.n > 15 THEN UPDATE SET n = -1 "
        "WHEN MATCHED AND t.n > 0 THEN UPDATE SET n = -2, id = t.id + 100 "
        "WHEN NOT MATCHED AND s.id = 6 THEN INSERT (id, n) VALUES (s.id, -3) "
        "WHEN NOT MATCHED THEN INSERT (id, v, n) VALUES (s.id, 'w', -4)"
    )
    assert merge_counts(pair, text) == (2, 1, 2)
    assert pair.run("SELECT id, v, n FROM {s}.t ORDER BY id") == [
        (2, "b", -1),
        (4, "d", None),
        (6, None, -3),
        (7, "w", -4),
        (101, "a", -2),
    ]


@pytest.mark.parametrize(
    ("clauses", "found"),
    [
        ("WHEN MATCHED THEN DELETE", (0, 1, 0)),
        ("WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", (0, 1, 1)),
        ("WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", (0, 0, 1)),
        ("WHEN MATCHED AND s.n = 2 THEN UPDATE SET n = s.n", (1, 0, 0)),
        ("WHEN MATCHED AND s.n > 0 THEN DELETE", None),
        ("WHEN MATCHED THEN UPDATE SET n = 0", None),
        ("WHEN MATCHED AND s.n = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET n = 0", None),
    ],
    ids=["delete all", "delete and insert", "insert", "one is meant", "some deletes", "updates", "a mixture"],
)
def test_several_source_rows_for_one_row(pair: Client, clauses: str, found: tuple[int, ...] | None) -> None:
    text = f"MERGE INTO {{s}}.t AS t USING (VALUES (1, 1), (1, 2), (8, 1)) AS s (id, n) ON t.id = s.id {clauses}"
    if found is not None:
        assert merge_counts(pair, text) == found
        return
    assert pair.fails(text) == AMBIGUOUS
    assert pair.run("SELECT id, n FROM {s}.t ORDER BY id") == [(1, 10), (2, 20)]


def test_one_source_row_may_change_many_rows(pair: Client) -> None:
    text = "MERGE INTO {s}.t AS t USING (SELECT 5 AS n) AS s ON t.n > s.n WHEN MATCHED THEN UPDATE SET n = s.n"
    assert merge_counts(pair, text) == (2, 0, 0)


def test_equal_source_rows_are_inserted_each(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (VALUES (8), (8)) AS s (id) ON t.id = s.id "
        "WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    assert merge_counts(pair, text) == (0, 0, 2)


def test_constraints_hold_for_the_rows_that_are_written(pair: Client) -> None:
    pair.run("ALTER TABLE {s}.t ADD CONSTRAINT positive CHECK (n > 0)")
    text = (
        "MERGE INTO {s}.t AS t USING (SELECT CAST(:id AS INT) AS id, :v AS v, CAST(:n AS INT) AS n) AS s "
        "ON t.id = s.id WHEN MATCHED AND s.n <> -5 THEN UPDATE SET v = s.v, n = s.n "
        "WHEN NOT MATCHED AND s.n <> -5 THEN INSERT (id, v, n) VALUES (s.id, s.v, s.n)"
    )
    before = pair.run("SELECT * FROM {s}.t ORDER BY id")
    broken = ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001")
    for key in ("1", "7"):
        assert pair.fails(text, {"id": key, "v": "x", "n": "-1"}) == broken
        assert pair.fails(text, {"id": key, "v": "long", "n": "1"}) == ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")
        # Neither clause applies, so that nothing is checked.
        assert merge_counts(pair, text, {"id": key, "v": "long", "n": "-5"}) == (0, 0, 0)
    assert pair.run("SELECT * FROM {s}.t ORDER BY id") == before
    missing = "MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN NOT MATCHED THEN INSERT (n) VALUES (u.id)"
    assert pair.fails(missing) == ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")


def test_values_of_a_clause_are_worked_out_for_its_rows_only(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (VALUES (1, '5'), (2, 'x'), (8, '5'), (9, 'y')) AS s (id, w) ON t.id = s.id "
        "WHEN MATCHED AND s.id = 1 THEN UPDATE SET n = CAST(s.w AS INT) "
        "WHEN NOT MATCHED AND s.id = 8 THEN INSERT (id, n) VALUES (s.id, CAST(s.w AS INT))"
    )
    assert merge_counts(pair, text) == (1, 0, 1)
    assert pair.run("SELECT id, n FROM {s}.t ORDER BY id") == [(1, 5), (2, 20), (8, 5)]


MATCHED = "MERGE INTO {s}.t AS t USING {s}.u AS s ON t.id = s.id "


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (MATCHED + "WHEN MATCHED THEN UPDATE SET nope = 1", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET s.n = 1", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT (x) VALUES (1)", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT (id) VALUES (t.id)", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        (MATCHED + "WHEN NOT MATCHED AND t.n = 1 THEN INSERT (id) VALUES (1)", ("UNRESOLVED_COLUMN", "42703")),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET n = id", ("AMBIGUOUS_REFERENCE", "42704")),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET n = 1, N = 2", ("DELTA_CONFLICT_SET_COLUMN", "42701")),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT (id, ID) VALUES (1, 2)", ("DELTA_DUPLICATE_COLUMNS", "42701")),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT (id, n) VALUES (1)", ("PARSE_SYNTAX_ERROR", "42601")),
        (MATCHED + "WHEN NOT MATCHED THEN DELETE", ("PARSE_SYNTAX_ERROR", "42601")),
        (MATCHED + "WHEN MATCHED THEN INSERT (id) VALUES (1)", ("PARSE_SYNTAX_ERROR", "42601")),
        (MATCHED, ("PARSE_SYNTAX_ERROR", "42601")),
        (MATCHED + "WHEN MATCHED THEN DELETE WHEN MATCHED THEN DELETE", ("NON_LAST_MATCHED_CLAUSE_OMIT", "42613")),
        (
            MATCHED + "WHEN NOT MATCHED THEN INSERT (id) VALUES (1) WHEN NOT MATCHED THEN INSERT (id) VALUES (2)",
            ("NON_LAST_NOT_MATCHED_BY_TARGET_CLAUSE_OMIT", "42613"),
        ),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET n = (SELECT max(n) FROM {s}.u)", ("DELTA_UNSUPPORTED_SUBQ", "0AKDD")),
        (MATCHED + "AND EXISTS (SELECT 1) WHEN MATCHED THEN DELETE", ("DELTA_UNSUPPORTED_SUBQUERY", "0AKDD")),
        (MATCHED + "AND s.n WHEN MATCHED THEN DELETE", ("DATATYPE_MISMATCH", "42K09")),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET n = array(1)", ("INCOMPATIBLE_DATA_FOR_TABLE", "KD000")),
        ("MERGE INTO {s}.z USING {s}.u ON true WHEN MATCHED THEN DELETE", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("MERGE INTO {s}.t USING {s}.z ON true WHEN MATCHED THEN DELETE", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
    ],
)
def test_errors_have_databricks_classes(pair: Client, text: str, error: tuple[str, str]) -> None:
    error_class, sqlstate = pair.fails(text)
    assert (error_class.startswith(error[0]), sqlstate) == (True, error[1]), error_class


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MATCHED + "WHEN NOT MATCHED BY SOURCE THEN DELETE", "NOT MATCHED BY SOURCE"),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET *", "UPDATE SET *"),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT *", "INSERT without"),
        (MATCHED + "WHEN NOT MATCHED THEN INSERT VALUES (1, 'a', 'b', 2)", "INSERT without"),
        (MATCHED + "WHEN MATCHED THEN UPDATE SET n = 1 WHERE n = 2", "WHERE"),
        ("MERGE INTO {s}.t AS t USING {s}.u USING (id) WHEN MATCHED THEN DELETE", "USING"),
        ("MERGE INTO {s}.t AS t (a, b) USING {s}.u ON true WHEN MATCHED THEN DELETE", "COLUMNS"),
        ("WITH q AS (SELECT 1) " + MATCHED + "WHEN MATCHED THEN DELETE", "WITH"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(pair: Client, text: str, named: str) -> None:
    error_class, message, _ = pair.error(text)
    assert error_class == "UNSUPPORTED_LOCAL"
    assert named in message


_TARGETS = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(-2, 2)), max_size=8)
_SOURCES = st.lists(
    st.tuples(st.sampled_from("UDI"), st.none() | st.integers(0, 5), st.none() | st.integers(-2, 2)), max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(targets=_TARGETS, sources=_SOURCES)
def test_a_merge_is_what_its_clauses_say_row_by_row(
    client: Client,
    targets: list[tuple[int, int | None]],
    sources: list[tuple[str, int | None, int | None]],
) -> None:
    """Against a model of the statement in Python: the first clause that is true, NULL conditions are not."""
    client.run("CREATE TABLE IF NOT EXISTS {s}.law (id INT, v INT)")
    client.run("DELETE FROM {s}.law")
    if targets:
        client.run("INSERT INTO {s}.law VALUES " + ", ".join(f"({key}, {_sql(value)})" for key, value in targets))

    after: list[tuple[int | None, int | None]] = []
    updated = deleted = 0
    ambiguous = False
    for key, value in targets:
        verdicts = [
            ("D", None) if op == "D" else ("U", new)
            for op, wanted, new in sources
            if op != "I" and wanted == key and (op == "D" or (value is not None and value >= 0))
        ]
        ambiguous = ambiguous or len(verdicts) > 1
        updated += verdicts[:1] != [] and verdicts[0][0] == "U"
        deleted += verdicts[:1] != [] and verdicts[0][0] == "D"
        if not verdicts:
            after.append((key, value))
        elif verdicts[0][0] == "U":
            after.append((key, verdicts[0][1]))
    keys = {key for key, _ in targets}
    new = [(key, value) for op, key, value in sources if op == "I" or (op == "U" and key not in keys and value == 2)]
    after += new

    text = (
        "MERGE INTO {s}.law AS t "
        "USING (SELECT r[0] AS op, CAST(r[1] AS INT) AS k, CAST(r[2] AS INT) AS v "
        f"FROM (SELECT explode(from_json(:rows, 'ARRAY<ARRAY<STRING>>', {FAILFAST})) AS r)) AS s "
        "ON s.op <> 'I' AND t.id = s.k "
        "WHEN MATCHED AND s.op = 'D' THEN DELETE "
        "WHEN MATCHED AND t.v >= 0 THEN UPDATE SET v = s.v "
        "WHEN NOT MATCHED AND s.op = 'I' THEN INSERT (id, v) VALUES (s.k, s.v) "
        "WHEN NOT MATCHED AND s.op = 'U' AND s.v = 2 THEN INSERT (v, id) VALUES (s.v, s.k)"
    )
    values = {"rows": json.dumps([[None if part is None else str(part) for part in row] for row in sources])}
    if ambiguous:
        assert client.fails(text, values) == AMBIGUOUS
        after = list(targets)
    else:
        assert merge_counts(client, text, values) == (updated, deleted, len(new))
    assert sorted(client.run("SELECT id, v FROM {s}.law"), key=repr) == sorted(after, key=repr)


def _sql(value: int | None) -> str:
    return "NULL" if value is None else str(value)
