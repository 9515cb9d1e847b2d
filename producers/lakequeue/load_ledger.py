"""What the queue remembers of loads, for much longer than of their jobs: one hash in Redis for each name."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from lakequeue import keys
from lakequeue.connections import Client
from lakequeue.load_plan import Plan
from lakequeue.unreachable import reachable

State = Literal["sending", "sent", "done"]
"""`done` once all of its jobs are known to have succeeded."""

MOST_JOBS = 20_000
"""The jobs of a larger load are not stored one by one if the file alone tells them: half a megabyte in Redis is enough
for one load."""


@dataclass(frozen=True)
class Loaded:
    """One load as it was made last. `content` is a digest of all rows, `header` of the columns' names; `plan` is None
    if it was too large to be stored, and `tag` that of the jobs that were new then. `at` is when it began (Unix
    seconds); `options` are those that decide how a row is written."""

    table: str
    file: str
    folder: str
    header: str
    content: str
    tag: str
    rows: int
    jobs: int
    options: Mapping[str, str]
    at: float
    state: State
    plan: Plan | None

    @property
    def when(self) -> str:
        return datetime.fromtimestamp(self.at, UTC).astimezone().isoformat(sep=" ", timespec="minutes")[:16]


class Ledger:
    """Reads and writes what is known of loads.

    Args:
        life_s: so long a load is remembered after it was last run.
    """

    def __init__(self, client: Client, *, life_s: int) -> None:
        self._redis = client
        self._life_s = life_s

    def read(self, name: str) -> Loaded | None:
        """None if no load of this name is remembered.

        Raises:
            QueueUnreachable.
        """
        with reachable(self._redis):
            raw = cast(dict[bytes, bytes], self._redis.hgetall(keys.loaded(name)))
        if b"content" not in raw:
            return None
        plan = None
        if stored := raw.pop(b"plan", None):
            with suppress(ValueError):
                plan = Plan.load(stored)
        text = {name.decode(): value.decode(errors="replace") for name, value in raw.items()}
        state = text.get("state")
        return Loaded(
            table=text.get("table", ""),
            file=text.get("file", ""),
            folder=text.get("folder", ""),
            header=text.get("header", ""),
            content=text.get("content", ""),
            tag=text.get("tag", ""),
            rows=int(text.get("rows", 0)),
            jobs=int(text.get("jobs", 0)),
            options=json.loads(text.get("options", "{}")),
            at=float(text.get("at", 0)),
            state=cast(State, state) if state in ("sent", "done") else "sending",
            plan=plan,
        )

    def begin(self, name: str, load: Loaded) -> None:
        """Remember a load before any of its jobs is sent, in the place of what was known of its name.

        Raises:
            QueueUnreachable.
        """
        key = keys.loaded(name)
        told: dict[Any, Any] = {
            "table": load.table,
            "file": load.file.encode(errors="backslashreplace"),
            "folder": load.folder.encode(errors="backslashreplace"),
            "header": load.header,
            "content": load.content,
            "tag": load.tag,
            "rows": load.rows,
            "jobs": load.jobs,
            "options": json.dumps(load.options),
            "at": load.at or time.time(),
            "state": load.state,
        }
        if load.plan is not None and (len(load.plan) <= MOST_JOBS or load.plan.is_mixed):
            told["plan"] = load.plan.stored()
        with reachable(self._redis), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.hset(key, mapping=told)
            pipe.expire(key, self._life_s)
            pipe.execute()

    def note(self, name: str, state: State) -> None:
        """How far the load has come.

        Raises:
            QueueUnreachable.
        """
        key = keys.loaded(name)
        with reachable(self._redis), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, "state", state)
            pipe.expire(key, self._life_s)
            pipe.execute()
