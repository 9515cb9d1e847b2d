"""Signatures as they are sent: each task and group in them has an id, the same one whenever they are sent again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from celery import Celery
from celery.canvas import maybe_signature
from lakequeue.typed_values import TYPE, VALUE


def listed(signatures: Any) -> list[dict[str, Any]]:
    """Celery gives none, one or a list of them."""
    if not signatures:
        return []
    return list(signatures) if isinstance(signatures, (list, tuple)) else [signatures]


def errbacks_of(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return listed(options.get("link_error"))


def send_links(app: Celery, links: Any, result: Any, job_id: str, **sent: Any) -> None:
    for place, link in enumerate(listed(links)):
        if link is not None:
            made(app, link, f"{job_id}/link/{place}").apply_async((result,), **sent)


def send_next(app: Celery, chain: Sequence[dict[str, Any]], result: Any, job_id: str, **sent: Any) -> None:
    """The next step of a chain, which is the last of what is left of it; it takes the others along."""
    if chain:
        following = made(app, chain[-1], f"{job_id}/chain/{len(chain)}")
        following.apply_async((result,), chain=list(chain[:-1]), **sent)


def send_errbacks(app: Celery, errbacks: Iterable[dict[str, Any]], job_id: str, root_id: str) -> None:
    for place, errback in enumerate(errbacks):
        signature = made(app, errback, f"{job_id}/errback/{place}")
        signature.apply_async((job_id,), parent_id=job_id, root_id=root_id)


def send_body(app: Celery, body: dict[str, Any], results: list[Any], group: str, **sent: Any) -> None:
    made(app, body, f"{group}/body").apply_async((results,), **sent)


def takes_result(signature: Mapping[str, Any]) -> bool:
    """Whether a signature is given the result of what comes before it; one that is immutable is not."""
    inner = signature.get("kwargs") or {}
    match signature.get("subtask_type"):
        case "group":
            return any(takes_result(task) for task in inner.get("tasks") or ())
        case "chain":
            return any(takes_result(task) for task in (inner.get("tasks") or ())[:1])
        case "chord":
            header = inner.get("header")
            return any(takes_result(task) for task in (header if isinstance(header, list) else [header]) if task)
        case _:
            return not signature.get("immutable")


def made(app: Celery, stored: dict[str, Any], place: str) -> Any:
    return maybe_signature(with_ids(stored, place), app=app)


def with_ids(stored: dict[str, Any], place: str) -> dict[str, Any]:
    """A signature in which each task, group and chord has an id: one without gets one that follows from its place.

    A time when it is due or expires is text, as `apply_async` takes it.
    """
    signature: dict[str, Any] = json.loads(json.dumps(stored))  # a copy in which nothing is shared
    _give_ids(signature, place)
    return signature


def _give_ids(signature: dict[str, Any], place: str) -> None:
    kind = signature.get("subtask_type")
    _untype_times(signature.get("options") or {})
    if kind != "chain":  # its id is that of its last task
        options = signature.setdefault("options", {})
        if not options.get("task_id"):
            options["task_id"] = str(uuid5(NAMESPACE_URL, f"lakequeue:{place}"))
    if kind not in ("group", "chain", "chord"):
        return
    kwargs = signature.get("kwargs") or {}
    for name in ("tasks", "header", "body"):
        inner = kwargs.get(name)
        for i, each in enumerate(inner if isinstance(inner, list) else [inner]):
            if isinstance(each, dict):
                _give_ids(each, f"{place}/{name}/{i}")


def _untype_times(options: dict[str, Any]) -> None:
    """kombu writes a datetime as an object with its type."""
    for name in ("eta", "expires"):
        given = options.get(name)
        if isinstance(given, dict) and given.get(TYPE) == "datetime":
            options[name] = given.get(VALUE)
