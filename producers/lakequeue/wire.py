"""The wire format: a job as a Celery protocol-2 message, and the record that is stored when it is queued.

A message is kombu's JSON envelope for Redis, its body `[args, kwargs, embed]` as text (no `body_encoding`).
The kwargs are the job's fields. Headers beyond Celery's: `digest` (of kind and fields), `enqueued_at` (ISO 8601, UTC)
and `rows`.
https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import json
import os
import socket
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal

from lakequeue.errors import InvalidJob
from lakequeue.jobs import Job, parse_job
from lakequeue.keys import Lane, Partition, lane_of, partition_of

Op = Literal["write", "update", "delete", "read"]

QUEUE = "records"
TASKS: Mapping[str, Op] = {
    "records.write": "write",
    "records.update": "update",
    "records.delete": "delete",
    "records.read": "read",
}

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode
_text = json.JSONEncoder(ensure_ascii=False).encode
_EMBED = '{"callbacks":null,"chain":null,"chord":null,"errbacks":null}'
_origin = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A job as it is sent."""

    id: str
    lane: Lane
    partition: Partition
    digest: str
    record: str
    message: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the intake reads it; `kwargs` are not validated yet."""

    id: str
    task: str
    kwargs: dict[str, Any]
    digest: str
    enqueued_at: str
    rows: int
    root_id: str
    parent_id: str | None


class NotAMessage(ValueError):
    """Bytes in a lane that are no message of this format."""


def encode(job: Job, *, job_id: str, now: datetime) -> Encoded:
    """A validated job as message and record; `now` is the time of enqueueing."""
    table = str(job.table_name)
    op = job.op
    kwargs = _dumps(job.fields())
    digest = blake2b(f"{op}:{kwargs}".encode(), digest_size=16).hexdigest()
    at = isoformat(now)
    rows = job.row_count
    shown = _text(f"{{'table': {table!r}, 'op': {op!r}, 'rows': {rows}}}")
    message = (
        f'{{"body":{_text(f"[[],{kwargs},{_EMBED}]")},"content-encoding":"utf-8",'
        f'"content-type":"application/json","headers":{{"lang":"py","task":"records.{op}","id":"{job_id}",'
        f'"root_id":"{job_id}","parent_id":null,"group":null,"argsrepr":"()","kwargsrepr":{shown},'
        f'"origin":{origin()},"retries":0,"eta":null,"expires":null,"timelimit":[null,null],"shadow":null,'
        f'"ignore_result":false,"digest":"{digest}","enqueued_at":"{at}","rows":{rows}}},'
        f'"properties":{{"correlation_id":"{job_id}","reply_to":"","delivery_mode":2,"delivery_info":'
        f'{{"exchange":"","routing_key":"{QUEUE}"}},"priority":0,"delivery_tag":"{job_id}"}}}}'
    )
    record = (
        f'{{"status":"QUEUED","result":null,"traceback":null,"children":[],"date_done":null,"task_id":"{job_id}",'
        f'"name":"records.{op}","table":{_text(table)},"rows":{rows},"digest":"{digest}","enqueued_at":"{at}"}}'
    )
    return Encoded(
        id=job_id,
        lane=lane_of(op, table),
        partition=partition_of(table),
        digest=digest,
        record=record,
        message=message,
        payload_bytes=len(kwargs) if kwargs.isascii() else len(kwargs.encode()),
    )


def decode(message: bytes) -> Received:
    """Read a message of any client of this major version.

    Raises:
        NotAMessage: the bytes are no protocol-2 message in JSON, or name no task of ours.
    """
    try:
        envelope = json.loads(message)
        headers = envelope["headers"]
        properties = envelope.get("properties") or {}
        body = envelope["body"]
        if properties.get("body_encoding") == "base64":
            body = b64decode(body, validate=True)
        args, kwargs, _embed = json.loads(body)
        job_id, task = headers["id"], headers["task"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotAMessage(f"not a Celery protocol-2 message in JSON: {type(exc).__name__}") from exc
    if not isinstance(job_id, str) or not isinstance(kwargs, dict) or not isinstance(args, list):
        raise NotAMessage("a message needs a string id, a list of args and an object of kwargs")
    if task not in TASKS:
        raise NotAMessage(f"unknown task; expected one of {', '.join(TASKS)}")
    if args:
        raise NotAMessage("positional arguments are not accepted here: give the job's fields as keyword arguments")
    rows = headers.get("rows")
    return Received(
        id=job_id,
        task=task,
        kwargs=kwargs,
        digest=str(headers.get("digest") or ""),
        enqueued_at=str(headers.get("enqueued_at") or ""),
        rows=rows if isinstance(rows, int) else 0,
        root_id=str(headers.get("root_id") or job_id),
        parent_id=headers.get("parent_id"),
    )


def to_job(received: Received) -> Job:
    """Validate a received message's fields, as the producer did: anyone may speak the wire format.

    Raises:
        InvalidJob: with located errors.
    """
    if "id" in received.kwargs or "kind" in received.kwargs:
        raise InvalidJob("id and kind are given by the message's headers", {"errors": []})
    return parse_job({**received.kwargs, "kind": TASKS[received.task]})


def isoformat(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z` and microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def origin() -> str:
    """`pid@host` as JSON text, as Celery sets it."""
    global _origin
    if not _origin:
        _origin = _text(f"{os.getpid()}@{socket.gethostname()}")
    return _origin
