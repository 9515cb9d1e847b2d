"""The write jobs of a CSV file: its types are found, its values checked and its rows cut into jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from json.encoder import encode_basestring  # the C version, where there is one

from pydantic import JsonValue

from lakequeue.csv_file import Block, CsvFile
from lakequeue.csv_inference import Inference, remember
from lakequeue.csv_notes import TextNotes
from lakequeue.csv_problem import CsvProblem
from lakequeue.csv_types import Column
from lakequeue.definitions import SchemaColumn
from lakequeue.identifiers import TableName
from lakequeue.jobs import Write, parse_job
from lakequeue.load_changes import Rows
from lakequeue.load_names import job_id
from lakequeue.load_plan import Cutter, Plan, row_digest
from lakequeue.problems import SHOWN, ValueProblem

BLOCK_ROWS = 500
_CONTENT_BYTES = 16
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# A field becomes `"name":"text",`, or null. Nested text is parsed and written again, and a number such as 1e15 is
# then up to five times as long.
_AROUND_FIELD = 10
_NESTED_GROWTH = 5


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go and how: everything but the rows that decides what is in a job."""

    table: TableName
    columns: tuple[Column, ...]
    nulls: frozenset[str]
    create: bool
    actor: str | None
    rows_per_job: int
    max_job_bytes: int

    def definition(self) -> tuple[SchemaColumn, ...] | None:
        return tuple(each.declared() for each in self.columns) if self.create else None


class Reader:
    """Turns blocks of text into rows of wire values."""

    def __init__(self, columns: Sequence[Column], nulls: frozenset[str]) -> None:
        self._names = [each.name for each in columns]
        self._readers = [each.reader(nulls) for each in columns]

    def rows(self, block: Block) -> list[dict[str, JsonValue]]:
        names = self._names
        read_columns: list[list[JsonValue]] = []
        for read, values in zip(self._readers, block.columns(), strict=True):
            # A column repeats itself: each value is read once a block.
            known = {text: read(text) for text in set(values)}
            read_columns.append([known[text] for text in values])
        return [dict(zip(names, row, strict=True)) for row in zip(*read_columns, strict=True)]


class Checker:
    """Finds the values that do not fit a column."""

    def __init__(self, column: Column, nulls: frozenset[str]) -> None:
        self._name = column.name
        self._check = column.checker(nulls)
        self._fitting: set[str] = set()

    def problems(self, values: Sequence[str], lines: Sequence[int]) -> list[CsvProblem]:
        reasons: dict[str, str] = {}
        unseen = set(values) - self._fitting
        for text in unseen:
            try:
                self._check(text)
            except ValueProblem as problem:
                reasons[text] = str(problem)
        remember(self._fitting, unseen - reasons.keys())
        return [
            CsvProblem(reasons[text], line=line, column=self._name)
            for text, line in zip(values, lines, strict=True)
            if text in reasons
        ]


class Scale:
    """What rows weigh in a job: an upper bound of their bytes as JSON, near to it but for nested values."""

    def __init__(self, target: Target) -> None:
        columns = target.columns
        self._nested = [index for index, each in enumerate(columns) if each.nested]
        self._names = sum(len(_dumps(each.name).encode()) + _AROUND_FIELD for each in columns)
        around: dict[str, JsonValue] = {"table": str(target.table), "actor": target.actor}
        if target.create:
            around["schema_definition"] = [each.declared().to_json() for each in columns]
        # For the other fields, and for types that are still to be inferred: "TIMESTAMP_NTZ" is the longest.
        self._around = len(_dumps(around).encode()) + 100 + 10 * len(columns)
        self.room = target.max_job_bytes - self._around

    def weigh(self, row: Sequence[str]) -> int:
        text = encode_basestring("".join(row))
        weight = self._names + (len(text) if text.isascii() else len(text.encode()))
        for index in self._nested:
            weight += _NESTED_GROWTH * len(row[index])
        return weight

    def bytes_alone(self, row: dict[str, JsonValue]) -> int:
        """The size of a job of this row."""
        return self._around + len(_dumps(row).encode())


@dataclass
class Survey:
    """What the first reading of a file found: its columns, how its rows are cut into jobs, and what is wrong with it.

    `header` is a digest of the columns' names, `content` one of all rows; `tag` tells this content, cut like this, from
    others.
    """

    columns: tuple[Column, ...]
    rows: int = 0
    problems: list[CsvProblem] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    header: str = ""
    content: str = ""
    tag: str = ""
    notes: list[str] = field(default_factory=list)


def survey(file: CsvFile, target: Target, on_bytes: Callable[[int], None]) -> Survey:
    """Read the whole file once: infer the types that `target` leaves open, check the values of all others.

    A table that is not to be created has its own types, so nothing is inferred then. `on_bytes` hears how far the
    file is read. Reading ends early at `SHOWN` problems.
    """
    nulls = target.nulls
    found = Survey(target.columns)
    guesses = {each.name: Inference(each, nulls) for each in target.columns if target.create and not each.type}
    checkers = {each.name: Checker(each, nulls) for each in target.columns if each.name not in guesses}
    scale = Scale(target)
    cutter, content = Cutter(target.rows_per_job, scale.room), blake2b(digest_size=_CONTENT_BYTES)
    notes = TextNotes(file.encoding)
    for block in file.blocks(BLOCK_ROWS):
        for column, values in zip(target.columns, block.columns(), strict=True):
            if guess := guesses.get(column.name):
                guess.look(values, block.lines)
            else:
                found.problems += checkers[column.name].problems(values, block.lines)
            if guess is None or guess.is_text:
                notes.look(column.name, values)
        found.rows += len(block.rows)
        weights = list(map(scale.weigh, block.rows))
        if not found.problems and max(weights) > scale.room:
            found.problems += _too_wide(block, target, scale)
        for digest, weight in zip(map(row_digest, block.rows), weights, strict=True):
            cutter.add(digest, weight)
            content.update(digest)
        on_bytes(block.offset)
        if len(found.problems) >= SHOWN:
            break
    found.columns = tuple(guesses[each.name].column() if each.name in guesses else each for each in target.columns)
    found.notes.extend(notes)
    found.problems.sort(key=lambda problem: problem.line or 0)
    found.header = row_digest([each.name for each in target.columns]).hex()
    found.content = content.hexdigest()
    plan = cutter.parts()
    found.tag = plan.content_tag(found.header + found.content)
    found.plan = plan.tagged(found.tag)
    return found


def rows_of(file: CsvFile, target: Target) -> Rows:
    """The rows of a file by digest and weight, to be compared with those of another content."""
    rows, scale = Rows(), Scale(target)
    for block in file.blocks(BLOCK_ROWS):
        for digest, weight in zip(map(row_digest, block.rows), map(scale.weigh, block.rows), strict=True):
            rows.add(digest, weight)
    return rows


def room_of(target: Target) -> int:
    """The weight that the rows of one job may have together."""
    return Scale(target).room


def _too_wide(block: Block, target: Target, scale: Scale) -> Iterator[CsvProblem]:
    rows = Reader(target.columns, target.nulls).rows(block)
    for row, text, line in zip(rows, block.rows, block.lines, strict=True):
        if scale.weigh(text) > scale.room and (size := scale.bytes_alone(row)) > target.max_job_bytes:
            yield CsvProblem(f"the row alone is {size:,} bytes and a job holds {target.max_job_bytes:,}", line=line)


def jobs(file: CsvFile, target: Target, name: str, plan: Plan, wanted: Sequence[int]) -> Iterator[Write]:
    """The jobs of the load `name`.

    Args:
        plan: the jobs of the whole file, in order.
        wanted: for each of them 1 if it is made, else 0.
    """
    make = Maker(target)
    reader = Reader(target.columns, target.nulls)
    index, left = 0, plan[0].rows if len(plan) else 0
    rows: list[dict[str, JsonValue]] = []
    for block in file.blocks(BLOCK_ROWS):
        at, size = 0, len(block.rows)
        read: list[dict[str, JsonValue]] | None = None
        while at < size:
            taken = min(left, size - at)
            if wanted[index]:
                read = reader.rows(block) if read is None else read
                rows += read[at : at + taken]
            at, left = at + taken, left - taken
            if left:
                continue
            if wanted[index]:
                part = plan[index]
                yield make(rows, job_id(name, part.tag, part.first))
                rows = []
            index += 1
            left = plan[index].rows if index < len(plan) else 0
            if not left and at < size:
                raise CsvProblem("changed while it was read")


class Maker:
    """Makes the jobs of a load. The first one is checked as any job is; of the others only what `survey` did not check:
    nested values."""

    def __init__(self, target: Target) -> None:
        self._fields = {
            "kind": "write",
            "table": str(target.table),
            "auto_create": target.create,
            "schema_definition": target.definition(),
            "actor": target.actor,
        }
        self._nested = any(each.nested for each in target.columns)
        self._first: Write | None = None

    def __call__(self, rows: list[dict[str, JsonValue]], job_id: str) -> Write:
        if self._first is not None:
            return self._first.model_copy(update={"data": rows, "id": job_id})
        # A file gives its values as JSON does: a BINARY column's are base64 text.
        job = parse_job({**self._fields, "data": rows, "id": job_id}, values="json")
        assert isinstance(job, Write)
        if not self._nested:
            self._first = job
        return job
