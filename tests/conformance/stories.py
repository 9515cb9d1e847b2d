"""What is run on every engine: stories of statements on one table each, built by the product itself.

A story's steps follow each other on its table; each is a case, seen and compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lakequeue.definitions import SchemaColumn
from lakequeue.identifiers import TableName
from lakequeue.jobs import Read

from tasks import merges, statements
from tasks.fold import Source
from tasks.prepared import Key
from tasks.sql import Statement
from tasks.table import JOB_ID, Column, Table
from tests.conformance.sides import Step

EARLY, LATE = 1_000_000, 32_000_000_000_000_000
STAMP = 1_714_871_523_000_004
Rows = Sequence[Sequence[str | None]]


@dataclass(frozen=True)
class Story:
    name: str
    made_by: Callable[[TableName], Statement] | str
    steps: Mapping[str, Step]


def made(columns: Mapping[str, str], **properties: str) -> Callable[[TableName], Statement]:
    """The product's CREATE TABLE; NOT NULL is said with the type."""
    definition = [
        SchemaColumn(name, kind.removesuffix(" NOT NULL"), nullable=not kind.endswith(" NOT NULL"))
        for name, kind in columns.items()
    ]
    return lambda name: statements.create_table(name, definition, properties)


def insert(
    names: str, *jobs: Rows, stamp: int = STAMP, start_by: int = LATE, guarded: bool = False, document: str = ""
) -> Step:
    """Append the rows of jobs j0, j1, …; `document` in place of their JSON."""

    def step(table: Table) -> Statement:
        columns = [table.by_name[name] for name in names.split(",")]
        given = [{"id": f"j{i}", "actor": "ann", "rows": rows} for i, rows in enumerate(jobs)]
        text = document or json.dumps(given, ensure_ascii=False)
        return statements.insert(table, columns, text, stamp_us=stamp, start_by_us=start_by, guarded=guarded)

    return step


def read(table_fields: str | Sequence[str] = "*", **fields: object) -> Step:
    def step(table: Table) -> Statement:
        job = Read.model_validate({"table": str(table.name), "columns": table_fields, "limit": 1000, **fields})
        return statements.select(table, job, statements.read_columns(table, job))

    return step


def count(**fields: object) -> Step:
    return lambda table: statements.count(table, Read.model_validate({"table": str(table.name), **fields}))


def merge(
    keys: str,
    *sources: Source,
    stamp: int = STAMP,
    start_by: int = LATE,
    every_row: bool = False,
    guarded: bool = False,
) -> Step:
    def step(table: Table) -> Statement:
        key_columns = _columns(table, keys)
        columns = merges.touched(sources, table)
        rows = merges.source_rows(sources, key_columns, columns)
        return merges.merge(
            table, key_columns, columns, rows,
            stamp_us=stamp, start_by_us=start_by, every_row=every_row, guarded=guarded,
        )  # fmt: skip

    return step


def count_keys(keys: str, *wanted: Key) -> Step:
    return lambda table: merges.count_keys(table, _columns(table, keys), wanted)


def _columns(table: Table, names: str) -> list[Column]:
    return [table.by_name[name] for name in names.split(",")]


def update(key: str, **values: str | None) -> Source:
    return Source("U", dict(values), (key,), updated_by="bob")


def remove(key: str, *, soft: bool = False) -> Source:
    return Source("U", {}, (key,), updated_by="eve", soft=True) if soft else Source("D", {}, (key,))


def add(**values: str | None) -> Source:
    return Source("I", dict(values), None, job_id="added", created_by="ann", updated_by="ann")


_ORDERS = {"id": "BIGINT NOT NULL", "name": "STRING", "amount": "DECIMAL(10,2)", "tags": "ARRAY<STRING>"}
_ROWS: Rows = [[str(i), f"n{i}", f"{i}.50", '["a"]'] for i in range(1, 6)]
_ALL = "SELECT * FROM {t} ORDER BY id, name"
_NAMES = "id,name,amount,tags"


def _filters(*filters: tuple[str, str, object]) -> list[dict[str, object]]:
    return [
        {"column": column, "op": op, **({} if value is None else {"value": value})} for column, op, value in filters
    ]


APPEND = Story(
    "append",
    made(_ORDERS),
    {
        "created again": lambda table: made(_ORDERS)(table.name),
        "two jobs": insert(_NAMES, _ROWS[:2], _ROWS[2:]),
        "all rows": _ALL,
        "found": lambda table: statements.find_stamp(table, STAMP),
        "not found": lambda table: statements.find_stamp(table, STAMP + 1),
        "guarded, stamp is there": insert(_NAMES, _ROWS, guarded=True),
        "guarded, stamp is new": insert("id,name", [["6", "six"]], stamp=STAMP + 1, guarded=True),
        "expired": insert(_NAMES, _ROWS, start_by=EARLY),
        "expired, nothing to do": insert(_NAMES, start_by=EARLY),
        "expired and guarded": insert(_NAMES, _ROWS, start_by=EARLY, guarded=True),
        "no job": insert(_NAMES),
        "a job without rows": insert(_NAMES, []),
        "a row too short": insert(_NAMES, [["7", "x"]]),
        "a row too long": insert("id", [["7", "x"]]),
        "truncated": insert("id", document='[{"id":"j","actor":null,"rows":[["7"'),
        "not an array": insert("id", document='{"id":"j"}'),
        "one bad row of many": insert("id", [["7"], ["8"], ["nine"], ["10"]]),
        "null for a required column": insert("id,name", [[None, "x"]]),
        "awkward text": insert("id,name", [[str(20 + i), text] for i, text in enumerate(
            ("", " ", "'", '"', "`", "\\", "\\'", "a'; DROP TABLE t; --", "l\nr\r\tt", "\x00", "\x7f", "null", "{}",
             "${x}", ":p", "?", "%_", "é", "e\u0301", "日本語", "🦆", "\u2028", "\ufeff", "\uffff", "  padded  ")
        )]),
        "awkward text is there": _ALL,
        "many rows": insert("id,name", [[str(1000 + i), "x" * (i % 50)] for i in range(2000)]),
        "how many": "SELECT count(*) AS n, sum(id) AS total FROM {t}",
    },
)  # fmt: skip

READS = Story(
    "reads",
    made({**_ORDERS, "on": "DATE", "at": "TIMESTAMP", "x": "DOUBLE", "raw": "BINARY"}),
    {
        "filled": insert("id,name,amount,on,at,x,raw", [
            ["1", "alpha", "1.00", "2024-02-29", "2024-02-29T23:59:59.999999+00:00", "0.1", "AA=="],
            ["2", "Beta", None, "1582-10-10", "0001-01-01T00:00:00.000000+00:00", "NaN", ""],
            ["3", None, "3.30", None, "9999-12-31T23:59:59.999999+00:00", "Infinity", None],
            ["4", "a%b_c", "-4.00", "9999-12-31", None, "-Infinity", "/w=="],
            ["5", "gone", "5.00", "0001-01-01", None, "-0.0", None],
        ]),
        "one softly deleted": merge("id", remove("5", soft=True)),
        "every row": read(order_by="id"),
        "deleted ones too": read("id,deleted_at", order_by="id", include_deleted=True),
        "some columns, backwards": read("name,id", order_by="-name,id"),
        "a page": read("id", order_by="-id", limit=2, offset=1),
        "beyond the end": read("id", order_by="id", offset=10),
        "count": count(),
        "count of some": count(filters=_filters(("amount", ">", "0"))),
        "equal": read("id", order_by="id", filters=_filters(("name", "=", "Beta"))),
        "not equal": read("id", order_by="id", filters=_filters(("name", "!=", "Beta"))),
        "less": read("id", order_by="id", filters=_filters(("amount", "<", "3.3"))),
        "at least": read("id", order_by="id", filters=_filters(("amount", ">=", "3.3"))),
        "in": read("id", order_by="id", filters=_filters(("id", "IN", [1, 3, 99]))),
        "not in": read("id", order_by="id", filters=_filters(("id", "NOT IN", [1, 3]))),
        "like": read("id", order_by="id", filters=_filters(("name", "LIKE", "a%"))),
        "like, escaped": read("id", order_by="id", filters=_filters(("name", "LIKE", "a\\%b\\_c"))),
        "like is exact": read("id", order_by="id", filters=_filters(("name", "LIKE", "beta"))),
        "is null": read("id", order_by="id", filters=_filters(("name", "IS NULL", None))),
        "is not null": read("id", order_by="id", filters=_filters(("amount", "IS NOT NULL", None))),
        "between dates": read("id", order_by="id", filters=_filters(("on", "BETWEEN", ["1582-10-10", "2024-02-29"]))),
        "a moment": read("id", order_by="id", filters=_filters(("at", ">", "2024-02-29T23:59:59Z"))),
        "NaN equals itself": read("id", order_by="id", filters=_filters(("x", "=", "NaN"))),
        "NaN is the largest": read("id", order_by="id", filters=_filters(("x", ">", "Infinity"))),
        "the zeros are equal": read("id", order_by="id", include_deleted=True, filters=_filters(("x", "=", 0))),
        "order of floats": read("id,x", order_by="x"),
        "bytes": read("id,raw", order_by="id", filters=_filters(("raw", "=", "/w=="))),
        "several filters": read("id", order_by="id", filters=_filters(("id", ">", 1), ("amount", "<", 0))),
        "nothing": read("id", order_by="id", filters=_filters(("id", "=", 77))),
    },
)  # fmt: skip

MERGES = Story(
    "merges",
    made(_ORDERS),
    {
        "filled": insert(_NAMES, _ROWS),
        "an update": merge("id", update("1", name="uno", amount="1.11")),
        "an update of nothing": merge("id", update("99", name="x")),
        "null is set": merge("id", update("2", amount=None, tags=None)),
        "a nested value is set": merge("id", update("2", tags='["x",null,""]')),
        "masks differ": merge("id", update("3", name="tres"), update("4", amount="4.44")),
        "soft delete": merge("id", remove("3", soft=True), stamp=STAMP + 10),
        "soft delete again keeps the first time": merge("id", remove("3", soft=True), stamp=STAMP + 20),
        "an update passes over it": merge("id", update("3", name="x")),
        "unless asked": merge("id", update("3", name="drei"), every_row=True),
        "hard delete": merge("id", remove("4"), remove("98")),
        "an addition": merge("id", add(id="7", name="seven", amount="7.00")),
        "an addition with the key of a row": merge("id", add(id="7", name="seven again")),
        "everything at once": merge("id", update("1", name="one"), remove("2"), add(id="8", name="eight"),
                                    add(id="9", tags="[]"), remove("5", soft=True), stamp=STAMP + 30),
        "all rows": _ALL,
        "counts by key": count_keys("id", ("1",), ("7",), ("3",), ("55",)),
        "counts by two": count_keys("id,name", ("7", "seven"), ("7", "eight")),
        "no key": count_keys("id"),
        "no source": merge("id"),
        "expired": merge("id", update("1", name="late"), start_by=EARLY),
        "expired, no source": merge("id", start_by=EARLY),
        "guarded, stamp is there": merge("id", update("1", name="x"), stamp=STAMP + 30, guarded=True),
        "guarded, stamp is new": merge("id", update("1", name="guarded"), add(id="10"), stamp=STAMP + 40, guarded=True),
        "ambiguous": merge("id", update("1", name="a"), update("1", name="b")),
        "two additions of one key": merge("id", add(id="11", name="a"), add(id="11", name="b")),
        "a bad value": merge("id", update("1", amount="x")),
        "a bad key": merge("id", update("one", name="x")),
        "null for a required column": merge("id", add(id=None, name="x")),
        "null set in a required column": merge("id", update("1", id=None)),
        "by text": merge("name", Source("U", {"amount": "0.01"}, ("seven",), updated_by="bob")),
        "a key that changes": merge("id", update("1", id="100")),
        "all rows in the end": _ALL,
    },
)  # fmt: skip

CONSTRAINTS = Story(
    "constraints",
    made({"id": "INT", "v": "VARCHAR(4)", "c": "CHAR(3)", "n": "DECIMAL(5,1)", "s": "ARRAY<VARCHAR(2)>"}),
    {
        "lengths": insert("id,v,c", [["1", "four", "abc"], ["2", "é🦆日本", "x"], ["3", "", ""]]),
        "blanks beyond the length": insert("id,v,c", [["4", "four  ", "abc  "]]),
        "too long": insert("id,v", [["5", "five5"]]),
        "too long by a letter beyond plane 0": insert("id,v", [["5", "🦆🦆🦆🦆🦆"]]),
        "CHAR too long": insert("id,c", [["5", "abcd"]]),
        "too long inside": insert("id,s", [["5", '["abc"]']]),
        "too long in a MERGE": merge("id", update("1", v="five5")),
        "CHAR is padded": "SELECT id, v, c, length(c) AS n FROM {t} ORDER BY id",
        "by a CHAR": read("id", order_by="id", filters=_filters(("c", "=", "x"))),
        "a constraint": "ALTER TABLE {t} ADD CONSTRAINT small CHECK (n IS NULL OR n < 100)",
        "kept": insert("id,n", [["6", "99.9"]]),
        "broken": insert("id,n", [["7", "100"]]),
        "broken by one row of many": insert("id,n", [["7", "1"], ["8", "100"], ["9", "2"]]),
        "broken in a MERGE": merge("id", update("6", n="100")),
        "broken by an addition": merge("id", add(id="9", n="500")),
        "overflow": insert("id,n", [["7", "12345"]]),
        "rounded, were it sent": insert("id,n", [["70", "1.25"]]),
        "the same name again": "ALTER TABLE {t} ADD CONSTRAINT small CHECK (id > 0)",
        "rows that break it": "ALTER TABLE {t} ADD CONSTRAINT few CHECK (id < 5)",
        "null is not true": "ALTER TABLE {t} ADD CONSTRAINT some CHECK (n > 0)",
        "all rows": "SELECT * FROM {t} ORDER BY id",
    },
)  # fmt: skip

CHARS = Story(
    "chars",
    made({"id": "INT", "c": "CHAR(3)", "n": "INT"}),
    {
        "filled": insert("id,c", [["1", "x"], ["2", "abc"]]),
        "a MERGE that leaves it alone": merge("id", update("1", n="8")),
        "is set": merge("id", update("1", c="y")),
        "is a key": merge("c", Source("U", {"n": "9"}, ("abc",), updated_by="bob")),
        "counted by it": count_keys("c", ("abc",), ("zzz",)),
    },
)

PLAIN = Story(
    "plain",
    "CREATE TABLE {t} (id INT, name STRING) USING DELTA",
    {
        "no audit columns": insert("id,name", [["1", "a"]]),
        "a MERGE": merge("id", update("1", name="b"), add(id="2", name="c")),
        "counts by key": count_keys("id", ("1",), ("2",)),
        "adopted": lambda table: statements.add_audit_columns(
            table.name, ["created_at", "created_by", "updated_at", "updated_by", "deleted_at", JOB_ID]
        ),
        # {t} in an ALTER makes the table be described anew.
        "one more column": "ALTER TABLE {t} ADD COLUMNS (more STRING)",
        "stamped now": insert("id,name,more", [["3", "d", "m"]]),
        "softly deleted": merge("id", remove("1", soft=True)),
        "all rows": "SELECT * FROM {t} ORDER BY id",
    },
)

WIDE = Story(
    "wide",
    made(
        {"flag": "BOOLEAN", "list": "ARRAY<INT>", **{f"c{i}": "INT" for i in range(60)}},
        **{"delta.autoOptimize.autoCompact": "false"},
    ),
    {
        "statistics of a BOOLEAN": (
            "CREATE TABLE {s}.bad (a BOOLEAN) TBLPROPERTIES ('delta.dataSkippingStatsColumns' = '`a`')"
        ),
        "a row": insert(",".join(f"c{i}" for i in range(60)), [[str(i) for i in range(60)]]),
        "found by its stamp": lambda table: statements.find_stamp(table, STAMP),
        "updated": merge("c0", Source("U", {"c59": "7"}, ("0",), updated_by="bob")),
        "there": "SELECT c0, c59, updated_by FROM {t}",
    },
)

MISSING = Story(
    "missing",
    "CREATE TABLE {t} (id INT, name STRING)",
    {
        "table": "SELECT * FROM {s}.nothing",
        "table of an INSERT": "INSERT INTO {s}.nothing (id) VALUES (1)",
        "table described": lambda t: statements.describe(TableName(t.name.catalog, t.name.schema, "nothing")),
        "schema": "SELECT * FROM {c}.nothing.t",
        "schema of an INSERT": "INSERT INTO {c}.nothing.t (id) VALUES (1)",
        "schema described": lambda t: statements.describe(TableName(t.name.catalog, "nothing", "t")),
        "schema of a new table": lambda t: made({"a": "INT"})(TableName(t.name.catalog, "nothing", "t")),
        "catalog": "SELECT * FROM nothing_at_all.s.t",
        "catalog described": lambda t: statements.describe(TableName("nothing_at_all", "s", "t")),
        "catalog of a new table": lambda t: made({"a": "INT"})(TableName("nothing_at_all", "s", "t")),
        "catalog of a new schema": lambda t: statements.create_schema(TableName("nothing_at_all", "s", "t")),
        "schema that is there": lambda t: statements.create_schema(t.name),
        "table that is there": "CREATE TABLE {t} (id INT)",
        "column": "SELECT nope FROM {t}",
        "column of an INSERT": "INSERT INTO {t} (nope) VALUES (1)",
        "column of an UPDATE": "UPDATE {t} SET nope = 1",
        "too few values": "INSERT INTO {t} (id, name) VALUES (1)",
        "too many values": "INSERT INTO {t} (id) VALUES (1, 2)",
        "nonsense": "SELEC 1",
        "half a statement": "SELECT 1 +",
        "dropped": "DROP TABLE {t}",
        "dropped again": "DROP TABLE {t}",
        "dropped if there": "DROP TABLE IF EXISTS {t}",
    },
)

NAMES = Story(
    "names",
    made({"a-b": "INT", "größe": "STRING", "select": "INT", "na`me": "INT", "日本": "STRING", "KEY": "INT",
          "st": "STRUCT<`x-y`: INT, `Z`: STRING>"}),
    {
        "filled": insert("a-b,größe,select,na`me,日本,key,st", [["1", "x", "2", "3", "y", "4", '{"x-y":"5","Z":"z"}']]),
        "merged": merge("na`me", Source("U", {"größe": "y", "key": "9"}, ("3",), updated_by="bob")),
        "read": read(order_by="a-b"),
        "VARCHAR under a quoted name": "CREATE TABLE {s}.quoted (a STRUCT<`x-y`: VARCHAR(1)>)",
    },
)  # fmt: skip

ALIASES = Story(
    "aliases",
    made({"t": "INT", "s": "STRUCT<op: STRING, k0: INT>", "k": "STRUCT<r: INT, i: INT>", "j": "STRUCT<id: STRING>",
          "g": "STRUCT<written: INT>", "op": "STRING", "mask": "INT", "_lakequeue_total": "INT", "i": "INT",
          "r": "INT"}),
    {
        "filled": insert("t,s,op,_lakequeue_total,i", [["1", '{"op":"D","k0":"9"}', "D", "3", "7"],
                                                        ["2", None, "U", "1", "8"], ["3", None, None, "2", "9"]]),
        "by what is called as the total": read("t,_lakequeue_total", order_by="_lakequeue_total desc"),
        "counted": count_keys("t", ("1",), ("2",), ("9",)),
        "counted by others": count_keys("i,op", ("7", "D"), ("8", "U")),
        "merged": merge("t", update("1", op="x", mask="5"), remove("2", soft=True), stamp=STAMP + 10),
        "guarded": merge("t", update("3", op="y"), stamp=STAMP + 20, guarded=True),
        "guarded again": merge("t", update("3", op="z"), stamp=STAMP + 20, guarded=True),
        "looked up": lambda table: statements.find_jobs(table, ["j0"]),
        "all rows": "SELECT t, s, op, mask, `_lakequeue_total` FROM {t} ORDER BY t",
    },
)  # fmt: skip

MAPPED = Story(
    "mapped",
    "CREATE TABLE {t} (`Order ID` INT, `Unit Price ($)` DECIMAL(10,2), `a.b` STRING, `{=};` STRING, "
    "updated_at TIMESTAMP, _job_id STRING) USING DELTA TBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
    {
        "filled": insert("order id,unit price ($),a.b,{=};", [["1", "9.90", "x", "y"], ["2", "1.10", None, "z"]]),
        "read": read(
            ["Order ID", "{=};"], order_by=["Unit Price ($) desc"], filters=_filters(("Unit Price ($)", ">", 1))
        ),
        "counted": count_keys("order id,{=};", ("1", "y"), ("3", "y")),
        "merged": merge("order id", update("1", **{"unit price ($)": "2.00", "a.b": "new"}), add(**{"order id": "3"})),
        "all rows": "SELECT `Order ID`, `Unit Price ($)`, `a.b` FROM {t} ORDER BY `Order ID`",
        "without the property": "CREATE TABLE {s}.unmapped (`Order ID` INT)",
    },
)

STORIES = (APPEND, READS, MERGES, CONSTRAINTS, CHARS, PLAIN, WIDE, MISSING, NAMES, ALIASES, MAPPED)
