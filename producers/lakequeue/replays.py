"""A dead letter as a new job that points back to the old one."""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b

from lakequeue import wire
from lakequeue.errors import InvalidJob, ReplayRefused
from lakequeue.identifiers import JobId, check_job_id
from lakequeue.letters import UNKNOWN, DeadLetter
from lakequeue.limits import check_size

_MOST_CHARS = 128
_KEPT_CHARS = 80
_REPLAY = re.compile(r"(.+)\.replay([1-9][0-9]{0,5})")


def replay_id(root: str, number: int) -> JobId:
    """The id of the `number`th replay of a job: derived, so that replaying twice is one job."""
    tail = f".replay{number}"
    if len(root) + len(tail) > _MOST_CHARS:
        root = f"{root[:_KEPT_CHARS]}.{blake2b(root.encode(), digest_size=12).hexdigest()}"
    return check_job_id(root + tail)


def next_ids(job_id: str) -> list[JobId]:
    """The ids that a job's own replay may have, as far as its id alone tells."""
    found = _REPLAY.fullmatch(job_id)
    return [replay_id(job_id, 1), *([replay_id(found[1], int(found[2]) + 1)] if found else [])]


def replay_of(letter: DeadLetter, *, skip: int, max_job_bytes: int, now: datetime, force: bool) -> wire.Encoded:
    """The job of a letter, under the id of its next replay.

    Callbacks, eta and expiry are not repeated: the first run answered them.

    Args:
        skip: how many ids that are next in turn turned out to be taken by other jobs.

    Raises:
        ReplayRefused: whether it was committed is not known, and `force` is not set.
        InvalidJob: what was sent is no valid job, and will not become one.
    """
    if letter.committed == UNKNOWN and not force:
        raise ReplayRefused(
            f"job {letter.id} may have been committed: its answer was lost, and nothing in {letter.table} could prove "
            "it. Look whether its change is there; to replay it all the same, insist (force=True, --force). Rows that "
            "carry its _job_id are then not written again; any other change of it may happen twice",
            {"error": "UNKNOWN_OUTCOME", "committed": letter.committed},
        )
    if letter.payload_bytes is not None:
        raise InvalidJob(
            f"the message of {letter.id} is {letter.payload_bytes:,} bytes and no worker reads it: send its rows in "
            f"several jobs. Its bytes are in Redis, in the list {letter.payload_key}, until the letter is dropped",
            {"errors": []},
        )
    try:
        received = wire.parse(letter.payload or b"")
        if received.task not in wire.TASKS:
            raise wire.NotAMessage(wire.unknown_task())
        job = wire.to_job(received)
    except wire.NotAMessage as exc:
        raise InvalidJob(f"the payload of {letter.id} is no job: {exc}", {"errors": []}) from exc
    chain = (*letter.replay_of, letter.id)
    since = letter.replay_since if letter.replay_of else letter.enqueued_at
    job_id = replay_id(chain[0], len(chain) + skip)
    encoded = wire.encode(job, job_id=job_id, now=now, replay_of=chain, replay_since=since)
    check_size(job, encoded, max_job_bytes)
    return encoded
