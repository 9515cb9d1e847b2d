"""What a worker says of itself in Redis, every few seconds: that it is there, what it does, and what it cost."""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import redis
from lakequeue import keys, wire
from lakequeue.operations import KEPT_COSTS_S

from worker.figures import Figures
from worker.loop import Loop
from worker.settings import Settings
from worker.store import Token

PULSE_S = 2.0
FORGOTTEN_S = 60
"""So long after its last word a worker's is forgotten."""


class Pulse:
    """A thread that tells. `doing` adds what changes: batches under way, the warehouse's state."""

    def __init__(
        self,
        client: redis.Redis,
        token: Token,
        figures: Figures,
        settings: Settings,
        *,
        hostname: str,
        doing: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._client = client
        self._token = token
        self._figures = figures
        self._doing = doing
        self._same = {
            "worker": hostname,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version("lakequeue"),
            "python": platform.python_version(),
            "threads": settings.threads,
            "lease_ttl_s": settings.lease_ttl_s,
            "started_at": wire.isoformat(datetime.now(UTC)),
        }
        self._loop = Loop("pulse", self._step, fault="the worker's own state was not told")

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Tell what is left, and that this worker is gone."""
        self._loop.stop()
        try:
            self._tell_costs()
            self._client.delete(keys.worker(self._token))
        except redis.RedisError:
            pass  # it is forgotten by itself

    def _step(self) -> float:
        jobs, statements = self._figures.rates()
        told = {
            **self._same,
            **self._doing(),
            "jobs_per_s": round(jobs, 1),
            "statements_per_min": round(statements * 60, 1),
            "memory_mb": _memory_mb(),
            "at": wire.isoformat(datetime.now(UTC)),
        }
        self._client.set(keys.worker(self._token), json.dumps(told), ex=FORGOTTEN_S)
        self._tell_costs()
        return PULSE_S

    def _tell_costs(self) -> None:
        costs = self._figures.take_costs()
        if not costs:
            return
        key = keys.costs(int(time.time()) // 3600)
        try:
            with self._client.pipeline(transaction=True) as pipe:
                for table, cost in costs.items():
                    for name, number in cost.items():
                        pipe.hincrby(key, f"{name} {table}", number)
                pipe.expire(key, KEPT_COSTS_S)
                pipe.execute()
        except redis.RedisError:
            self._figures.give_back(costs)
            raise


def _memory_mb() -> float:
    """The most memory this process has had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
