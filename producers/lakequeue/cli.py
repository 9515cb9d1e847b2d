"""The command `lakequeue`: its options, and what a person is told when something goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from io import TextIOWrapper

from lakequeue import csv_options, dead_commands, job_commands, load, operator_commands, options
from lakequeue.client import Queue
from lakequeue.errors import LakequeueError, QueueUnreachable
from lakequeue.identifiers import TableName
from lakequeue.settings import Settings

UNUSABLE = 2
INTERRUPTED = 130
OUTPUT_CLOSED = 141

_DESCRIPTION = """\
Put jobs for Databricks Unity Catalog tables into the queue, and see what became of them.

  echo '{"kind": "write", "table": "main.sales.orders", "data": [{"id": 1}]}' | lakequeue enqueue - | lakequeue wait -
  lakequeue load orders.csv --table main.sales.orders --wait
"""
_EXITS = """\
exit codes: 0 all well; 1 a job, row or outcome is bad; 2 nothing could be done (bad option, no file, no Redis, queue
full); 3 not finished in time; 130 interrupted. Errors are on standard error."""
_ENQUEUE = """\
Send jobs, one JSON object a line, such as

  {"kind": "write", "table": "main.sales.orders", "data": [{"id": 1, "amount": "9.90"}], "id": "order-1"}

kind is write, update, delete or read. Each job's id is printed on a line of its own, in order, once the job is safely
queued. Give jobs ids of your own and the same file can be sent again without harm: a known id adds nothing.

A bad line is reported on standard error as {"error": true, "line": N, "message": …, "details": …}. Sending stops
there, with what came before it sent and nothing after it; with --keep-going the rest is sent."""
_STATUS = """\
Print what happened to jobs so far: on a terminal each step with its time, and the id of the statement for Databricks'
query history; else, or with --json, one JSON object a line."""
_LOAD = """\
Write the rows of a CSV file into a table. Its first line names the columns. The file is read once before anything is
sent, to find the columns' types and to check every value: a file with a bad value sends nothing. It may be compressed
with gzip or zstd.

Types that --columns does not give are inferred: BIGINT, DOUBLE (numbers with a fraction; say DECIMAL(p,s) for money),
BOOLEAN (true and false), DATE, TIMESTAMP (with an offset), TIMESTAMP_NTZ (without one), else STRING. Numbers whose text
could not be had back, such as 007, 12E4, or 1.10 beside 1.1, stay STRING. Dates and timestamps are ISO 8601, nested
values are JSON, BINARY is base64. A field is null if it is empty or equals one of --null, quoted or not."""
_AGAIN = """\
running it again: a load is known by its table, the name of its file and the rows in it. The same command can be stopped
and run again at any time, today or next month: it goes on where it was and sends no row twice. Before anything is sent
it looks into the table, by a read that a worker has to answer: columns that do not fit are named, and rows that are
there already are found by their _job_id.

A file that has changed since it was loaded: rows that were added are sent, the others are not; rows of jobs that failed
are sent as they are now, in the place of those jobs; if rows of other jobs have changed, nothing is sent. --all-rows
says that all rows are new, as in an export that holds other rows every day; --load-id gives each load a name of its
own.

Jobs that failed are not sent again as long as the file is the same: their dead letters can be replayed, and --wait
tells what became of the replays."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a column's name may not be in a terminal's encoding
    return quietly(lambda: _run(arguments))


def quietly(run: Callable[[], int]) -> int:
    """The exit code of a command, also where whoever read its output has gone, as `head` does, or it is interrupted."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nothing may be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    args = argparse.Namespace()
    try:
        args = parser().parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()  # here, since a full disk is told of like other errors
        return code
    except BrokenPipeError:
        raise
    except QueueUnreachable as exc:
        return _complain(f"{exc.message} (the address is from {_source_of_address(args)})")
    except LakequeueError as exc:
        return _complain(exc.message)
    except OSError as exc:
        name = f"{exc.filename}: " if exc.filename else ""
        return _complain(f"{name}{exc.strerror or exc}")
    except _Unusable as exc:
        return _complain(str(exc))


def _complain(message: str) -> int:
    print(f"lakequeue: {message}", file=sys.stderr)
    return UNUSABLE


def _source_of_address(args: argparse.Namespace) -> str:
    if getattr(args, "redis", None):
        return "--redis"
    return "LAKEQUEUE_REDIS_URL" if os.environ.get("LAKEQUEUE_REDIS_URL") else "the default"


class _Unusable(Exception):
    pass


def _settings() -> Settings:
    try:
        return Settings.from_env()
    except ValueError as exc:
        raise _Unusable(str(exc)) from None


def _queue(args: argparse.Namespace) -> Queue:
    settings = _settings()
    try:
        return Queue(getattr(args, "redis", None), settings=settings)
    except ValueError as exc:
        raise _Unusable(str(exc)) from None


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--redis",
        metavar="URL",
        # Suppressed, since a command's default would overwrite what was given before the command.
        default=argparse.SUPPRESS,
        help="where the queue is; else LAKEQUEUE_REDIS_URL, else redis://localhost:6379/0",
    )
    top = argparse.ArgumentParser(
        prog="lakequeue",
        description=_DESCRIPTION,
        epilog=_EXITS,
        parents=[common],
        formatter_class=options.Help,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"lakequeue {version('lakequeue')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog=epilog,
            parents=[common],
            formatter_class=options.Help,
            allow_abbrev=False,
        )

    _add_enqueue(command("enqueue", "send jobs, one JSON object a line", _ENQUEUE))
    _add_status(command("status", "print what happened to jobs so far", _STATUS))
    _add_wait(
        command("wait", "print the outcomes of jobs", "Print each job's outcome, one JSON object a line, in order.")
    )
    _add_load(command("load", "write the rows of a CSV file into a table", _LOAD, _AGAIN))
    operator_commands.add_to(command, _queue)
    dead = command("dead", "list, replay or drop jobs that failed for good", dead_commands.DESCRIPTION)
    dead_commands.add_to(dead, common, _queue)
    return top


def _add_enqueue(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the file of jobs, or - for standard input")
    command.add_argument("--keep-going", action="store_true", help="go on after a bad line; exit 1 at the end")
    command.set_defaults(run=_run_enqueue)


def _add_status(command: argparse.ArgumentParser) -> None:
    command.add_argument("ids", metavar="ID", nargs="+", help="a job's id, or - for ids on standard input")
    command.add_argument("--json", action="store_true", help="one JSON object a line, also on a terminal")
    command.set_defaults(run=_run_status)


def _add_wait(command: argparse.ArgumentParser) -> None:
    command.add_argument("ids", metavar="ID", nargs="+", help="a job's id, or - for ids on standard input")
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=options.argument(options.seconds),
        help="for all of them together; jobs not finished by then are printed with their state, and the exit code is 3",
    )
    command.set_defaults(run=_run_wait)


def _add_load(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("file", metavar="FILE.csv", help="a regular file: it is read more than once")
    add("--table", metavar="C.S.T", required=True, type=options.argument(TableName.parse), help="catalog.schema.table")
    csv_options.add_to(command)
    add("--rows-per-job", metavar="N", type=options.argument(options.count), default=500, help="at most (default: 500)")
    add(
        "--no-create",
        dest="create",
        action="store_false",
        help="the table is there: do not create it. Columns that --columns does not name are then sent as text, not "
        "inferred, and workers check them against the table's own types",
    )
    add("--actor", metavar="NAME", type=options.argument(options.actor), help="who is recorded as the rows' creator")
    add("--wait", action="store_true", help="wait for all outcomes, print failed jobs as JSON, exit 1 if any failed")
    anew = command.add_mutually_exclusive_group()
    anew.add_argument("--again", action="store_true", help="load the file once more: all of its rows, under fresh ids")
    anew.add_argument(
        "--load-id",
        metavar="NAME",
        type=options.argument(options.load_id),
        help="the name of the load, in place of one made of table and file name",
    )
    add(
        "--all-rows",
        action="store_true",
        help="a file of this name was loaded before with other rows: all rows of this one are new",
    )
    add(
        "--no-check",
        dest="check",
        action="store_false",
        help="do not look into the table before sending: takes no worker, and finds neither columns that do not fit "
        "nor rows that are there already but not in the queue's memory",
    )
    add("--dry-run", action="store_true", help="print types and counts, and send nothing")
    command.set_defaults(run=_run_load)


def _run_enqueue(args: argparse.Namespace) -> int:
    with _queue(args) as queue:
        return job_commands.enqueue(queue, args.file, keep_going=args.keep_going)


def _run_status(args: argparse.Namespace) -> int:
    with _queue(args) as queue:
        return job_commands.status(queue, args.ids, as_json=args.json)


def _run_wait(args: argparse.Namespace) -> int:
    with _queue(args) as queue:
        return job_commands.wait(queue, args.ids, args.timeout)


def _run_load(args: argparse.Namespace) -> int:
    return load.run(args, _settings(), lambda: _queue(args))
