"""The worker's Prometheus endpoint: what it counted, and how the tables it owns stand in Redis at that moment.

Each table is told of by the worker that owns it, so sums over workers are right. Tables without an owner are told of by
the first of the workers alive. Labels are bounded: of too many tables or errors the rest is `other`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from lakequeue.errors import LakequeueError
from lakequeue.operations import Operations
from lakequeue.table_states import TableState
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from worker.figures import MOST_TABLES, OTHER, Distribution, Figures

log = logging.getLogger(__name__)

Ours = Callable[[], tuple[str, bool]]
"""This worker's token, and whether its connection to the warehouse is up."""


class Metrics:
    """Collected when asked for; one registry a worker."""

    def __init__(
        self, figures: Figures, operations: Operations, *, token: str, leases: Callable[[], int], up: Callable[[], bool]
    ) -> None:
        self._figures = figures
        self._operations = operations
        self._token = token
        self._leases = leases
        self._up = up

    def collect(self) -> Iterator[Metric]:
        yield from self._counted()
        yield _gauge("lakequeue_leases", "Partitions, of 64, that this worker owns", self._leases())
        yield _gauge("lakequeue_warehouse_up", "0 while this worker waits for the warehouse", int(self._up()))
        try:
            yield from self._standing()
            reached = 1
        except LakequeueError as exc:
            log.warning("metrics: %s", exc.message)
            reached = 0
        yield _gauge("lakequeue_redis_up", "0 if Redis did not answer this scrape", reached)

    def _counted(self) -> Iterator[Metric]:
        figures = self._figures
        jobs = CounterMetricFamily("lakequeue_jobs", "Jobs by what became of them", labels=("table", "op", "state"))
        for (table, op, state), count in list(figures.jobs.items()):
            jobs.add_metric((table, op, state), count)
        yield jobs
        yield _counter("lakequeue_retries", "Tries of jobs that came to nothing", "error", figures.retries)
        yield _counter("lakequeue_dead_letters", "Jobs that failed for good", "error", figures.dead)
        yield _counter("lakequeue_statement_failures", "Statements without a result", "error", figures.failures)
        yield _counter("lakequeue_warehouse_statements", "Statements sent", "table", figures.statements)
        yield _counter("lakequeue_warehouse_seconds", "Time taken by statements", "table", figures.warehouse_s)
        yield _histogram("lakequeue_batch_jobs", "Jobs of a batch", None, {"": figures.batch_jobs})
        yield _histogram("lakequeue_batch_rows", "Rows of a batch", None, {"": figures.batch_rows})
        yield _histogram("lakequeue_statement_seconds", "Time of a statement", "kind", figures.statement_s)
        yield _histogram("lakequeue_queue_seconds", "Time from enqueueing to the try", "op", figures.queue_s)

    def _standing(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        found = self._operations.overview()
        workers = self._operations.workers()
        first = min((each.token for each in workers), default=self._token) == self._token
        told = [each for each in found.tables if each.owner_token == self._token or (each.owner is None and first)]
        by_weight = sorted(told, key=lambda each: (each.waiting == 0, each.oldest_at or now))
        tables = list(_bounded(by_weight, now))
        for name, about, value in (
            ("queued_jobs", "Jobs that have not begun", lambda t: t.queued),
            ("running_jobs", "Jobs whose statement is under way", lambda t: t.running),
            ("retrying_jobs", "Jobs that wait for another try", lambda t: t.retrying),
            ("dead_letters_kept", "Dead letters there are", lambda t: t.dead),
            ("paused", "1 if paused", lambda t: int(t.paused_since is not None)),
            ("oldest_job_age_seconds", "Age of the oldest job that waits or runs", lambda t: _age_s(t.oldest_at, now)),
            ("last_commit_age_seconds", "Time since the last commit", lambda t: _age_s(t.last_commit_at, now)),
        ):
            yield _by_table(f"lakequeue_{name}", about, tables, value)
        if first:
            yield _gauge("lakequeue_partitions_unowned", "Partitions, of 64, without a worker", found.unowned)
            yield _gauge("lakequeue_workers", "Workers that are alive", found.workers)
            yield _gauge("lakequeue_delayed_jobs", "Jobs that wait for their eta", found.delayed)
            yield _gauge("lakequeue_arriving_messages", "Messages of Celery apps not taken in yet", found.arriving)


def _bounded(states: list[TableState], now: datetime) -> Iterator[tuple[str, list[TableState]]]:
    for state in states[:MOST_TABLES]:
        yield state.table, [state]
    if len(states) > MOST_TABLES:
        yield OTHER, states[MOST_TABLES:]


def _by_table(
    name: str, about: str, tables: Iterable[tuple[str, list[TableState]]], value: Callable[[TableState], Any]
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=("table",))
    for table, states in tables:
        values = [each for state in states if (each := value(state)) is not None]
        if values:
            family.add_metric((table,), max(values) if name.endswith(("_seconds", "paused")) else sum(values))
    return family


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, label: str, counts: dict[str, Any]) -> Metric:
    family = CounterMetricFamily(name, about, labels=(label,))
    for key, count in list(counts.items()):
        family.add_metric((key,), count)
    return family


def _histogram(name: str, about: str, label: str | None, found: dict[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=(label,) if label else ())
    for key, distribution in list(found.items()):
        bounds = [*(str(bound) for bound in distribution.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(distribution.counts)), strict=True))
        family.add_metric((key,) if label else (), buckets, distribution.total)
    return family


class Endpoint:
    """Serves the metrics over HTTP from a thread. Without a port, or where it is taken, there is none."""

    def __init__(self, metrics: Metrics, *, port: int, address: str) -> None:
        self._metrics = metrics
        self._port = port
        self._address = address
        self._server: Any = None

    def start(self) -> None:
        if not self._port:
            return
        registry = CollectorRegistry()
        registry.register(self._metrics)
        try:
            self._server, _ = start_http_server(self._port, self._address, registry)
        except OSError as exc:
            # Jobs matter more than figures of them.
            log.error("no metrics at %s:%d: %s", self._address, self._port, exc.strerror or type(exc).__name__)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
