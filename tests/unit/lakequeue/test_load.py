"""A CSV file becomes the same jobs every time, with types that hold all of its values, or a located error."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lakequeue import options, wire
from lakequeue.csv_dialect import Dialect
from lakequeue.csv_file import CsvFile
from lakequeue.csv_header import Changes, arrange
from lakequeue.csv_jobs import Survey, Target, jobs, survey
from lakequeue.csv_problem import CsvProblem
from lakequeue.csv_types import Column, match_columns, parse_columns
from lakequeue.identifiers import TableName
from lakequeue.jobs import Write as WriteJob
from lakequeue.load_names import check_name, default_name, job_id
from lakequeue.values import JsonValue

TABLE = TableName.parse("main.sales.orders")
NOW = datetime(2025, 1, 1, tzinfo=UTC)

Write = Callable[..., CsvFile]


@pytest.fixture
def csv_file(tmp_path: Path) -> Write:
    def write(content: str | bytes, encoding: str = "utf-8-sig", delimiter: str = ",", limit: int = 900_000) -> CsvFile:
        path = tmp_path / "rows.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return CsvFile(path, Dialect(encoding=encoding, delimiter=delimiter), max_field_chars=limit)

    return write


def target(
    file: CsvFile,
    columns: str = "",
    *,
    nulls: tuple[str, ...] = ("",),
    create: bool = True,
    rows_per_job: int = 500,
    max_job_bytes: int = 900_000,
) -> Target:
    header = file.header()
    given_columns = match_columns(header, parse_columns(columns)) if columns else {}
    return Target(
        table=TABLE,
        columns=tuple(given_columns.get(name) or Column(name, None) for name in header),
        nulls=frozenset(nulls),
        create=create,
        actor=None,
        rows_per_job=rows_per_job,
        max_job_bytes=max_job_bytes,
    )


def surveyed(file: CsvFile, to: Target) -> tuple[Survey, Target]:
    found = survey(file, to, lambda _: None)
    known = {name: getattr(to, name) for name in Target.__slots__} | {"columns": found.columns}
    return found, Target(**known)


def sent_rows(file: CsvFile, to: Target) -> list[dict[str, JsonValue]]:
    found, ready = surveyed(file, to)
    assert not found.problems
    return [row for job in made(file, found, ready) for row in job.data]


def made(file: CsvFile, found: Survey, to: Target) -> list[WriteJob]:
    return list(jobs(file, to, "x", found.plan, [1] * len(found.plan)))


def column_of(*values: str) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([["c", "row"], *([value, "x"] for value in values)])
    return text.getvalue()


# --columns


@pytest.mark.parametrize(
    ("text", "types"),
    [
        pytest.param("id:BIGINT", {"id": "BIGINT"}, id="one"),
        pytest.param("i:bigint, d:DECIMAL(10,2) ,s:DATE", {"i": "BIGINT", "d": "DECIMAL(10,2)", "s": "DATE"}, id="()"),
        pytest.param("m:MAP<STRING, ARRAY<INT>>,n:INT", {"m": "MAP<STRING, ARRAY<INT>>", "n": "INT"}, id="<>"),
        pytest.param("s:STRUCT<a: INT, b: DATE>,n:INT", {"s": "STRUCT<`a`: INT, `b`: DATE>", "n": "INT"}, id="colons"),
        pytest.param("`a:b`:INT,`c`:DATE", {"a:b": "INT", "c": "DATE"}, id="backticks"),
    ],
)  # fmt: skip
def test_columns_are_split_where_types_end(text: str, types: dict[str, str]) -> None:
    parsed = parse_columns(text)
    assert {name: each.type.sql for name, each in parsed.items() if each.type} == types


def test_a_declared_column_may_be_not_null() -> None:
    parsed = parse_columns("a:DECIMAL(10,2) not null,b:INT")
    assert (parsed["a"].nullable, parsed["b"].nullable) == (False, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "missing", id="empty"),
        pytest.param("a:INT,", "missing between two commas", id="trailing comma"),
        pytest.param("a", "'a' has no type", id="no type"),
        pytest.param(":INT", "has no name", id="no name"),
        pytest.param("`a`x:INT", "has no type", id="after backticks"),
        pytest.param("a:INTEGR", "column 'a': .*unknown type 'INTEGR'", id="unknown type"),
        pytest.param("a:VARCHAR(5,b:INT", "column 'a'", id="unclosed"),
        pytest.param("a:INT),b:INT", "column 'a'", id="closed twice"),
        pytest.param("a:ARRAY", "ARRAY<STRING>", id="bare array"),
        pytest.param("a:INT,a:DATE", "given twice", id="twice"),
    ],
)
def test_columns_that_make_no_sense_say_which(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_columns(text)


def test_columns_match_the_header_without_case_and_suggest_what_is_near() -> None:
    assert match_columns(["Id", "x"], parse_columns("ID:INT"))["Id"].name == "Id"
    with pytest.raises(ValueError, match="no 'amuont'; did you mean 'amount'"):
        match_columns(["amount"], parse_columns("amuont:INT"))
    with pytest.raises(ValueError, match="given twice"):
        match_columns(["id"], parse_columns("id:INT,ID:INT"))


# Inference


@pytest.mark.parametrize(
    ("values", "inferred"),
    [
        pytest.param(["0", "-1", ""], "BIGINT", id="whole"),
        pytest.param([str(2**63 - 1), str(-(2**63))], "BIGINT", id="extremes"),
        pytest.param([str(2**63)], "STRING", id="beyond bigint"),
        pytest.param(["1", "2.5"], "DOUBLE", id="fraction"),
        pytest.param(["0.5", "-0.25", "1e-05", "1.5e+16"], "DOUBLE", id="exponents as a float's own text has them"),
        pytest.param([".5", "-.25"], "DOUBLE", id="no zero before the point"),
        pytest.param([".5", "0.25"], "STRING", id="with and without a zero before the point"),
        pytest.param(["2.50", "3.25", "10.00"], "DOUBLE", id="as many digits after the point"),
        pytest.param(["1.10", "1.1"], "STRING", id="zeros at the end of some"),
        pytest.param(["1", "2.50"], "STRING", id="zeros at the end of one"),
        pytest.param(["1E5", "10E4"], "STRING", id="codes with an E"),
        pytest.param(["9007199254740993.5"], "STRING", id="a fraction that a double changes"),
        pytest.param(["9007199254740993.0"], "STRING", id="a whole number with a point that a double changes"),
        pytest.param(["0.30000000000000004"], "DOUBLE", id="17 digits"),
        pytest.param(["0.333333333333333333"], "STRING", id="18 digits"),
        pytest.param(["0.5", "9007199254740993"], "STRING", id="a whole number that a double changes"),
        pytest.param(["1e999"], "STRING", id="overflow"),
        pytest.param(["1e-999"], "STRING", id="underflow"),
        pytest.param(["1.0", "NaN"], "STRING", id="nan"),
        pytest.param(["007", "12"], "STRING", id="leading zeros"),
        pytest.param(["007.5"], "STRING", id="leading zeros of a fraction"),
        pytest.param(["+4930123"], "STRING", id="plus"),
        pytest.param([" 1"], "STRING", id="space"),
        pytest.param(["1\n"], "STRING", id="newline"),
        pytest.param(["1_000"], "STRING", id="underscore"),
        pytest.param(["١٢"], "STRING", id="other digits"),
        pytest.param(["."], "STRING", id="dot"),
        pytest.param(["e5"], "STRING", id="exponent alone"),
        pytest.param(["true", "FALSE", ""], "BOOLEAN", id="boolean"),
        pytest.param(["True", "False"], "BOOLEAN", id="boolean of Python"),
        pytest.param(["2024-01-01 10:00:00 UTC"], "TIMESTAMP", id="UTC by name"),
        pytest.param(["2024-01-01 10:00:00 -0500"], "TIMESTAMP", id="offset after a blank"),
        pytest.param(["2024-01-01T10:00:00.123456000"], "TIMESTAMP_NTZ", id="nanoseconds that are zeros"),
        pytest.param(["2024-01-01 10:00:00 "], "TIMESTAMP_NTZ", id="a time padded with blanks"),
        pytest.param(["true", "1"], "STRING", id="boolean and number"),
        pytest.param(["2024-02-29", "0001-01-01"], "DATE", id="date"),
        pytest.param(["2023-02-29"], "STRING", id="no such day"),
        pytest.param(["2024-01-01T10:00:00Z", "2024-01-01 10:00+02:00"], "TIMESTAMP", id="timestamp"),
        pytest.param(["2024-01-01T10:00:00.123456"], "TIMESTAMP_NTZ", id="ntz"),
        pytest.param(["2024-01-01T10:00:00.1234567Z"], "STRING", id="nanoseconds"),
        pytest.param(["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], "STRING", id="with and without offset"),
        pytest.param(["2024-01-01", "2024-01-01T10:00:00"], "STRING", id="date and time"),
        pytest.param(["", ""], "STRING", id="nulls"),
        pytest.param(["x", "1"], "STRING", id="text"),
    ],
)
def test_the_narrowest_type_that_keeps_every_value_is_inferred(
    csv_file: Write, values: list[str], inferred: str
) -> None:
    file = csv_file(column_of(*values))
    found, ready = surveyed(file, target(file))
    assert found.columns[0].type
    assert found.columns[0].type.sql == inferred
    assert made(file, found, ready)


def test_a_value_late_in_the_file_counts_as_much_as_the_first(csv_file: Write) -> None:
    file = csv_file(column_of(*map(str, range(3_000)), "x"))
    column = surveyed(file, target(file))[0].columns[0]
    assert (column.type and column.type.sql, column.note) == ("STRING", "BIGINT until line 3002")


def test_a_column_of_numbers_but_for_another_null_says_so(csv_file: Write) -> None:
    file = csv_file(column_of("1", "NA", "2", "\\N"))
    assert surveyed(file, target(file))[0].columns[0].note == (
        "BIGINT but for 'NA', '\\\\N'; if that means null: --null NA --null '\\N'"
    )
    rows = sent_rows(file, target(file, nulls=("NA", "\\N")))
    assert [row["c"] for row in rows] == [1, None, 2, None]


@pytest.mark.parametrize("null", ["NaT", "<NA>", "#N/A", "(null)"])
def test_what_pandas_excel_and_databases_write_for_a_null_is_named(csv_file: Write, null: str) -> None:
    file = csv_file(column_of("2024-01-01 10:00:00", null))
    assert (
        f"TIMESTAMP_NTZ but for {null!r}; if that means null: --null "
        in surveyed(file, target(file))[0].columns[0].note
    )


def test_what_is_no_null_is_empty_text(csv_file: Write) -> None:
    file = csv_file(column_of("", "NA", "x"))
    assert [row["c"] for row in sent_rows(file, target(file, nulls=("NA",)))] == ["", None, "x"]


# Values


def test_values_become_their_types_wire_form(csv_file: Write) -> None:
    header = ["i", "f", "d", "b", "s", "t", "bin", "a", "m"]
    row = ["007", "1.50", "9.90", "TRUE", "007", "2024-01-01T10:00:00Z", "aGk=", '["x", null]', '{"k": 1}']
    text = io.StringIO()
    csv.writer(text).writerows([header, row, [""] * len(header)])
    types = (
        "i:INT,f:DOUBLE,d:DECIMAL(10,2),b:BOOLEAN,s:STRING,t:TIMESTAMP,bin:BINARY,a:ARRAY<STRING>,m:MAP<STRING, INT>"
    )
    file = csv_file(text.getvalue())
    first, second = sent_rows(file, target(file, types))
    assert list(first.values()) == [
        7, "1.50", "9.90", True, "007", "2024-01-01T10:00:00Z", "aGk=", ["x", None], {"k": 1},
    ]  # fmt: skip
    assert set(second.values()) == {None}


def test_a_table_that_is_not_created_gets_text_and_no_definition(csv_file: Write) -> None:
    file = csv_file("id,flag,price\n1,TRUE,9.90\n")
    to = target(file, "flag:BOOLEAN", create=False)
    (job,) = made(file, *surveyed(file, to))
    assert job.data == [{"id": "1", "flag": True, "price": "9.90"}]
    assert (job.schema_definition, job.auto_create) == (None, False)


@pytest.mark.parametrize(
    ("types", "value", "says"),
    [
        pytest.param("c:INT", "secret", "line 3, column 'c': INT takes a whole number", id="int"),
        pytest.param("c:INT", str(2**31), "line 3, column 'c': INT holds", id="range"),
        pytest.param("c:INT", "9" * 5_000, "line 3, column 'c': INT takes|INT holds", id="thousands of digits"),
        pytest.param("c:DECIMAL(4,2)", "1.234", "line 3, column 'c': DECIMAL\\(4,2\\) holds at most 2", id="scale"),
        pytest.param(
            "c:TIMESTAMP", "2024-01-01 00:00:00", "line 3, column 'c': TIMESTAMP needs an offset", id="offset"
        ),
        pytest.param("c:VARCHAR(3)", "secret", "line 3, column 'c': VARCHAR\\(3\\) holds 3", id="length"),
        pytest.param("c:BOOLEAN", "yes", "line 3, column 'c': BOOLEAN takes true or false", id="boolean"),
        pytest.param("c:BINARY", "a", "line 3, column 'c': BINARY takes base64", id="base64"),
        pytest.param("c:ARRAY<INT>", "[1", "line 3, column 'c': no JSON", id="json"),
        pytest.param("c:ARRAY<INT>", '[1,"x"]', "line 3, column 'c': \\[1\\]: INT takes", id="element"),
        pytest.param("c:MAP<STRING, INT>", '{"a":1,"a":2}', "line 3, column 'c': .*same name twice", id="repeated key"),
        pytest.param("c:INT NOT NULL", "", "line 3, column 'c': the column is NOT NULL", id="null"),
    ],
)
def test_a_value_that_does_not_fit_is_located_and_not_shown(csv_file: Write, types: str, value: str, says: str) -> None:
    good = {"c:INT": "1", "c:INT NOT NULL": "1", "c:DECIMAL(4,2)": "1", "c:BOOLEAN": "true", "c:BINARY": "aGk="}
    good |= {"c:TIMESTAMP": "2024-01-01T00:00Z", "c:VARCHAR(3)": "x", "c:ARRAY<INT>": "[1]", "c:MAP<STRING, INT>": "{}"}
    file = csv_file(column_of(good[types], value))
    (problem,) = surveyed(file, target(file, types))[0].problems
    with pytest.raises(CsvProblem, match=says):
        raise problem
    assert "secret" not in str(problem)


def test_problems_come_in_the_order_of_lines_and_end_the_reading(csv_file: Write) -> None:
    file = csv_file("a,b\n" + "1,x\nx,1\n" * 2_000)
    found = surveyed(file, target(file, "a:INT,b:INT"))[0]
    assert [problem.line for problem in found.problems[:4]] == [2, 3, 4, 5]
    assert found.rows < 1_000


# The file


def test_lines_are_those_an_editor_shows(csv_file: Write) -> None:
    file = csv_file('a,b\n"one\ntwo",1\n\n\n"x",y\n')
    (problem,) = surveyed(file, target(file, "b:INT"))[0].problems
    assert problem.line == 6
    assert file.blank_lines == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("a,b\n1,2\n3\n", "line 3: 1 fields, but the header names 2", id="too few"),
        pytest.param("a,b\n1,2\n3,4,5\n", "line 3: 3 fields, but the header names 2", id="too many"),
        pytest.param('a,b\n1,"2\n3,4\n', "line 2: a quoted field starts here and never ends", id="open quote"),
        pytest.param('a,b\n1,"' + "2\n" * 600 + '3,4"\n', "line 2: a field of more than 1,000", id="long field"),
        pytest.param('a,b\n1,"2"3\n', "line 2: bad CSV", id="after quotes"),
        pytest.param(b"a,b\n1,\xe9\n", "is not in utf-8: name its --encoding", id="latin-1"),
    ],
)
def test_a_malformed_file_is_refused_at_a_line(csv_file: Write, content: str | bytes, says: str) -> None:
    file = csv_file(content, limit=1_000)
    with pytest.raises(CsvProblem, match=says):
        surveyed(file, target(file))


@pytest.mark.parametrize("content", ["", "\n\n"], ids=["empty", "blank"])
def test_a_file_without_a_header_is_refused(csv_file: Write, content: str) -> None:
    with pytest.raises(CsvProblem, match="first line must name the columns"):
        csv_file(content).header()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        pytest.param(["a", ""], "column 2: a column name cannot be empty", id="empty"),
        pytest.param(["a", "A"], "column 2: column 'A' is declared twice", id="twice"),
        pytest.param(["_job_id"], "column 1: '_job_id' is stamped by the worker", id="_job_id"),
        pytest.param(["x", "Created_At"], "column 2: 'Created_At' is stamped by the worker", id="created_at"),
        pytest.param(["first name"], "column 1: a column name cannot hold a space", id="space"),
    ],
)
def test_a_header_that_no_table_can_have_is_refused(header: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        arrange(header, Changes())


def test_a_byte_order_mark_is_no_part_of_the_first_name(csv_file: Write) -> None:
    file = csv_file(b"\xef\xbb\xbfid\n1\n", encoding=options.encoding("UTF-8"))
    assert file.header() == ["id"]


def test_other_encodings_and_delimiters_are_read(csv_file: Write) -> None:
    file = csv_file("a\tb\né\t1\n".encode("utf-16"), encoding="utf-16", delimiter=options.delimiter("\\t"))
    assert sent_rows(file, target(file)) == [{"a": "é", "b": 1}]


def test_a_file_that_changes_between_two_readings_is_noticed(csv_file: Write) -> None:
    file = csv_file("a\n1\n")
    found, ready = surveyed(file, target(file))
    csv_file("a\n1\n2\n")
    with pytest.raises(CsvProblem, match="changed while it was read"):
        made(file, found, ready)


def test_what_cannot_be_read_twice_is_refused() -> None:
    with pytest.raises(CsvProblem, match="no regular file"):
        CsvFile(Path("/dev/null"), Dialect(), max_field_chars=10)


# Jobs


def test_a_load_is_named_after_its_table_and_file() -> None:
    name = default_name(TABLE, "orders 2024.csv")
    assert name == default_name(TableName.parse("Main.SALES.orders"), "orders 2024.csv")
    assert name != default_name(TableName.parse("main.sales.others"), "orders 2024.csv")
    assert name != default_name(TABLE, "orders_2024.csv")
    assert name.startswith("orders_2024.csv.")
    assert check_name(f"load:{name}") == check_name(name) == name
    assert check_name(default_name(TABLE, "ü" * 250))
    assert len(job_id(default_name(TABLE, "x" * 250), "0" * 12, 10**12 - 1)) <= 100


def test_a_content_is_known_by_its_rows_and_how_they_are_cut(csv_file: Write) -> None:
    def tag(content: str, rows_per_job: int = 2) -> str:
        file = csv_file(content)
        return surveyed(file, target(file, rows_per_job=rows_per_job))[0].tag

    first = tag("a,b\n1,2\n3,4\n5,6\n")
    assert first == tag('a,b\r\n"1",2\r\n3,4\r\n5,6')
    others = {tag("a,c\n1,2\n3,4\n5,6\n"), tag("a,b\n1,2\n3,4\n5,7\n"), tag("a,b\n1,2\n3,4\n5,6\n", 1)}
    assert len({first, *others}) == 4


def test_rows_are_cut_into_jobs_by_count_and_named_by_their_first_row(csv_file: Write) -> None:
    file = csv_file("a\n" + "".join(f"{n}\n" for n in range(1_201)))
    found, ready = surveyed(file, target(file, rows_per_job=250))
    ids = [f"load:x:{found.tag}:{n:012}" for n in (1, 251, 501, 751, 1001)]
    assert [(job.id, job.row_count) for job in made(file, found, ready)] == list(
        zip(ids, [250, 250, 250, 250, 201], strict=True)
    )
    some = list(jobs(file, ready, "x", found.plan, [0, 1, 0, 0, 1]))
    assert [(job.id, job.data[0]["a"], job.row_count) for job in some] == [(ids[1], 250, 250), (ids[4], 1_000, 201)]


def test_wide_rows_make_smaller_jobs_and_a_row_too_wide_is_refused(csv_file: Write) -> None:
    file = csv_file("a\n" + "".join("x" * size + "\n" for size in (3_000, 3_000, 3_000, 9_000, 3_000)))
    found, ready = surveyed(file, target(file, max_job_bytes=10_000))
    assert [job.row_count for job in made(file, found, ready)] == [3, 1, 1]
    (problem,) = surveyed(file, target(file, max_job_bytes=5_000))[0].problems
    assert str(problem).startswith("line 5: the row alone is 9,")


# Awkward to JSON or to CSV, and what inference looks for.
_fields = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["", "1", "-7", "2.5", "true", "2024-01-01", "2024-01-01T00:00Z", "\\", '"', "\x00", "é", "😀"]),
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(_fields, min_size=width, max_size=width), max_size=30))
    return [[f"c{n}" for n in range(width)], *rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=tables(), rows_per_job=st.integers(1, 10), max_job_bytes=st.integers(700, 1_500))
def test_every_row_of_a_good_file_is_in_one_job_that_fits(
    csv_file: Write, table: list[list[str]], rows_per_job: int, max_job_bytes: int
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(table)
    file = csv_file(text.getvalue())
    found, ready = surveyed(file, target(file, rows_per_job=rows_per_job, max_job_bytes=max_job_bytes))
    if found.problems:
        assert all("the row alone" in str(problem) for problem in found.problems)
        return
    sent = made(file, found, ready)
    assert all(job.row_count <= rows_per_job for job in sent)
    assert all(wire.encode(job, job_id="x", now=NOW).payload_bytes <= max_job_bytes for job in sent)
    rows = [list(row.values()) for job in sent for row in job.data]
    assert [[_spelt(value) for value in row] for row in rows] == [[_plain(text) for text in row] for row in table[1:]]


def _spelt(value: object) -> str:
    return "" if value is None else _plain(str(value))


def _plain(text: str) -> str:
    return text.lower() if text.lower() in ("true", "false") else text


@pytest.mark.parametrize(
    ("read", "text"),
    [
        pytest.param(options.count, "0", id="count 0"),
        pytest.param(options.count, "1e3", id="count 1e3"),
        pytest.param(options.seconds, "nan", id="nan"),
        pytest.param(options.seconds, "-1", id="negative"),
        pytest.param(options.delimiter, "ab", id="two characters"),
        pytest.param(options.delimiter, '"', id="quote"),
        pytest.param(options.encoding, "utf-99", id="no encoding"),
        pytest.param(options.encoding, "base64", id="no text encoding"),
        pytest.param(options.load_id, "a b", id="load id"),
        pytest.param(options.load_id, "x" * 120, id="long load id"),
        pytest.param(options.actor, "", id="actor"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(text)
