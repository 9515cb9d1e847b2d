"""MERGE: which clause a row gets, what is stored and counted, what fails and leaves the table as it was."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import LATER, STAMP, Client

AUDIT = (
    "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, deleted_at TIMESTAMP, "
    "_job_id STRING"
)
FAILFAST = "map('mode', 'FAILFAST')"
AMBIGUOUS = ("DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506")
USER = "local@localhost"


def merge_text(key: str, columns: Sequence[tuple[str, str]], *, guarded: bool = False) -> str:
    """The product's MERGE: `key` is an expression over r[6], `columns` are names and expressions over r[7], …"""
    stamp = "CAST(:stamp AS TIMESTAMP)"
    head = ("op", "mask", "job", "created_by", "updated_by", "soft")
    source = [f"r[{place}] AS {name}" for place, name in enumerate(head)] + [f"{key} AS k0"]
    source += [f"{expression} AS c{place}" for place, (_, expression) in enumerate(columns)]
    guard = f" AND NOT EXISTS (SELECT 1 FROM {{s}}.t WHERE `updated_at` = {stamp})" if guarded else ""
    updates = [
        f"`{name}` = CASE WHEN substr(s.mask, {place + 1}, 1) = '1' THEN s.c{place} ELSE t.`{name}` END"
        for place, (name, _) in enumerate(columns)
    ]
    names = ", ".join(f"`{name}`" for name, _ in columns)
    return (
        f"MERGE INTO {{s}}.t AS t\n"
        f"USING (SELECT {', '.join(source)}\n"
        f"       FROM (SELECT explode(from_json(:rows, 'ARRAY<ARRAY<STRING>>', {FAILFAST})) AS r)\n"
        f"       WHERE assert_true(size(r) = {7 + len(columns)}, 'row width') IS NULL\n"
        f"         AND assert_true(current_timestamp() < CAST(:start_by AS TIMESTAMP), 'expired') IS NULL{guard}\n"
        f"      ) AS s\n"
        f"ON s.op <> 'I' AND t.`id` = s.k0\n"
        f"WHEN MATCHED AND s.op = 'D' THEN DELETE\n"
        f"WHEN MATCHED AND t.`deleted_at` IS NULL THEN UPDATE SET {', '.join(updates)}, `updated_at` = {stamp}, "
        f"`updated_by` = coalesce(s.updated_by, current_user()), "
        f"`deleted_at` = CASE WHEN s.soft = '1' THEN {stamp} ELSE t.`deleted_at` END\n"
        f"WHEN NOT MATCHED AND s.op = 'I' THEN INSERT "
        f"({names}, `created_at`, `created_by`, `updated_at`, `updated_by`, `deleted_at`, `_job_id`) VALUES "
        f"({', '.join(f's.c{place}' for place in range(len(columns)))}, {stamp}, "
        f"coalesce(s.created_by, current_user()), {stamp}, coalesce(s.updated_by, current_user()), "
        f"CASE WHEN s.soft = '1' THEN {stamp} END, s.job)"
    )


def source_row(
    op: str, key: Any, *values: str | None, mask: str = "", soft: str = "0", by: str | None = None
) -> list[str | None]:
    return [op, mask or "1" * len(values), f"job-{op}", by, by, soft, None if key is None else str(key), *values]


def parameters(*rows: list[str | None], stamp: str = STAMP, start_by: str = LATER) -> dict[str, str]:
    return {"rows": json.dumps(rows), "stamp": stamp, "start_by": start_by}


def counts(client: Client, text: str, values: Any = None) -> tuple[int, ...]:
    """Updated, deleted and inserted rows, checked against their sum and the cursor's rowcount."""
    with client.connection.cursor() as cursor:
        cursor.execute(text.replace("{s}", client.schema), values)
        assert [column[0] for column in cursor.description] == [
            *("num_affected_rows", "num_updated_rows", "num_deleted_rows", "num_inserted_rows")
        ]
        ((affected, *others),) = (tuple(row) for row in cursor.fetchall())
        assert cursor.rowcount == affected == sum(others)
        return tuple(others)


class TestProductMerge:
    """The MERGE that carries a batch of updates, deletes and upserts."""

    text = merge_text(
        "CAST(r[6] AS BIGINT)",
        [
            ("id", "CAST(r[7] AS BIGINT)"),
            ("amount", "CAST(r[8] AS DECIMAL(10,2))"),
            ("tags", f"transform(from_json(r[9], 'ARRAY<STRING>', {FAILFAST}), e -> CAST(e AS INT))"),
        ],
        guarded=True,
    )

    @pytest.fixture(autouse=True)
    def _table(self, client: Client) -> None:
        client.run(f"CREATE TABLE {{s}}.t (id BIGINT NOT NULL, amount DECIMAL(10,2), tags ARRAY<INT>, {AUDIT})")
        client.run("INSERT INTO {s}.t (id, amount, tags) VALUES (1, 1, array(1)), (2, 2, NULL), (3, 3, NULL)")

    def test_updates_deletes_and_inserts_at_once(self, client: Client) -> None:
        stamp = dt.datetime(2024, 5, 5, 1, 2, 3, 4, dt.UTC)
        rows = [
            source_row("U", 1, None, "9.5", '["7",null]', mask="011", by="ann"),
            source_row("D", 2, None, None, None),
            source_row("U", 3, None, None, None, mask="000", soft="1"),
            source_row("I", None, "4", None, "[]", by="bob"),
            source_row("I", None, "5", "5", None, soft="1"),
            source_row("U", 77, None, "1", None),
        ]
        assert counts(client, self.text, parameters(*rows)) == (2, 1, 2)
        assert client.run("SELECT * FROM {s}.t ORDER BY id") == [
            (1, Decimal("9.50"), [7, None], None, None, stamp, "ann", None, None),
            (3, Decimal("3.00"), None, None, None, stamp, USER, stamp, None),
            (4, None, [], stamp, "bob", stamp, "bob", None, "job-I"),
            (5, Decimal("5.00"), None, stamp, USER, stamp, USER, stamp, "job-I"),
        ]

    def test_a_mask_sets_a_column_to_null_or_leaves_it(self, client: Client) -> None:
        rows = [
            source_row("U", 1, None, None, None, mask="001"),
            source_row("U", 2, None, None, None, mask="010"),
        ]
        assert counts(client, self.text, parameters(*rows)) == (2, 0, 0)
        assert client.run("SELECT id, amount, tags FROM {s}.t ORDER BY id") == [
            (1, Decimal("1.00"), None),
            (2, None, None),
            (3, Decimal("3.00"), None),
        ]

    def test_rows_that_no_clause_takes_are_left_alone(self, client: Client) -> None:
        client.run("UPDATE {s}.t SET deleted_at = CAST('2020-01-01' AS TIMESTAMP) WHERE id = 1")
        rows = [source_row("U", 1, None, "9", None, mask="010"), source_row("D", 99, None, None, None)]
        before = client.run("SELECT * FROM {s}.t ORDER BY id")
        assert counts(client, self.text, parameters(*rows)) == (0, 0, 0)
        assert client.run("SELECT * FROM {s}.t ORDER BY id") == before

    def test_does_nothing_where_its_stamp_is(self, client: Client) -> None:
        rows = [source_row("U", 1, None, "9", None, mask="010"), source_row("I", None, "8", None, None)]
        assert counts(client, self.text, parameters(*rows)) == (1, 0, 1)
        assert counts(client, self.text, parameters(*rows)) == (0, 0, 0)
        assert client.value("SELECT count(*) FROM {s}.t") == 4

    @pytest.mark.parametrize("rows", [[source_row("D", 1, None, None, None)], []], ids=["rows", "empty"])
    def test_fails_when_it_starts_too_late_even_without_rows(self, client: Client, rows: list[Any]) -> None:
        error_class, message, sqlstate = client.error(self.text, parameters(*rows, start_by="2020-01-01T00:00:00Z"))
        assert (error_class, sqlstate) == ("USER_RAISED_EXCEPTION", "P0001")
        assert "expired" in message
        assert client.value("SELECT count(*) FROM {s}.t") == 3

    @pytest.mark.parametrize(
        ("broken", "error"),
        [
            (["U", "1"], ("USER_RAISED_EXCEPTION", "P0001")),
            (source_row("U", 1, None, "1.2.3", None, mask="010"), ("CAST_INVALID_INPUT", "22018")),
            (source_row("U", 1, None, "123456789", None), ("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003")),
            (source_row("U", 1, None, None, '["x"]'), ("CAST_INVALID_INPUT", "22018")),
            (source_row("U", 1, None, None, '["1"', mask="001"), ("MALFORMED_RECORD_IN_PARSING", "22023")),
            (source_row("U", 1, None, None, None, mask="100"), ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")),
            (source_row("I", None, None, None, None), ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")),
        ],
        ids=["width", "number", "range", "nested", "json", "null by update", "null by insert"],
    )
    def test_one_bad_row_among_many_changes_nothing(
        self, client: Client, broken: list[str | None], error: tuple[str, str]
    ) -> None:
        before = client.run("SELECT * FROM {s}.t ORDER BY id")
        good = [source_row("I", None, str(number), "1", None) for number in range(10, 2000)]
        rows = [source_row("D", 2, None, None, None), *good, broken, source_row("D", 3, None, None, None)]
        error_class, sqlstate = client.fails(self.text, parameters(*rows))
        assert (error_class.removesuffix(".WITHOUT_SUGGESTION"), sqlstate) == error
        assert client.run("SELECT * FROM {s}.t ORDER BY id") == before

    def test_two_changes_of_one_row_are_ambiguous(self, client: Client) -> None:
        update, delete = source_row("U", 1, None, "9", None, mask="010"), source_row("D", 1, None, None, None)
        for rows in ([update, update], [update, delete], [delete, delete]):
            assert client.fails(self.text, parameters(*rows)) == AMBIGUOUS
        assert client.value("SELECT amount FROM {s}.t WHERE id = 1") == 1

    def test_ten_thousand_rows(self, client: Client) -> None:
        """Sizes at which the engine works in several chunks."""
        inserts = [source_row("I", None, str(number), str(number), "[]") for number in range(10, 10_010)]
        assert counts(client, self.text, parameters(*inserts)) == (0, 0, 10_000)
        changes = [
            source_row("D" if number % 2 else "U", number, None, "0.5", None, mask="010")
            for number in range(10, 10_010)
        ]
        assert counts(client, self.text, parameters(*changes, stamp="2024-05-06T00:00:00Z")) == (5_000, 5_000, 0)
        assert client.run("SELECT count(*), sum(amount), count(tags), max(id) FROM {s}.t WHERE id > 9") == [
            (5_000, Decimal("2500.00"), 5_000, 10_008)
        ]

    def test_is_logged_with_its_table(self, shared: LocalWarehouse, client: Client) -> None:
        since = shared.statements()[-1]["seq"] + 1
        before = shared.counts()["MERGE"]
        client.run(self.text, parameters(source_row("D", 1, None, None, None), source_row("D", 2, None, None, None)))
        (entry,) = [entry for entry in shared.statements(since) if entry["kind"] == "MERGE"]
        assert (entry["table"], entry["rows"], entry["state"]) == (f"{client.schema}.t", 2, "FINISHED")
        assert shared.counts()["MERGE"] == before + 1

    def test_merges_of_one_table_wait_for_each_other(self, shared: LocalWarehouse, client: Client) -> None:
        failed: list[BaseException] = []

        def change(worker: int) -> None:
            try:
                with shared.connect() as connection:
                    mine = Client(connection, client.schema)
                    for turn in range(10):
                        number = str(100 + worker * 10 + turn)
                        rows = [source_row("U", 1, None, number, None, mask="010")]
                        rows.append(source_row("I", None, number, None, None))
                        mine.run(self.text, parameters(*rows, stamp=f"2024-06-01T00:00:{worker:02}.{turn:06}Z"))
            except BaseException as exc:
                failed.append(exc)

        threads = [threading.Thread(target=change, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failed == []
        assert client.run("SELECT count(*), count(DISTINCT id) FROM {s}.t") == [(43, 43)]


@pytest.mark.parametrize(
    ("data_type", "key", "value", "found"),
    [
        ("STRING", "r[6]", "käy'", "käy'"),
        ("VARCHAR(5)", "r[6]", "abc", "abc"),
        ("INT", "CAST(r[6] AS INT)", "7", 7),
        ("TINYINT", "CAST(r[6] AS TINYINT)", "-7", -7),
        ("DECIMAL(38,10)", "CAST(r[6] AS DECIMAL(38,10))", "1.5", Decimal("1.5000000000")),
        ("DOUBLE", "CAST(r[6] AS DOUBLE)", "NaN", None),
        ("FLOAT", "CAST(r[6] AS FLOAT)", "NaN", None),
        ("DOUBLE", "CAST(r[6] AS DOUBLE)", "-Infinity", float("-inf")),
        ("BOOLEAN", "CAST(r[6] AS BOOLEAN)", "false", False),
        ("DATE", "CAST(r[6] AS DATE)", "0001-01-01", dt.date(1, 1, 1)),
        (
            "TIMESTAMP",
            "CAST(r[6] AS TIMESTAMP)",
            "2024-01-01T01:00:00.000001+01:00",
            dt.datetime(2024, 1, 1, 0, 0, 0, 1, dt.UTC),
        ),
        ("BINARY", "to_binary(r[6], 'base64')", "AP8=", b"\x00\xff"),
    ],
)
def test_keys_of_every_scalar_type_match(client: Client, data_type: str, key: str, value: str, found: Any) -> None:
    client.run(f"CREATE TABLE {{s}}.t (id {data_type}, n INT, {AUDIT})")
    text = merge_text(key, [("id", key.replace("r[6]", "r[7]")), ("n", "CAST(r[8] AS INT)")])
    rows = [source_row("I", None, value, "1"), source_row("I", None, None, "2")]
    assert counts(client, text, parameters(*rows)) == (0, 0, 2)
    change = [source_row("U", value, None, "5", mask="01"), source_row("U", None, None, "6", mask="01")]
    assert counts(client, text, parameters(*change)) == (1, 0, 0)
    assert client.run("SELECT n FROM {s}.t ORDER BY n") == [(2,), (5,)]
    if found is not None:
        assert client.value("SELECT id FROM {s}.t WHERE n = 5") == found
    counted = client.run(
        "SELECT k.i AS i, count(*) AS live, count_if(false) AS deleted "
        f"FROM (SELECT posexplode(from_json(:keys, 'ARRAY<ARRAY<STRING>>', {FAILFAST})) AS (i, r)) AS k "
        f"JOIN {{s}}.t AS t ON t.`id` = {key.replace('r[6]', 'k.r[0]')} GROUP BY k.i",
        {"keys": json.dumps([[None], [value]])},
    )
    assert counted == [(1, 1, 0)]


def test_zero_matches_its_negative(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (x DOUBLE, n INT)")
    client.run("INSERT INTO {s}.t VALUES (CAST('-0.0' AS DOUBLE), 1)")
    text = "MERGE INTO {s}.t AS t USING (SELECT 0D AS x) AS s ON t.x = s.x WHEN MATCHED THEN UPDATE SET n = 2"
    assert counts(client, text) == (1, 0, 0)


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
    assert counts(pair, text) == (1, 0, 1)
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
    assert counts(pair, text) == (1, 0, 1)
    assert pair.run("SELECT id, v FROM {s}.t ORDER BY id") == [(1, "k"), (2, "b"), (9, "new")]


def test_the_table_itself_can_be_the_source(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (SELECT id + 1 AS id, n FROM {s}.t) AS s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)"
    )
    assert counts(pair, text) == (1, 0, 1)
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
    assert counts(pair, text) == (2, 1, 2)
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
        assert counts(pair, text) == found
        return
    assert pair.fails(text) == AMBIGUOUS
    assert pair.run("SELECT id, n FROM {s}.t ORDER BY id") == [(1, 10), (2, 20)]


def test_one_source_row_may_change_many_rows(pair: Client) -> None:
    text = "MERGE INTO {s}.t AS t USING (SELECT 5 AS n) AS s ON t.n > s.n WHEN MATCHED THEN UPDATE SET n = s.n"
    assert counts(pair, text) == (2, 0, 0)


def test_equal_source_rows_are_inserted_each(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (VALUES (8), (8)) AS s (id) ON t.id = s.id "
        "WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    assert counts(pair, text) == (0, 0, 2)


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
        assert counts(pair, text, {"id": key, "v": "long", "n": "-5"}) == (0, 0, 0)
    assert pair.run("SELECT * FROM {s}.t ORDER BY id") == before
    missing = "MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN NOT MATCHED THEN INSERT (n) VALUES (u.id)"
    assert pair.fails(missing) == ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")


def test_values_of_a_clause_are_worked_out_for_its_rows_only(pair: Client) -> None:
    text = (
        "MERGE INTO {s}.t AS t USING (VALUES (1, '5'), (2, 'x'), (8, '5'), (9, 'y')) AS s (id, w) ON t.id = s.id "
        "WHEN MATCHED AND s.id = 1 THEN UPDATE SET n = CAST(s.w AS INT) "
        "WHEN NOT MATCHED AND s.id = 8 THEN INSERT (id, n) VALUES (s.id, CAST(s.w AS INT))"
    )
    assert counts(pair, text) == (1, 0, 1)
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
        assert counts(client, text, values) == (updated, deleted, len(new))
    assert sorted(client.run("SELECT id, v FROM {s}.law"), key=repr) == sorted(after, key=repr)


def _sql(value: int | None) -> str:
    return "NULL" if value is None else str(value)
