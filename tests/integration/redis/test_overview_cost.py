"""What `lakequeue tables` costs Redis: as much for a million queued jobs as for a thousand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys

from worker.embedded import EmbeddedRedis, embedded_redis

TABLES = [f"main.sales.t{i:02}" for i in range(100)]
SMALL, LARGE = 10, 10_000
ROUNDS = 15


def filled(server: EmbeddedRedis, jobs_of_each: int) -> None:
    """Enqueue a job of each table and copy it, each copy with an id and a record of its own."""
    with Queue(server.url) as queue, redis.Redis.from_url(server.url) as client:
        for i, table in enumerate(TABLES):
            name = f"order.{i:02}."
            job_id = queue.write(table, [{"id": 1}], id=f"{name}0000001").id
            lane = keys.jobs(keys.lane_of("write", table))
            (message,), record = client.lrange(lane, 0, 0), client.get(keys.record(job_id))
            assert isinstance(record, bytes)
            for first in range(2, jobs_of_each + 1, 1000):
                copies = [f"{name}{n:07}" for n in range(first, min(first + 1000, jobs_of_each + 1))]
                client.rpush(lane, *(message.replace(job_id.encode(), copy.encode()) for copy in copies))
                client.mset({keys.record(copy): record.replace(job_id.encode(), copy.encode()) for copy in copies})


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    """One with a thousand queued jobs, one with a million, of a hundred tables each."""
    folder: Path = tmp_path_factory.mktemp("servers")
    with (
        embedded_redis(folder / "few", "--appendonly", "no") as few,
        embedded_redis(folder / "many", "--appendonly", "no") as many,
    ):
        filled(few, SMALL)
        filled(many, LARGE)
        yield few, many


def asked(server: EmbeddedRedis) -> tuple[dict[str, int], float]:
    """Commands by name for one overview, those that scripts run among them, and microseconds at the server."""
    with redis.Redis.from_url(server.url) as admin, Queue(server.url) as queue:
        queue.operations.overview()  # the script is known to the server, and the queue has its connection
        admin.config_resetstat()
        queue.operations.overview()
        stats: dict[str, Any] = admin.info("commandstats")
    told = {name.removeprefix("cmdstat_"): stat for name, stat in stats.items() if "config" not in name}
    calls = {name: stat["calls"] for name, stat in told.items()}
    # What a script's commands take is in the script's own time.
    inside = {"zrange", "llen", "lindex", "hmget", "hget", "get"}
    return calls, sum(stat["usec"] for name, stat in told.items() if name not in inside)


def test_a_million_jobs_cost_the_overview_as_many_commands_as_a_thousand_and_no_more_time(
    servers: tuple[EmbeddedRedis, EmbeddedRedis],
) -> None:
    """Times are those at the server, the two asked in turn; the shortest of several, since machines are shared."""
    few, many = servers
    rounds = [(asked(few), asked(many)) for _ in range(ROUNDS)]
    (calls_of_few, _), (calls_of_many, _) = rounds[-1]
    assert calls_of_many == calls_of_few
    shortest_few, shortest_many = (min(each[i][1] for each in rounds) for i in (0, 1))
    ratio = shortest_many / shortest_few
    print(f"\n{sum(calls_of_many.values())} commands; {ratio:.2f} times the time of a thousand jobs at the server")
    assert ratio <= 2


def test_a_million_jobs_are_all_counted(servers: tuple[EmbeddedRedis, EmbeddedRedis]) -> None:
    _, many = servers
    done = subprocess.run(
        [sys.executable, "-m", "lakequeue", "tables", "--json"],
        env={**os.environ, "LAKEQUEUE_REDIS_URL": many.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["table"]: each["queued"] for each in told} == dict.fromkeys(TABLES, LARGE)


def test_long_messages_are_not_all_read_to_list_jobs(redis_url: str) -> None:
    """A few megabytes of a lane are looked at; a table of the longest jobs would be hundreds."""
    with Queue(redis_url) as queue, redis.Redis.from_url(redis_url) as admin:
        text = "x" * 800_000
        for i in range(40):
            queue.write(TABLES[0], [{"id": i, "note": text}])
        listed = list(queue.operations.jobs(table=TABLES[0], limit=40))
        assert 5 <= len(listed) < 40
        assert int(admin.info("memory")["used_memory_scripts"]) < 5_000_000
