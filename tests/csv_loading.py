"""A CSV file as the command `load` reads it: its real options, its messages and the rows that it would send."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lakequeue import cli, csv_options
from lakequeue.csv_file import CsvFile
from lakequeue.csv_jobs import Target, jobs, survey
from lakequeue.csv_plan import plan
from lakequeue.values import JsonValue

MAX_FIELD_CHARS = 900_000


@dataclass(frozen=True)
class Read:
    """What a good file gives."""

    types: dict[str, str]
    notes: dict[str, str]
    """By column."""
    said: str
    rows: list[dict[str, JsonValue]]

    def values(self) -> list[list[JsonValue]]:
        return [list(row.values()) for row in self.rows]


Reads = Callable[..., Read]
Tries = Callable[..., tuple[int, str]]


def arguments(path: Path, *options: str) -> argparse.Namespace:
    return cli.parser().parse_args(["load", str(path), "--table", "main.x.t", *options])


def read(path: Path, *options: str) -> Read:
    args = arguments(path, *options)
    file = CsvFile(path, csv_options.dialect(args), max_field_chars=MAX_FIELD_CHARS)
    planned = plan(file, args.columns, csv_options.changes(args), decimal_comma=args.decimal == ",", create=args.create)
    target = Target(
        table=args.table, columns=planned.columns, nulls=csv_options.nulls(args), create=args.create, actor=None,
        rows_per_job=500, max_job_bytes=900_000,
    )  # fmt: skip
    found = survey(file, target, lambda _: None)
    if found.problems:
        raise found.problems[0]
    made = jobs(file, replace(target, columns=found.columns), "x", found.plan, [1] * len(found.plan))
    sent = [row for job in made for row in job.data]
    return Read(
        types={each.name: each.type.sql if each.type else "" for each in found.columns},
        notes={each.name: each.note for each in found.columns if each.note},
        said="\n".join((*planned.notes, *found.notes)),
        rows=sent,
    )


def dry_run(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """The command's exit code and all that it prints."""
    code = cli.main(["load", str(path), "--table", "main.x.t", "--dry-run", *options])
    told = capsys.readouterr()
    return code, told.err + told.out
