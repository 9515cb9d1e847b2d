"""`python -m worker …`: commands for operators."""

from __future__ import annotations

import argparse
import sys

from worker import doctor
from worker.settings import describe


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worker", description="Commands for operators of lakequeue workers."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    examine = commands.add_parser("doctor", help="check Redis, credentials, warehouse and versions")
    examine.add_argument("--wake", action="store_true", help="send a statement even if that starts the warehouse")
    commands.add_parser("settings", help="list every setting with its default")
    show = commands.add_parser("demo", help="run the whole system once, on servers of its own")
    show.add_argument("--keep", action="store_true", help="leave it running")
    show.add_argument("--commit-ms", type=int, default=300, help="what a commit costs in the local warehouse")
    show.add_argument("--file", default="examples/planes.csv", help="the CSV file to load")
    args = parser.parse_args(argv)
    if args.command == "doctor":
        failed = False
        for finding in doctor.examine(wake=args.wake):
            print(finding, flush=True)
            failed = failed or finding.mark == "FAIL"
        return 1 if failed else 0
    if args.command == "settings":
        for name, default, meaning in describe():
            print(f"{name:<32} {default:<24} {meaning}")
        return 0
    from worker import demo  # what it starts is for the demo alone

    return demo.run(keep=args.keep, commit_ms=args.commit_ms, file=args.file)


if __name__ == "__main__":
    sys.exit(main())
