"""How tables stand in Redis, as an operator is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakequeue.celery_lists import UnreadList
from lakequeue.keys import Lane


@dataclass(frozen=True)
class TableState:
    """One table now. Lengths are in jobs, times aware UTC; what is not known or does not apply is None.

    `queued` are those that have not begun, `running` those whose statement is under way or being proved, `retrying`
    those that were tried in vain and wait, since `error`, for `next_try_at`; `dead` are dead letters. `oldest_at` is
    when the first of the waiting ones was enqueued, `running_since` when the write under way was sent first. `owner` is
    the worker that runs the table, None if none does, and `owner_token` its name in Redis. `discarding` messages are
    being purged. `paused_by` is the class of the error for which a worker paused the table itself, None if an operator
    did; `failing_since` is since when its head fails by errors that say nothing of any job.
    """

    table: str
    queued: int = 0
    running: int = 0
    retrying: int = 0
    dead: int = 0
    oldest_at: datetime | None = None
    last_commit_at: datetime | None = None
    owner: str | None = None
    owner_token: str | None = None
    paused_since: datetime | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    error: str | None = None
    discarding: int = 0
    running_since: datetime | None = None
    paused_by: str | None = None
    failing_since: datetime | None = None

    @property
    def waiting(self) -> int:
        return self.queued + self.running + self.retrying


@dataclass(frozen=True)
class Overview:
    """Tables by name, and what is in none of them yet: `arriving` messages were sent through Celery's own door,
    `delayed` jobs wait for their eta. `dead` counts all dead letters, `unowned` the partitions without a worker. In
    `unread` are lists of other Celery applications with jobs that no worker takes in. At least `more` tables there are
    beside those that are here; 0 if these are all."""

    tables: list[TableState]
    arriving: int
    delayed: int
    dead: int
    workers: int
    unowned: int
    unread: list[UnreadList] = field(default_factory=list)
    more: int = 0


@dataclass(frozen=True, slots=True)
class LaneState:
    name: Lane
    length: int
    running: int
    since_us: int
    retrying: int
    oldest_at: datetime | None
    attempts: int
    until_ms: int
    error: str
    discarding: int


def lane_state(told: list[Any]) -> LaneState:
    name, length, running, since_us, retrying, oldest, attempts, until_ms, error, discarding = told
    return LaneState(
        Lane(text_of(name)),
        int(length),
        int(running),
        int(since_us),
        int(retrying),
        moment_of(text_of(oldest)),
        int(attempts),
        int(until_ms),
        text_of(error),
        int(discarding),
    )


def table_state(
    name: str,
    lanes: list[LaneState],
    *,
    owner: str,
    dead: int,
    commit: bytes | None,
    paused: bytes | None,
    paused_by: bytes | None = None,
    failing: Sequence[bytes | None] = (),
) -> TableState:
    waits = max((lane for lane in lanes if lane.retrying), key=lambda lane: lane.attempts, default=None)
    running, retrying = sum(lane.running for lane in lanes), sum(lane.retrying for lane in lanes)
    since = [float(told.split()[0]) for told in failing if told]
    since_us = min((lane.since_us for lane in lanes if lane.since_us), default=0)
    return TableState(
        table=name,
        queued=max(0, sum(lane.length for lane in lanes) - running - retrying),
        running=running,
        retrying=retrying,
        dead=dead,
        oldest_at=min((lane.oldest_at for lane in lanes if lane.oldest_at), default=None),
        last_commit_at=datetime.fromtimestamp(float(commit), UTC) if commit else None,
        owner=owner.partition("/")[0] or None,
        owner_token=owner or None,
        paused_since=moment_of(text_of(paused)) if paused else None,
        attempts=waits.attempts if waits else 0,
        next_try_at=datetime.fromtimestamp(waits.until_ms / 1000, UTC) if waits else None,
        error=waits.error if waits else None,
        discarding=sum(lane.discarding for lane in lanes),
        running_since=datetime.fromtimestamp(since_us / 1e6, UTC) if since_us else None,
        paused_by=text_of(paused_by) if paused and paused_by else None,
        failing_since=datetime.fromtimestamp(min(since), UTC) if since else None,
    )


def text_of(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def moment_of(told: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(told) if isinstance(told, str) and told else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
