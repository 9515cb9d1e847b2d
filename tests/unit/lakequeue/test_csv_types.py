"""Inferred types lose nothing that a column's text says, and text is read alike in the file and in the worker."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lakequeue.columns import parse_type
from lakequeue.values import encoder

from tests.csv_loading import Read, read


def column(folder: Path, values: list[str], *options: str) -> Read:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["c", "x"], *([v, "x"] for v in values)])
    path = folder / "rows.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return read(path, *options)


NOTED = [
    (["2024-01-01 10:00:00 UTC", "2024-01-01 10:00:00.5 UTC"], "TIMESTAMP", ""),
    (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00 -0500"], "TIMESTAMP", "without their offsets"),
    (["2024-01-01T10:00:00.123456000Z"], "TIMESTAMP", ""),
    (["2024-01-01T10:00:00.123456789Z"], "STRING", "finer than the microseconds"),
    (["2024-01-01 10:00:00  "], "TIMESTAMP_NTZ", ""),
    (["2024-01-01 "], "STRING", "with blanks around them"),
    ([" 17", "18"], "STRING", "numbers with blanks around them"),
    (["2024-01-01", "2024-01-01T10:00:00"], "STRING", "of more than one form"),
    (["2024-01-01 10:00:00 CET"], "STRING", "in a form that is not read"),
    (["31.12.2024", "01.02.2024"], "STRING", "not ISO 8601"),
    (["12/31/2024 10:00"], "STRING", "not ISO 8601"),
    (["true", "FALSE"], "BOOLEAN", "in more than one spelling"),
    (["12E4", "45E1"], "STRING", "1E5 and 10E4 would be equal"),
    (["1", "2", "2.50"], "STRING", "BIGINT until line 4; numbers whose text no number type gives back"),
    (["9007199254740993.5"], "STRING", "--columns c:DOUBLE or 'c:DECIMAL(p,s)'"),
    (["2,50", "1.234,00"], "STRING", "numbers with a decimal comma: --decimal ,"),
    (["1,234", "12,345"], "STRING", "if it is a decimal comma: --decimal ,"),
    (["1,234.50"], "STRING", "a comma between thousands"),
    (["1.234", "2.500"], "DOUBLE", "if 1.234 means 1234 here: --decimal ,"),
    (["0.125", "2.500"], "DOUBLE", ""),
    (["1.0", "2.0"], "DOUBLE", "--columns c:BIGINT"),
    (["1.50", "2.00"], "DOUBLE", ""),
    (["1 234,50", "2,00"], "STRING", "numbers with a decimal comma: --decimal ,"),
    (['="007"', '="12"'], "STRING", "as Excel writes it"),
    (["007", "12"], "STRING", ""),
    (["+5", "6"], "STRING", ""),
]


@pytest.mark.parametrize(("values", "inferred", "note"), NOTED, ids=[repr(values) for values, _, _ in NOTED])
def test_a_column_that_is_not_what_it_seems_says_why(
    tmp_path: Path, values: list[str], inferred: str, note: str
) -> None:
    found = column(tmp_path, values)
    assert found.types["c"] == inferred
    assert note in found.notes.get("c", "")
    assert bool(found.notes.get("c")) == bool(note) or values == ["007", "12"] or values == ["+5", "6"]


@pytest.mark.parametrize(
    ("many", "last", "note"),
    [
        pytest.param("{}", "2.50", "BIGINT until line 2002; numbers whose text no number type gives back", id="zeros"),
        pytest.param("{}", "2,50", "BIGINT until line 2002; numbers with a decimal comma", id="comma"),
        pytest.param("{}", "12E4", "BIGINT until line 2002; like numbers with an exponent", id="exponent"),
        pytest.param("{}", "007", "BIGINT until line 2002", id="leading zeros"),
        pytest.param("{}", "x", "BIGINT until line 2002", id="text"),
        pytest.param("{}.25", "2.500", "DOUBLE until line 2002; numbers whose text", id="fewer digits"),
        pytest.param("{}.25", "2,5", "DOUBLE until line 2002", id="comma after fractions"),
        pytest.param("1e-{}0", "1.50", "DOUBLE until line 2002; like numbers with an exponent", id="after exponents"),
        pytest.param("{}-01-01", "2024-01-01T10:00", "DATE until line 2002; dates or times with blanks", id="time"),
    ],
)
def test_a_value_after_thousands_of_another_kind_is_told_of_with_what_holds_for_all(
    tmp_path: Path, many: str, last: str, note: str
) -> None:
    found = column(tmp_path, [*(many.format(1000 + n if "{}-" in many else n % 9 + 1) for n in range(2_000)), last])
    assert (found.types["c"], found.notes["c"][: len(note)]) == ("STRING", note)
    assert ";" in note or found.notes["c"] == note


@pytest.mark.parametrize(
    ("values", "inferred", "sent"),
    [
        pytest.param(["2,50", "1.234,00"], "DOUBLE", ["2.50", "1234.00"], id="fractions"),
        pytest.param(["1.234", "5"], "BIGINT", [1234, 5], id="thousands"),
        pytest.param(
            ["1 234,50", "12\u202f345,00", "1\xa0234\xa0567,25"],
            "DOUBLE",
            ["1234.50", "12345.00", "1234567.25"],
            id="blanks between thousands",
        ),
        pytest.param(["2,5", "1.5"], "STRING", ["2,5", "1.5"], id="a point that divides no thousands"),
        pytest.param(["a.b", "1,5"], "STRING", ["a.b", "1,5"], id="text"),
        pytest.param(["2024-01-01"], "DATE", ["2024-01-01"], id="date"),
        pytest.param(["12E4"], "STRING", ["12E4"], id="code"),
        pytest.param(["1,234", "2,500"], "DOUBLE", ["1.234", "2.500"], id="three digits after the comma"),
        pytest.param(["1.5E3"], "STRING", ["1.5E3"], id="a point and an exponent"),
    ],
)
def test_a_decimal_comma_is_read_where_the_user_says_so(
    tmp_path: Path, values: list[str], inferred: str, sent: list[object]
) -> None:
    found = column(tmp_path, values, "--decimal", ",")
    assert (found.types["c"], [row["c"] for row in found.rows]) == (inferred, sent)
    assert "--decimal" not in found.notes.get("c", "")


def test_a_decimal_comma_is_read_in_columns_of_a_declared_type(tmp_path: Path) -> None:
    found = column(tmp_path, ["1.234,50"], "--decimal", ",", "--columns", "c:DECIMAL(10,2),x:STRING", "--no-create")
    assert found.rows == [{"c": "1234.50", "x": "x"}]
    with pytest.raises(Exception, match="line 2, column 'c': DOUBLE takes a number"):
        column(tmp_path, ["1.5"], "--decimal", ",", "--columns", "c:DOUBLE")
    with pytest.raises(Exception, match="needs the types of all columns"):
        column(tmp_path, ["1.5"], "--decimal", ",", "--no-create")


digits = st.text("0123456789", min_size=1, max_size=18)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds("{}.{}".format, digits, digits),
    st.builds("{}E{}".format, st.integers(1, 99), st.integers(0, 9)),
    st.builds("{:.{}f}".format, st.floats(-1e9, 1e9), st.integers(1, 6)),
    st.sampled_from(["1.0", "1.00", "1", "-0.0", "0.0", "-0", "0", ".5", "0.5", "1e5", "100000.0", "+1", "1e-05"]),
)


@given(st.lists(numbers, min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_two_texts_of_a_column_become_the_same_number(tmp_path: Path, values: list[str]) -> None:
    found = column(tmp_path, values)
    encode = encoder(parse_type(found.types["c"]))
    stored = [encode(row["c"]) for row in found.rows]
    assert len(set(stored)) == len(set(values))


@pytest.mark.parametrize("options", [[], ["--decimal", ","], ["--no-header"]], ids=["plain", "comma", "no header"])
@pytest.mark.parametrize(
    "text", ["1" * 400_000 + "x", "1." * 200_000, "a@" + "b." * 200_000], ids=["digits", "points", "@"]
)
def test_a_long_text_that_is_nearly_a_number_is_read_in_linear_time(
    tmp_path: Path, text: str, options: list[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"c,x\n{text},x\n{text},x\n")
    assert list(read(path, *options).rows[-1].values()) == [text, "x"]


@pytest.mark.parametrize(
    ("sql", "text", "stored"),
    [
        ("BOOLEAN", "TRUE", "true"), ("BOOLEAN", "False", "false"), ("BOOLEAN", "yes", None),
        ("BIGINT", "+5", "5"), ("BIGINT", "007", "7"), ("BIGINT", "1.0", "1"), ("BIGINT", "-0", "0"),
        ("BIGINT", "1.5", None), ("BIGINT", "1e3", None), ("BIGINT", " 1", None), ("INT", "0" * 50 + "7", "7"),
        ("DECIMAL(5,2)", "+5", "5"), ("DECIMAL(5,2)", "007", "7"), ("DECIMAL(5,2)", "1.0", "1"),
        ("DOUBLE", "+5", "5.0"), ("DOUBLE", "007", "7.0"), ("DOUBLE", "1.0", "1.0"), ("DOUBLE", "TRUE", None),
        ("STRING", "007", "007"), ("STRING", "TRUE", "TRUE"), ("DATE", "2024-01-01 ", None),
        ("TIMESTAMP", "2024-01-01 10:00:00 UTC", "2024-01-01T10:00:00.000000Z"),
    ],
)  # fmt: skip
def test_text_has_one_answer_with_and_without_its_type_in_the_file_and_in_the_worker(
    tmp_path: Path, sql: str, text: str, stored: str | None
) -> None:
    encode = encoder(parse_type(sql))
    for create in ([], ["--no-create"]):
        untyped = column(tmp_path, [text], "--no-create")
        assert untyped.rows[0]["c"] == text  # the worker encodes it for the table's column
        if stored is None:
            with pytest.raises(ValueError, match="takes"):
                encode(text)
            with pytest.raises(Exception, match=f"line 2, column 'c': {sql} takes"):
                column(tmp_path, [text], "--columns", f"c:{sql}", *create)
        else:
            typed = column(tmp_path, [text], "--columns", f"c:{sql}", *create)
            assert (encode(text), encode(typed.rows[0]["c"])) == (stored, stored)
