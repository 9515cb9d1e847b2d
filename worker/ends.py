"""Who sent a message, by its first and last bytes alone: one that is too large, or too deep, is not read whole."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from lakequeue import wire
from lakequeue.headers import MAX_HEADER_CHARS

END_BYTES = 64_000
"""Bytes of each end that are looked at. kombu's headers come after the body, others may have them before it."""

_decode = json.JSONDecoder().raw_decode


def sender(head: bytes, tail: bytes) -> wire.Received:
    """A message's id, task and what is to follow it, as far as its ends tell; an empty id if they do not."""
    headers = _part(head, tail, b'"headers"')
    properties = _part(head, tail, b'"properties"')
    job_id = headers.get("id") or properties.get("correlation_id")
    if not isinstance(job_id, str) or not _is_text(job_id):
        job_id = ""
    task, group, index = headers.get("task"), headers.get("group"), headers.get("group_index")
    return wire.Received(
        job_id,
        task if isinstance(task, str) and _is_text(task) else "records.unknown",
        {},
        "",
        "",
        0,
        job_id,
        None,
        embed=_embed(tail) if headers else {},
        group=group if isinstance(group, str) else None,
        group_index=index if isinstance(index, int) else None,
    )


def _part(head: bytes, tail: bytes, name: bytes) -> Mapping[str, Any]:
    """An object of the envelope that lies whole in one of the ends."""
    for end, at in ((tail, tail.rfind(name)), (head, head.find(name))):
        value = _object(end[at + len(name) :]) if at >= 0 else None
        if value is not None:
            return value
    return {}


def _embed(tail: bytes) -> Mapping[str, Any]:
    """What is to follow the job: it comes last in the body, which kombu has in base64."""
    body, quote, _ = tail.partition(b'"')
    if not quote or not body:
        return {}
    try:
        text = b64decode(body[len(body) % 4 :], validate=True)
    except ValueError:
        return {}
    at = text.rfind(b'{"callbacks"')
    return _object(text[at:]) or {} if at >= 0 else {}


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        value, _ = _decode(text.decode(errors="replace").lstrip(" :"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_text(text: str) -> bool:
    return len(text) <= MAX_HEADER_CHARS and text.isprintable()
