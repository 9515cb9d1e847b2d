"""The law of folding: one statement for many jobs leaves the table, and tells of each job, what they do one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lakequeue import Delete, TableName, Update, Write
from lakequeue.columns import parse_type

from tasks.batches import Batch, Gathering, Limits
from tasks.fold import Folded, Found
from tasks.prepared import Key, Prepared, key_of, prepare
from tasks.table import AUDIT_TYPES, Column, Table
from tests.contract import Row, one_by_one

NAME = TableName("c", "s", "t")
TABLE = Table(
    NAME,
    (
        Column("k", parse_type("INT")),
        Column("a", parse_type("STRING")),
        Column("b", parse_type("INT")),
        *(Column(name, parse_type(sql_type)) for name, sql_type in AUDIT_TYPES.items()),
    ),
    "id",
)

keys = st.integers(0, 3)
texts = st.none() | st.sampled_from(["x", "y"])
numbers = st.none() | st.integers(0, 2)
actors = st.none() | st.sampled_from(["ann", "bob"])
updates = st.one_of(
    st.fixed_dictionaries({"a": texts}),
    st.fixed_dictionaries({"b": numbers}),
    st.fixed_dictionaries({"a": texts, "b": numbers}),
)


@st.composite
def jobs(draw: st.DrawFn) -> Any:
    common: dict[str, Any] = {"table": str(NAME), "actor": draw(actors)}
    match draw(st.sampled_from(["append", "append", "upsert", "insert_if_absent", "update", "update", "soft", "hard"])):
        case "append":
            row = st.fixed_dictionaries({"k": st.none() | keys}, optional={"a": texts, "b": numbers})
            return Write(data=draw(st.lists(row, min_size=1, max_size=3)), **common)
        case ("upsert" | "insert_if_absent") as mode:
            wide = draw(st.booleans())
            chosen = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
            data = [{"k": k, "a": draw(texts), **({"b": draw(numbers)} if wide else {})} for k in chosen]
            return Write(data=data, mode=mode, key_columns=["k"], **common)
        case "update":
            chosen = draw(st.lists(keys, min_size=1, max_size=2, unique=True))
            rows = [{"key": {"k": k}, "updates": draw(updates)} for k in chosen]
            return Update(rows=rows, must_exist=draw(st.booleans()), **common)
        case kind:
            chosen = draw(st.lists(keys, min_size=1, max_size=2, unique=True))
            return Delete(
                keys=[{"k": k} for k in chosen], soft=kind == "soft", must_exist=draw(st.booleans()), **common
            )


stored = st.builds(
    Row,
    k=st.none() | keys.map(str),
    a=texts,
    b=numbers.map(lambda n: None if n is None else str(n)),
    deleted=st.booleans(),
)


def apply(rows: Sequence[Row], folded: Folded) -> list[Row]:
    """What a MERGE of the sources does, by its definition: each target row against the source row of its key."""
    by_key = {source.key: source for source in folded.sources if source.op != "I"}
    assert len(by_key) == sum(1 for source in folded.sources if source.op != "I"), "a key has two source rows"
    result = []
    for row in rows:
        source = by_key.get((row.k,)) if row.k is not None else None
        if source is None or (source.op == "U" and row.deleted):
            result.append(row)
        elif source.op == "U":
            changed = {**row.__dict__, **source.values, "updated_by": source.updated_by}
            result.append(Row(**{**changed, "deleted": row.deleted or source.soft}))
    for source in folded.sources:
        if source.op == "I":
            new = Row(source.values.get("k"), source.values.get("a"), source.values.get("b"))
            by = {"created_by": source.created_by, "updated_by": source.updated_by}
            result.append(replace(new, job=source.job_id, deleted=source.soft, **by))
    return result


def count(rows: Sequence[Row]) -> Mapping[Key, Found]:
    live = Counter(row.k for row in rows if not row.deleted)
    deleted = Counter(row.k for row in rows if row.deleted)
    return {(k,): Found(live[k], deleted[k]) for k in live.keys() | deleted.keys() if k is not None}


def run(
    rows: Sequence[Row], prepared: Sequence[Prepared]
) -> tuple[list[Row], dict[str, int], Mapping[str, tuple[int, ...]]]:
    folded = Batch(TABLE, tuple(prepared)).fold(count(rows))
    return apply(rows, folded), folded.counts, folded.missing


@given(st.lists(stored, max_size=6), st.lists(jobs(), min_size=1, max_size=10))
@settings(max_examples=3000, deadline=None)
def test_a_batch_equals_its_jobs_one_by_one(rows: list[Row], mix: list[Any]) -> None:
    prepared = [prepare(f"j{i}", job, TABLE) for i, job in enumerate(mix)]
    gathering = Gathering(Limits(), TABLE)
    assert all(gathering.take(each) for each in prepared), "all of them belong together"
    table, counts, missing = run(rows, prepared)
    expected = rows
    for i, job in enumerate(mix):
        expected, rows_of_job = one_by_one(expected, job, f"j{i}")
        if rows_of_job is None:
            assert f"j{i}" in missing
        else:
            assert (counts[f"j{i}"], f"j{i}" in missing) == (rows_of_job, False)
    assert Counter(table) == Counter(expected)


def test_a_key_of_an_added_row_is_compared_as_the_warehouse_does() -> None:
    table = Table(NAME, (Column("d", parse_type("DOUBLE")), Column("n", parse_type("DECIMAL(10,2)"))), "id")
    write = prepare("j", Write(table=str(NAME), data=[{"d": -0.0, "n": "1.5"}]), table)
    update = prepare("u", Update(table=str(NAME), key={"d": 0.0, "n": "1.50"}, updates={"n": "2"}), table)
    assert update.changes[0][0] == key_of(write.rows[0], ("d", "n"), table)  # type: ignore[union-attr, arg-type]
