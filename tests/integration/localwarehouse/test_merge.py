"""The MERGE that carries a batch: what it changes, its guards, its failures, keys of every type."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import AMBIGUOUS, FAILFAST, LATER, STAMP, Client, merge_counts

AUDIT = (
    "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, deleted_at TIMESTAMP, "
    "_job_id STRING"
)
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
        assert merge_counts(client, self.text, parameters(*rows)) == (2, 1, 2)
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
        assert merge_counts(client, self.text, parameters(*rows)) == (2, 0, 0)
        assert client.run("SELECT id, amount, tags FROM {s}.t ORDER BY id") == [
            (1, Decimal("1.00"), None),
            (2, None, None),
            (3, Decimal("3.00"), None),
        ]

    def test_rows_that_no_clause_takes_are_left_alone(self, client: Client) -> None:
        client.run("UPDATE {s}.t SET deleted_at = CAST('2020-01-01' AS TIMESTAMP) WHERE id = 1")
        rows = [source_row("U", 1, None, "9", None, mask="010"), source_row("D", 99, None, None, None)]
        before = client.run("SELECT * FROM {s}.t ORDER BY id")
        assert merge_counts(client, self.text, parameters(*rows)) == (0, 0, 0)
        assert client.run("SELECT * FROM {s}.t ORDER BY id") == before

    def test_does_nothing_where_its_stamp_is(self, client: Client) -> None:
        rows = [source_row("U", 1, None, "9", None, mask="010"), source_row("I", None, "8", None, None)]
        assert merge_counts(client, self.text, parameters(*rows)) == (1, 0, 1)
        assert merge_counts(client, self.text, parameters(*rows)) == (0, 0, 0)
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
        assert merge_counts(client, self.text, parameters(*inserts)) == (0, 0, 10_000)
        changes = [
            source_row("D" if number % 2 else "U", number, None, "0.5", None, mask="010")
            for number in range(10, 10_010)
        ]
        assert merge_counts(client, self.text, parameters(*changes, stamp="2024-05-06T00:00:00Z")) == (5_000, 5_000, 0)
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
    assert merge_counts(client, text, parameters(*rows)) == (0, 0, 2)
    change = [source_row("U", value, None, "5", mask="01"), source_row("U", None, None, "6", mask="01")]
    assert merge_counts(client, text, parameters(*change)) == (1, 0, 0)
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
