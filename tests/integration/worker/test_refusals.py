"""What cannot be right is refused with its place, before anything reaches the warehouse."""

from __future__ import annotations

from typing import Any

import pytest
from lakequeue import InvalidJob, JobFailed

from tests.fix_system import System

DEFINITION = [{"name": "id", "data_type": "BIGINT"}, {"name": "note", "data_type": "STRING"}]


def body(**changes: Any) -> dict[str, Any]:
    job = {
        "kind": "write",
        "catalog": "shop",
        "schema": "sales",
        "table": "refused",
        "auto_create": True,
        "schema_definition": DEFINITION,
        "data": [{"id": 1, "note": "x"}],
    }
    return {**job, **changes}


REFUSED: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("a bad catalog", body(catalog="no good"), ["catalog"]),
    (
        "an unknown type",
        body(schema_definition=[{"name": "id", "data_type": "BIGNUM"}]),
        ["schema_definition", 0, "data_type"],
    ),
    (
        "a wrong value in row 7",
        body(data=[{"id": "seven" if i == 7 else i} for i in range(10)]),
        ["data", 7, "id"],
    ),
    (
        "10,000 columns",
        body(schema_definition=None, auto_create=False, data=[{f"c{i}": i for i in range(10_000)}]),
        ["data", 0],
    ),
    ("a 20 MB string", body(data=[{"id": 1, "note": "x" * 21_000_000}]), ["data", 0, "note"]),
    ("a 2 MB string", body(data=[{"id": 1, "note": "x" * 2_000_000}]), ["data"]),
    ("a lone surrogate", body(data=[{"id": 1, "note": "a\ud800b"}]), ["data", 0, "note"]),
    ("NaN in a BIGINT", body(data=[{"id": float("nan")}]), ["data", 0, "id"]),
    (
        "a quote-and-semicolon identifier",
        body(schema_definition=[{"name": "id'; DROP TABLE x; --", "data_type": "INT"}]),
        ["schema_definition", 0, "name"],
    ),
    ("a quote-and-semicolon table", body(table="t`; DROP TABLE x; --"), ["table"]),
]


@pytest.mark.parametrize(("job", "loc"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_it_is_refused_in_the_producer(system: System, job: dict[str, Any], loc: list[Any]) -> None:
    before = system.warehouse.counts()
    with pytest.raises(InvalidJob) as caught:
        system.queue.enqueue(job)
    assert caught.value.to_dict()["error"] is True
    assert loc in [each["loc"] for each in caught.value.details["errors"]]
    assert len(caught.value.message) < 1000
    assert system.warehouse.counts() == before


@pytest.mark.parametrize(
    ("row", "loc"),
    [
        ({"id": "NaN"}, ["data", 1, "id"]),
        ({"id": 2**70}, ["data", 1, "id"]),
        ({"id": 1, "nope": 1}, ["data", 1, "nope"]),
        ({"id": 1, "id'; DROP TABLE x; --": 1}, ["data", 1, "id'; DROP TABLE x; --"]),
        ({"id": 1, "Created_By": "me"}, ["data", 1, "Created_By"]),
    ],
    ids=["NaN in a BIGINT", "a number too large", "an unknown column", "a quote-and-semicolon column", "a stamp"],
)
def test_where_only_the_table_can_tell_it_fails_alone_and_names_the_place(
    system: System, table: str, row: dict[str, Any], loc: list[Any]
) -> None:
    first = system.queue.write(table, [{"id": 0}], auto_create=True, schema_definition=DEFINITION)
    assert first.result(timeout=30).count == 1
    good = [system.queue.write(table, [{"id": i}]) for i in range(3)]
    bad = system.queue.write(table, [{"id": 1}, row])
    good += [system.queue.write(table, [{"id": i}]) for i in range(3)]
    with pytest.raises(JobFailed) as caught:
        bad.result(timeout=30)
    assert caught.value.details["errors"][0]["loc"] == loc
    assert [handle.result(timeout=30).count for handle in good] == [1] * 6


def test_a_filter_that_does_not_fit_names_its_place(system: System, table: str) -> None:
    system.queue.write(table, [{"id": 0}], auto_create=True, schema_definition=DEFINITION).result(timeout=30)
    wrong: list[tuple[dict[str, Any], list[Any]]] = [
        ({"filters": [{"column": "id", "op": "=", "value": "x"}]}, ["filters", 0, "value"]),
        ({"filters": [{"column": "id", "op": "LIKE", "value": "x"}]}, ["filters", 0, "op"]),
        ({"filters": [{"column": "nope", "op": "=", "value": 1}]}, ["filters", 0, "column"]),
        ({"columns": "id,nope"}, ["columns", 1]),
        ({"order_by": "-nope"}, ["order_by", 0]),
    ]
    for fields, loc in wrong:
        with pytest.raises(JobFailed) as caught:
            system.queue.read(table, **fields).result(timeout=30)
        assert caught.value.details["errors"][0]["loc"] == loc
