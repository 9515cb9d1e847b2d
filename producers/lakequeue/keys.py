"""The names of everything in Redis: with the message, they are the wire format that clients and workers share."""

from __future__ import annotations

from typing import Literal, NewType
from zlib import crc32

Partition = NewType("Partition", int)
"""A number from 0 to 63: the set of tables that one worker owns at a time."""

Lane = NewType("Lane", str)
"""One list of jobs: `w:` or `r:` and the table's canonical name. Reads have a lane of their own."""

Kind = Literal["w", "r"]
"""Whether a lane is one of writes (also updates and deletes) or of reads: how its name begins."""

KINDS: tuple[Kind, Kind] = ("w", "r")
PARTITIONS = 64
WAKE_CHANNEL = "lakequeue:wake"
"""A partition's number is published here when one of its lanes stops being empty, unless many of them wait already;
`anew` and the number when one that waits is to have its turn now; `free` when partitions are given back."""

WORKERS = "lakequeue:workers"
"""Sorted set: a worker's token by the time (Unix seconds) until which it counts as alive."""

OWNERS = "lakequeue:owners"
"""Hash: the last owner's token of each partition; outlives the lease."""

DEAD = "lakequeue:dead"
"""Hash: dead letters by job id."""

DEAD_LARGE = "lakequeue:dead:large:"
"""Begins the names of lists of one element: the bytes of a message that no worker reads, by its dead letter's id."""

DOOR_HANDS = "lakequeue:door:hands"
"""Hash: how many messages of Celery's door each worker has in hand, by its token; of one taken alone also its SHA-1."""

DOOR_DEATHS = "lakequeue:door:deaths"
"""Hash: how many messages are taken at once (`limit`) after a worker died at the door, and by the SHA-1 of a message
how many died with it alone."""

DEAD_INDEX = "lakequeue:dead:index"
"""Sorted set: ids of dead letters by the time (Unix seconds) they were put there, no two of them the same."""

ETA = "lakequeue:eta"
"""Sorted set: ids of delayed jobs by the time (Unix seconds) they are due."""

ETA_JOBS = "lakequeue:eta:jobs"
"""Hash: delayed jobs by id, each `partition lane`, a line break and the message."""

CALLBACKS = "lakequeue:callbacks"
"""Hash: what is to follow a job (link, link_error, chain, chord), by its id, until it is finished."""

OUTBOX = "lakequeue:outbox"
"""List: finished jobs whose callbacks are to be sent, oldest first."""

OUTBOX_FAILED = "lakequeue:outbox:failed"
"""List: the newest of those whose callbacks cannot be sent."""

OUTBOX_LEASE = "lakequeue:outbox:lease"
"""String with a time to live: the token of the worker that sends callbacks."""

DEAD_TABLES = "lakequeue:dead:tables"
"""Hash: how many dead letters there are of each table; those of no table under the empty name."""

COMMITS = "lakequeue:commits"
"""Hash: when something was last committed in each table, Unix seconds."""

LISTS = "lakequeue:lists"
"""Hash: lists with jobs of other Celery applications beside the usual ones, each with what its sender has to change, or
nothing if workers drain it."""

PAUSED = "lakequeue:paused"
"""Hash: the tables of which no batch is begun, each with the time (ISO 8601) since which."""

PAUSED_BY = "lakequeue:paused:by"
"""Hash: the tables that a worker paused itself, each with the class of the error for which it did."""

FAILING = "lakequeue:failing"
"""Hash: the lanes whose head fails by an error that says nothing of any job, each with two times (Unix seconds):
since when, and of the last try. It is removed when a batch of the lane is settled."""

PURGES = "lakequeue:purges"
"""Hash: how many messages at the head of a lane are to be thrown away; whoever removes some counts them down."""

SERVER = "lakequeue:server"
"""Hash: the server's `run_id` as it was seen last, and since when (`broke`, microseconds since 1970) another one
answers: what was confirmed shortly before may have been forgotten."""


def partition_of(table: str) -> Partition:
    """The partition of a table's canonical name, the same in every client: CRC-32 of its UTF-8 bytes, modulo 64."""
    return Partition(crc32(table.encode()) % PARTITIONS)


def lane_of(op: Literal["write", "update", "delete", "read"], table: str) -> Lane:
    return Lane(("r:" if op == "read" else "w:") + table)


def lanes_of(table: str) -> tuple[Lane, Lane]:
    return Lane("w:" + table), Lane("r:" + table)


def table_of(lane: Lane) -> str:
    return lane[2:]


def jobs(lane: Lane) -> str:
    """List: the messages of a lane, oldest first. Only settling removes any, and only at the head."""
    return "lakequeue:jobs:" + lane


def first_turns(kind: Kind, partition: Partition) -> str:
    """Sorted set: the lanes of a partition that had no turn since they stopped being empty, by when that was (Unix
    seconds). Every lane that is not empty is here or among `next_turns`."""
    return f"lakequeue:first:{kind}:{partition}"


def next_turns(kind: Kind, partition: Partition) -> str:
    """Sorted set: the lanes of a partition that had a turn and want another, by when (Unix seconds)."""
    return f"lakequeue:next:{kind}:{partition}"


def frozen(lane: Lane) -> str:
    """Hash: the one batch of a lane that may be running; see `worker.store`."""
    return "lakequeue:frozen:" + lane


def waiting(lane: Lane) -> str:
    """Hash: how often a lane's head was tried in vain, and when it is due again."""
    return "lakequeue:wait:" + lane


def load(lane: Lane) -> str:
    """Hash: which worker is at a lane's head (`by`) with how many jobs (`size`); after one that died at it, how many
    are taken at most (`limit`), and how often a worker died with one job and nothing else in hand (`alone`) or with
    other lanes in hand (`beside`)."""
    return "lakequeue:load:" + lane


def hand(token: str) -> str:
    """Set: the lanes that a worker has in hand; of a dead one, those that it died with."""
    return "lakequeue:hand:" + token


def counted(lane: Lane) -> str:
    """Hash: the rows of jobs, by id, as they were counted before a statement that may have been committed."""
    return "lakequeue:counted:" + lane


def stamp(table: str) -> str:
    """String: the last stamp given out for a table, microseconds since 1970."""
    return "lakequeue:stamp:" + table


def finished(table: str) -> str:
    """List: the ids of the last few jobs of a table that ended, oldest first."""
    return "lakequeue:finished:" + table


def errors(minute: int) -> str:
    """Hash: how many jobs failed for good or have to wait, in a minute since 1970, each `STATE CLASS table` with a
    number, and `id STATE CLASS table` with the last of them."""
    return f"lakequeue:errors:{minute}"


def costs(hour: int) -> str:
    """Hash: what an hour since 1970 cost, each `NAME table` with a number: `statements`, `ms` in the
    warehouse, `jobs` and `rows`."""
    return f"lakequeue:costs:{hour}"


def worker(token: str) -> str:
    """String with a time to live: what a worker last said of itself, in JSON."""
    return "lakequeue:worker:" + token


def loaded(name: str) -> str:
    """Hash with a time to live: what is remembered of a load of a file, by its name."""
    return "lakequeue:loaded:" + name


def lease(partition: Partition) -> str:
    """String with a time to live: the token of the worker that owns a partition, `#`, and the number of the lease."""
    return f"lakequeue:lease:{partition}"


def record(job_id: str) -> str:
    """String: what became of a job, in Celery's own key and JSON, so that `AsyncResult` reads it."""
    return "celery-task-meta-" + job_id
