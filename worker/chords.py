"""Chords: parts are counted in Celery's own keys, and the body waits in the outbox from the moment the last is there.

Celery's own backend claims a finished chord, joins it and publishes its body in one call, and a worker that dies or
loses Redis in between leaves a chord whose body never runs. Here the claim and the entry in the outbox are one script.
celery 5.7: `celery/backends/redis.py`, `on_chord_part_return`; `celery/backends/base.py`, `chord_error_from_stack`.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from celery import Celery, states
from celery.app.task import Context
from celery.backends.redis import RedisBackend, SentinelBackend
from celery.exceptions import ChordError
from celery.loaders.app import AppLoader
from lakequeue.scripts import read_script

from worker.signatures import errbacks_of, send_body, send_errbacks, takes_result

log = logging.getLogger(__name__)

CLAIM = "lakequeue"
"""The value of a claim of ours: the same for each worker, as the entry in the outbox is nobody's."""

DONE_S = 3600
"""For so long a part that comes again is known to be of a chord that is done."""

_SUFFIXES = (".j", ".t", ".s", ".d", "", ".c")


class _Chords:
    """Mixed into Celery's Redis backends: every part that is returned in this process is counted by our script."""

    def on_chord_part_return(
        self: Any, request: Any, state: str, result: Any, propagate: Any = None, **kwargs: Any
    ) -> None:
        group = request.group
        if not group or not request.id:
            return
        body = request.chord
        entry = {"group": group, "body": body, "parent_id": request.id, "root_id": request.root_id or request.id}
        size = body.get("chord_size") if isinstance(body, Mapping) else None  # celery up to 5.0 sends it so
        args = [
            request.id,
            self.encode([1, request.id, state, self.encode_result(result, state)]),
            "+inf" if request.group_index is None else request.group_index,
            self.chord_expires or 0,
            self._chord_result_expires,
            CLAIM,
            "" if size is None else size,
            json.dumps({"chord": entry}),
        ]
        script = self.client.register_script(read_script("worker", "chord"))
        script(keys=_keys(self, group), args=args, client=self.client)


class Backend(_Chords, RedisBackend):  # type: ignore[misc]
    pass


class BackendBySentinel(_Chords, SentinelBackend):  # type: ignore[misc]
    pass


class Loader(AppLoader):  # type: ignore[misc]
    """Names the backends by the schemes of their URLs."""

    override_backends = {  # noqa: RUF012  # Celery's own attribute
        "redis": "worker.chords:Backend",
        "rediss": "worker.chords:Backend",
        "sentinel": "worker.chords:BackendBySentinel",
    }


def finish(app: Celery, entry: Mapping[str, Any], *, most_bytes: int) -> None:
    """Publish the body of a chord whose parts are all there, or fail it; then remove the chord's keys.

    What is done twice has the same ids both times. An outage raises, and nothing is decided. Results that come to more
    than `most_bytes` together are not handed on.
    """
    backend, group = app.backend, entry["group"]
    try:
        results = _joined(backend, _keys(backend, group), entry["body"], most_bytes)
    except (redis.RedisError, OSError):
        raise
    except Exception as exc:
        failure = exc if isinstance(exc, ChordError) else ChordError(f"Join error: {exc!r}")
        log.warning("chord %s fails: %s", group, type(exc.__cause__ or exc).__name__)
        fail_body(app, entry["body"], failure)
    else:
        send_body(app, entry["body"], results, group, parent_id=entry["parent_id"], root_id=entry["root_id"])
    remove(app, group)


def remove(app: Celery, group: str) -> None:
    """Remove what was kept of a chord; parts that come again are known to come too late."""
    backend = app.backend
    *data, claim = _keys(backend, group)
    with backend.client.pipeline() as pipe:
        pipe.delete(*(key for key in data if key != backend.get_key_for_group(group)))
        pipe.set(claim, "done", ex=DONE_S)
        if backend.expires:
            pipe.expire(backend.get_key_for_group(group), backend.expires)
        pipe.execute()


def _keys(backend: Any, group: str) -> list[Any]:
    return [backend.get_key_for_group(group, suffix) for suffix in _SUFFIXES]


def _joined(backend: Any, keys: Sequence[Any], body: Mapping[str, Any], most_bytes: int) -> list[Any]:
    """The results of a chord's parts in their order; nested where the header holds groups.

    Raises:
        ChordError: a part failed, or a result is missing, or they are too large for a body that takes them.
    """
    results, *_, saved, _ = keys
    if (size := backend.client.memory_usage(results, samples=0) or 0) > most_bytes:
        for part in _one_by_one(backend.client, results):
            backend._unpack_chord_result(part, backend.decode)
        if takes_result(body):
            told = f"the results to hand on are {size:,} bytes and a message holds {most_bytes:,}"
            raise ChordError(f"{told}: read less, or take none of it: an immutable signature, .si(...)")
        return []
    if (complex_header := backend.get(saved)) is not None:
        _, children = backend.decode(complex_header)["result"]
        return [_result_of(backend, child) for child in children]
    if backend.client.type(results) == b"list":
        parts = backend.client.lrange(results, 0, -1)
    else:
        parts = backend.client.zrange(results, 0, -1)
    if not parts:
        raise ChordError("Join error: the results of the header are gone")
    return [backend._unpack_chord_result(part, backend.decode) for part in parts]


def _one_by_one(client: redis.Redis, results: Any) -> Iterator[Any]:
    ordered = client.type(results) != b"list"
    read = client.zrange if ordered else client.lrange
    for i in range(client.zcard(results) if ordered else client.llen(results)):
        yield from read(results, i, i)


def _result_of(backend: Any, node: Any) -> Any:
    """The result of one part: of a group that of each of its tasks. `node` is what `as_tuple` of a result gives."""
    (task_id, _), children = node
    if children is not None:
        return [_result_of(backend, child) for child in children]
    meta = backend._get_task_meta_for(task_id)
    if meta["status"] in states.PROPAGATE_STATES:
        raise ChordError(f"Dependency {task_id} raised {meta['result']!r}") from meta["result"]
    if meta["status"] != states.SUCCESS:
        raise ChordError(f"Join error: the result of {task_id} is not stored; its task may not ignore its result")
    return meta["result"]


def fail_body(app: Celery, body: Mapping[str, Any], failure: ChordError) -> None:
    """Fail a body that will not run, and all that it consists of: whoever waits for any of it is told."""
    exc = failure.__cause__ if body.get("subtask_type") == "group" and failure.__cause__ else failure
    _fail(app, body, exc, errbacks=True)
    fail_steps(app, (body.get("options") or {}).get("chain"), exc)


def fail_steps(app: Celery, steps: Sequence[Mapping[str, Any]] | None, exc: BaseException) -> None:
    """Fail the steps of a chain that will not run, so that whoever waits for the last one is told."""
    for step in steps or ():
        _fail(app, step, exc)


def _fail(app: Celery, signature: Mapping[str, Any], exc: BaseException, *, errbacks: bool = False) -> None:
    """Fail every task in a signature. One that is a part of a chord is counted there, like any that failed.

    Args:
        errbacks: call those of the signature and of what it consists of, too.
    """
    rest: deque[tuple[Mapping[str, Any], tuple[Any, ...]]] = deque([(signature, ())])
    while rest:
        each, given = rest.popleft()
        kind, options = each.get("subtask_type"), each.get("options") or {}
        inner = each.get("kwargs") or {}
        calls = (*errbacks_of(options), *given) if errbacks else ()
        task_id = options.get("task_id")
        if kind == "group":
            rest.extend((task, calls) for task in inner.get("tasks") or ())
        elif kind == "chord" and inner.get("body"):
            rest.append((inner["body"], calls))
        elif kind == "chain":
            *first, last = inner.get("tasks") or [{}]
            rest.extend([*((task, ()) for task in first), (last, calls)])
        if task_id is None:
            continue
        request = Context({**options, "id": task_id, "task": each.get("task"), "group": options.get("group_id")})
        app.backend.store_result(task_id, exc, states.FAILURE, request=request)
        if kind not in ("group", "chord", "chain"):
            if options.get("chord"):
                app.backend.on_chord_part_return(request, states.FAILURE, exc)
            send_errbacks(app, calls, task_id, options.get("root_id") or task_id)
