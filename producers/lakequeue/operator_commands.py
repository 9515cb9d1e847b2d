"""The commands of an operator: `tables`, `jobs`, `errors`, `costs`, `workers`, `pause`, `resume`, `cancel`, `purge`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from lakequeue import options, tabular
from lakequeue.client import Queue
from lakequeue.errors import UnknownJob
from lakequeue.identifiers import TableName
from lakequeue.job_commands import ids
from lakequeue.job_states import JobState
from lakequeue.operations import SHOWN, Cost, ErrorCount, WorkerState
from lakequeue.table_states import TableState
from lakequeue.tabular import age, counted, iso, local, number, say

FAILED = 1
UNUSABLE = 2
TIMED_OUT = 3

STATES = ("QUEUED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")
LOOK_S = 0.2

LONG_S = 30.0
"""A batch that is under way for longer is told of."""

Connect = Callable[[argparse.Namespace], Queue]
MakeCommand = Callable[[str, str, str], argparse.ArgumentParser]

_TABLES = """\
One line a table: how many jobs are queued, running (their statement is under way), retrying (tried in vain, waiting for
another try) and dead (failed for good), how long the oldest has been waiting, when something was committed last, and
the worker that runs it. Those that have waited longest come first. A table is stuck if its oldest job grows older and
nothing was committed since.

What a table waits for is in the last column, or below where the terminal is too narrow. Counts are exact, and cost the
same whatever the backlog. Of more tables than --limit those that have waited longest are printed, then paused ones and
those with dead letters."""
_JOBS = """\
Print jobs, table by table: those that run or wait, the oldest first, then those that ended, the newest first: the
last 500 of each table are remembered. Of each table at most --limit are printed, and of a long queue no more than its
first 8 MB: how many wait is told by lakequeue tables."""
_ERRORS = """\
Count what jobs failed by (FAILURE) and what they were tried again after (RETRY: each try in vain counts), by class and
table, with one job as an example: see it with lakequeue status ID, or dead show ID. Counted by the minute and kept for
three days."""
_COSTS = """\
What was sent to the warehouse, by table: statements of any kind, the seconds the warehouse took for them, the jobs and
rows that were done with them. Counted by the hour and kept for a month; what a worker that was killed had not told yet
(a few seconds) is not in it. Databricks bills for the time a warehouse is awake: see its own usage tables for money."""
_WORKERS = """\
The workers that are alive: how many of the 64 partitions each owns, how long ago it renewed its leases, and how much
it does. A worker that died is gone from here once its lease has run out; the others have its tables then."""
_PAUSE = """\
Begin no batch of a table until it is resumed. Jobs are still taken in and wait; what is under way is finished: with
--wait the command returns once it is. A pause outlives restarts of everything."""
_RESUME = """\
Go on with a paused table."""
_CANCEL = """\
Cancel jobs that have not begun, or wait for another try: they end as REVOKED. A job whose statement is under way, or
that may have taken effect already, is left: exit code 1."""
_PURGE = """\
Cancel all jobs of a table that wait now, delayed ones and those that wait for another try included: they end as REVOKED
and cannot be brought back. What is under way is finished. A worker throws them away, thousands a second; with --wait
the command returns once that is done. Dead letters stay: see lakequeue dead drop."""


def add_to(command: MakeCommand, connect: Connect) -> None:
    """Add the commands; each sets `run`, which returns the exit code."""

    def add(
        name: str, summary: str, description: str, run: Callable[[Queue, argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        made = command(name, summary, description)
        made.set_defaults(run=lambda args: _with_queue(connect, args, run))
        return made

    tables = add("tables", "what stands in the queue, by table", _TABLES, _tables)
    several = tables.add_mutually_exclusive_group()
    several.add_argument(
        "--limit", metavar="N", type=options.argument(options.count), default=SHOWN, help=f"tables (default: {SHOWN})"
    )
    several.add_argument("--all", action="store_true", help="all tables, which may be many")
    _add_json(tables)
    jobs = add("jobs", "list jobs", _JOBS, _jobs)
    _add_table(jobs)
    jobs.add_argument(
        "--state", metavar="STATE", action="append", choices=STATES, type=str.upper, help=f"one of {', '.join(STATES)}"
    )
    _add_since(jobs, None, "only those enqueued, tried or ended within so long: 90s, 15m, 2h, 7d")
    jobs.add_argument(
        "--limit", metavar="N", type=options.argument(options.count), default=50, help="of each table (default: 50)"
    )
    _add_json(jobs)
    errors = add("errors", "count what jobs failed by or were tried again after", _ERRORS, _errors)
    _add_table(errors)
    _add_since(errors, 3600.0, "within so long: 90s, 15m, 2h, 3d (default: 1h)")
    _add_json(errors)
    costs = add("costs", "what was sent to the warehouse, by table", _COSTS, _costs)
    _add_table(costs)
    _add_since(costs, 86_400.0, "within so long: 2h, 7d, 4w (default: 1d)")
    _add_json(costs)
    _add_json(add("workers", "the workers that are alive", _WORKERS, _workers))
    pause = add("pause", "begin no batch of a table", _PAUSE, _pause)
    _add_name(pause)
    _add_wait(pause)
    _add_name(add("resume", "go on with a paused table", _RESUME, _resume))
    cancel = add("cancel", "cancel jobs", _CANCEL, _cancel)
    cancel.add_argument("ids", metavar="ID", nargs="+", help="a job's id, or - for ids on standard input")
    purge = add("purge", "cancel all jobs of a table that wait", _PURGE, _purge)
    _add_name(purge)
    purge.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal to ask on")
    _add_wait(purge)


def _with_queue(connect: Connect, args: argparse.Namespace, run: Callable[[Queue, argparse.Namespace], int]) -> int:
    with connect(args) as queue:
        return run(queue, args)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object a line, also on a terminal")


def _add_name(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="C.S.T", type=options.argument(TableName.parse), help="catalog.schema.table")


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument("--table", metavar="C.S.T", type=options.argument(TableName.parse), help="only this table")


def _add_since(command: argparse.ArgumentParser, default: float | None, told: str) -> None:
    command.add_argument("--since", metavar="AGE", type=options.argument(options.duration), default=default, help=told)


def _add_wait(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="return once nothing is left to do")
    command.add_argument(
        "--timeout", metavar="SECONDS", type=options.argument(options.seconds), default=600.0, help="default: 600"
    )


def _tables(queue: Queue, args: argparse.Namespace) -> int:
    found = queue.operations.overview(limit=None if args.all else args.limit)
    now = datetime.now(UTC)
    longest = datetime.max.replace(tzinfo=UTC)
    tabular.show(
        sorted(found.tables, key=lambda each: (each.oldest_at or longest, each.table)),
        ("TABLE", "QUEUED", "RUNNING", "RETRYING", "DEAD", "OLDEST", "LAST COMMIT", "OWNER", "NOTE"),
        lambda each: _table_cells(each, now),
        _table_json,
        as_json=args.json,
    )
    told = [counted(len(found.tables), "table"), counted(found.workers, "worker")]
    if found.more:
        told.insert(1, f"at least {number(found.more)} more are not shown: give --limit N, or --all")
    if found.unowned:
        told.append(f"{found.unowned} of 64 partitions have no worker")
    if found.arriving:
        told.append(f"{counted(found.arriving, 'message')} of other Celery apps not taken in yet")
    if found.delayed:
        told.append(counted(found.delayed, "delayed job"))
    if found.dead:
        nowhere = 0 if found.more else found.dead - sum(each.dead for each in found.tables)
        told.append(counted(found.dead, "dead letter") + (f" ({number(nowhere)} of no table)" if nowhere > 0 else ""))
    if any(each.told.get("warehouse") == "away" for each in queue.operations.workers()):
        told.append("the warehouse is away: ask python -m worker doctor")
    say(", ".join(told))
    for each in found.unread:
        say(str(each))
    return 0


def _table_cells(each: TableState, now: datetime) -> tuple[str, ...]:
    commit = f"{age(each.last_commit_at, now)} ago" if each.last_commit_at else ""
    owner = each.owner or ("NONE" if each.waiting else "")
    counts = (each.queued, each.running, each.retrying, each.dead)
    return (each.table, *map(number, counts), age(each.oldest_at, now), commit, owner, _note(each, now))


def _note(each: TableState, now: datetime) -> str:
    if each.discarding:
        return f"purging {number(each.discarding)}"
    if each.paused_since:
        by = f" by {each.paused_by}: see lakequeue errors, then resume" if each.paused_by else ""
        return f"paused {age(each.paused_since, now)} ago{by}"
    if each.retrying and each.next_try_at:
        left_s = (each.next_try_at - now).total_seconds()
        tries = "1 try" if each.attempts == 1 else f"{number(each.attempts)} tries"
        since = f" for {age(each.failing_since, now)}" if each.failing_since else ""
        return f"{each.error}{since}, {tries}, next {f'in {tabular.span(left_s)}' if left_s >= 1 else 'is due'}"
    if each.running_since and (now - each.running_since).total_seconds() > LONG_S:
        return f"under way for {age(each.running_since, now)}"
    return ""


def _table_json(each: TableState) -> dict[str, Any]:
    told = _plain(each)
    oldest = each.oldest_at
    told["oldest_s"] = None if oldest is None else round((datetime.now(UTC) - oldest).total_seconds(), 1)
    return told


def _plain(each: Any) -> dict[str, Any]:
    """A dataclass as plain JSON."""
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in asdict(each).items()}


def _jobs(queue: Queue, args: argparse.Namespace) -> int:
    found = queue.operations.jobs(
        table=str(args.table) if args.table else None,
        states=frozenset(args.state or ()),
        since_s=args.since,
        limit=args.limit,
    )
    shown = tabular.show(
        found,
        ("STATE", "ID", "TABLE", "OP", "ROWS", "ENQUEUED", "LAST", "TRIES", "ERROR"),
        _job_cells,
        _plain,
        as_json=args.json,
    )
    if not shown:
        say("no such jobs")
    return 0


def _job_cells(each: JobState) -> tuple[str, ...]:
    rows = "" if each.op == "read" else number(each.rows)  # it sends none
    told = (each.state, each.id, each.table, each.op or "", rows)
    return (*told, local(each.enqueued_at), local(each.at), number(each.attempts), each.error or "")


def _errors(queue: Queue, args: argparse.Namespace) -> int:
    found = queue.operations.errors(since_s=args.since, table=str(args.table) if args.table else None)
    tabular.show(
        found,
        ("STATE", "ERROR", "TABLE", "TIMES", "LAST", "EXAMPLE"),
        _error_cells,
        _plain,
        as_json=args.json,
    )
    if not found:
        say("no errors in this time")
    return 0


def _error_cells(each: ErrorCount) -> tuple[str, ...]:
    return (each.state, each.error, each.table, number(each.count), local(each.last_at)[:16], each.example)


def _costs(queue: Queue, args: argparse.Namespace) -> int:
    found = queue.operations.costs(since_s=args.since, table=str(args.table) if args.table else None)
    tabular.show(
        found,
        ("TABLE", "STATEMENTS", "WAREHOUSE S", "JOBS", "ROWS", "JOBS A STATEMENT"),
        _cost_cells,
        _plain,
        as_json=args.json,
    )
    statements, seconds = sum(each.statements for each in found), sum(each.warehouse_s for each in found)
    say(f"{counted(statements, 'statement')}, {seconds:,.1f} s of the warehouse")
    return 0


def _cost_cells(each: Cost) -> tuple[str, ...]:
    share = f"{each.jobs / each.statements:,.1f}" if each.statements else ""
    return (
        each.table,
        number(each.statements),
        f"{each.warehouse_s:,.1f}",
        number(each.jobs),
        number(each.rows),
        share,
    )


def _workers(queue: Queue, args: argparse.Namespace) -> int:
    found = queue.operations.workers()
    tabular.show(
        found,
        (
            "WORKER",
            "HOST",
            "PID",
            "VERSION",
            "UP",
            "PARTITIONS",
            "LEASE AGE",
            "RUNNING",
            "JOBS/S",
            "STATEMENTS/MIN",
            "WAREHOUSE",
        ),
        _worker_cells,
        _plain,
        as_json=args.json,
    )
    if not found:
        say("no worker is alive: jobs are taken in and wait. Start one with: celery -A worker worker")
    return 0 if found else FAILED


def _worker_cells(each: WorkerState) -> tuple[str, ...]:
    told = each.told
    started = told.get("started_at")
    up = age(datetime.fromisoformat(started)) if started else ""
    renewed = "" if each.renewed_s is None else f"{each.renewed_s:.1f}s of {told['lease_ttl_s']:g}s"
    rates = (str(told.get("jobs_per_s", "")), str(told.get("statements_per_min", "")))
    names = (each.name, str(told.get("host", "")), str(told.get("pid", "")), str(told.get("version", "")), up)
    return (*names, str(each.partitions), renewed, str(told.get("running", "")), *rates, str(told.get("warehouse", "")))


def _pause(queue: Queue, args: argparse.Namespace) -> int:
    state = queue.operations.pause(str(args.table))
    if args.wait and not _until(lambda: queue.operations.table(str(args.table)).running == 0, args.timeout):
        say(f"{args.table} is paused; its last batch is still under way")
        return TIMED_OUT
    note = ""
    if state.running and not args.wait:
        note = f"; first {counted(state.running, 'job')} under way will be finished"
    elif not (state.waiting or state.dead or state.last_commit_at):
        note = "; no job of this table is known: is the name right?"
    say(f"{args.table} is paused{note}")
    return 0


def _resume(queue: Queue, args: argparse.Namespace) -> int:
    say(f"{args.table} goes on" if queue.operations.resume(str(args.table)) else f"{args.table} was not paused")
    return 0


def _cancel(queue: Queue, args: argparse.Namespace) -> int:
    code = 0
    for job_id in ids(args.ids):
        try:
            state = queue.operations.cancel(job_id)
        except (UnknownJob, ValueError) as exc:
            say(str(exc))
            code = FAILED
            continue
        if state in ("QUEUED", "RETRY"):
            say(f"{job_id} is cancelled")
        elif state == "REVOKED":
            say(f"{job_id} was cancelled before")
        else:
            say(f"{job_id} is {state}: it is left")
            code = FAILED
    return code


def _purge(queue: Queue, args: argparse.Namespace) -> int:
    name = str(args.table)
    state = queue.operations.table(name)
    there = state.queued + state.retrying
    if not args.yes:
        told = f"cancel {counted(there, 'job')} of {name} that wait, and its delayed ones, for good"
        if not sys.stdin.isatty():
            say(f"this would {told}; nothing was done: give --yes")
            return UNUSABLE
        sys.stderr.write(f"{told}? (y/N) ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            say("nothing was done")
            return UNUSABLE
    count = queue.operations.purge(name)
    if args.wait and not _until(lambda: queue.operations.table(name).discarding == 0, args.timeout):
        left = number(queue.operations.table(name).discarding)
        say(f"{left} of {counted(count, 'job')} still to go: is a worker alive?")
        return TIMED_OUT
    say(f"{counted(count, 'job')} of {name} {'' if args.wait else 'being '}cancelled")
    return 0


def _until(done: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True
