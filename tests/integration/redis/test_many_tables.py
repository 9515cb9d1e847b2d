"""What operators are told of more tables than anybody reads: those that matter, at a bounded cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys

FEW, MANY = 2_000, 20_000
COMMANDS = ("zrange", "zcard", "llen", "lindex", "hmget", "hget", "hscan", "get", "evalsha")


def name(i: int) -> str:
    return f"main.s.t{i:05}"


def fill(queue: Queue, first: int, last: int) -> None:
    jobs = ({"kind": "write", "table": name(i), "data": [{"id": i}]} for i in range(first, last))
    assert sum(1 for _ in queue.enqueue_many(jobs)) == last - first


def calls(queue: Queue, client: redis.Redis) -> int:
    """The commands of one overview, those inside scripts among them."""
    queue.operations.overview()
    client.config_resetstat()
    queue.operations.overview()
    stats: dict[str, Any] = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in COMMANDS)


def tables(url: str, *args: str) -> tuple[list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, "-m", "lakequeue", "tables", "--json", *args],
        env={**os.environ, "LAKEQUEUE_REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_an_overview_of_ten_times_the_tables_costs_no_more(queue: Queue, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        fill(queue, 0, FEW)
        few, sent = calls(queue, client), int(client.info("stats")["total_net_output_bytes"])
        queue.operations.overview()
        sent_of_few = int(client.info("stats")["total_net_output_bytes"]) - sent
        fill(queue, FEW, MANY)
        client.hset(keys.COMMITS, mapping={name(i): 1_700_000_000 for i in range(MANY)})
        many, sent = calls(queue, client), int(client.info("stats")["total_net_output_bytes"])
        queue.operations.overview()
        sent_of_many = int(client.info("stats")["total_net_output_bytes"]) - sent
    print(f"\n{few} and {many} commands, {sent_of_few:,} and {sent_of_many:,} bytes")
    assert many <= few * 1.1
    assert sent_of_many <= sent_of_few * 1.5


def test_the_tables_that_wait_for_the_longest_time_are_shown_and_how_many_others_there_are(
    queue: Queue, redis_url: str
) -> None:
    fill(queue, 0, FEW)
    shown, told = tables(redis_url)
    assert [each["table"] for each in shown] == [name(i) for i in range(100)]
    assert f"100 tables, at least {FEW - 100:,} more are not shown: give --limit N, or --all" in told
    shown, told = tables(redis_url, "--limit", "250")
    assert {each["table"] for each in shown} == {name(i) for i in range(250)}
    shown, told = tables(redis_url, "--all")
    assert (len(shown), "more" in told) == (FEW, False)


def test_a_table_that_waits_for_another_try_is_shown_before_many_that_wait_for_their_first(
    queue: Queue, redis_url: str
) -> None:
    stuck = "main.s.stuck"
    queue.write(stuck, [{"id": 1}])
    fill(queue, 0, FEW)
    partition, lane = keys.partition_of(stuck), keys.lane_of("write", stuck)
    with redis.Redis.from_url(redis_url) as client:
        seconds, _ = client.time()
        client.zrem(keys.first_turns("w", partition), lane)
        client.zadd(keys.next_turns("w", partition), {lane: int(seconds) + 60})
    found = queue.operations.overview(limit=10)
    assert stuck in {each.table for each in found.tables}
    assert (len(found.tables), found.more >= FEW - 10) == (10, True)


@pytest.mark.parametrize("limit", [1, 100, None])
def test_what_has_no_jobs_is_shown_behind_what_has(queue: Queue, redis_url: str, limit: int | None) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.COMMITS, mapping={f"main.s.idle{i:03}": 1_700_000_000 for i in range(150)})
    queue.operations.pause("main.s.paused")
    queue.write("main.s.waits", [{"id": 1}])
    found = queue.operations.overview(limit=limit)
    names = {each.table for each in found.tables}
    assert (len(names), found.more) == {1: (1, 149), 100: (100, 50), None: (152, 0)}[limit]
    assert "main.s.waits" in names
    assert limit == 1 or "main.s.paused" in names


def test_one_table_is_told_of_whatever_others_there_are(queue: Queue) -> None:
    fill(queue, 0, FEW)
    assert queue.operations.table(name(FEW - 1)).queued == 1
    assert queue.operations.table("main.s.none").queued == 0
