"""What a real worker's endpoint says, compared with what happened: jobs of every verb and outcome, scraped, parsed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from lakequeue import JobFailed, Queue, wire

from tests.fix_celery_app import celery_app, close
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_metrics import Scrape, scrape, wait_served
from tests.fix_promtool import Promtool, asked_for
from tests.fix_worker import StartWorker, Worker, worker_environ
from tests.support import sql, until
from worker.embedded import EmbeddedRedis, embedded_redis, free_port

COLUMNS = [{"name": "id", "data_type": "BIGINT"}, {"name": "n", "data_type": "BIGINT"}]
ORDERS, PRICES, STOCK = "shop.sales.orders", "shop.sales.prices", "shop.sales.stock"
MONITORING = Path(__file__).parents[3] / "docs" / "monitoring"


@dataclass(frozen=True)
class Story:
    """A system of one worker after a little of everything; `ours` are the statements of the test itself."""

    server: EmbeddedRedis
    warehouse: LocalWarehouse
    queue: Queue
    port: int
    found: Scrape
    ours: int


def write(queue: Queue, table: str, *ids: int) -> Any:
    return queue.write(table, [{"id": i} for i in ids], auto_create=True, schema_definition=COLUMNS)


def settled(port: int) -> Scrape:
    """A scrape after the last job: its figures are told a moment after its result."""
    found = [scrape(port)]

    def still() -> bool:
        found.append(scrape(port))
        return found[-1].of("lakequeue_jobs_total", "op", "state", "table") == found[-2].of(
            "lakequeue_jobs_total", "op", "state", "table"
        ) and not found[-1].total("lakequeue_running_jobs")

    until(still, "nothing runs")
    return found[-1]


def fails(handle: Any) -> None:
    with pytest.raises(JobFailed):
        handle.result(timeout=30)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    port = free_port()
    with embedded_redis(folder / "redis") as server, Queue(server.url) as queue:
        warehouse = LocalWarehouse(folder / "warehouse")
        environ = worker_environ(server.url, warehouse, LAKEQUEUE_METRICS_PORT=str(port), LAKEQUEUE_LEASE_TTL_S="30")
        worker = Worker(environ, folder / "worker.log", "told")
        try:
            worker.wait_ready()
            wait_served(port)
            tell(queue, server, warehouse)
            until(lambda: scrape(port).total("lakequeue_dead_letters_total") == 6, "all letters are told of")
            before = sum(warehouse.counts().values())
            sql(warehouse, "SELECT 1")
            own = sum(warehouse.counts().values()) - before  # what a statement of the test's own comes to
            yield Story(server, warehouse, queue, port, settled(port), own * 2)
            assert worker.stop() == 0
            with pytest.raises(urllib.error.URLError):
                scrape(port)
        finally:
            if worker.process.poll() is None:
                worker.kill()
            if warehouse.process.poll() is None:
                warehouse.stop()


def tell(queue: Queue, server: EmbeddedRedis, warehouse: LocalWarehouse) -> None:
    for i in (1, 2, 3):
        write(queue, ORDERS, i).result(timeout=30)
    queue.update(ORDERS, key={"id": 1}, updates={"n": 11}).result(timeout=30)
    queue.delete(ORDERS, key={"id": 2}).result(timeout=30)
    queue.read(ORDERS, columns="id").result(timeout=30)
    # Refused by the worker, and by the warehouse.
    fails(queue.write(ORDERS, [{"nope": 1}]))
    sql(warehouse, f"ALTER TABLE {ORDERS} ADD CONSTRAINT small CHECK (n IS NULL OR n < 1000)")
    fails(queue.write(ORDERS, [{"id": 5, "n": 5000}]))
    # Tried again, beside one that is refused at the first try already: it fails once.
    warehouse.fault({"action": "status", "status": 429, "on": "ExecuteStatement", "match": "INSERT", "times": 1})
    queue.operations.pause(ORDERS)
    refused = queue.write(ORDERS, [{"nope": 1}])
    retried = write(queue, ORDERS, 4)
    queue.operations.resume(ORDERS)
    assert retried.result(timeout=30).receipt.attempts == 2
    fails(refused)
    # Cancelled, purged, expired.
    queue.operations.pause(PRICES)
    cancelled = write(queue, PRICES, 1)
    kept = write(queue, PRICES, 2)
    app = celery_app(server.url)
    kwargs = {"table": PRICES, "data": [{"id": 3}]}
    expired = app.send_task("records.write", kwargs=kwargs, expires=1)
    over = time.monotonic() + 1
    until(lambda: queue.operations.table(PRICES).queued == 3 or expired.state == "REVOKED", "it was taken in")
    until(lambda: time.monotonic() > over, "it has expired")
    assert queue.operations.cancel(cancelled.id) == "QUEUED"
    queue.operations.resume(PRICES)
    kept.result(timeout=30)
    assert expired.state == "REVOKED"
    queue.operations.pause(STOCK)
    for i in (1, 2):
        write(queue, STOCK, i)
    queue.update(STOCK, key={"id": 1}, updates={"n": 3})
    queue.read(STOCK)
    assert queue.operations.purge(STOCK) == 4
    queue.operations.resume(STOCK)
    until(lambda: queue.operations.table(STOCK).waiting == 0, "all are thrown away")
    late = app.send_task("records.read", kwargs={"table": ORDERS}, queue=wire.QUEUE, expires=0.001)
    until(lambda: late.state == "REVOKED", "it came too late")
    # No jobs: a field that is none, a task that is none, bytes that are no message.
    wrong = app.send_task("records.write", kwargs={"table": ORDERS, "dta": []}, queue=wire.QUEUE)
    alien = app.send_task("records.frobnicate", kwargs={}, queue=wire.QUEUE)
    until(lambda: wrong.state == alien.state == "FAILURE", "both were refused")
    close(app)
    with redis.Redis.from_url(server.url) as client:
        client.lpush(wire.QUEUE, b"no message")
        until(lambda: not client.llen(wire.QUEUE), "it was taken in")


def test_jobs_are_counted_by_table_verb_and_outcome(story: Story) -> None:
    assert story.found.of("lakequeue_jobs_total", "table", "op", "state") == {
        (ORDERS, "write", "SUCCESS"): 4,
        (ORDERS, "update", "SUCCESS"): 1,
        (ORDERS, "delete", "SUCCESS"): 1,
        (ORDERS, "read", "SUCCESS"): 1,
        (ORDERS, "write", "FAILURE"): 3,
        (ORDERS, "write", "RETRY"): 1,
        (PRICES, "write", "SUCCESS"): 1,
        (PRICES, "write", "REVOKED"): 2,
        (STOCK, "write", "REVOKED"): 2,
        (STOCK, "update", "REVOKED"): 1,
        (STOCK, "read", "REVOKED"): 1,
        (ORDERS, "read", "REVOKED"): 1,
        ("other", "write", "FAILURE"): 1,
        ("other", "other", "FAILURE"): 1,
    }


def test_dead_letters_and_retries_are_counted_by_class(story: Story) -> None:
    dead = {("INVALID_JOB",): 5, ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",): 1}
    assert story.found.of("lakequeue_dead_letters_total", "error") == dead
    assert len(story.queue.dead_letters.list().letters) == 6
    assert story.found.total("lakequeue_dead_letters_kept") == 3  # of the others no table is known
    assert story.found.of("lakequeue_retries_total", "error") == {("HTTP_429",): 1}
    failures = story.found.of("lakequeue_statement_failures_total", "error")
    assert failures[("HTTP_429",)] == 1
    assert failures[("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",)] == 1


def test_statements_are_those_that_the_warehouse_ran(story: Story) -> None:
    counted = story.found.of("lakequeue_warehouse_statements_total", "table")
    assert sum(counted.values()) == sum(story.warehouse.counts().values()) - story.ours
    kinds = {kind: count for (kind,), count in story.found.of("lakequeue_statement_seconds_count", "kind").items()}
    assert sum(kinds.values()) == sum(counted.values())
    ran = Counter(each["kind"] for each in story.warehouse.statements())
    assert kinds["insert"] == ran["INSERT"]
    assert kinds["clock"] == counted[("other",)] == 1  # the probe after the 429
    seconds = story.found.total("lakequeue_warehouse_seconds_total")
    assert seconds == pytest.approx(story.found.total("lakequeue_statement_seconds_sum"))
    assert 0 < seconds < 60


def test_batches_and_waits_are_histograms(story: Story) -> None:
    found = story.found
    tries: Counter[str] = Counter()
    for (op, state), count in found.summed("lakequeue_jobs_total", "op", "state").items():
        if state in ("SUCCESS", "RETRY"):
            tries[op] += int(count)
    # Every try is a batch here; the job that the warehouse refused had one, too.
    tries["write"] += 1
    assert found.of("lakequeue_queue_seconds_count", "op") == {(op,): count for op, count in tries.items()}
    assert found.one("lakequeue_batch_jobs_count") == found.one("lakequeue_batch_rows_count")
    assert found.one("lakequeue_batch_jobs_sum") == tries.total()
    for name in ("batch_jobs", "batch_rows", "queue_seconds", "statement_seconds"):
        family = found.families[f"lakequeue_{name}"]
        assert family.type == "histogram"
        series: dict[str, list[float]] = {}
        for each in family.samples:
            if each.name.endswith("_bucket"):
                rest = json.dumps({label: value for label, value in each.labels.items() if label != "le"})
                series.setdefault(rest, []).append(each.value)
        counts = [each.value for each in family.samples if each.name.endswith("_count")]
        assert [buckets[-1] for buckets in series.values()] == counts
        assert all(buckets == sorted(buckets) for buckets in series.values())


def test_counters_end_in_total_and_nothing_else_does(story: Story) -> None:
    for family in story.found.families.values():
        assert (family.type == "counter") == any(each.name.endswith("_total") for each in family.samples) or (
            not family.samples
        )
        assert family.documentation


def test_a_sound_system_says_so(story: Story) -> None:
    found = story.found
    told = {"leases": 64, "workers": 1, "partitions_unowned": 0, "warehouse_up": 1, "redis_up": 1}
    told |= {"delayed_jobs": 0, "arriving_messages": 0}
    assert {name: found.one(f"lakequeue_{name}") for name in told} == told
    assert found.of("lakequeue_queued_jobs", "table")[(ORDERS,)] == 0
    assert (ORDERS,) not in found.of("lakequeue_oldest_job_age_seconds", "table")
    assert found.of("lakequeue_last_commit_age_seconds", "table")[(ORDERS,)] < 120


def test_alerts_and_dashboard_ask_for_what_there_is(story: Story, promtool: Promtool) -> None:
    """A name that no scrape has, or a label that it lacks, would be an alert that never fires."""
    queue = story.queue
    queue.operations.pause(STOCK)
    write(queue, STOCK, 9)
    found = scrape(story.port)
    labels: dict[str, set[str]] = {}
    for family in found.families.values():
        for each in family.samples:
            labels.setdefault(each.name, {"instance"}).update(each.labels)
    queue.operations.purge(STOCK)
    queue.operations.resume(STOCK)
    expressions = [*promtool.alerts(MONITORING / "alerts.yaml"), *promtool.panels(MONITORING / "dashboard.json")]
    assert len(expressions) > 20
    for expression in expressions:
        names, wanted = asked_for(expression)
        assert names, expression
        for name in names:
            assert name in labels, expression
        assert wanted <= set().union(*(labels[name] for name in names)), expression


def test_what_waits_is_told_by_the_worker_that_owns_it_and_in_all_once(
    queue: Queue, warehouse: LocalWarehouse, redis_server: EmbeddedRedis, start_worker: StartWorker
) -> None:
    """The first of all workers serves no metrics here: what is of no table has to be told by another."""
    tables = [f"shop.sales.t{i}" for i in range(8)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        silent = start_worker(LAKEQUEUE_METRICS_PORT=str(taken.getsockname()[1]))
        # It works all the same, and says why nobody hears of it.
        until(lambda: "no metrics at 127.0.0.1 port" in silent.text(), "it says that it has no port")
        assert "Address already in use" in silent.text()
    ports = [free_port(), free_port()]
    warehouse.stop()
    began = time.time()
    for table in tables:
        write(queue, table, 1)
        write(queue, table, 2)
    workers = [start_worker(LAKEQUEUE_METRICS_PORT=str(port)) for port in ports]
    for port in ports:
        wait_served(port)

    def found() -> list[Scrape]:
        return [scrape(port) for port in ports]

    def waiting(scrapes: list[Scrape]) -> float:
        names = ("queued", "running", "retrying")
        return sum(each.total(f"lakequeue_{name}_jobs") for each in scrapes for name in names)

    def leases(scrapes: list[Scrape]) -> list[float]:
        return [each.one("lakequeue_leases") or 0 for each in scrapes]

    until(lambda: 0 not in leases(found()) and sum(leases(found())) < 64, "three share")
    until(lambda: [each.one("lakequeue_workers") for each in found()].count(3) == 1, "one of the two tells of all")
    assert silent.stop() == 0
    until(lambda: sum(leases(found())) == 64, "two share")
    until(lambda: sum(leases(found())) == 64 and waiting(found()) == 16, "each job is told once")
    scrapes = found()
    told = [each.of("lakequeue_oldest_job_age_seconds", "table") for each in scrapes]
    assert not told[0].keys() & told[1].keys()
    ages = {**told[0], **told[1]}
    assert {table for (table,) in ages} == set(tables)
    assert all(0 < age <= time.time() - began for age in ages.values())
    until(lambda: all(each.one("lakequeue_warehouse_up") == 0 for each in found()), "both wait for the warehouse")
    assert [each.one("lakequeue_workers") for each in scrapes].count(2) == 1
    assert [each.one("lakequeue_partitions_unowned") for each in scrapes].count(0) == 1
    # What a worker had is told by the other once it is gone.
    assert workers[0].stop() == 0
    until(lambda: scrape(ports[1]).one("lakequeue_leases") == 64, "the other has all partitions")
    until(lambda: waiting([scrape(ports[1])]) == 16, "the other has all")
    only = scrape(ports[1])
    assert (only.one("lakequeue_leases"), only.one("lakequeue_workers")) == (64, 1)
    # A Redis that hangs is told of at once, and not once it is back.
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        away = scrape(ports[1])
        assert time.monotonic() - began < 5
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert away.one("lakequeue_redis_up") == 0
    assert not away.of("lakequeue_queued_jobs", "table")
    until(lambda: scrape(ports[1]).one("lakequeue_redis_up") == 1, "it is back")


def test_an_ipv6_address_is_listened_on(start_worker: StartWorker) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    port = free_port()
    start_worker(LAKEQUEUE_METRICS_PORT=str(port), LAKEQUEUE_METRICS_ADDRESS="::1")
    wait_served(port, host="[::1]")
    assert scrape(port, host="[::1]").one("lakequeue_redis_up") == 1
