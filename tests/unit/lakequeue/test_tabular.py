"""How tables are printed: widths, ages, numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lakequeue import tabular


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "0s"), (0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (3_599, "59m59s"), (3_600, "1h00m"), (86_399, "23h59m"),
     (100_000, "1d03h")],
    ids=str,
)  # fmt: skip
def test_a_span_has_its_two_largest_units(seconds: float, told: str) -> None:
    assert tabular.span(seconds) == told


def test_an_age_is_counted_from_now() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert tabular.age(now - timedelta(minutes=3, seconds=20), now) == "3m20s"
    assert tabular.age(None, now) == ""


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("a", "b", "c" * 14), ("long cell", "b", "c")]
    assert list(tabular.table(("ONE", "TWO", "THREE"), rows, 30)) == [
        "ONE        TWO  THREE",
        "a          b    " + "c" * 14,
        "long cell  b    c",
    ]


def test_a_last_cell_that_does_not_fit_stands_below_and_is_not_cut() -> None:
    rows = [("a", "b", "why it waits " * 3), ("a", "b", "c"), ("a", "b", "")]
    assert list(tabular.table(("ONE", "TWO", "NOTE"), rows, 20)) == [
        "ONE  TWO  NOTE",
        "a    b",
        "    note: " + "why it waits " * 3,
        "a    b    c",
        "a    b",
    ]


def test_one_huge_name_moves_no_other_line() -> None:
    rows = [("t" * 200, "1", ""), ("short", "2", "")]
    assert list(tabular.table(("TABLE", "QUEUED", "NOTE"), rows, 80)) == [
        "TABLE  QUEUED  NOTE",
        "t" * 200 + "  1",
        "short  2",
    ]


def test_no_rows_are_no_lines() -> None:
    assert list(tabular.table(("ONE",), [], 30)) == []


def test_a_line_is_never_cut_before_its_last_column() -> None:
    assert list(tabular.table(("ONE", "TWO"), [("a" * 40, "")], 7)) == ["ONE", "a" * 40]


def test_one_is_singular() -> None:
    assert [tabular.counted(many, "job") for many in (0, 1, 1_000)] == ["0 jobs", "1 job", "1,000 jobs"]


@pytest.mark.parametrize(("value", "told"), [(None, ""), (0, "0"), (1_234_567, "1,234,567")], ids=str)
def test_numbers_are_in_groups(value: int | None, told: str) -> None:
    assert tabular.number(value) == told
