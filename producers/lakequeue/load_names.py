"""How a load and its jobs are named: an id is `load:NAME:CONTENT:ROW`, and sorts in the order of the rows.

NAME tells loads apart, by default by table and file name. CONTENT is a digest of the rows and of how they are cut into
jobs. ROW is the number of a job's first row.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from secrets import token_hex

from lakequeue.identifiers import TableName

MAX_NAME_CHARS = 60
_SHOWN_FILE_CHARS = 40
_PREFIX = "load:"
_ROW_DIGITS = 12
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._-]")


def default_name(table: TableName, file_name: str) -> str:
    """The name of the load of a file into a table. The folder of the file is no part of it."""
    told = f"lakequeue load 2\0{table}\0{file_name}".encode(errors="surrogateescape")
    shown = _NOT_IN_NAME.sub("_", file_name)[:_SHOWN_FILE_CHARS]
    return f"{shown}.{blake2b(told, digest_size=4).hexdigest()}"


def fresh_name(name: str) -> str:
    """A name for one more copy of a load."""
    tail = f".again-{token_hex(4)}"
    return name[: MAX_NAME_CHARS - len(tail)] + tail


def check_name(text: str) -> str:
    """A load's name as a user gives it, with or without `load:` before it.

    Raises:
        ValueError: no load can have this name.
    """
    name = text.removeprefix(_PREFIX)
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise ValueError(f"a load's name is 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9 . _ -")
    return name


def job_id(name: str, tag: str, first: int) -> str:
    """The id of the job whose first row is number `first`, from 1, of the content `tag`."""
    return f"{_PREFIX}{name}:{tag}:{first:0{_ROW_DIGITS}}"


def bounds(name: str, tag: str | None = None) -> tuple[str, str]:
    """The range of ids, the end excluded, of all jobs of a load, or of those of one content."""
    prefix = f"{_PREFIX}{name}" if tag is None else f"{_PREFIX}{name}:{tag}"
    return prefix + ":", prefix + ";"  # the character after the colon


def after(last: str) -> str:
    """The first id behind a job and its replays, which are `ID.replay1` and so on."""
    return last + "/"  # the character after the dot


def next_tag(tag: str) -> str:
    """The tag under which rows are sent once more, since the table that held them is gone."""
    content, _, number = tag.partition(".")
    return f"{content}.{int(number or 1) + 1}"
