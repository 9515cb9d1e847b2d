"""The options of `load` that say how a file is read."""

from __future__ import annotations

import argparse

from lakequeue import options
from lakequeue.csv_dialect import UTF_8, Dialect
from lakequeue.csv_header import Changes, parse_rename
from lakequeue.csv_types import parse_columns


def add_to(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--columns",
        metavar="NAME:TYPE,…",
        type=options.argument(parse_columns),
        default={},
        help="types of all or some columns, such as 'id:BIGINT NOT NULL,amount:DECIMAL(10,2),tags:ARRAY<STRING>'",
    )
    add("--null", metavar="TEXT", action="append", help="what stands for null beside an empty field; repeatable")
    add("--keep-empty", action="store_true", help="an empty field is empty text and not null")
    rename = options.argument(parse_rename)
    add(
        "--rename", metavar="OLD=NEW", action="append", type=rename, help="load a column under another name; repeatable"
    )
    add("--drop", metavar="NAME", action="append", help="leave a column out; '' is one without a name; repeatable")
    add(
        "--normalize-names",
        action="store_true",
        help="names of lowercase letters, digits and _: 'Unit Price' is unit_price",
    )
    group = command.add_argument_group("the file's form", "Each is needed only where the file differs from plain CSV.")
    add = group.add_argument
    add(
        "--delimiter",
        metavar="C",
        type=options.argument(options.delimiter),
        help="default: the comma, or one of ; | : ^ and tab if the first lines leave no doubt; \\t is a tab",
    )
    add("--encoding", metavar="NAME", type=options.argument(options.encoding), default=UTF_8, help="default: UTF-8")
    add("--decimal", metavar="C", choices=[".", ","], default=".", help="',' for numbers such as 1.234,50")
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="--no-header: the first line is a row, and columns are c1, c2, … or those of --columns in order; "
        "--header: the first line names the columns and every other one is a row, whatever they look like",
    )
    add(
        "--skip-lines", metavar="N", type=options.argument(options.count), default=0, help="leave out the first N lines"
    )
    add(
        "--skip-footer", metavar="N", type=options.argument(options.count), default=0, help="leave out the last N lines"
    )
    add(
        "--comment",
        metavar="TEXT",
        type=options.argument(options.comment),
        help="leave out lines that begin so, as '#'",
    )
    escape = options.argument(options.delimiter)
    add(
        "--escape",
        metavar="C",
        type=escape,
        help="what is before a quote inside quotes, as '\\' (default: a second quote)",
    )
    add("--skip-initial-space", action="store_true", help="leave out blanks after a delimiter")


def dialect(args: argparse.Namespace) -> Dialect:
    return Dialect(
        encoding=args.encoding,
        delimiter=args.delimiter,
        escape=args.escape,
        skip_initial_space=args.skip_initial_space,
        comment=args.comment,
        skip_lines=args.skip_lines,
        skip_footer=args.skip_footer,
        header=args.header,
    )


def changes(args: argparse.Namespace) -> Changes:
    return Changes(tuple(args.rename or ()), tuple(args.drop or ()), args.normalize_names)


def nulls(args: argparse.Namespace) -> frozenset[str]:
    """An empty field is null beside what is given, unless the user says otherwise."""
    return frozenset(args.null or ()) | (frozenset() if args.keep_empty else frozenset([""]))
