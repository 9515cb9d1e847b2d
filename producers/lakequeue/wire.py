"""The wire format: a job as a Celery protocol-2 message, and the record that is stored when it is queued.

A message is kombu's JSON envelope for Redis, its body `[args, kwargs, embed]` as text (no `body_encoding`).
The kwargs are the job's fields. Headers beyond Celery's: `digest` (of kind and fields), `enqueued_at` (ISO 8601, UTC)
and `rows`; `values` is `python` where a caller gave Python's values, else they are JSON. A replay has `replay_of`, the
ids of the jobs it repeats, oldest first, and `replay_since`, when the oldest was enqueued. Messages that others send,
in the list `records`, lack all of these and have a body in base64, perhaps compressed, perhaps of protocol 1; a worker
reads them with `parse`, and `admit`s them: from there on they are like any other.
https://docs.celeryq.dev/en/stable/internals/protocol.html
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal

from lakequeue.bodies import UnreadableBody, read_body
from lakequeue.errors import InvalidJob
from lakequeue.handed_on import rows_handed_on
from lakequeue.headers import ids_of, moment_of, text_of, time_of, whole_of
from lakequeue.identifiers import TableName
from lakequeue.jobs import Job, Values, parse_job
from lakequeue.json_text import TooManyParts, read_message, why_not_read
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
    """A message as the intake reads it; `id` and `kwargs` are not validated yet.

    `eta` and `expires` are ISO 8601 as they were sent; `embed` and the group are what Celery does after the task.
    """

    id: str
    task: str
    kwargs: dict[str, Any]
    digest: str
    enqueued_at: str
    rows: int
    root_id: str
    parent_id: str | None
    args: tuple[Any, ...] = ()
    eta: str | None = None
    expires: str | None = None
    embed: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    group_index: int | None = None
    replay_of: tuple[str, ...] = ()
    """The jobs that this one repeats, oldest first: any of them may have been committed."""
    replay_since: str = ""
    """When the oldest of them was enqueued: rows that are older come from another job that had its id."""
    naive_is_utc: bool = False
    """Whether the message says that times without an offset are UTC, as protocol 1 does by `utc`."""
    values: Values = "json"
    """How the sender's caller gave the values."""


class NotAMessage(ValueError):
    """Bytes in a lane that are no message of this format."""


def encode(
    job: Job, *, job_id: str, now: datetime, replay_of: Sequence[str] = (), replay_since: datetime | None = None
) -> Encoded:
    """A validated job as message and record; `now` is the time of enqueueing.

    Args:
        replay_of: the jobs it repeats, oldest first, of which the oldest was enqueued at `replay_since`.
    """
    table = str(job.table_name)
    op = job.op
    kwargs = _dumps(job.fields())
    digest = _digest(op, kwargs)
    at = isoformat(now)
    rows = job.row_count
    shown = _text(summary(table, op, rows, replay_of))
    replay = f',"replay_of":{_text(list(replay_of))}' if replay_of else ""
    since = f',"replay_since":"{isoformat(replay_since)}"' if replay_since else ""
    values = ',"values":"python"' if job.values == "python" else ""
    message = (
        f'{{"body":{_text(f"[[],{kwargs},{_EMBED}]")},"content-encoding":"utf-8",'
        f'"content-type":"application/json","headers":{{"lang":"py","task":"records.{op}","id":"{job_id}",'
        f'"root_id":"{job_id}","parent_id":null,"group":null,"argsrepr":"()","kwargsrepr":{shown},'
        f'"origin":{origin()},"retries":0,"eta":null,"expires":null,"timelimit":[null,null],"shadow":null,'
        f'"ignore_result":false,"digest":"{digest}","enqueued_at":"{at}","rows":{rows}{values}{replay}{since}}},'
        f'"properties":{{"correlation_id":"{job_id}","reply_to":"","delivery_mode":2,"delivery_info":'
        f'{{"exchange":"","routing_key":"{QUEUE}"}},"priority":0,"delivery_tag":"{job_id}"}}}}'
    )
    record = (
        f'{{"status":"QUEUED","result":null,"traceback":null,"children":[],"date_done":null,"task_id":"{job_id}",'
        f'"name":"records.{op}","table":{_text(table)},"rows":{rows},"digest":"{digest}","enqueued_at":"{at}"{replay}}}'
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


def admit(job: Job, received: Received, *, now: datetime) -> Encoded:
    """A job that came through Celery's own door, as message and record of a lane; `now` is the time of admission.

    What follows the job (`embed`) is no part of either: workers keep it elsewhere.
    """
    table, op, job_id = str(job.table_name), job.op, received.id
    kwargs = _dumps(job.fields())
    digest, at, rows = _digest(op, kwargs), isoformat(now), job.row_count
    eta, expires = due_at(received), expires_at(received)
    headers = {
        "lang": "py",
        "task": received.task,
        "id": job_id,
        "root_id": received.root_id,
        "parent_id": received.parent_id,
        "group": None,
        "argsrepr": "()",
        "kwargsrepr": summary(table, op, rows, received.replay_of),
        "origin": json.loads(origin()),
        "retries": 0,
        "eta": eta,
        "expires": expires,
        "timelimit": [None, None],
        "shadow": None,
        "ignore_result": False,
        "digest": digest,
        "enqueued_at": at,
        "rows": rows,
    }
    if received.values == "python":
        headers["values"] = "python"
    if received.replay_of:
        headers["replay_of"], headers["replay_since"] = received.replay_of, received.replay_since
    properties = {
        "correlation_id": job_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0,
        "delivery_tag": job_id,
    }
    message = (
        f'{{"body":{_text(f"[[],{kwargs},{_EMBED}]")},"content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{_text(headers)},"properties":{_text(properties)}}}'
    )
    record: dict[str, Any] = {
        "status": "QUEUED",
        "result": None,
        "traceback": None,
        "children": [],
        "date_done": None,
        "task_id": job_id,
        "name": received.task,
        "table": table,
        "rows": rows,
        "digest": digest,
        "enqueued_at": at,
    }
    if received.parent_id is not None:
        record["parent_id"] = received.parent_id
    if received.replay_of:
        record["replay_of"] = received.replay_of
    if eta is not None:
        record["eta"] = eta
    return Encoded(
        id=job_id,
        lane=lane_of(op, table),
        partition=partition_of(table),
        digest=digest,
        record=_text(record),
        message=message,
        payload_bytes=len(kwargs.encode()),
    )


def decode(message: bytes) -> Received:
    """Read a message of any client of this major version.

    Raises:
        NotAMessage: the bytes are no protocol-2 message in JSON, or name no task of ours.
    """
    received = parse(message)
    if received.task not in TASKS:
        raise NotAMessage(unknown_task())
    if received.args:
        raise NotAMessage("positional arguments are not accepted here: give the job's fields as keyword arguments")
    return received


def parse(message: bytes) -> Received:
    """Read a message of protocol 2 or 1, of any task, with whatever arguments.

    Raises:
        NotAMessage: the bytes are none in JSON.
    """
    try:
        envelope = read_message(message)
        headers = envelope["headers"]
        body = read_body(envelope)
        if isinstance(body, dict):
            headers, body = _of_protocol_1(headers, body)
        job_id, task = headers["id"], headers["task"]
    except (UnreadableBody, TooManyParts) as exc:
        raise NotAMessage(str(exc)) from exc
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise NotAMessage(f"not a Celery message in JSON, of protocol 2 or 1: {_why(exc)}") from exc
    if not isinstance(body, list) or len(body) != 3:
        raise NotAMessage("the body of a message is a list of args, kwargs and what follows")
    args, kwargs, embed = body
    if not isinstance(job_id, str):
        raise NotAMessage("a task id is text: give task_id=str(…), such as str(uuid4())")
    if not isinstance(kwargs, dict) or not isinstance(args, list):
        raise NotAMessage("a message needs a list of args and an object of kwargs")
    if text_of(task) is None:
        raise NotAMessage("a message needs the name of its task")
    replay_of = ids_of(headers.get("replay_of"))
    if replay_of is None:
        # What it repeats may have been committed: without that it cannot be run safely.
        raise NotAMessage("the header replay_of is no list of job ids")
    index = headers.get("group_index")
    return Received(
        id=job_id,
        task=task,
        kwargs=kwargs,
        digest=text_of(headers.get("digest")) or "",
        enqueued_at=time_of(headers.get("enqueued_at")),
        rows=whole_of(headers.get("rows")),
        root_id=text_of(headers.get("root_id")) or job_id,
        parent_id=text_of(headers.get("parent_id")),
        args=tuple(args),
        eta=headers.get("eta"),
        expires=headers.get("expires"),
        embed=embed if isinstance(embed, dict) else {},
        group=headers.get("group"),
        group_index=index if isinstance(index, int) else None,
        replay_of=replay_of,
        replay_since=time_of(headers.get("replay_since")),
        naive_is_utc=headers.get("utc") is True,
        values="python" if headers.get("values") == "python" else "json",
    )


def _why(exc: Exception) -> str:
    match exc:
        case KeyError():
            return f"{exc.args[0]} is missing"
        case ValueError() | RecursionError():
            return why_not_read(exc)
    return "its parts are of other types"


def _of_protocol_1(headers: dict[str, Any], body: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Headers and body as protocol 2 has them; protocol 1 has all in the body (`celery/worker/strategy.py`)."""
    embed = {name: body.get(name) for name in ("callbacks", "errbacks", "chord")}
    group = body.get("taskset") or body.get("group")
    known = {**body, **(headers or {}), "group": group, "utc": body.get("utc")}
    return known, [body.get("args") or [], body.get("kwargs") or {}, embed]


def summary(table: str, op: str, rows: int, replay_of: Sequence[str] = ()) -> str:
    """What others see of a job's arguments: a Python literal without values of rows, which Flower searches by field."""
    replay = f", 'replay_of': {replay_of[-1]!r}" if replay_of else ""
    return f"{{'table': {table!r}, 'op': {op!r}, 'rows': {rows}{replay}}}"


def unknown_task() -> str:
    return f"unknown task; expected one of {', '.join(TASKS)}"


def digest_of(received: Received) -> str:
    """A digest of a message whose fields are no valid job."""
    return _digest(received.task, json.dumps([received.args, received.kwargs], sort_keys=True))


def least_bytes(received: Received) -> int:
    """Bytes that the fields of a message come to at least: the marks of JSON in them. Values that kombu writes with
    their types may lose those marks."""
    text = json.dumps([received.args, received.kwargs])
    return sum(text.count(mark) for mark in '{}[]",:') - 10 * text.count('"__type__"')


def due_at(received: Received) -> str | None:
    """A message's `eta`, in the form of `isoformat`; InvalidJob if that is no point in time."""
    at = moment_of(received.eta, "eta", naive_is_utc=received.naive_is_utc)
    return isoformat(at) if at else None


def expires_at(received: Received) -> str | None:
    """A message's `expires`, in the form of `isoformat`; InvalidJob if that is no point in time."""
    at = moment_of(received.expires, "expires", naive_is_utc=received.naive_is_utc)
    return isoformat(at) if at else None


def to_job(received: Received) -> Job:
    """Validate a received message's fields, as the producer did: anyone may speak the wire format.

    Raises:
        InvalidJob: with located errors.
    """
    if "id" in received.kwargs or "kind" in received.kwargs:
        raise InvalidJob("id and kind are given by the message's headers", {"errors": []})
    kwargs = received.kwargs
    if received.args:
        kwargs = {**kwargs, "data": rows_handed_on(TASKS[received.task], received.args, kwargs)}
    return parse_job({**kwargs, "kind": TASKS[received.task]}, values=received.values)


def writes_nothing(received: Received, error: InvalidJob) -> TableName | None:
    """The table of a write that is sound but for the rows, of which none were handed on to it."""
    found = error.details["errors"]
    if not received.args or [(each["loc"], each["type"]) for each in found] != [(["data"], "wrong_length")]:
        return None
    names: dict[str, object] = {
        name: received.kwargs[name] for name in ("catalog", "schema", "table") if name in received.kwargs
    }
    return parse_job({"kind": "read", **names}).table_name


def _digest(op: str, kwargs: str) -> str:
    return blake2b(f"{op}:{kwargs}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def isoformat(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z` and microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def origin() -> str:
    """`pid@host` as JSON text, as Celery sets it."""
    global _origin
    if not _origin:
        _origin = _text(f"{os.getpid()}@{socket.gethostname()}")
    return _origin
