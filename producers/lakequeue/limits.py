"""What is too much: a job that no statement holds, a list that is full."""

from __future__ import annotations

from lakequeue import keys
from lakequeue.errors import QueueFull
from lakequeue.jobs import Job, Write
from lakequeue.problems import Problems
from lakequeue.wire import Encoded


def check_size(job: Job, encoded: Encoded, max_bytes: int) -> None:
    if encoded.payload_bytes > max_bytes:
        problems = Problems()
        problems.add(
            "too_large",
            ("data",) if isinstance(job, Write) else (),
            f"the job is {encoded.payload_bytes:,} bytes and a statement holds {max_bytes:,}: "
            "split its rows over several jobs",
        )
        raise problems.as_invalid_job(f"{job.op} {job.table_name}")


def too_long(job: Encoded) -> QueueFull:
    table = keys.table_of(job.lane)
    return QueueFull(f"the queue of {table} is full; try again when workers have caught up, or enqueue with wait_s")
