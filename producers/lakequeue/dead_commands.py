"""The commands `dead list`, `show`, `replay` and `drop`."""

from __future__ import annotations

import argparse
import json
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from lakequeue import options, tabular, wire
from lakequeue.client import Queue
from lakequeue.dead_letters import Selection
from lakequeue.errors import UnknownLetter
from lakequeue.identifiers import TableName
from lakequeue.job_commands import ids
from lakequeue.letters import DeadLetter
from lakequeue.tabular import say, write

FAILED = 1
UNUSABLE = 2

Connect = Callable[[argparse.Namespace], Queue]

DESCRIPTION = """\
Jobs that failed for good are kept as dead letters, each with its payload and the reason, until they are replayed or
dropped. Letters are named by the ids of their jobs, or chosen by what they have in common.

  lakequeue dead list --table main.sales.orders --newer-than 2h
  lakequeue dead replay --error INSUFFICIENT_PERMISSIONS --yes | lakequeue wait -"""
_LIST = """\
Print dead letters, oldest first: as a table on a terminal, else one JSON object a line. Values of rows are never
printed."""
_SHOW = """\
Print all that is known of dead letters. Values of rows are printed only with --payload."""
_REPLAY = """\
Enqueue the jobs of dead letters again, oldest first, each as a new job that points back to the old one: order-1 becomes
order-1.replay1. The new ids are printed, one a line, and the letters are gone. Replaying twice is one job: a letter
that was replayed already prints the id of that replay.

A job goes to the end of its table's list. Its callbacks, eta and expiry are not repeated. A letter whose job may have
been committed (unknown) stays unless --force is given: look into the table first. One that cannot be replayed stops no
other: it is reported on standard error, and the exit code is 1."""
_DROP = """\
Forget dead letters and their payloads, for good."""


def add_to(dead: argparse.ArgumentParser, common: argparse.ArgumentParser, connect: Connect) -> None:
    """Add the commands to the parser of `dead`; each sets `run`, which returns the exit code."""
    commands = dead.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, description: str, run: Callable[[Queue, argparse.Namespace], int]) -> Any:
        made = commands.add_parser(
            name,
            help=summary,
            description=description,
            parents=[common],
            formatter_class=options.Help,
            allow_abbrev=False,
        )
        made.set_defaults(run=lambda args: _with_queue(connect, args, run))
        return made

    listing = command("list", "print dead letters", _LIST, _list)
    _add_choice(listing)
    listing.add_argument("--limit", metavar="N", type=options.argument(options.count), help="at most so many")
    listing.add_argument("--json", action="store_true", help="one JSON object a line, also on a terminal")
    show = command("show", "print all that is known of dead letters", _SHOW, _show)
    show.add_argument("ids", metavar="ID", nargs="+", help="a job's id, or - for ids on standard input")
    show.add_argument("--payload", action="store_true", help="with the job's fields, values of rows included")
    show.add_argument("--json", action="store_true", help="one JSON object a line, also on a terminal")
    replay = command("replay", "enqueue the jobs of dead letters again", _REPLAY, _replay)
    _add_choice(replay, acts=True)
    replay.add_argument("--force", action="store_true", help="also jobs that may have been committed")
    _add_choice_of_acting(replay)
    drop = command("drop", "forget dead letters", _DROP, _drop)
    _add_choice(drop, acts=True)
    _add_choice_of_acting(drop)


def _with_queue(connect: Connect, args: argparse.Namespace, run: Callable[[Queue, argparse.Namespace], int]) -> int:
    with connect(args) as queue:
        return run(queue, args)


def _add_choice(command: argparse.ArgumentParser, *, acts: bool = False) -> None:
    add = command.add_argument
    add("ids", metavar="ID", nargs="*", help="a job's id, or - for ids on standard input")
    add("--table", metavar="C.S.T", type=options.argument(TableName.parse), help="only jobs of this table")
    add("--error", metavar="CLASS", help="only jobs that failed by this class of error, such as INVALID_JOB")
    duration = options.argument(options.duration)
    add("--older-than", metavar="AGE", type=duration, help="only those that failed before 90s, 15m, 2h, 7d or 1w")
    add("--newer-than", metavar="AGE", type=duration, help="only those that failed within so long")
    if acts:
        add("--all", action="store_true", help="all dead letters there are")


def _add_choice_of_acting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal to ask on")
    command.add_argument("--dry-run", action="store_true", help="print which letters it would be, and change nothing")


def _selection(queue: Queue, args: argparse.Namespace) -> Selection:
    return queue.dead_letters.select(
        ids=list(ids(args.ids)) if args.ids else None,
        table=str(args.table) if args.table else None,
        error=args.error,
        older_than_s=args.older_than,
        newer_than_s=args.newer_than,
    )


def _filtered(args: argparse.Namespace) -> bool:
    return bool(args.table or args.error) or args.older_than is not None or args.newer_than is not None


def _list(queue: Queue, args: argparse.Namespace) -> int:
    selection = _selection(queue, args)
    if not _print_letters(islice(selection, args.limit), as_json=args.json):
        say("no such dead letters")
    return 0


def _show(queue: Queue, args: argparse.Namespace) -> int:
    code = 0
    for letter_id in ids(args.ids):
        try:
            letter = queue.dead_letters.get(letter_id)
        except UnknownLetter as exc:
            _complain(letter_id, exc.to_dict())
            code = FAILED
            continue
        shown = letter.to_json()
        if args.payload:
            shown = {**shown, "details": dict(letter.details), "payload": _payload(letter)}
        write(json.dumps(shown) if args.json or not sys.stdout.isatty() else json.dumps(shown, indent=2))
    return code


def _replay(queue: Queue, args: argparse.Namespace) -> int:
    selection = _selection(queue, args)
    if (code := _held_back(selection, args, "replay")) is not None:
        return code
    new = known = failed = 0
    try:
        for done in selection.replay(force=args.force):
            if done.handle is None:
                failed += 1
                _complain(done.of, done.error.to_dict() if done.error else {})
                continue
            new += not done.handle.known
            known += done.handle.known
            write(done.handle.id)
    finally:
        sys.stdout.flush()
        told = f"{_letters(new)} replayed"
        told += f", {known:,} before" if known else ""
        say(told + (f"; {failed:,} not replayed" if failed else ""))
    return FAILED if failed else 0


def _drop(queue: Queue, args: argparse.Namespace) -> int:
    selection = _selection(queue, args)
    if (code := _held_back(selection, args, "drop")) is not None:
        return code
    if _filtered(args) or not args.ids:
        say(f"{_letters(selection.drop())} dropped")
        return 0
    dropped = failed = 0
    for letter_id in selection.ids or ():
        try:
            queue.dead_letters.drop(letter_id)
            dropped += 1
        except UnknownLetter as exc:
            failed += 1
            _complain(letter_id, exc.to_dict())
    say(f"{_letters(dropped)} dropped")
    return FAILED if failed else 0


def _held_back(selection: Selection, args: argparse.Namespace, verb: str) -> int | None:
    """The exit code, if it ends here: nothing chosen, a dry run, or nobody says yes. Ids alone need no yes."""
    filtered = _filtered(args) or args.all
    if not (args.ids or filtered):
        say(f"say which letters to {verb}: ids, --table, --error, --older-than, --newer-than, or --all")
        return UNUSABLE
    if args.all and (args.ids or _filtered(args)):
        say("--all goes with no other choice of letters")
        return UNUSABLE
    done = "replayed" if verb == "replay" else "dropped"
    if args.dry_run:
        _print_letters(iter(selection), as_json=False)
        say(f"{_letters(selection.count())} would be {done}; nothing was")
        return 0
    if not filtered or args.yes:
        return None
    count = selection.count()
    if not sys.stdin.isatty():
        say(f"{_letters(count)} would be {done}; nothing was: give --yes")
        return UNUSABLE
    sys.stderr.write(f"{verb} {_letters(count)}? (y/N) ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return None
    say(f"nothing was {done}")
    return UNUSABLE


def _print_letters(letters: Iterator[DeadLetter], *, as_json: bool) -> int:
    return tabular.show(letters, _HEADINGS, _cells, DeadLetter.to_json, as_json=as_json)


_HEADINGS = ("FAILED AT", "ID", "TABLE", "OP", "ROWS", "ERROR", "COMMITTED", "REASON")


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    rows = tabular.number(letter.rows) if letter.op in ("write", "update", "delete") else ""
    told = (letter.id, letter.table, letter.op, rows, letter.error, letter.committed, letter.reason)
    return (tabular.local(letter.at), *(each or "" for each in told))


def _payload(letter: DeadLetter) -> Any:
    """The job's task and fields; of what is no message, its bytes as text or, if they are none, in base64."""
    if letter.payload is None and letter.payload_key is not None:
        return f"{letter.payload_bytes:,} bytes, in Redis: redis-cli LINDEX {letter.payload_key} 0"
    raw = letter.payload or b""
    try:
        received = wire.parse(raw)
    except wire.NotAMessage:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return {"base64": b64encode(raw).decode()}
    fields = {"task": received.task, "kwargs": received.kwargs}
    return {**fields, "args": list(received.args)} if received.args else fields


def _letters(count: int) -> str:
    return tabular.counted(count, "dead letter")


def _complain(letter_id: str, error: Iterable[tuple[str, Any]] | dict[str, Any]) -> None:
    sys.stdout.flush()
    sys.stderr.write(json.dumps({"id": letter_id, **dict(error)}) + "\n")
