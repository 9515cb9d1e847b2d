"""What operators are told of more tables than anybody reads: those that matter, at a bounded cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest
import redis
from lakequeue import JobConflict, Queue, keys

from tasks import records
from tasks.records import Member
from worker.entries import read_entry
from worker.store import Lease, Place, Store, Token

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


@pytest.mark.parametrize("columns", [("id", "note"), ("task_id", "digest"), ("receipt", "status")])
def test_a_read_with_a_long_page_is_known_again_without_its_rows(
    queue: Queue, redis_url: str, columns: tuple[str, str]
) -> None:
    """Its record is what Redis would parse, whole, to find out that the same job is enqueued once more."""
    handle = queue.read("main.s.t", limit=1000, id="read-1")
    read = read_entry_of(redis_url, "main.s.t")
    rows = [{columns[0]: "a", columns[1]: f'",\\"task_id\\":"{"x" * 4000}'} for _ in range(1000)]
    page = records.page(read, data=rows, total=1000, receipt={"batch": "b"}, finished_at="2026-01-01T00:00:00.000000Z")
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.record("read-1"), page.record, ex=60)
        before = int(client.info("stats")["total_net_output_bytes"])
        assert queue.read("main.s.t", limit=1000, id="read-1").known
        with pytest.raises(JobConflict):
            queue.read("main.s.t", limit=999, id="read-1")
        assert queue.operations.cancel("read-1") == "SUCCESS"
        assert queue.operations.history("read-1").state == "SUCCESS"
        assert Store(client, Token("w")).states(["read-1", "none"]) == {"read-1": "SUCCESS", "none": None}
        assert int(client.info("stats")["total_net_output_bytes"]) - before < 100_000
    assert handle.id == "read-1"


def read_entry_of(url: str, table: str) -> Member:
    lane, partition = keys.lane_of("read", table), keys.partition_of(table)
    with redis.Redis.from_url(url) as client:
        message = client.lindex(keys.jobs(lane), 0)
    assert isinstance(message, bytes)
    return read_entry(message, Place(partition, lane, Lease("none"))).member


def test_costs_of_many_tables_are_summed_and_read_a_few_at_a_time(queue: Queue, redis_url: str) -> None:
    hour = int(time.time()) // 3600
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.costs(hour), mapping={f"statements {name(i)}": i for i in range(10_000)})
        client.hset(keys.costs(hour - 1), mapping={f"statements {name(1)}": 5})
        client.config_resetstat()
        costs = {each.table: each.statements for each in queue.operations.costs(since_s=7200)}
        stats: dict[str, Any] = client.info("commandstats")
    assert costs == {name(i): i + 5 * (i == 1) for i in range(10_000)}
    assert stats["cmdstat_hscan"]["calls"] >= 4
