"""A scrape of a queue with more tables than have names: real keys in Redis, and no worker beside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from lakequeue import Queue, keys
from lakequeue.connections import connect
from lakequeue.operations import Operations
from prometheus_client import CollectorRegistry, generate_latest

from tests.fix_metrics import Scrape, parse
from worker.figures import MOST_TABLES, OTHER, Figures
from worker.metrics import Metrics

ROW = {"auto_create": True, "schema_definition": [{"name": "id", "data_type": "BIGINT"}], "data": [{"id": 1}]}


def name(i: int) -> str:
    return f"c.s.t{i:04}"


def write(queue: Queue, *tables: str) -> None:
    list(queue.enqueue_many({"kind": "write", "table": table, **ROW} for table in tables))


@pytest.fixture
def registry(queue: Queue, redis_url: str) -> Iterator[CollectorRegistry]:
    """The metrics of a worker that owns nothing and is the only one: it tells of all tables."""
    client = connect(redis_url, timeout_s=1, patience_s=0)
    made = CollectorRegistry()
    made.register(Metrics(Figures(), Operations(queue, client), token="w", leases=lambda: 0, up=lambda: True))
    yield made
    client.close()


def scraped(registry: CollectorRegistry) -> Scrape:
    return parse(generate_latest(registry).decode())


def test_of_too_many_tables_the_rest_is_other_and_sums_stay_exact(
    registry: CollectorRegistry, queue: Queue, redis_url: str
) -> None:
    tables = [name(i) for i in range(MOST_TABLES + 30)]
    write(queue, *tables, name(MOST_TABLES))
    found = scraped(registry)
    assert found.labels("table") == {*tables[:MOST_TABLES], OTHER}
    assert found.total("lakequeue_queued_jobs") == len(tables) + 1
    assert found.of("lakequeue_queued_jobs", "table")[(OTHER,)] == 31
    assert found.one("lakequeue_partitions_unowned") == 64


def test_a_table_keeps_its_name_and_others_get_none_in_its_place(
    registry: CollectorRegistry, queue: Queue, redis_url: str
) -> None:
    """A worker that named the 500 tables that are busiest at each scrape would name all of them in time."""
    write(queue, *(name(i) for i in range(MOST_TABLES)))
    first = scraped(registry).labels("table")
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        write(queue, *(name(i) for i in range(MOST_TABLES - 1, MOST_TABLES + 40)))
    assert scraped(registry).labels("table") - first == {OTHER}
    assert scraped(registry).total("lakequeue_queued_jobs") == 41


def test_a_paused_table_among_the_others_silences_none_of_them(
    registry: CollectorRegistry, queue: Queue, redis_url: str
) -> None:
    write(queue, *(name(i) for i in range(MOST_TABLES)))
    scraped(registry)
    write(queue, "c.s.paused")
    queue.operations.pause("c.s.paused")
    assert scraped(registry).of("lakequeue_paused", "table")[(OTHER,)] == 1
    write(queue, "c.s.waits")
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.COMMITS, mapping={"c.s.waits": 1_000_000_000, "c.s.idle": 4_000_000_000})
    found = scraped(registry)
    assert found.of("lakequeue_paused", "table")[(OTHER,)] == 0
    assert (OTHER,) in found.of("lakequeue_oldest_job_age_seconds", "table")
    # Of the one that waits, not of the one that has nothing to do.
    assert found.of("lakequeue_last_commit_age_seconds", "table")[(OTHER,)] > 100_000_000


def test_a_key_that_is_not_what_it_should_be_leaves_the_rest_of_the_scrape(
    registry: CollectorRegistry, queue: Queue, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.COMMITS, "c.s.t", "planted-no-number")
    found = scraped(registry)
    assert found.one("lakequeue_redis_up") == 0
    assert found.one("lakequeue_warehouse_up") == 1
    assert "planted" not in found.text
