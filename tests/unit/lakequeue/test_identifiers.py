"""Names are refused before they reach SQL, and canonical once accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakequeue.identifiers import TableName, check_column_name, check_job_id, check_new_column_name

TABLES = {
    "plain": ("main.sales.orders", "main.sales.orders"),
    "lowercased": ("Main.SALES.Orders", "main.sales.orders"),
    "backticks": ("`main`.`my-schema`.`orders`", "main.my-schema.orders"),
    "some in backticks": ("main.`Sales`.orders", "main.sales.orders"),
    "other scripts": ("目录.größe.t", "目录.größe.t"),
    "digits first": ("1.2.3", "1.2.3"),
    "longest": (f"main.s.{'t' * 255}", f"main.s.{'t' * 255}"),
    "quotes and semicolons": ("main.s.t';--", "main.s.t';--"),
}


@pytest.mark.parametrize(("text", "canonical"), TABLES.values(), ids=TABLES)
def test_a_table_name_is_canonical(text: str, canonical: str) -> None:
    assert str(TableName.parse(text)) == canonical


BAD_TABLES = {
    "empty": "",
    "one part": "orders",
    "two parts": "sales.orders",
    "four parts": "a.b.c.d",
    "empty part": "a..c",
    "trailing dot": "a.b.c.",
    "space": "a.b.my table",
    "spaces around": " a.b.c ",
    "slash": "a.b.c/d",
    "newline at the end": "a.b.c\n",
    "control character": "a.b.c\x01",
    "DEL": "a.b.c\x7f",
    "NUL": "a.b.c\x00",
    "lone surrogate": "a.b.\ud800",
    "256 characters": f"a.b.{'t' * 256}",
    "256 characters in lowercase": f"a.b.{'İ' * 128}",
    "one backtick": "a.b.`c",
    "inner backtick": "a.b.`c``d`",
    "quoted dot": "`a.b`.c.d",
    "only backticks": "a.b.``",
}


@pytest.mark.parametrize("text", BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a (table|catalog|schema)") as refused:
        TableName.parse(text)
    str(refused.value).encode()


@pytest.mark.parametrize("parts", [("a", "b", "c.d"), ("a", "", "c"), ("a", "b", None)], ids=["dot", "empty", "None"])
def test_the_constructor_checks_too(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=r"a (schema|table) name"):
        TableName(*parts)


@given(st.text(), st.text(), st.text())
def test_the_dotted_form_reads_back_as_the_same_table(catalog: str, schema: str, table: str) -> None:
    try:
        name = TableName(catalog, schema, table)
    except ValueError:
        return
    assert TableName.parse(str(name)) == name
    assert TableName(*str(name).split(".")) == name


@pytest.mark.parametrize("name", ["id", "Amount", "a.b", "a-b", "a`b", "größe", "x" * 255, "a/b", "'"])
def test_a_column_name_keeps_its_case(name: str) -> None:
    assert check_column_name(name) == name


_MAPPED = ["a b", "a,b", "a;b", "{a", "a}", "(a", "a)", "a=b", "Unit Price ($)", "it's; --"]


@pytest.mark.parametrize("name", _MAPPED)
def test_what_delta_takes_under_column_mapping_only_is_no_name_of_a_new_column(name: str) -> None:
    assert check_column_name(name) == name
    with pytest.raises(ValueError, match="a column name cannot hold"):
        check_new_column_name(name)


@pytest.mark.parametrize("name", ["", "a\nb", "a\tb", "a\rb", "\x7f", "\udfff", "x" * 256])
def test_what_is_no_column_name_is_refused(name: str) -> None:
    for check in (check_column_name, check_new_column_name):
        with pytest.raises(ValueError, match="a column name"):
            check(name)


@pytest.mark.parametrize("text", ["a", "0001:x-y_z.9", "A" * 255, "orders/2024/17", "größe@shop", "٣", "a,b;c=d"])
def test_a_job_id_is_taken_as_it_is(text: str) -> None:
    assert check_job_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "a b", "a\n", "a\xa0b", "\u202ea", "A" * 256, 'a"', "a'", "a\\", "<b>", "\ud800", None, 7]
)
def test_a_bad_job_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a job id is"):
        check_job_id(text)
