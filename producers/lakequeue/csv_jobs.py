"""The write jobs of a CSV file: the same rows in the same jobs under the same ids, however often it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import starmap
from json.encoder import encode_basestring  # the C version, where there is one

from pydantic import JsonValue

from lakequeue.csv_file import Block, CsvFile, CsvProblem
from lakequeue.csv_types import Column, Inference
from lakequeue.definitions import SchemaColumn
from lakequeue.identifiers import TableName
from lakequeue.jobs import Write
from lakequeue.problems import SHOWN, ValueProblem

BLOCK_ROWS = 500
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


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one job; `first` is the number of its first row in the file, from 1."""

    first: int
    rows: list[dict[str, JsonValue]]


def load_id(table: TableName, file_digest: bytes) -> str:
    """What identifies a load: the table and the file's bytes, and nothing else.

    A job's id is this and the number of its first row. Options that cut or type the rows otherwise are left out of
    it on purpose: jobs are sent in order and sending stops at a conflict, so a second load of the file with other
    options meets a known id with another payload before it can send any row twice.
    """
    return "load:" + sha256(b"lakequeue load 1\0" + str(table).encode() + b"\0" + file_digest).hexdigest()[:16]


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


class Scale:
    """What rows weigh in a job: an upper bound of their bytes as JSON, near to it but for nested values."""

    def __init__(self, columns: Sequence[Column], *, create: bool, table: TableName, actor: str | None) -> None:
        self._nested = [index for index, each in enumerate(columns) if each.nested]
        self._names = sum(len(_dumps(each.name).encode()) + _AROUND_FIELD for each in columns)
        # "TIMESTAMP_NTZ" is the longest type that inference finds; a job has to weigh the same before and after it.
        definition = [
            {"name": each.name, "data_type": each.type.sql if each.type else "", "nullable": each.nullable}
            for each in columns
        ]
        around: dict[str, JsonValue] = {"table": str(table), "actor": actor, "auto_create": create}
        if create:
            around["schema_definition"] = list(definition)
        self.around = len(_dumps(around).encode()) + 100 + len(columns) * len("TIMESTAMP_NTZ")

    def weigh(self, row: Sequence[str]) -> int:
        text = encode_basestring("".join(row))
        weight = self._names + (len(text) if text.isascii() else len(text.encode()))
        for index in self._nested:
            weight += _NESTED_GROWTH * len(row[index])
        return weight


@dataclass
class Survey:
    """What the first reading of a file found: its columns and how many rows it has."""

    columns: tuple[Column, ...] = ()
    rows: int = 0
    problems: list[CsvProblem] = field(default_factory=list)


def survey(file: CsvFile, target: Target, *, infer: bool, check: bool) -> Iterator[tuple[int, Survey]]:
    """Read the whole file once: infer the types that `target` leaves open, check all others. Nothing is sent.

    Yields how many bytes are read, and the one survey, which is complete with the last item. It stops early at
    `SHOWN` problems.
    """
    found = Survey(target.columns)
    nulls = target.nulls
    guesses = [Inference(each.name, nulls) if infer and each.type is None else None for each in target.columns]
    checkers = [
        each.checker(nulls) if check and guess is None else None
        for each, guess in zip(target.columns, guesses, strict=True)
    ]
    scale = Scale(target.columns, create=target.create, table=target.table, actor=target.actor)
    room = target.max_job_bytes - scale.around
    for block in file.blocks(BLOCK_ROWS):
        for column, guess, fits, values in zip(target.columns, guesses, checkers, block.columns(), strict=True):
            if guess is not None:
                guess.look(values, block.lines)
            elif fits is not None:
                bad = {text: problem for text in set(values) if (problem := _problem(fits, text))}
                found.problems += [
                    CsvProblem(bad[text], line=line, column=column.name)
                    for text, line in zip(values, block.lines, strict=True)
                    if text in bad
                ]
        if not found.problems and max(map(scale.weigh, block.rows)) > room:
            found.problems += _too_wide(block, target, scale)
        found.rows += len(block.rows)
        found.columns = tuple(
            guess.column() if guess else each for guess, each in zip(guesses, target.columns, strict=True)
        )
        yield block.offset, found
        if len(found.problems) >= SHOWN:
            return
    found.columns = tuple(
        guess.column() if guess else each for guess, each in zip(guesses, target.columns, strict=True)
    )
    yield file.size, found


def _problem(fits: Callable[[str], None], text: str) -> str | None:
    try:
        fits(text)
    except ValueProblem as problem:
        return str(problem)
    return None
