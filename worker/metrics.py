"""The worker's Prometheus endpoint: what it counted, and how the tables it owns stand in Redis at that moment.

Each table is told of by the worker that owns it, so sums over workers are right. Tables without an owner, and what is
of no table, are told of by the first of the workers that serve metrics. Labels are bounded: of too many tables or
errors the rest is `other`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from lakequeue.errors import LakequeueError
from lakequeue.operations import Operations
from lakequeue.table_states import TableState
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from worker.figures import MOST_TABLES, Distribution, Figures, bounded

log = logging.getLogger(__name__)

MOST_TOLD = 2000
"""Tables that one scrape tells of: of more, those that wait for the longest time. `lakequeue_tables_left_out` says how
many others there are, at least."""


class Metrics:
    """Collected when asked for, by any number of threads; one registry a worker."""

    def __init__(
        self, figures: Figures, operations: Operations, *, token: str, leases: Callable[[], int], up: Callable[[], bool]
    ) -> None:
        self._figures = figures
        self._operations = operations
        self._token = token
        self._leases = leases
        self._up = up
        self._names: set[str] = set()
        self._naming = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        yield from self._counted()
        yield _gauge("lakequeue_leases", "Partitions, of 64, that this worker owns", self._leases())
        yield _gauge("lakequeue_warehouse_up", "0 while this worker waits for the warehouse", int(self._up()))
        standing: list[Metric] = []
        try:
            standing = list(self._standing())
        except LakequeueError as exc:
            log.warning("metrics: %s", exc.message)
        except Exception:  # a key that is not what it should be: the rest has to be told all the same
            log.exception("metrics: what stands in redis was not told")
        yield from standing
        yield _gauge("lakequeue_redis_up", "0 if Redis could not be asked at this scrape", int(bool(standing)))

    def _counted(self) -> Iterator[Metric]:
        counted = self._figures.counted()
        jobs = CounterMetricFamily("lakequeue_jobs", "Jobs by what became of them", labels=("table", "op", "state"))
        for labels, count in counted.jobs.items():
            jobs.add_metric(labels, count)
        yield jobs
        yield _counter("lakequeue_retries", "Jobs' tries that came to nothing", "error", counted.retries)
        yield _counter("lakequeue_dead_letters", "Jobs that failed for good", "error", counted.dead)
        yield _counter("lakequeue_statement_failures", "Statements without a result", "error", counted.failures)
        yield _counter("lakequeue_warehouse_statements", "Statements the warehouse ran", "table", counted.statements)
        yield _counter("lakequeue_warehouse_seconds", "Seconds it took for them", "table", counted.warehouse_s)
        yield _histogram("lakequeue_batch_jobs", "Jobs of a batch", None, {"": counted.batch_jobs})
        yield _histogram("lakequeue_batch_rows", "Rows of a batch", None, {"": counted.batch_rows})
        yield _histogram("lakequeue_statement_seconds", "Time of a statement", "kind", counted.statement_s)
        yield _histogram("lakequeue_queue_seconds", "Time from enqueueing to each try", "op", counted.queue_s)

    def _standing(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        found = self._operations.overview(limit=MOST_TOLD)
        workers = self._operations.workers()
        serving = [each.token for each in workers if each.told.get("metrics")]
        first = min([self._token, *serving]) == self._token
        told = [each for each in found.tables if each.owner_token == self._token or (each.owner is None and first)]
        tables = self._named(told, now)
        for name, about, count in (
            ("queued_jobs", "Jobs that have not begun", lambda t: t.queued),
            ("running_jobs", "Jobs whose statement is under way", lambda t: t.running),
            ("retrying_jobs", "Jobs that wait for another try", lambda t: t.retrying),
            ("dead_letters_kept", "Dead letters there are", lambda t: t.dead),
            ("paused_by_error", "Tables that a worker paused", lambda t: int(t.paused_by is not None)),
        ):
            yield _by_table(f"lakequeue_{name}", about, [(row.name, sum(map(count, row.states))) for row in tables])
        for name, about, value in (
            ("paused", "1 if paused", lambda t: int(t.paused_since is not None)),
            ("oldest_job_age_seconds", "Age of the oldest job that waits or runs", lambda t: _age_s(t.oldest_at, now)),
            ("last_commit_age_seconds", "Time since the last commit", lambda t: _age_s(t.last_commit_at, now)),
        ):
            yield _by_table(f"lakequeue_{name}", about, [(row.name, value(row.worst)) for row in tables])
        if first:
            yield _gauge("lakequeue_partitions_unowned", "Partitions, of 64, without a worker", found.unowned)
            yield _gauge("lakequeue_tables_left_out", "Tables, at least, that are in no other figure", found.more)
            yield _gauge("lakequeue_workers", "Workers that are alive", found.workers)
            yield _gauge("lakequeue_delayed_jobs", "Jobs that wait for their eta", found.delayed)
            yield _gauge("lakequeue_arriving_messages", "Messages of Celery apps not taken in yet", found.arriving)

    def _named(self, states: Sequence[TableState], now: datetime) -> list[_Row]:
        """The tables by their label. A name once given stays, whatever other tables come: a label more is a series more
        for as long as Prometheus keeps them. Names go first to tables with jobs."""
        rows: dict[str, list[TableState]] = {}
        with self._naming:
            for state in sorted(states, key=lambda each: (each.waiting == 0, each.oldest_at or now)):
                rows.setdefault(bounded(state.table, self._names, MOST_TABLES), []).append(state)
        return [_Row(name, some) for name, some in rows.items()]


@dataclass(frozen=True, slots=True)
class _Row:
    """The tables of one label: one, or all that are `other`."""

    name: str
    states: list[TableState]

    @property
    def worst(self) -> TableState:
        """The one whose job is the oldest, paused ones last: of several tables, that one's ages are told."""
        return min(self.states, key=lambda each: (each.paused_since is not None, *_oldest_first(each)))


def _oldest_first(state: TableState) -> tuple[bool, float]:
    return state.oldest_at is None, state.oldest_at.timestamp() if state.oldest_at else 0.0


def _by_table(name: str, about: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=("table",))
    for table, value in values:
        if value is not None:
            family.add_metric((table,), value)
    return family


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, label: str, counts: dict[str, Any]) -> Metric:
    family = CounterMetricFamily(name, about, labels=(label,))
    for key, count in counts.items():
        family.add_metric((key,), count)
    return family


def _histogram(name: str, about: str, label: str | None, found: dict[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=(label,) if label else ())
    for key, distribution in found.items():
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

    @property
    def serves(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        if not self._port:
            return
        registry = CollectorRegistry()
        registry.register(self._metrics)
        try:
            self._server, _ = start_http_server(self._port, self._address, registry)
        except OSError as exc:
            # Jobs matter more than figures of them.
            log.error("no metrics at %s port %d: %s", self._address, self._port, exc.strerror or type(exc).__name__)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
