"""CSV files of other programs: each is read as it was meant, or refused with the option that reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lakequeue.csv_dialect import Dialect
from lakequeue.csv_file import CsvFile

from tests.csv_loading import dry_run, read


def written(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


REFUSED = {
    "audit_header": (
        b"id,created_at,updated_at\n1,2024-01-01,2024-01-02\n",
        [
            "line 1: column 2: 'created_at' is stamped by the worker",
            "--rename created_at=",
            "--drop created_at",
            "--drop updated_at",
        ],
    ),
    "backslash_quotes": (b'id,name\n1,"say \\"hi\\""\n', ["line 2", "--escape '\\'"]),
    "backslash_quotes_comma": (b'id,name,x\n3,"a\\",b",y\n', ["line 2: 4 fields", "--escape '\\'"]),
    "comment_lines": (b"# exported 2024\nid,name\n1,Ann\n", ["line 1", "--comment '#'"]),
    "footer": (b"id,name\n1,Ann\n2,Bob\nTotal: 2 rows\n", ["line 4: 1 fields", "--skip-footer 1"]),
    "leading_blank_lines": (b"\n\nid,name\n1,Ann\n", ["line 1: is blank", "--skip-lines 2"]),
    "no_header": (b"1,Ann,2.5\n2,Bob,3.5\n3,Cy,4.5\n", ["line 1: the first line looks like data", "--no-header"]),
    "pandas_index": (b",id,x\n0,a,b\n", ["column 1: a column name cannot be empty", "--rename =NAME", "--drop ''"]),
    "quoted_header_nl": (b'id,"Unit\nPrice"\n1,2\n', ["column 2", "--rename 'Unit Price=unit_price'", "--normalize-n"]),
    "space_before_quote": (b'id,name\n1, "Ann"\n2, "Bob, Jr"\n', ["line 3: 3 fields", "--skip-initial-space"]),
    "space_header": (b"Order ID,Unit Price ($)\n1,2.50\n", ["--rename 'Order ID=order_id'", "--normalize-names"]),
    "trailing_delim_all": (b"id,name,\n1,Ann,\n2,Bob,\n", ["column 3: a column name cannot be empty", "--drop ''"]),
    "trailing_delim_rows": (b"id,name\n1,Ann,\n2,Bob,\n", ["every row ends in a delimiter", "--drop ''"]),
    "unicode_nfd": ("caf\u00e9,cafe\u0301\n1,2\n".encode(), ["columns 1 and 2 have the same name", "Unicode forms"]),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_would_be_misread_is_refused_with_the_option_that_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, says: list[str]
) -> None:
    code, told = dry_run(written(tmp_path, content), capsys)
    assert (code, "nothing was sent" in told) == (1, True), told
    assert [each for each in says if each not in told] == [], told


MENDED = {
    "audit_header": (["--rename", "created_at=made_at", "--drop", "updated_at"], {"id": 1, "made_at": "2024-01-01"}),
    "backslash_quotes": (["--escape", "\\"], {"id": 1, "name": 'say "hi"'}),
    "backslash_quotes_comma": (["--escape", "\\"], {"id": 3, "name": 'a",b', "x": "y"}),
    "comment_lines": (["--comment", "#"], {"id": 1, "name": "Ann"}),
    "footer": (["--skip-footer", "1"], {"id": 1, "name": "Ann"}),
    "leading_blank_lines": (["--skip-lines", "2"], {"id": 1, "name": "Ann"}),
    "no_header": (["--no-header"], {"c1": 1, "c2": "Ann", "c3": "2.5"}),
    "pandas_index": (["--rename", "=n"], {"n": 0, "id": "a", "x": "b"}),
    "quoted_header_nl": (["--rename", "Unit Price=price"], {"id": 1, "price": 2}),
    "space_before_quote": (["--skip-initial-space"], {"id": 1, "name": "Ann"}),
    "space_header": (["--normalize-names"], {"order_id": 1, "unit_price": "2.50"}),
    "trailing_delim_all": (["--drop", ""], {"id": 1, "name": "Ann"}),
    "trailing_delim_rows": (["--drop", ""], {"id": 1, "name": "Ann"}),
    "unicode_nfd": (["--normalize-names"], {"café": 1, "café_2": 2}),
}


@pytest.mark.parametrize("file", REFUSED)
def test_the_option_that_a_refusal_names_reads_the_file(tmp_path: Path, file: str) -> None:
    options, first = MENDED[file]
    assert read(written(tmp_path, REFUSED[file][0]), *options).rows[0] == first


ANN = {"id": 1, "name": "Ann"}
READ = {
    "pipe_default": (b"id|name|amount\n1|Ann|2.50\n2|Bob|3.50\n", [], {**ANN, "amount": "2.50"}, "divided by '|'"),
    "caret_default": (b"id^name\n1^Ann\n", [], ANN, "divided by '^'"),
    "colon_default": (b"id:name\n1:Ann\n", [], ANN, "divided by ':'"),
    "semicolon_default": (b"id;name;amount\n1;Ann;2,50\n", [], {**ANN, "amount": "2,50"}, "divided by ';'"),
    "semicolon_decimal": (b"id;name;amount\n1;Ann;2,50\n", ["--decimal", ","], {**ANN, "amount": "2.50"}, ""),
    "tab_default": (b"id\tname\n1\tAnn\n", [], ANN, "divided by '\\t'"),
    "sep_line": (b"sep=;\nid;name\n1;Ann\n", ["--delimiter", ";"], ANN, ""),
    "sep_line_alone": (b"sep=;\r\nid;name\r\n1;Ann\r\n", [], ANN, ""),
    "bom_cp1252": (
        b"\xef\xbb\xbfid,name\r\n1,\xc3\xa9\r\n", ["--encoding", "cp1252"], {"id": 1, "name": "é"}, "read as UTF-8"
    ),
    "ws_header": (b"id, name ,x\n1,a,b\n", [], {"id": 1, "name": "a", "x": "b"}, "blanks around names"),
    "int_as_float": (b"id,n\n1,1.0\n2,\n3,3.0\n", [], {"id": 1, "n": "1.0"}, "--columns n:BIGINT"),
    "int_as_float_declared": (b"id,n\n1,1.0\n2,\n3,3.0\n", ["--columns", "n:BIGINT"], {"id": 1, "n": 1}, ""),
    "sku_sci": (
        b"sku,hash\n12E4,1234567\n45E1,12e4567\n78E10,99e1234\n", [], {"sku": "12E4", "hash": "1234567"},
        "sku   STRING  (like numbers with an exponent",
    ),
    "sci_collide": (b"code\n1E5\n100000\n10E4\n", [], {"code": "1E5"}, "--columns code:DOUBLE"),
    "version": (b"version\n1.10\n1.1\n1.20\n", [], {"version": "1.10"}, "1.10 beside 1.1"),
    "thousands_eu": (b"n\n1.234\n12.345\n", ["--delimiter", ";"], {"n": "1.234"}, "--decimal ,"),
    "thousands_eu_decimal": (b"n\n1.234\n12.345\n", ["--delimiter", ";", "--decimal", ","], {"n": 1234}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("content", "options", "first", "says"), READ.values(), ids=READ)
def test_a_file_of_another_form_is_read_as_it_was_meant_and_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    options: list[str],
    first: dict[str, object],
    says: str,
) -> None:
    path = written(tmp_path, content)
    assert read(path, *options).rows[0] == first
    code, told = dry_run(path, capsys, *options)
    assert (code, says in told) == (0, True), told


# The delimiter


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param("id|name\n1|Ann|x\n2|Bob\n", "--delimiter '|'", id="not every line alike"),
        pytest.param("a;b|c\n1;2|3\n", "--delimiter ';' or --delimiter '|'", id="two that divide"),
        pytest.param('id;"Last, first";x\n1;a;2\n', "--delimiter ';'", id="a comma within a name"),
        pytest.param("at:utc\n10:30\n11:45\n", "--delimiter ':'", id="times under a name with a colon"),
        pytest.param("10:30\n11:45\n", "--delimiter ':'", id="times alone"),
    ],
)
def test_a_delimiter_without_clear_evidence_is_named_and_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, named: str
) -> None:
    code, told = dry_run(written(tmp_path, content), capsys)
    assert (code, named in told) == (1, True), told


@pytest.mark.parametrize(
    ("content", "first"),
    [
        pytest.param("at\n10:30\n11:45\n", {"at": "10:30"}, id="one column of times"),
        pytest.param("text\na;b\nc;d\n", {"text": "a;b"}, id="one column of text"),
        pytest.param("a:b\n1\n2\n", {"a:b": 1}, id="a name that holds one"),
        pytest.param("a|b,c\n1|2,3\n", {"a|b": "1|2", "c": 3}, id="the comma divides the header"),
    ],
)
def test_a_file_that_the_comma_divides_is_read_as_before(
    tmp_path: Path, content: str, first: dict[str, object]
) -> None:
    assert read(written(tmp_path, content)).rows[0] == first


def test_an_excel_hint_that_contradicts_the_option_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = dry_run(written(tmp_path, "sep=;\na;b\n1;2\n"), capsys, "--delimiter", "|")
    assert (code, "line 1: says that ';' divides its fields, not '|'" in told) == (1, True), told


# Lines


def test_a_blank_line_of_a_one_column_file_is_a_row_of_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "n\n1\n\n3\n")
    assert read(path).values() == [[1], [None], [3]]
    assert "1 blank line read as a row with an empty field" in dry_run(path, capsys)[1]
    with pytest.raises(Exception, match="line 3, column 'n': the column is NOT NULL"):
        read(path, "--columns", "n:BIGINT NOT NULL")


def test_comments_between_records_are_left_out_and_lines_stay_those_of_an_editor(tmp_path: Path) -> None:
    path = written(tmp_path, '# one\n# two "\na,b\n1,"x\n# text"\n# three\n2,y\n')
    assert read(path, "--comment", "#").values() == [[1, "x\n# text"], [2, "y"]]
    with pytest.raises(Exception, match="line 7, column 'b'"):
        read(path, "--comment", "#", "--columns", "b:VARCHAR(8) NOT NULL", "--null", "y")


def test_a_footer_of_several_lines_is_counted_to_the_end_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a,b\n1,x\n\nRows: 1\nDone\n")
    assert "line 4: 1 fields" in (told := dry_run(path, capsys)[1])
    assert "--skip-footer 2" in told
    assert read(path, "--skip-footer", "2").values() == [[1, "x"]]


def test_a_short_row_amid_the_file_is_no_footer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = dry_run(written(tmp_path, "a,b\n1\n" + "1,x\n" * 100), capsys)[1]
    assert "line 2: 1 fields, but the header names 2 columns\n" in told


def test_rows_with_a_name_before_the_first_field_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, '"a","b"\n"1",1,"x"\n"2",2,"y"\n')
    assert "as R writes it: --skip-lines 1 --no-header" in dry_run(path, capsys)[1]
    assert read(path, "--skip-lines", "1", "--no-header").values() == [[1, 1, "x"], [2, 2, "y"]]


def test_one_column_with_a_decimal_comma_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "n\n1,5\n2,25\n")
    assert "--delimiter ';' --decimal ," in dry_run(path, capsys, "--decimal", ",")[1]
    assert read(path, "--decimal", ",", "--delimiter", ";").values() == [["1.5"], ["2.25"]]


def test_one_column_without_a_header_is_not_divided_at_its_colons(tmp_path: Path) -> None:
    assert read(written(tmp_path, "10:30\n11:45\n"), "--no-header").values() == [["10:30"], ["11:45"]]


fields = st.text(st.sampled_from('ab,"\n\r \\'), max_size=4)
ends = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.lists(fields, min_size=2, max_size=2), min_size=1, max_size=60), ends)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_and_their_lines_are_those_of_an_editor(tmp_path: Path, table: list[list[str]], end: str) -> None:
    text, starts = "a,b" + end, []
    for row in table:
        starts.append(len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")))
        text += ",".join('"' + field.replace('"', '""') + '"' for field in row) + end
    for dialect in (Dialect(), Dialect(comment="never"), Dialect(escape="|"), Dialect(header=True)):
        file = CsvFile(written(tmp_path, text), dialect, max_field_chars=1_000)
        blocks = list(file.blocks(7))
        assert [list(row) for block in blocks for row in block.rows] == table
        assert [line for block in blocks for line in block.lines] == starts
        assert [block.first for block in blocks] == list(range(1, len(table) + 1, 7))


def test_a_title_above_the_header_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "Report\nid,name\n1,Ann\n")
    assert "--skip-lines 1" in dry_run(path, capsys)[1]
    assert read(path, "--skip-lines", "1").values() == [[1, "Ann"]]


def test_the_second_header_of_joined_files_is_refused_at_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "id,name\n1,Ann\n\ufeffid,name\n2,Bob\n")
    code, told = dry_run(path, capsys)
    assert (code, "line 3: repeats the header" in told) == (1, True), told
    assert len(read(path, "--header").rows) == 3


def test_a_backslash_stands_for_itself_but_before_what_it_escapes(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b,c\n"C:\\temp",\\N,"x\\\\"\n"a\\,b",c\\,d,"e\\"f"\n')
    assert read(path, "--escape", "\\", "--null", "\\N").values() == [["C:\\temp", None, "x\\"], ["a,b", "c,d", 'e"f']]


def test_quotes_after_a_blank_get_a_note_where_no_row_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,name\n1, "Ann"\n')
    assert read(path).rows == [{"id": 1, "name": ' "Ann"'}]
    assert "--skip-initial-space" in read(path).said


# The header


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        pytest.param("a@b.de,x\nb@c.de,y\n", "refused", id="an address"),
        pytest.param("31.12.2024,x\n01.01.2025,y\n", "refused", id="a date that is not ISO 8601"),
        pytest.param("1,Ann\n2,Bob\n", "refused", id="an id and a name"),
        pytest.param("2024-01-01,x\n2024-01-02,y\n", "refused", id="a date"),
        pytest.param("2019,2020\n1,2\n", "noted", id="years"),
        pytest.param("country,2019,2020\nChile,1.5,2.5\n", "noted", id="years of a wide table"),
        pytest.param("0,1,2\n5,6,7\n", "noted", id="numbered columns"),
        pytest.param("id,2.5\n1,3.5\n", "fine", id="one name that is none of its values"),
        pytest.param("a,b\nx,y\n", "fine", id="all text"),
    ],
)
def test_a_first_line_that_looks_like_data_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, looks: str
) -> None:
    path = written(tmp_path, content)
    code, told = dry_run(path, capsys)
    assert (code, "looks like data" in told) == {"refused": (1, True), "noted": (0, True), "fine": (0, False)}[looks]
    assert "looks like data" not in dry_run(path, capsys, "--header")[1]


def test_a_file_without_a_header_is_named_by_columns_in_order_or_by_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "1,Ann\n2,Bob\n")
    in_order = read(path, "--no-header", "--columns", "id:INT,name:STRING")
    assert in_order.rows == [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}]
    numbered = read(path, "--no-header", "--columns", "c1:INT", "--rename", "c2=name")
    assert (numbered.types, len(numbered.rows)) == ({"c1": "INT", "name": "STRING"}, 2)
    code, told = dry_run(path, capsys, "--no-header", "--columns", "id:INT")
    assert (code, "--columns names 1 columns, but the file has 2" in told) == (1, True), told


def test_columns_are_renamed_and_dropped_without_case_form_or_kind_of_blanks(tmp_path: Path) -> None:
    path = written(tmp_path, "Caf\u00e9,Order  Date,x=y,d\n1,2,3,4\n")
    read_as = read(
        path,
        "--rename",
        "cafe\u0301=a",
        "--rename",
        "order date=b",
        "--rename",
        "x=y=c",
        "--drop",
        "D",
        "--columns",
        "B:INT",
    )
    assert read_as.rows == [{"a": 1, "b": 2, "c": 3}]
    assert read_as.types["b"] == "INT"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--drop", "nmae"], "--drop: the header has no 'nmae'; did you mean 'name'?", id="drop"),
        pytest.param(["--rename", "nmae=x"], "--rename: the header has no 'nmae'", id="rename"),
        pytest.param(["--drop", "id", "--drop", "name"], "--drop leaves no column", id="all dropped"),
        pytest.param(["--rename", "id=name"], "'name' is declared twice", id="a name that is taken"),
        pytest.param(["--rename", "id=a", "--rename", "id=b"], "given twice", id="twice"),
    ],
)
def test_names_that_make_no_sense_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    code, told = dry_run(written(tmp_path, "id,name\n1,Ann\n"), capsys, *options)
    assert (code, says in told) == (1, True), told


def test_a_column_is_declared_by_its_very_name_before_one_that_is_alike(tmp_path: Path) -> None:
    path = written(tmp_path, "stra\u00dfe,strasse\n1,2\n")
    for name in ("stra\u00dfe", "strasse"):
        assert [key for key, sql in read(path, "--columns", f"{name}:INT").types.items() if sql == "INT"] == [name]


def test_marks_and_spaces_of_no_width_are_no_part_of_a_name(tmp_path: Path) -> None:
    found = read(written(tmp_path, "\ufeff\ufeffid,\u200bx\xa0\n1,2\n"))
    assert (list(found.types), "blanks around names" in found.said) == (["id", "x"], True)


def test_the_values_of_a_dropped_column_are_not_looked_at(tmp_path: Path) -> None:
    path = written(tmp_path, "id,junk,n\n1,\u00c3\u00a9,2\n")
    assert read(path, "--drop", "junk").said == ""
    assert read(path, "--drop", "junk", "--drop", "id").rows == [{"n": 2}]


def test_a_trailing_delimiter_that_not_every_row_has_is_no_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, says in (
        (
            "a,b\n1,2,\n3,4,5\n",
            "line 2: 3 fields, but the header names 2 columns; it ends in a delimiter, and not every",
        ),
        ("a,b\n" + "1,2,\n" * 300 + "3,4,5\n", "line 302: 3 fields, but the header names 2 columns"),
        ("a,b\n" + "1,2,\n" * 300 + "3,5\n", "line 302: the row does not end in a delimiter, as the first rows do"),
        ("a,b\n1,2\n3,4,\n", "line 3: 3 fields, but the header names 2 columns; it ends in a delimiter"),
    ):
        code, told = dry_run(written(tmp_path, content), capsys, *(["--drop", ""] if len(content) > 99 else []))
        assert (code, says in told) == (1, True), told


def test_normalized_names_are_free_and_made_of_letters_digits_and_underscores(tmp_path: Path) -> None:
    path = written(tmp_path, 'Order ID,order-id,,"Größe (cm)",2019\n1,2,3,4,5\n')
    assert list(read(path, "--normalize-names").types) == ["order_id", "order_id_2", "column_3", "größe_cm", "2019"]


# Nulls


def test_another_null_leaves_an_empty_field_null_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\n,1\nNA,2\nx,""\n')
    assert read(path, "--null", "NA").values() == [[None, 1], [None, 2], ["x", None]]
    assert read(path, "--null", "").values() == [[None, 1], ["NA", 2], ["x", None]]
    assert read(path, "--null", "NA", "--keep-empty").values() == [["", "1"], [None, "2"], ["x", ""]]
