"""A million random values through the write path on the real engine: each arrives as it was given, or fails located."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from lakequeue import InvalidJob
from lakequeue.jobs import Write, parse_job
from lakequeue.problems import SHOWN

from tasks.batches import Batch, Gathering, Limits
from tasks.prepared import Addition, prepare
from tasks.table import Table
from tests.conformance.fuzz import COLUMNS, REFUSED, Sample, a_row
from tests.conformance.sides import Side
from tests.conformance.stories import LATE, STAMP, made
from tests.strategies import comparable

VALUES = int(os.environ.get("LAKEQUEUE_FUZZ_VALUES", "1000000"))
SEED = int(os.environ.get("LAKEQUEUE_FUZZ_SEED", "20260301"))
_TOGETHER = 2
LIMITS = Limits(max_rows=2_000, max_jobs=2_000, max_bytes=900_000)


def job(rows: list[list[Sample]], table: Table) -> Write:
    """As the client makes it of Python values, with base64 text as JSON has it. Raises InvalidJob."""
    data = [
        {column.name: given for column, (given, _) in zip(COLUMNS, row, strict=True) if given is not None}
        for row in rows
    ]
    made_of = parse_job({"kind": "write", "table": str(table.name), "data": data}, values="json")
    assert isinstance(made_of, Write)
    return made_of


def prepared(row: list[Sample], number: int, table: Table) -> tuple[Addition, list[Any]]:
    """One row as a job of its own. Where values are to be refused, the refusal must name exactly them; then it is
    given again without them."""
    wrong = [i for i, (_, back) in enumerate(row) if back is REFUSED]
    if wrong:
        with pytest.raises(InvalidJob) as caught:
            prepare(f"f{number}", job([row], table), table)
        named = {error["loc"][2] for error in caught.value.details["errors"] if error["loc"][:2] == ["data", 0]}
        expected = {COLUMNS[i].name for i in wrong}
        assert len(wrong) > SHOWN or named == expected, _told(row, expected ^ named)
        row = [(None, None) if back is REFUSED else (given, back) for given, back in row]
    addition = prepare(f"f{number}", job([row], table), table)
    assert isinstance(addition, Addition)
    return addition, [back for _, back in row]


def _told(row: list[Sample], names: set[str]) -> list[str]:
    return [f"{column.type}: {row[i]!r}" for i, column in enumerate(COLUMNS) if column.name in names]


def batches(table: Table, counted: Counter[str]) -> Iterator[tuple[Batch, dict[str, list[Any]]]]:
    chance = random.Random(SEED)
    batch, expected = Gathering(LIMITS, table), dict[str, list[Any]]()
    for number in range(-(-VALUES // len(COLUMNS))):
        row = a_row(chance)
        for given, back in row:
            counted["refused" if back is REFUSED else "null" if given is None else "arrived"] += 1
        addition, backs = prepared(row, number, table)
        if not batch.take(addition):
            yield Batch(table, tuple(batch.jobs)), expected
            batch, expected = Gathering(LIMITS, table), {}
            assert batch.take(addition)
        expected[addition.job_id] = backs
    yield Batch(table, tuple(batch.jobs)), expected


@pytest.mark.timeout(900)
def test_a_value_arrives_as_it_was_given_or_its_job_fails(real: Side) -> None:
    story = "fuzz"
    assert real.run(str(made({c.name: c.type for c in COLUMNS})(real.table_name(story)).sql), {}) == ("done",)
    table = real.describe(story)
    counted: Counter[str] = Counter()
    checks: list[Future[None]] = []
    # While the engine is at some batches, the next is made.
    ahead = threading.BoundedSemaphore(_TOGETHER + 1)
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for number, (batch, expected) in enumerate(batches(table, counted)):
            ahead.acquire()
            check = pool.submit(_written, real, batch, expected, STAMP + number)
            check.add_done_callback(lambda _: ahead.release())
            checks.append(check)
    for check in checks:
        check.result()
    total = counted["arrived"] + counted["refused"] + counted["null"]
    print(
        f"\n{total:,} values of {len(COLUMNS)} types in {len(checks)} statements: {counted['arrived']:,} "
        f"arrived, {counted['refused']:,} were refused by name, {counted['null']:,} were null"
    )


def _written(real: Side, batch: Batch, expected: dict[str, list[Any]], stamp_us: int) -> None:
    """Write a batch and compare what is there with what was given."""
    statement = batch.statement(batch.fold({}), stamp_us=stamp_us, start_by_us=LATE)
    assert statement is not None
    names = ", ".join(f"`{column.name}`" for column in COLUMNS)
    side = real.again()
    with closing(side.connection), side.connection.cursor() as cursor:
        seen = side.run(str(statement.sql), statement.parameters)
        assert seen[0] == "changed", seen
        assert seen[2][0] == len(expected), seen
        cursor.execute(
            f"SELECT `_job_id`, {names} FROM {batch.table.name} WHERE created_at = CAST(:stamp AS TIMESTAMP)",
            {"stamp": statement.parameters["stamp"]},
        )
        found = {row[0]: list(row)[1:] for row in cursor.fetchall()}
    assert found.keys() == expected.keys()
    for job_id, values in expected.items():
        for column, value, back in zip(COLUMNS, found[job_id], values, strict=True):
            assert comparable(value) == comparable(back), f"seed {SEED}, {job_id}, {column.type}"
