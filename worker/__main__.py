"""`python -m worker …`: commands for operators."""

from __future__ import annotations

import argparse
import sys

from lakequeue.cli import main as queue_command
from lakequeue.cli import quietly
from lakequeue.identifiers import TableName

from worker.settings import Settings, describe

QUEUE_COMMANDS = (
    *("tables", "jobs", "errors", "costs", "workers", "status", "wait", "pause", "resume", "cancel", "purge", "dead"),
    *("enqueue", "load"),
)
"""Those of `lakequeue`, here too: where a worker runs, operators need not know which is whose."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    return quietly(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(given: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Commands for operators of lakequeue workers.",
        epilog=f"Also, as of lakequeue: {', '.join(QUEUE_COMMANDS)}.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    examine = commands.add_parser("doctor", help="check Redis, credentials, warehouse, versions and privileges")
    examine.add_argument("--wake", action="store_true", help="send a statement even if that starts the warehouse")
    examine.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="C.S.T",
        help="check what jobs on this table need; may be repeated",
    )
    give = commands.add_parser("adopt", help="add the missing audit columns to a table, after showing the statement")
    give.add_argument("table", metavar="C.S.T", help="catalog.schema.table")
    give.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("healthy", help="exit 0 if the worker here does its work; for a container's health check")
    commands.add_parser("settings", help="list every setting with its default")
    show = commands.add_parser("demo", help="run the whole system once, on servers of its own")
    show.add_argument("--keep", action="store_true", help="leave it running")
    show.add_argument("--commit-ms", type=int, default=300, help="what a commit costs in the local warehouse")
    show.add_argument("--file", default="examples/planes.csv", help="the CSV file to load")
    if given and given[0] in QUEUE_COMMANDS:
        return queue_command(given)
    args = parser.parse_args(given)
    # What a command needs it imports itself: Databricks' SDK alone takes a second.
    if args.command == "healthy":
        return _healthy()
    if args.command == "doctor":
        return _doctor(args.table, wake=args.wake)
    if args.command == "adopt":
        return _adopt(args.table, sure=args.yes)
    if args.command == "settings":
        for name, default, meaning in describe():
            print(f"{name:<32} {default:<24} {meaning}")
        return 0
    from worker import demo

    return demo.run(keep=args.keep, commit_ms=args.commit_ms, file=args.file)


def _doctor(tables: list[str], *, wake: bool) -> int:
    try:
        named = [TableName.parse(table) for table in tables]
    except ValueError as exc:
        print(f"doctor: {exc}", file=sys.stderr)
        return 2
    from worker import doctor

    failed = False
    for finding in doctor.examine(wake=wake, tables=named):
        print(finding, flush=True)
        failed = failed or finding.mark == "FAIL"
    return 1 if failed else 0


def _healthy() -> int:
    from worker import health

    try:
        settings = Settings.from_env()
    except ValueError as exc:
        print(f"healthy: {exc}", file=sys.stderr)
        return 2
    if not settings.metrics_port:
        print("healthy: LAKEQUEUE_METRICS_PORT is not set, and the worker is asked there", file=sys.stderr)
        return 2
    found = health.look(port=settings.metrics_port, address=settings.metrics_address)
    print(found.told)
    return 0 if found.good else 1


def _adopt(table: str, *, sure: bool) -> int:
    from worker.adopt import Adoption
    from worker.target import Misconfigured
    from worker.warehouse import StatementFailed

    adoption = None
    try:
        adoption = Adoption(TableName.parse(table))
        plan = adoption.plan()
        for note in plan.notes:
            print(note, file=sys.stderr)
        if plan.statement is None:
            print(f"{table} has all audit columns" if not plan.notes else f"{table}: no column can be added")
            return 0
        print(plan.statement.sql)
        if not sure and input("Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was changed")
            return 1
        adoption.carry_out(plan.statement)
        print(f"{table} is adopted")
    except (ValueError, Misconfigured) as exc:
        print(f"adopt: {exc}", file=sys.stderr)
        return 2
    except StatementFailed as exc:
        print(f"adopt: {exc}: {exc.failure.text}", file=sys.stderr)
        return 2
    finally:
        if adoption is not None:
            adoption.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
