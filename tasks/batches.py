"""Jobs of one table gathered into one statement, in order, up to its bounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lakequeue.columns import Unsupported
from lakequeue.jobs import Write
from lakequeue.problems import Problems, ValueProblem, quoted, suggestion
from lakequeue.values import encoder

from tasks.table import Column, Table, differences

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one statement: rows, jobs, and bytes of its JSON parameter."""

    max_rows: int = 50_000
    max_jobs: int = 10_000
    max_bytes: int = 900_000


@dataclass(frozen=True, slots=True)
class Insertion:
    """One write job, ready to be part of an INSERT: `fragment` is its element of the JSON parameter."""

    job_id: str
    columns: tuple[str, ...]
    fragment: str
    bytes: int
    rows: int


def insertion(job_id: str, job: Write, table: Table) -> Insertion:
    """Check a write against the table's columns and encode its rows.

    A column that some of the job's rows give and others do not is NULL in the others; one that none gives is left to
    the table's default.

    Raises:
        InvalidJob: naming each row and column that does not fit.
    """
    problems = Problems()
    if job.schema_definition:
        wanted = [(column.name, column.data_type) for column in job.schema_definition]
        for phrase in differences(table, wanted):
            problems.add("schema_differs", ("schema_definition",), phrase)
    columns = _columns(job, table, problems) if not problems else []
    if problems:
        raise problems.as_invalid_job(f"write {table.name}")
    encoders = [(column.name.lower(), column, encoder(column.type)) for column in columns]
    rows: list[list[str | None]] = []
    for index, given in enumerate(job.data):
        row = {name.lower(): value for name, value in given.items()}
        encoded: list[str | None] = []
        for key, column, encode in encoders:
            value = row.get(key)
            text = None
            if value is not None:
                try:
                    text = encode(value)
                except ValueProblem as exc:
                    problems.add_value(exc, ("data", index, column.name))
            elif not column.nullable:
                problems.add("not_null", ("data", index, column.name), "the column takes no null")
            encoded.append(text)
        rows.append(encoded)
    if problems:
        raise problems.as_invalid_job(f"write {table.name}")
    fragment = _dumps({"id": job_id, "actor": job.actor, "rows": rows})
    size = len(fragment) if fragment.isascii() else len(fragment.encode())
    return Insertion(job_id, tuple(key for key, _, _ in encoders), fragment, size, len(rows))


def parameter(insertions: Sequence[Insertion]) -> str:
    """The JSON parameter of a statement that appends these jobs' rows, in order."""
    return "[" + ",".join(each.fragment for each in insertions) + "]"


class Gathering:
    """A statement being filled: takes jobs in order until one does not belong to it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 2
        self.rows = 0
        self.insertions: list[Insertion] = []

    def take(self, candidate: Insertion) -> bool:
        """Add a job. False if its columns differ or a bound would be passed; a first job is always taken."""
        if self.insertions:
            if candidate.columns != self.insertions[0].columns:
                return False
            if self.rows + candidate.rows > self._limits.max_rows or len(self.insertions) >= self._limits.max_jobs:
                return False
            if self._bytes + candidate.bytes + 1 > self._limits.max_bytes:
                return False
        self._bytes += candidate.bytes + 1
        self.rows += candidate.rows
        self.insertions.append(candidate)
        return True


def _columns(job: Write, table: Table, problems: Problems) -> list[Column]:
    """The table's columns that the job gives, in the table's order; what is wrong with them goes to `problems`."""
    given: dict[str, tuple[int, str]] = {}
    for index, row in enumerate(job.data):
        for name in row:
            given.setdefault(name.lower(), (index, name))
    for key, (index, name) in given.items():
        column = table.by_name.get(key)
        if column is None:
            known = suggestion(name, (each.name for each in table.columns))
            msg = f"{table.name} has no column {quoted(name)}{known}"
            problems.add("unknown_column", ("data", index, name), msg)
        elif isinstance(column.type, Unsupported):
            problems.add("unsupported_type", ("data", index, name), f"{column.type.sql} cannot be written")
    for column in table.required:
        if column.name.lower() not in given:
            problems.add("not_null", ("data", 0, column.name), "the column takes no null")
    return [column for column in table.columns if column.name.lower() in given]
