"""The command `load`: a CSV file to write jobs, once however often it is run."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

from lakequeue import csv_options, outcomes
from lakequeue.client import Queue
from lakequeue.csv_file import CsvFile
from lakequeue.csv_jobs import JobIds, Target, batches, jobs, load_id, survey
from lakequeue.csv_plan import plan
from lakequeue.csv_problem import CsvProblem
from lakequeue.errors import InvalidJob, JobConflict, LakequeueError, QueueFull
from lakequeue.problems import SHOWN
from lakequeue.progress import Display, open_display
from lakequeue.sending import final_statuses, send_patiently
from lakequeue.settings import Settings
from lakequeue.tabular import counted

INTERRUPTED = 130


@dataclass
class Tally:
    """How far a load has come."""

    name: str = ""
    resume: str = "the same command"
    rows: int = 0
    new: int = 0
    known: int = 0
    all_rows: int = 0
    sending: bool = False

    @property
    def jobs(self) -> int:
        return self.new + self.known

    def so_far(self) -> str:
        if not self.sending:
            return "nothing was sent"
        if self.rows == self.all_rows:
            return (
                f"all {self.rows:,} rows are sent; {self.resume} with --wait waits for the outcomes, and adds nothing"
            )
        return f"{self.rows:,} of {self.all_rows:,} rows are sent, perhaps a few more; {self.resume} goes on from there"


def run(args: Namespace, settings: Settings, connect: Callable[[], Queue]) -> int:
    """Returns the exit code. `connect` is called once the file is found to be good, and not for a dry run."""
    tally = Tally()
    with open_display() as display:
        try:
            return _load(args, settings, connect, tally, display)
        except CsvProblem as exc:
            display.say(f"lakequeue: {args.file}: {exc}")
            display.say(f"lakequeue: {_after_bad_file(tally)}")
            return 1
        except JobConflict:
            display.say(f"lakequeue: {_after_conflict(tally)}")
            return 1
        except LakequeueError as exc:
            display.say(f"lakequeue: {exc.message}; {tally.so_far()}")
            return 1 if isinstance(exc, InvalidJob) else 2
        except KeyboardInterrupt:
            display.say(f"lakequeue: stopped; {tally.so_far()}")
            return INTERRUPTED


def _load(args: Namespace, settings: Settings, connect: Callable[[], Queue], tally: Tally, display: Display) -> int:
    file = CsvFile(Path(args.file), csv_options.dialect(args), max_field_chars=settings.max_job_bytes)
    tally.name = args.load_id or load_id(args.table, file.sha256())
    if args.again:
        tally.name += "." + token_hex(4)
        tally.resume = f"the same command with --load-id {tally.name} in place of --again"
    target, notes = _target(file, args, settings)
    display.phase(f"reading {file.path.name}", file.size)
    found = survey(file, target, display.advance)
    if found.problems:
        return _refuse(file, found.problems, display)
    tally.all_rows = found.rows
    target = replace(target, columns=found.columns)
    for note in (*notes, *found.notes, *_blank_lines(file)):
        display.say(f"{file.path}: {note}")
    if args.dry_run:
        return _describe(file, target, tally, display)
    for line in _types(target):
        display.say(line)
    if not found.rows:
        display.say(f"{file.path} has no rows: nothing was sent")
        return 0
    with connect() as queue:
        ids = _send(queue, file, target, tally, display, waits=args.wait)
        return _await_outcomes(queue, ids, display) if args.wait else 0


def _target(file: CsvFile, args: Namespace, settings: Settings) -> tuple[Target, tuple[str, ...]]:
    """Where the rows go, and what is to be said of how the file is read."""
    planned = plan(file, args.columns, csv_options.changes(args), decimal_comma=args.decimal == ",", create=args.create)
    target = Target(
        table=args.table,
        columns=planned.columns,
        nulls=csv_options.nulls(args),
        create=args.create,
        actor=args.actor,
        rows_per_job=args.rows_per_job,
        max_job_bytes=settings.max_job_bytes,
    )
    return target, planned.notes


def _blank_lines(file: CsvFile) -> Iterator[str]:
    if file.blank_lines and len(file.header()) > 1:
        yield f"{counted(file.blank_lines, 'blank line')} left out"
    elif file.blank_lines:
        yield f"{counted(file.blank_lines, 'blank line')} read as a row with an empty field"


def _refuse(file: CsvFile, problems: list[CsvProblem], display: Display) -> int:
    for problem in problems[:SHOWN]:
        display.say(f"lakequeue: {file.path}: {problem}")
    if len(problems) >= SHOWN:
        display.say("lakequeue: … and perhaps more: the rest of the file was not read")
    display.say("lakequeue: nothing was sent; mend the file, or declare other types with --columns, and load it again")
    return 1


def _after_conflict(tally: Tally) -> str:
    sent = f"{tally.new:,} jobs before that were new" if tally.new else "nothing was sent now"
    return (
        f"the load {tally.name} is known already and was made with other options, as row {tally.rows + 1:,} shows; "
        f"{sent}. Give the options of that time to go on with it, or --again for a second copy of its rows"
    )


def _after_bad_file(tally: Tally) -> str:
    if not tally.rows:
        return "nothing was sent"
    return (
        f"{tally.rows:,} of {tally.all_rows:,} rows are sent. Another content is another load: loading the file now "
        f"sends these rows again, unless --load-id {tally.name} is given and they are still the same"
    )


def _types(target: Target) -> Iterator[str]:
    width = max(len(each.name) for each in target.columns)
    yield f"columns of {target.table}:"
    for each in target.columns:
        spelt = each.type.sql if each.type else "as text, read by the table's own type"
        note = f"  ({each.note})" if each.note else ""
        yield f"  {each.name:{width}}  {spelt}{'' if each.nullable else ' NOT NULL'}{note}"


def _describe(file: CsvFile, target: Target, tally: Tally, display: Display) -> int:
    display.phase("counting jobs", tally.all_rows)
    count = rows = 0
    for batch in batches(file, target):
        count += 1
        rows += len(batch.rows)
        display.advance(rows)
    display.close()
    for line in _types(target):
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{counted(rows, 'row')} would be sent in {counted(count, 'job')}; nothing was sent\n")
    return 0


def _send(queue: Queue, file: CsvFile, target: Target, tally: Tally, display: Display, *, waits: bool) -> JobIds:
    label = f"sending to {target.table}"
    ids = JobIds(tally.name)

    def on_full(exc: QueueFull) -> None:
        reason = exc.message.partition(";")[0]
        display.say(f"{reason}: waiting until workers make room (stop with Ctrl-C; {tally.resume} goes on from there)")
        display.label(f"{label}, as fast as workers make room")

    display.phase(label, tally.all_rows)
    tally.sending = True
    started = time.monotonic()
    for job, handle in send_patiently(queue, jobs(file, target, tally.name), on_full):
        ids.add(job.row_count)
        tally.rows += job.row_count
        tally.known += handle.known
        tally.new += not handle.known
        display.advance(tally.rows)
    for line in _summary(target, tally, time.monotonic() - started, waits=waits):
        display.say(line)
    return ids


def _summary(target: Target, tally: Tally, seconds: float, *, waits: bool) -> Iterator[str]:
    yield (
        f"{counted(tally.rows, 'row')} in {counted(tally.jobs, 'job')} for {target.table}: {tally.new:,} new, "
        f"{tally.known:,} known already; {seconds:.1f} s, {tally.jobs / max(seconds, 1e-3):,.0f} jobs/s"
    )
    if not waits:
        yield f"outcomes: {tally.resume} with --wait waits for all of them, and sends nothing anew;"
    yield f"{'' if waits else '  '}a job's id ends in the number of its first row: lakequeue status {tally.name}:1"


def _await_outcomes(queue: Queue, ids: Iterable[str], display: Display) -> int:
    succeeded = failed = expired = 0
    # A line on a terminal's standard output would break the bar.
    emit = display.say if sys.stdout.isatty() else _write_line
    display.phase("waiting for outcomes", sum(1 for _ in ids))
    for job_id, status in final_statuses(queue, ids):
        if status is None:
            expired += 1
        elif status.state == "SUCCESS":
            succeeded += 1
        else:
            failed += 1
            emit(json.dumps(outcomes.to_json(job_id, queue.record(job_id))))
        display.advance(succeeded + failed + expired)
    display.say(
        f"{counted(succeeded, 'job')} succeeded, {failed:,} failed"
        + (f", of {expired:,} the outcome has expired" if expired else "")
    )
    return 1 if failed or expired else 0


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
