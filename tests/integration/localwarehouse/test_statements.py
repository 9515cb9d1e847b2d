"""The statements: what each answers, what each refuses, and by which error."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from databricks.sql.parameters import native

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client, insert_text, payload

AUDIT = "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, _job_id STRING"


def test_selects_without_a_table(client: Client) -> None:
    before = dt.datetime.now(dt.UTC)
    ((user, now),) = client.run("SELECT current_user() AS user, current_timestamp() AS now")
    assert user == "local@localhost"
    assert before <= now <= dt.datetime.now(dt.UTC)


def test_describe_gives_sparks_document(client: Client) -> None:
    client.run(
        "CREATE TABLE {s}.T1 (`Id` BIGINT NOT NULL, v VARCHAR(9) COMMENT 'text', c CHAR(2), d DECIMAL(7,3), "
        "ts TIMESTAMP, n TIMESTAMP_NTZ, a ARRAY<INT>, m MAP<STRING, DOUBLE>, s STRUCT<x: DATE, y: BINARY>) "
        "USING DELTA TBLPROPERTIES ('delta.feature' = 'on', 'k' = 'v')"
    )
    document = json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t1 AS JSON"))
    assert document.pop("location").startswith("local:/")
    assert dt.datetime.fromisoformat(document.pop("created_time")).tzinfo is not None
    schema = client.schema.split(".")[1]
    assert document == {
        "table_name": "t1",
        "catalog_name": "main",
        "schema_name": schema,
        "namespace": [schema],
        "type": "MANAGED",
        "provider": "delta",
        "table_properties": {"delta.feature": "on", "k": "v"},
        "columns": [
            {"name": "Id", "type": {"name": "bigint"}, "nullable": False},
            {"name": "v", "type": {"name": "varchar", "length": 9}, "comment": "text", "nullable": True},
            {"name": "c", "type": {"name": "char", "length": 2}, "nullable": True},
            {"name": "d", "type": {"name": "decimal", "precision": 7, "scale": 3}, "nullable": True},
            {"name": "ts", "type": {"name": "timestamp_ltz"}, "nullable": True},
            {"name": "n", "type": {"name": "timestamp_ntz"}, "nullable": True},
            {
                "name": "a",
                "type": {"name": "array", "element_type": {"name": "int"}, "element_nullable": True},
                "nullable": True,
            },
            {
                "name": "m",
                "type": {
                    "name": "map",
                    "key_type": {"name": "string"},
                    "value_type": {"name": "double"},
                    "value_nullable": True,
                },
                "nullable": True,
            },
            {
                "name": "s",
                "type": {
                    "name": "struct",
                    "fields": [
                        {"name": "x", "type": {"name": "date"}, "nullable": True},
                        {"name": "y", "type": {"name": "binary"}, "nullable": True},
                    ],
                },
                "nullable": True,
            },
        ],
    }


def test_a_table_made_again_has_another_location(client: Client) -> None:
    def location() -> str:
        return str(json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))["location"])

    client.run("CREATE TABLE {s}.t (a INT)")
    first = location()
    client.run("CREATE TABLE IF NOT EXISTS {s}.t (b STRING)")
    assert location() == first
    client.run("DROP TABLE {s}.t")
    client.run("CREATE TABLE {s}.t (a INT)")
    assert location() != first


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SELECT * FROM {s}.nope", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("SELECT * FROM main.nope.t", ("SCHEMA_NOT_FOUND", "42704")),
        ("SELECT * FROM nope.nope.t", ("CATALOG_NOT_FOUND", "42P08")),
        ("DESCRIBE TABLE EXTENDED {s}.nope AS JSON", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("DESCRIBE TABLE EXTENDED main.nope.t AS JSON", ("SCHEMA_NOT_FOUND", "42704")),
        ("INSERT INTO {s}.nope VALUES (1)", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("INSERT INTO main.nope.t VALUES (1)", ("SCHEMA_NOT_FOUND", "42704")),
        ("INSERT INTO nope.nope.t VALUES (1)", ("CATALOG_NOT_FOUND", "42P08")),
        ("CREATE TABLE main.nope.t (a INT)", ("SCHEMA_NOT_FOUND", "42704")),
        ("CREATE TABLE nope.nope.t (a INT)", ("CATALOG_NOT_FOUND", "42P08")),
        ("CREATE SCHEMA nope.x", ("CATALOG_NOT_FOUND", "42P08")),
        ("DROP TABLE {s}.nope", ("TABLE_OR_VIEW_NOT_FOUND", "42P01")),
        ("SHOW TABLES IN main.nope", ("SCHEMA_NOT_FOUND", "42704")),
        ("CREATE TABLE {s}.t (a INT)", ("TABLE_OR_VIEW_ALREADY_EXISTS", "42P07")),
        ("CREATE SCHEMA {s}", ("SCHEMA_ALREADY_EXISTS", "42P06")),
        ("CREATE CATALOG main", ("CATALOG_ALREADY_EXISTS", "42P06")),
        ("DROP SCHEMA {s}", ("SCHEMA_NOT_EMPTY", "2BP01")),
        ("CREATE TABLE {s}.u (a INT, A STRING)", ("COLUMN_ALREADY_EXISTS", "42711")),
        ("CREATE TABLE {s}.u (a VARCHAR)", ("DATATYPE_MISSING_SIZE", "42K01")),
        ("CREATE TABLE {s}.u (a ARRAY)", ("INCOMPLETE_TYPE_DEFINITION", "42K01")),
        ("CREATE TABLE {s}.`a b` (a INT)", ("INVALID_PARAMETER_VALUE", "22023")),
        ("ALTER TABLE {s}.t ADD COLUMN A INT", ("COLUMN_ALREADY_EXISTS", "42711")),
        ("SELECT nope FROM {s}.t", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("SELECT a FROM {s}.t WHERE nope = 1", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("INSERT INTO {s}.t (nope) VALUES (1)", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("UPDATE {s}.t SET nope = 1", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("UPDATE {s}.t SET u.a = 1", ("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703")),
        ("SELECT DISTINCT a FROM {s}.t ORDER BY b", ("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703")),
        ("INSERT INTO {s}.t (a, b) VALUES (1)", ("INSERT_COLUMN_ARITY_MISMATCH.NOT_ENOUGH_DATA_COLUMNS", "21S01")),
        ("INSERT INTO {s}.t (a) VALUES (1, 2)", ("INSERT_COLUMN_ARITY_MISMATCH.TOO_MANY_DATA_COLUMNS", "21S01")),
        ("INSERT INTO {s}.t (a) VALUES (array(1))", ("INCOMPATIBLE_DATA_FOR_TABLE.CANNOT_SAFELY_CAST", "KD000")),
        ("INSERT INTO {s}.t (a) VALUES (3000000000)", ("CAST_OVERFLOW_IN_TABLE_INSERT", "22003")),
        ("SELECT a FROM {s}.t LIMIT -1", ("INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", "42K0E")),
        ("SELECT a, count(*) FROM {s}.t", ("MISSING_AGGREGATION", "42803")),
        ("SELECT :nope", ("UNBOUND_SQL_PARAMETER", "42P02")),
        ("SELEC 1", ("PARSE_SYNTAX_ERROR", "42601")),
        ("SELECT (1", ("PARSE_SYNTAX_ERROR", "42601")),
        ("", ("PARSE_SYNTAX_ERROR", "42601")),
    ],
)
def test_errors_have_databricks_classes(client: Client, text: str, error: tuple[str, str]) -> None:
    client.run("CREATE TABLE {s}.t (a INT, b STRING)")
    assert client.fails(text) == error


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("SELECT 1; DROP TABLE {s}.t", "several statements"),
        ("SELECT * FROM {s}.t AS x LEFT JOIN {s}.t AS y ON x.a = y.a", "LEFT JOIN"),
        ("SELECT * FROM {s}.t AS x CROSS JOIN {s}.t AS y", "CROSS JOIN"),
        ("SELECT * FROM {s}.t AS x JOIN {s}.t AS y USING (a)", "USING"),
        ("SELECT * FROM {s}.t AS x NATURAL JOIN {s}.t AS y", "NATURAL"),
        ("SELECT * FROM {s}.t AS x, {s}.t AS y", "only JOIN"),
        ("SELECT x.b FROM {s}.t AS x (b, c)", "COLUMNS in TABLEALIAS"),
        ("SELECT substr(b, 0, 1) FROM {s}.t", "substr"),
        ("SELECT substr(b, a) FROM {s}.t", "substr"),
        ("SELECT posexplode(array(1)) AS (i, x) ORDER BY i", "ORDER"),
        ("SELECT posexplode(map('a', 1))", "only arrays"),
        ("SELECT a FROM {s}.t UNION SELECT 1", "UNION"),
        ("WITH q AS (SELECT 1) SELECT * FROM q", "WITH"),
        ("SELECT row_number() OVER (ORDER BY a) FROM {s}.t", "row_number"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT read_text('/etc/passwd')", "read_text"),
        ("SELECT * FROM read_csv('/etc/passwd')", "READ_CSV"),
        ("SELECT a FROM {s}.t VERSION AS OF 1", "VERSION"),
        ("SELECT a FROM {s}.t TABLESAMPLE (5 ROWS)", "SAMPLE"),
        ("SELECT ?", "positional parameters"),
        ("SELECT TRY_CAST('x' AS INT)", "TRY_CAST"),
        ("SELECT 1 / 2", "1 / 2"),
        ("SELECT array()", "ARRAY<VOID>"),
        ("SELECT element_at(array(1), -1)", "negative index"),
        ("SELECT " + "(" * 2000 + "1" + ")" * 2000, "nested this deeply"),
        ("SELECT " + "CAST(CAST(" * 14 + "'1'" + " AS INT) AS STRING)" * 14, "nested this deeply"),
        ("DROP TABLE {s}.t, {s}.u", "several"),
        ("SELECT from_json('[]', 'ARRAY<STRING>')", "FAILFAST"),
        ("SELECT from_json('[]', 'ARRAY<INT>', map('mode', 'FAILFAST'))", "INT"),
        ("INSERT OVERWRITE {s}.t SELECT 1, '2'", "OVERWRITE"),
        ("INSERT INTO {s}.t BY NAME SELECT 1 AS a", "BY NAME"),
        ("CREATE OR REPLACE TABLE {s}.t (a INT)", "REPLACE"),
        ("CREATE TABLE {s}.u AS SELECT 1", "CREATE TABLE"),
        ("CREATE TABLE {s}.u (a INT DEFAULT 1)", "DEFAULT"),
        ("CREATE TABLE {s}.u (a INT) PARTITIONED BY (a)", "PARTITIONED BY"),
        ("CREATE TABLE {s}.u (a VARIANT)", "VARIANT"),
        ("CREATE TABLE {s}.u (a STRUCT<b: INT NOT NULL>)", "NOT NULL inside a STRUCT"),
        ("CREATE VIEW {s}.v AS SELECT 1", "VIEW"),
        ("ALTER TABLE {s}.t DROP COLUMN a", "DROP COLUMN"),
        ("TRUNCATE TABLE {s}.t", "TRUNCATE"),
        ("DESCRIBE TABLE {s}.t", "DESCRIBE"),
        ("USE main", "USE"),
        ("SET x = 1", "SET"),
        ("OPTIMIZE {s}.t", "OPTIMIZE"),
        ("PRAGMA database_list", "PRAGMA"),
        ("COPY INTO {s}.t FROM '/tmp/x'", "COPY"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(client: Client, text: str, named: str) -> None:
    client.run("CREATE TABLE {s}.t (a INT, b STRING)")
    error_class, message, sqlstate = client.error(text)
    assert (error_class, sqlstate) == ("UNSUPPORTED_LOCAL", "0A000")
    assert named in message


def test_a_long_filter_is_no_deep_one(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    client.run("INSERT INTO {s}.t VALUES (5)")
    others = " AND ".join(f"a <> {number + 10}" for number in range(1000))
    assert client.run(f"SELECT a FROM {{s}}.t WHERE {others}") == [(5,)]
    assert client.run("SELECT a FROM {s}.t WHERE " + " OR ".join(f"a = {number}" for number in range(1000))) == [(5,)]


def test_engine_tables_cannot_be_named(client: Client) -> None:
    for name in ("names.tables", "lake.t_1", "information_schema.tables", "duckdb_tables", "sqlite_master"):
        assert client.fails(f"SELECT * FROM {name}")[0] in ("SCHEMA_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND")
    assert client.fails("SELECT * FROM '/etc/passwd'")[0] == "TABLE_OR_VIEW_NOT_FOUND"


def test_names_ignore_case_and_may_be_what_the_engine_reserves(client: Client) -> None:
    client.run("CREATE CATALOG IF NOT EXISTS `System`")
    client.run("CREATE SCHEMA IF NOT EXISTS SYSTEM.`Main`")
    client.run("CREATE TABLE IF NOT EXISTS System.Main.`Select` (`rowid` INT, `C0` INT, `from` STRING, `größe` INT)")
    client.run("INSERT INTO `system`.`main`.`SELECT` (ROWID, c0, `FROM`) VALUES (1, 2, 'x')")
    assert client.run("SELECT RowId, C0, `from`, `Größe` FROM system.main.`select`") == [(1, 2, "x", None)]
    assert client.run("SHOW TABLES IN system.main") == [("main", "select", False)]
    client.run("DROP CATALOG system CASCADE")
    assert client.fails("SELECT * FROM system.main.`select`")[0] == "CATALOG_NOT_FOUND"


def test_inserts_of_literals_and_parameters(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT, b STRING, c DECIMAL(5,2))")
    client.run("INSERT INTO {s}.t VALUES (1, 'x', 1.5), (2, NULL, NULL)")
    client.run("INSERT INTO {s}.t (b, A) VALUES (:b, :a)", {"a": 3, "b": "it's"})
    client.run("INSERT INTO {s}.t SELECT 4, 'y', 2")
    client.run("INSERT INTO {s}.t (a, b) SELECT a + 10, b FROM {s}.t WHERE a = 1")
    assert client.run("SELECT * FROM {s}.t ORDER BY a") == [
        (1, "x", Decimal("1.50")),
        (2, None, None),
        (3, "it's", None),
        (4, "y", Decimal("2.00")),
        (11, "x", None),
    ]


def test_constraints_hold(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (id BIGINT NOT NULL, v INT, name VARCHAR(3))")
    not_null = ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")
    assert client.fails("INSERT INTO {s}.t VALUES (NULL, 1, 'a')") == not_null
    assert client.fails("INSERT INTO {s}.t (v) VALUES (1)") == not_null
    client.run("INSERT INTO {s}.t VALUES (1, 1, 'a')")
    assert client.fails("UPDATE {s}.t SET id = NULL") == not_null
    assert client.fails("UPDATE {s}.t SET name = 'abcd'") == ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")
    assert client.fails("ALTER TABLE {s}.t ADD CONSTRAINT big CHECK (v > 1)")[1] == "23512"
    client.run("ALTER TABLE {s}.t ADD CONSTRAINT positive CHECK (v > 0)")
    broken = ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001")
    assert client.fails("INSERT INTO {s}.t VALUES (2, 0, 'b')") == broken
    assert client.fails("INSERT INTO {s}.t VALUES (2, NULL, 'b')") == broken
    assert client.fails("UPDATE {s}.t SET v = -1") == broken
    assert client.run("SELECT * FROM {s}.t") == [(1, 1, "a")]
    properties = json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))["table_properties"]
    assert properties == {"delta.constraints.positive": "v > 0"}


def test_columns_can_be_added(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    client.run("INSERT INTO {s}.t VALUES (1)")
    client.run("ALTER TABLE {s}.t ADD COLUMNS (b STRING, c ARRAY<INT>)")
    client.run("ALTER TABLE {s}.t ADD COLUMN d CHAR(2)")
    client.run("INSERT INTO {s}.t VALUES (2, 'x', array(1), 'y')")
    assert client.run("SELECT * FROM {s}.t ORDER BY a") == [(1, None, None, None), (2, "x", [1], "y ")]


def test_added_columns_are_described_and_written(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT NOT NULL)")
    update, merge = (
        "UPDATE {s}.t SET a = a + 1",
        "MERGE INTO {s}.t AS t USING (SELECT 9 AS a) AS s ON t.a = s.a WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)",
    )
    client.run(update)
    client.run(merge)
    location = json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))["location"]
    client.run("ALTER TABLE {s}.t ADD COLUMNS (`B` DECIMAL(5,1) COMMENT 'new', c MAP<STRING, INT>)")
    client.run("ALTER TABLE {s}.t ADD COLUMNS d TIMESTAMP, e VARCHAR(3)")
    described = json.loads(client.value("DESCRIBE TABLE EXTENDED {s}.t AS JSON"))
    assert described["location"] == location
    assert described["columns"] == [
        {"name": "a", "type": {"name": "int"}, "nullable": False},
        {"name": "B", "type": {"name": "decimal", "precision": 5, "scale": 1}, "comment": "new", "nullable": True},
        {
            "name": "c",
            "type": {
                "name": "map",
                "key_type": {"name": "string"},
                "value_type": {"name": "int"},
                "value_nullable": True,
            },
            "nullable": True,
        },
        {"name": "d", "type": {"name": "timestamp_ltz"}, "nullable": True},
        {"name": "e", "type": {"name": "varchar", "length": 3}, "nullable": True},
    ]
    # The texts from before, and texts that name what is new.
    client.run(update)
    client.run(merge)
    client.run("UPDATE {s}.t SET b = 1.25, e = 'abc' WHERE a = 10")
    assert client.run("SELECT a, b, d, e FROM {s}.t ORDER BY a") == [
        (9, None, None, None),
        (10, Decimal("1.3"), None, "abc"),
    ]
    assert client.fails("UPDATE {s}.t SET e = 'abcd'") == ("DELTA_EXCEED_CHAR_VARCHAR_LIMIT", "22001")
    assert client.fails("ALTER TABLE {s}.t ADD COLUMNS (A INT)") == ("COLUMN_ALREADY_EXISTS", "42711")
    assert client.fails("ALTER TABLE {s}.t ADD COLUMNS (f INT NOT NULL)")[1] == "42KDE"
    assert client.fails("ALTER TABLE {s}.t ADD COLUMNS (f INT FIRST)")[0] == "UNSUPPORTED_LOCAL"
    assert client.fails("ALTER TABLE {s}.z ADD COLUMNS (f INT)")[0] == "TABLE_OR_VIEW_NOT_FOUND"


def test_writes_say_how_many_rows_they_changed(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT, b STRING)")
    with client.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {client.schema}.t VALUES (1, 'x'), (2, 'y')")
        assert cursor.rowcount == 2
        assert [column[0] for column in cursor.description] == ["num_affected_rows", "num_inserted_rows"]
        assert [tuple(row) for row in cursor.fetchall()] == [(2, 2)]
        for text in (f"UPDATE {client.schema}.t SET b = 'z' WHERE a = 1", f"DELETE FROM {client.schema}.t WHERE a = 1"):
            cursor.execute(text)
            assert cursor.rowcount == 1
            assert [column[0] for column in cursor.description] == ["num_affected_rows"]
            assert [tuple(row) for row in cursor.fetchall()] == [(1,)]
        cursor.execute(f"SELECT * FROM {client.schema}.t")
        assert cursor.rowcount == -1
    assert client.run("SELECT * FROM {s}.t") == [(2, "y")]


def test_updates_use_the_row_and_parameters(client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT, b STRING, c TIMESTAMP)")
    client.run("INSERT INTO {s}.t VALUES (1, 'x', NULL), (2, 'y', NULL)")
    client.run(
        "UPDATE {s}.t AS u SET a = u.a + 10, b = :b, c = CAST(:c AS TIMESTAMP) WHERE u.b = 'y'",
        {"b": "new", "c": "2024-01-01T00:00:00Z"},
    )
    assert client.run("SELECT * FROM {s}.t ORDER BY a") == [
        (1, "x", None),
        (12, "new", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    ]


def test_a_session_has_a_catalog_and_schema(shared: LocalWarehouse, client: Client) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    client.run("INSERT INTO {s}.t VALUES (5)")
    catalog, schema = client.schema.split(".")
    with shared.connect(catalog=catalog, schema=schema) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT t.a FROM t")
        assert [tuple(row) for row in cursor.fetchall()] == [(5,)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (5, 5),
        (2**40, 2**40),
        (True, True),
        (1.5, 1.5),
        (Decimal("12.34"), Decimal("12.34")),
        ("it's", "it's"),
        (None, None),
        (dt.date(2024, 1, 1), dt.date(2024, 1, 1)),
        (dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)),
        (native.SmallIntParameter(7), 7),
        (native.TinyIntParameter(-7), -7),
        (native.FloatParameter(0.5), 0.5),
        (native.TimestampNTZParameter(dt.datetime(2024, 1, 1)), dt.datetime(2024, 1, 1)),  # noqa: DTZ001
        (native.DecimalParameter(Decimal("1.5"), scale=10, precision=4), Decimal("1.5000")),
    ],
)
def test_parameters_of_every_type(client: Client, value: Any, found: Any) -> None:
    if isinstance(value, native.DbsqlParameterBase):
        value.name = "p"
        assert client.value("SELECT :p AS v", [value]) == found
    else:
        assert client.value("SELECT :p AS v", {"p": value}) == found


def test_bytes_and_lists_as_parameters_are_refused(client: Client) -> None:
    assert client.fails("SELECT :p", {"p": [1, 2]})[0] == "UNSUPPORTED_LOCAL"


class TestProductInsert:
    """The INSERT that carries a batch of jobs."""

    text = insert_text(
        "{s}.t", ["id", "amount"], ["CAST(r[0] AS BIGINT)", "CAST(r[1] AS DECIMAL(10,2))"], audit=True, guarded=True
    )

    @pytest.fixture(autouse=True)
    def _table(self, client: Client) -> None:
        client.run(f"CREATE TABLE {{s}}.t (id BIGINT NOT NULL, amount DECIMAL(10,2), {AUDIT})")

    def test_writes_rows_of_several_jobs_with_their_stamp(self, client: Client) -> None:
        client.run(self.text, payload(["1", "1.5"], ["2", None], ["3", "2"], jobs=2))
        stamp = dt.datetime(2024, 5, 5, 1, 2, 3, 4, dt.UTC)
        assert client.run("SELECT * FROM {s}.t ORDER BY id") == [
            (1, Decimal("1.50"), stamp, "ann", stamp, "ann", "j0"),
            (2, None, stamp, "ann", stamp, "ann", "j1"),
            (3, Decimal("2.00"), stamp, "ann", stamp, "ann", "j0"),
        ]

    def test_does_nothing_where_its_stamp_is(self, client: Client) -> None:
        client.run(self.text, payload(["1", "1"]))
        with client.connection.cursor() as cursor:
            cursor.execute(self.text.replace("{s}", client.schema), payload(["2", "2"]))
            assert cursor.rowcount == 0
        client.run(self.text, payload(["2", "2"], stamp="2024-05-05T01:02:03.000005Z"))
        assert client.value("SELECT count(*) FROM {s}.t") == 2

    @pytest.mark.parametrize("rows", [[["1", "1"]], []], ids=["rows", "empty"])
    def test_fails_when_it_starts_too_late_even_without_rows(self, client: Client, rows: list[list[str]]) -> None:
        late = payload(*rows, start_by="2020-01-01T00:00:00Z")
        error_class, message, sqlstate = client.error(self.text, late)
        assert (error_class, sqlstate) == ("USER_RAISED_EXCEPTION", "P0001")
        assert "expired" in message
        assert client.value("SELECT count(*) FROM {s}.t") == 0

    @pytest.mark.parametrize("row", [["1"], ["1", "2", "3"], []], ids=len)
    def test_fails_on_a_row_of_another_width(self, client: Client, row: list[str]) -> None:
        error_class, message, _ = client.error(self.text, payload(["1", "1"], row))
        assert error_class == "USER_RAISED_EXCEPTION"
        assert "row width" in message
        assert client.value("SELECT count(*) FROM {s}.t") == 0

    def test_fails_on_a_row_that_is_null(self, client: Client) -> None:
        broken = {**payload(), "jobs": '[{"id":"j","actor":"a","rows":[null]}]'}
        assert client.fails(self.text, broken) == ("USER_RAISED_EXCEPTION", "P0001")

    @pytest.mark.parametrize("jobs", ["[", '[{"id":"j"', '{"id":"j"}', '["x"]', "nonsense"])
    def test_fails_on_malformed_jobs(self, client: Client, jobs: str) -> None:
        error_class, sqlstate = client.fails(self.text, {**payload(), "jobs": jobs})
        assert (error_class.partition(".")[0], sqlstate) == ("MALFORMED_RECORD_IN_PARSING", "22023")

    def test_one_bad_value_among_many_writes_nothing(self, client: Client) -> None:
        rows = [[str(number), "1"] for number in range(3000)]
        rows[2500][0] = "x"
        assert client.fails(self.text, payload(*rows, jobs=100)) == ("CAST_INVALID_INPUT", "22018")
        assert client.value("SELECT count(*) FROM {s}.t") == 0
        rows[2500][0] = "2500"
        client.run(self.text, payload(*rows, jobs=100))
        assert client.run("SELECT count(*), count(DISTINCT id), count(DISTINCT _job_id) FROM {s}.t") == [
            (3000, 3000, 100)
        ]
