"""Jobs that failed for good, stored as a worker stores them, without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys, wire

from tasks import records
from tasks.records import Member

Bury = Callable[..., str]


def store_letters(client: redis.Redis, letters: list[tuple[str, str, float]]) -> None:
    """Letters by id, with the time of each (Unix seconds), no two of them the same."""
    with client.pipeline() as pipe:
        for letter_id, letter, at in letters:
            pipe.hset(keys.DEAD, letter_id, letter)
            pipe.zadd(keys.DEAD_INDEX, {letter_id: at})
        pipe.execute()


def letter(
    member: Member, message: bytes, *, error: str = "INVALID_JOB", committed: str = "not_committed", text: str = ""
) -> str:
    return records.dead_letter(
        member,
        message=message,
        reason=f"it failed by {error}",
        details={"error": error, "error_class": f"{error}.SUB", "text": text},
        committed=committed,
        at=wire.isoformat(datetime.now(UTC)),
        batch="b0",
        attempts=2,
        history=[{"attempt": 1, "batch": "b", "error": "HTTP_429", "at": "2026-01-01T00:00:00.000000Z"}],
    )


@pytest.fixture
def bury(queue: Queue, redis_url: str) -> Iterator[Bury]:
    """Enqueues a job and has it fail: gives it a final record and a letter, and takes its message away."""
    buried = 0
    client = redis.Redis.from_url(redis_url)

    def burying(job: dict[str, Any], *, age_s: float = 0, **told: str) -> str:
        nonlocal buried
        buried += 1
        handle = queue.enqueue(job)
        lane = keys.lane_of(job["kind"], job["table"])
        message = client.rpop(keys.jobs(lane))
        assert isinstance(message, bytes)
        if not client.llen(keys.jobs(lane)):
            client.zrem(keys.first_turns("w", keys.partition_of(job["table"])), lane)
        received = wire.decode(message)
        member = Member(
            received.id,
            received.task,
            job["table"],
            received.rows,
            received.digest,
            received.enqueued_at,
            received.root_id,
            replay_of=received.replay_of,
        )
        at = wire.isoformat(datetime.now(UTC))
        error = told.get("error", "INVALID_JOB")
        outcome = records.failed(member, message="no", details={"error": error}, error=error, finished_at=at)
        client.set(keys.record(received.id), outcome.record, ex=86_400)
        seconds, micros = client.time()
        place = seconds + micros / 1e6 - age_s + buried / 1000
        store_letters(client, [(received.id, letter(member, message, **told), round(place, 6))])
        return handle.id

    with client:
        yield burying
