"""Records of jobs that are tried again: each carries on the earlier tries from the record before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import redis
from lakequeue import keys, outcomes, wire

from tasks import history, records
from tasks.history import Try
from tasks.records import Member, Outcome

AT_ONCE = 1000


def started(
    client: redis.Redis, members: Sequence[Member], *, batch: str, worker: str, attempt: int
) -> list[tuple[str, str]]:
    """The ids of a batch's jobs, each with its record."""
    at = _now()
    tries = earlier(client, members, before=attempt) if attempt > 1 else {}
    return [
        (
            member.id,
            records.started(
                member, batch=batch, worker=worker, attempt=attempt, started_at=at, history=tries.get(member.id, ())
            ),
        )
        for member in members
    ]


def retries(
    client: redis.Redis, members: Sequence[Member], *, batch: str, attempts: int, error: str, next_try: str
) -> list[Outcome]:
    """The outcomes of jobs whose batch came to nothing this time."""
    tries = earlier(client, members, before=attempts) if attempts > 1 else {}
    last = history.failed(attempts, batch, error, _now())
    return [
        records.retry(
            member,
            attempts=attempts,
            error=error,
            next_try=next_try,
            history=history.and_then(tries.get(member.id, ()), last),
        )
        for member in members
    ]


def earlier(client: redis.Redis, members: Iterable[Member], *, before: int | None = None) -> dict[str, tuple[Try, ...]]:
    """The earlier tries of jobs by id, of those that had any; see `tasks.history.earlier`."""
    wanted = list(dict.fromkeys(member.id for member in members))
    tries: dict[str, tuple[Try, ...]] = {}
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        for job_id, raw in zip(some, client.mget([keys.record(each) for each in some]), strict=True):
            if raw is not None and (found := history.earlier(outcomes.load(raw), before=before)):
                tries[job_id] = found
    return tries


def _now() -> str:
    return wire.isoformat(datetime.now(UTC))
