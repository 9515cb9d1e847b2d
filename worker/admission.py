"""What becomes of a message that came through Celery's own door. It never fails: what cannot be read blocks nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from lakequeue import wire
from lakequeue.bodies import body_text
from lakequeue.errors import InvalidJob
from lakequeue.identifiers import check_job_id
from lakequeue.json_text import check_brackets
from lakequeue.problems import quoted
from lakequeue.typed_values import TYPE, Typed, python_value

from tasks import records
from tasks.records import Member, Outcome
from worker import ends

Verdict = Literal["job", "late", "empty", "bad", "letter"]


@dataclass(frozen=True, slots=True)
class Admission:
    """One message, and what `lua/admit.lua` is to do with it. All is text or bytes, ready to be sent."""

    verdict: Verdict
    raw: bytes
    id: str = ""
    digest: str = ""
    record: str = ""
    lane: str = ""
    partition: int | str = ""
    message: str = ""
    due: float | None = None
    callbacks: str = ""
    letter_id: str = ""
    letter: str = ""
    member: Member | None = None
    """For events, with the `outcome` of a job that ended here, or of what is no job; without one it came too late."""
    outcome: Outcome | None = None

    def args(self) -> list[bytes | str | int]:
        due = "" if self.due is None else f"{self.due:.6f}"
        texts: list[bytes | str | int] = [self.verdict, self.raw, self.id, self.digest, self.record, self.lane]
        texts += [self.partition, self.message, due, self.callbacks, self.letter_id, self.letter]
        return [text.encode() if isinstance(text, str) else text for text in texts]

    @property
    def size(self) -> int:
        return len(self.raw) + len(self.message) + len(self.letter)


def admission(raw: bytes, now: datetime, *, most_job_bytes: int = 900_000) -> Admission:
    """
    Args:
        most_job_bytes: what a statement holds; a job of more than twice that is refused before it is looked at.
    """
    try:
        found = _admission(raw, now, most_job_bytes)
        found.args()  # as UTF-8, which a lone surrogate in a foreign header cannot be
    except Exception as exc:  # whatever is in it: anyone may write to this list
        return _unreadable(raw, f"not a message of a job: {type(exc).__name__}", now)
    return found


def conflict(given: Admission, now: datetime) -> Admission:
    """A message whose id is known with another payload: the job of that id goes on, this is kept apart."""
    reason = f"job {given.id} is known already, with another payload: give a new id, or the same payload"
    name = "conflict-" + _hash(given.raw)
    letter = _letter(given.raw, Member(name, "records.unknown", "", 0, "", "", name), reason, "JOB_CONFLICT", now)
    return replace(letter, id=given.id)


def _admission(raw: bytes, now: datetime, most_job_bytes: int) -> Admission:
    try:
        received = wire.parse(raw)
    except ValueError as exc:
        known, task_id = _sender(raw)
        if known is None:
            return _unreadable(raw, str(exc), now)
        bad = _bad(raw, known, known.digest, InvalidJob(str(exc), {"errors": []}), now)
        if task_id == known.id:
            return bad
        record = {**json.loads(bad.record), "task_id": task_id}  # its sender knows the result by this one alone
        return replace(bad, record=json.dumps(record, separators=(",", ":")))
    digest = wire.digest_of(received)
    try:
        check_job_id(received.id)
    except ValueError as exc:
        if not received.id:
            return _unreadable(raw, str(exc), now)
        error = InvalidJob(f"{exc}; this one is {quoted(received.id)}: give another task_id", {"errors": []})
        return _bad(raw, received, digest, error, now)
    try:
        if received.task not in wire.TASKS:
            raise InvalidJob(wire.unknown_task(), {"errors": []})
        # Twice: a page that is handed on loses its audit columns on the way.
        if len(raw) > most_job_bytes and (least := wire.least_bytes(received)) > 2 * most_job_bytes:
            told = f"the job is {least:,} bytes or more and a statement holds {most_job_bytes:,}"
            raise InvalidJob(f"{told}: split its rows over several jobs", {"errors": [], "error": "TOO_LARGE"})
        due, expires = wire.due_at(received), wire.expires_at(received)
    except InvalidJob as exc:
        return _bad(raw, received, digest, exc, now)
    late = expires is not None and expires <= wire.isoformat(now)
    try:
        job = wire.to_job(received)
        encoded = wire.admit(job, received, now=now)
    except InvalidJob as exc:
        table = wire.writes_nothing(received, exc)
        if table is None:
            return _bad(raw, received, digest, exc, now)
        empty = _member(received, str(table), 0, digest, now)
        return _late(raw, received, empty, now) if late else _empty(raw, received, empty, now)
    if late:
        member = _member(received, str(job.table_name), job.row_count, encoded.digest, now)
        return _late(raw, received, member, now)
    later = datetime.fromisoformat(due) if due else now
    return Admission(
        "job",
        raw,
        received.id,
        encoded.digest,
        encoded.record,
        encoded.lane,
        encoded.partition,
        encoded.message,
        later.timestamp() if later > now else None,
        _callbacks(received),
    )


def _late(raw: bytes, received: wire.Received, member: Member, now: datetime) -> Admission:
    record = records.revoked(member, reason="expired", finished_at=wire.isoformat(now))
    return Admission("late", raw, received.id, member.digest, record, callbacks=_callbacks(received), member=member)


def _empty(raw: bytes, received: wire.Received, member: Member, now: datetime) -> Admission:
    """A write to which no rows were handed on: there is nothing to do, and what follows it goes on."""
    outcome = records.wrote_nothing(member, finished_at=wire.isoformat(now))
    callbacks = _callbacks(received)
    return Admission(
        "empty",
        raw,
        received.id,
        member.digest,
        outcome.record,
        callbacks=callbacks,
        member=member,
        outcome=outcome,
    )


def _sender(raw: bytes) -> tuple[wire.Received | None, Any]:
    """Who sent a message that is no job, so that the sender can be told, what follows it, and the id as it came."""
    try:
        check_brackets(raw)
        envelope = json.loads(raw)
        headers = envelope.get("headers") or {}
    except Exception:
        found = _by_ends(raw)
        return found, found and found.id
    try:
        text = body_text(envelope)
        check_brackets(text)
        body = json.loads(text)  # one with NaN in it, say
        inside, embed = (body, body) if isinstance(body, dict) else ({}, body[2])
    except Exception:  # no JSON
        inside, embed = {}, {}
    properties = envelope.get("properties")
    correlation = properties.get("correlation_id") if isinstance(properties, dict) else None
    task_id = headers.get("id") or inside.get("id") or correlation  # the last of a pickled body of protocol 1
    job_id = _as_text(task_id)
    if not job_id:
        return None, None
    task = headers.get("task") or inside.get("task")
    name = task if isinstance(task, str) else "records.unknown"
    received = wire.Received(
        job_id,
        name,
        {},
        _hash(raw),
        "",
        0,
        job_id,
        None,
        embed=embed if isinstance(embed, dict) else {},
        group=headers.get("group") or inside.get("taskset"),
    )
    return received, task_id


def _as_text(task_id: Any) -> str:
    """An id as it is part of its record's key; kombu writes a UUID with its type. '' for anything else."""
    if isinstance(task_id, dict) and task_id.get(TYPE) == "uuid":
        return str(python_value(Typed(task_id)))
    return task_id if isinstance(task_id, str) else ""


def refused(
    received: wire.Received, reason: str, now: datetime, *, code: str, mark: str, size: int, table: str = ""
) -> tuple[Admission, Admission]:
    """What becomes of a message that is not read; and what, if the job of its id is known already.

    Args:
        mark: tells it from others that have no id.
        size: of the message, in bytes. They stay in Redis.
    """
    error = InvalidJob(reason, {"error": code})
    apart = _letter(size, Member(mark, "records.unknown", table, 0, "", "", mark), reason, code, now)
    return (_bad(size, received, "", error, now, mark=mark, table=table) if received.id else apart), apart


def _by_ends(raw: bytes) -> wire.Received | None:
    found = ends.sender(raw[: ends.END_BYTES], raw[-ends.END_BYTES :])
    return replace(found, digest=_hash(raw)) if found.id else None


def _bad(
    raw: bytes | int,
    received: wire.Received,
    digest: str,
    error: InvalidJob,
    now: datetime,
    *,
    mark: str = "",
    table: str = "",
) -> Admission:
    """A message that fails under its sender's id; its dead letter has an id that every command takes."""
    member = _member(received, table, 0, digest, now)
    at = wire.isoformat(now)
    details = {"error": "INVALID_JOB", **error.details}
    code = details["error"]
    outcome = records.failed(member, message=error.message, details=details, error=code, finished_at=at)
    kept = member
    if not _is_job_id(received.id):
        kept = replace(member, id=mark or "refused-" + _hash(raw if isinstance(raw, bytes) else b""))
    letter = records.dead_letter(
        kept, message=raw, reason=error.message, details=details, committed="not_committed", at=at
    )
    return Admission(
        "bad",
        raw if isinstance(raw, bytes) else b"",
        received.id,
        digest,
        outcome.record,
        callbacks=_callbacks(received),
        letter_id=kept.id,
        letter=letter,
        member=member,
        outcome=outcome,
    )


def _is_job_id(text: str) -> bool:
    try:
        check_job_id(text)
    except ValueError:
        return False
    return True


def _unreadable(raw: bytes, reason: str, now: datetime) -> Admission:
    name = "unreadable-" + _hash(raw)
    return _letter(raw, Member(name, "records.unknown", "", 0, "", "", name), reason, "INVALID_JOB", now)


def _letter(raw: bytes | int, member: Member, reason: str, code: str, now: datetime) -> Admission:
    at, details = wire.isoformat(now), {"error": code}
    letter = records.dead_letter(member, message=raw, reason=reason, details=details, committed="not_committed", at=at)
    outcome = records.failed(member, message=reason, details=details, error=code, finished_at=at)
    return Admission(
        "letter",
        raw if isinstance(raw, bytes) else b"",
        letter_id=member.id,
        letter=letter,
        member=member,
        outcome=outcome,
    )


def _member(received: wire.Received, table: str, rows: int, digest: str, now: datetime) -> Member:
    parent = received.parent_id if isinstance(received.parent_id, str) else None
    at = wire.isoformat(now)
    return Member(
        received.id,
        received.task[:200],
        table,
        rows,
        digest,
        at,
        received.root_id,
        parent,
        replay_of=received.replay_of,
        replay_since=received.replay_since,
    )


def _callbacks(received: wire.Received) -> str:
    """What Celery does after the task, with what it takes to do it; '' if there is nothing."""
    embed: Mapping[str, Any] = received.embed
    wanted = {name: embed.get(name) for name in ("callbacks", "errbacks", "chain", "chord")}
    if not any(wanted.values()):
        return ""
    return json.dumps(
        {
            "id": received.id,
            "task": received.task,
            "root_id": received.root_id,
            "parent_id": received.parent_id,
            "group": received.group,
            "group_index": received.group_index,
            **wanted,
        }
    )


def _hash(raw: bytes) -> str:
    return blake2b(raw, digest_size=12).hexdigest()
