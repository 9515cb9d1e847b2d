"""The commands `enqueue`, `status` and `wait`: jobs in and outcomes out, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from io import BufferedReader
from typing import Any, cast

from lakequeue import outcomes
from lakequeue.client import Queue
from lakequeue.errors import InvalidJob, JobConflict, JobTimeout, LakequeueError, QueueFull, UnknownJob
from lakequeue.handle import Handle
from lakequeue.identifiers import check_job_id
from lakequeue.job_states import JobHistory
from lakequeue.jobs import Job, parse_job
from lakequeue.tabular import counted, local, printable, say, write

FAILED = 1
TIMED_OUT = 3

MAX_LINE_BYTES = 16_000_000
_READ_BYTES = 250_000

Line = tuple[int, bytes]
"""A line's number, from 1, and its bytes."""


def enqueue(queue: Queue, source: str, *, keep_going: bool) -> int:
    """Send the jobs of a file, `-` being standard input, and print their ids. Returns the exit code."""
    clean = True
    with _opened(source) as stream:
        for lines in blocks(stream):
            clean &= _enqueue_block(queue, lines, keep_going)
            if not (clean or keep_going):
                break
    return 0 if clean else FAILED


def blocks(stream: BufferedReader) -> Iterator[list[Line]]:
    """Lines that are not blank; what one read brings is one block, so that a slow pipe holds up no job."""
    rest, number, skipping = b"", 1, False
    while data := stream.read1(_READ_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        lines = list(enumerate(whole, number))
        number += len(whole)
        if skipping and lines:
            del lines[0]
            skipping = False
        if skipping:
            rest = b""
        elif len(rest) > MAX_LINE_BYTES:
            lines.append((number, rest))
            rest, skipping = b"", True
        yield [line for line in lines if line[1].strip()]
    if rest.strip():
        yield [(number, rest)]


def _enqueue_block(queue: Queue, lines: Iterable[Line], keep_going: bool) -> bool:
    """Whether every line was sent; if not, and unless told to go on, nothing after the bad one was."""
    jobs: list[Job] = []
    numbers: list[int] = []
    bad: list[tuple[int, InvalidJob | JobConflict]] = []
    for number, text in lines:
        try:
            jobs.append(_parsed(text))
        except InvalidJob as exc:
            bad.append((number, exc))
            if not keep_going:
                break
        else:
            numbers.append(number)
    sent = iter(numbers)
    try:
        for answer in _answers(queue, jobs, keep_going):
            number = next(sent)
            if isinstance(answer, Handle):
                sys.stdout.write(answer.id + "\n")
            else:
                bad = [*bad, (number, answer)] if keep_going else [(number, answer)]
    except LakequeueError as exc:
        # The first job that is not known to be queued; nothing after a bad line was tried.
        bad = bad if keep_going else []
        first = next(sent)
        message = f"{exc.message}; whether line {first} and after were queued is not known"
        if isinstance(exc, QueueFull):
            reason = exc.message.partition(";")[0]
            message = f"{reason}: line {first} and after were not sent; try again when workers have caught up"
        raise type(exc)(message, exc.details) from exc
    finally:
        sys.stdout.flush()
        for number, error in sorted(bad, key=lambda each: each[0]):
            shown = {"error": True, "line": number, "message": error.message, "details": error.details}
            sys.stderr.write(json.dumps(shown) + "\n")
    return not bad


def _parsed(text: bytes) -> Job:
    if len(text) > MAX_LINE_BYTES:
        raise InvalidJob(f"a line of more than {MAX_LINE_BYTES:,} bytes", {"errors": []})
    return parse_job(text)


def _answers(queue: Queue, jobs: Sequence[Job], keep_going: bool) -> Iterator[Handle | InvalidJob | JobConflict]:
    if keep_going:
        yield from queue.enqueue_many(jobs, on_error="collect")
        return
    try:
        yield from queue.enqueue_many(jobs)
    except (InvalidJob, JobConflict) as exc:
        yield exc


def status(queue: Queue, job_ids: Iterable[str], *, as_json: bool) -> int:
    """Print what happened to each job so far: on a terminal line by line, else as JSON. Returns the exit code."""
    if as_json or not sys.stdout.isatty():
        unknown, _ = _print_each(job_ids, queue.record)
        return FAILED if unknown else 0
    code = 0
    for job_id in ids(job_ids):
        try:
            history = queue.operations.history(job_id)
        except (UnknownJob, ValueError) as exc:
            say(str(exc))
            code = FAILED
            continue
        for line in (*lines_of(history), *_standing_of(queue, history)):
            write(line)
    return code


def lines_of(history: JobHistory) -> Iterator[str]:
    """A job's history for a person, with no value of a row."""
    rows = "" if history.rows is None or history.op == "read" else f" of {counted(history.rows, 'row')}"
    where = f" {'from' if history.op in ('read', 'delete') else 'to'} {history.table}" if history.table else ""
    yield printable(f"{history.id}  {history.state}  {history.op or 'job'}{rows}{where}")
    for origin in history.replay_of[-1:]:
        yield f"  replay of {origin}"
    yield _event(history.enqueued_at, "enqueued")
    for each in history.tries:
        yield _event(each.get("at"), f"try {each.get('attempt')} in batch {each.get('batch')}: {each.get('error')}")
    now, receipt = history.now, history.receipt
    match history.state:
        case "STARTED":
            told = f"started, try {now.get('attempt')} in batch {now.get('batch')} by {now.get('worker')}"
            yield _event(now.get("started_at"), told)
        case "RETRY":
            yield _event(now.get("next_try"), f"next try, after {now.get('attempts')} that met {now.get('error')}")
        case "SUCCESS":
            yield _event(receipt.get("started_at"), f"started, try {receipt.get('attempts')}")
            jobs = receipt.get("batch_jobs")
            others = f" with {counted(jobs - 1, 'other job')}" if isinstance(jobs, int) and jobs > 1 else ""
            count = receipt.get("rows")
            rows = "an unknown number of rows" if count is None else counted(count, "row")
            batch = f" in batch {receipt['batch']}" if receipt.get("batch") else ""
            took = f", {receipt['warehouse_ms']:,.0f} ms" if receipt.get("warehouse_ms") else ""
            yield _event(history.ended_at, f"done: {rows}{batch}{others}{took}")
            for note in (*receipt.get("notes", ()), *receipt.get("warnings", ())):
                yield f"  {note}"
        case "FAILURE":
            kind = now.get("error_class") or now.get("error")
            state = f" ({now['sqlstate']})" if now.get("sqlstate") else ""
            batch = f" in batch {now['batch']}" if now.get("batch") else ""
            committed = f", {now['committed']}" if now.get("committed") else ""
            yield _event(history.ended_at, f"failed{batch}: {kind}{state}{committed}")
            if reason := now.get("reason"):
                yield printable(f"  {reason}")
            if history.replayed_as:
                yield f"  replayed as {history.replayed_as}"
            else:
                yield f"  see: lakequeue dead show {history.id}"
        case "REVOKED":
            yield _event(history.ended_at, "cancelled")
    if statement := receipt.get("statement"):
        yield f"  statement {statement}: look it up in Databricks' query history"


def _standing_of(queue: Queue, history: JobHistory) -> Iterator[str]:
    """Why a job has not begun, if it is its table's pause, its own eta or that no worker is there."""
    if history.state not in ("QUEUED", "RETRY") or not history.table:
        return
    if due := queue.operations.due(history.id):
        yield _event(due.isoformat(), "due: it is a delayed job")
        return
    table = queue.operations.table(history.table)
    if table.paused_since:
        by = f" by {table.paused_by}" if table.paused_by else ""
        since = f"  its table is paused{by} since {local(table.paused_since)}"
        yield printable(f"{since}: lakequeue resume {history.table}")
    elif table.owner is None:
        yield "  no worker has its table: lakequeue workers"


def _event(at: str | None, told: str) -> str:
    try:
        moment = datetime.fromisoformat(at) if at else None
    except ValueError:
        moment = None
    shown = moment.astimezone().isoformat(sep=" ", timespec="milliseconds")[:23] if moment else "?"
    return printable(f"  {shown:<23}  {told}")


def wait(queue: Queue, job_ids: Iterable[str], timeout_s: float | None) -> int:
    """Print the outcome of each job as soon as it and those before it have one. Returns the exit code."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    late = False

    def outcome(job_id: str) -> dict[str, Any]:
        nonlocal late
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return queue.wait(job_id, left)
        except JobTimeout:
            record = queue.record(job_id)
            late |= record["status"] not in outcomes.FINAL
            return record

    unknown, failed = _print_each(job_ids, outcome)
    return FAILED if unknown or failed else TIMED_OUT if late else 0


def _print_each(job_ids: Iterable[str], look: Callable[[str], dict[str, Any]]) -> tuple[bool, bool]:
    """Whether any job is unknown, and whether any has failed."""
    unknown = failed = False
    for job_id in ids(job_ids):
        try:
            shown = outcomes.to_json(job_id, look(check_job_id(job_id)))
            failed |= shown["state"] in ("FAILURE", "REVOKED")
        except (UnknownJob, ValueError) as exc:
            shown = {"id": job_id, "state": "UNKNOWN", "error": True, "message": str(exc), "details": {}}
            unknown = True
        sys.stdout.write(json.dumps(shown) + "\n")
        sys.stdout.flush()
    return unknown, failed


def ids(given: Iterable[str]) -> Iterator[str]:
    """The ids themselves, and in the place of a `-` those on standard input, one a line."""
    for each in given:
        if each != "-":
            yield each
            continue
        for line in sys.stdin.buffer:
            if job_id := line.decode("ascii", "backslashreplace").strip():
                yield job_id


def _opened(source: str) -> AbstractContextManager[BufferedReader]:
    if source == "-":
        return nullcontext(cast(BufferedReader, sys.stdin.buffer))
    return open(source, "rb")
