"""A whole system for Flower's pages: Redis, local warehouse, one worker and Flower, and real jobs in every state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lakequeue import Handle, JobFailed, Queue
from lakequeue.outcomes import FINAL

from tests.fix_flower import Flower
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import Worker, worker_environ
from tests.support import CONFLICT, make_tables, sql, until, until_it_waits
from worker.embedded import EmbeddedRedis, embedded_redis

SECRET = "planted8c1f"
"""In every value of every row."""

ORDERS, PRICES, STOCK = "shop.sales.orders", "shop.sales.prices", "shop.sales.stock"
NONE: Mapping[str, str] = MappingProxyType({})
COLUMNS = "id BIGINT, note STRING, created_at TIMESTAMP, updated_at TIMESTAMP, _job_id STRING"


@dataclass
class Stage:
    redis: EmbeddedRedis
    warehouse: LocalWarehouse
    environ: dict[str, str]
    flower: Flower
    queue: Queue
    folder: Path
    workers: list[Worker] = field(default_factory=list)

    def start_workers(self, *names: str, host: str = "test") -> list[Worker]:
        started = [Worker(self.environ, self.folder / f"{name}.log", name, host=host) for name in names]
        self.workers += started
        for worker in started:
            worker.wait_ready()
        return started

    def end(self) -> None:
        """Kill what works; a statement that is held holds up no end."""
        for each in self.workers:
            if each.process.poll() is None:
                each.kill()
        self.warehouse.clear_faults()

    def refuse(self, table: str, *, times: int | None = 1, **error: str) -> None:
        """The warehouse answers the next writes to a table with an error."""
        rule = {"on": "ExecuteStatement", "match": f"INSERT.*{table.rpartition('.')[2]}", **error}
        self.warehouse.fault(rule if times is None else {**rule, "times": times})

    def hold(self, table: str) -> None:
        """Keep the next write to a table under way."""
        rule = {"on": "ExecuteStatement", "match": f"INSERT.*{table.rpartition('.')[2]}", "times": 1, "action": "hold"}
        self.warehouse.fault(rule)

    def seen(self, states: dict[str, str]) -> None:
        """Until Flower shows these jobs in these states."""

        def differ() -> dict[str, str | None]:
            found = self.flower.states()
            return {job_id: found.get(job_id) for job_id, state in states.items() if found.get(job_id) != state}

        deadline = time.monotonic() + 30
        while wrong := differ():
            assert time.monotonic() < deadline, f"Flower shows {wrong} in place of {states}"
            time.sleep(0.05)


@contextmanager
def stage(
    folder: Path,
    *,
    purge_s: int = 60,
    workers: tuple[str, ...] = ("w1",),
    host: str = "test",
    commit_ms: int = 0,
    settings: Mapping[str, str] = NONE,
) -> Iterator[Stage]:
    with ExitStack() as ends:
        server = ends.enter_context(embedded_redis(folder / "redis"))
        options = ("--faults", "--commit-ms", str(commit_ms))
        warehouse = LocalWarehouse(folder / "warehouse", options=options, engine="duckdb")
        ends.callback(warehouse.stop)
        environ = worker_environ(server.url, warehouse, **settings)
        flower = Flower({**environ, "FLOWER_PURGE_OFFLINE_WORKERS": str(purge_s)}, folder / "flower")
        ends.callback(flower.stop)
        queue = ends.enter_context(Queue(server.url))
        made = Stage(server, warehouse, environ, flower, queue, folder)
        ends.callback(made.end)
        made.start_workers(*workers, host=host)
        yield made


JOBS = {
    "done:1": "SUCCESS",
    "read.1": "SUCCESS",
    "update-1": "SUCCESS",
    "retried-1": "SUCCESS",
    "refused_1": "FAILURE",
    "denied:1": "FAILURE",
    "denied:1.replay1": "SUCCESS",
    "retrying-1": "RETRY",
    "cancelled-1": "REVOKED",
    "started-1": "STARTED",
}
"""The jobs of `play`, all of which Flower lists. `queued-1` waits behind `started-1`, and is not listed yet."""


def play(on: Stage) -> None:
    """Run real jobs into every state, with secrets in all their values."""
    queue, warehouse = on.queue, on.warehouse
    rows = [{"id": i, "note": SECRET} for i in range(12)]
    make_tables(warehouse, ORDERS, PRICES, STOCK, columns=COLUMNS)
    sql(warehouse, f"ALTER TABLE {ORDERS} ADD CONSTRAINT small CHECK (id < 1000)")
    ended(queue.write(ORDERS, rows, id="done:1"))
    secret = {"column": "note", "op": "=", "value": SECRET}
    ended(queue.read(ORDERS, filters=[secret], limit=2, id="read.1"))
    ended(queue.update(ORDERS, key={"note": SECRET}, updates={"note": f"{SECRET}-new"}, id="update-1"))
    ended(queue.write(ORDERS, [{"id": 5000, "note": SECRET}], id="refused_1"))

    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT", "times": 1, "action": "forget_session"})
    ended(queue.write(PRICES, [{"id": 3, "note": SECRET}], id="retried-1"))
    on.refuse(
        PRICES,
        action="error",
        error_class="INSUFFICIENT_PERMISSIONS",
        sqlstate="42501",
        message=f"no permission to write {SECRET}",
    )
    ended(queue.write(PRICES, [{"id": 4, "note": SECRET}], id="denied:1"))
    replay = queue.dead_letters.replay("denied:1")
    ended(replay)

    on.refuse(STOCK, times=None, **CONFLICT)
    waiting = queue.write(STOCK, [{"id": 5, "note": SECRET}], id="retrying-1")
    until_it_waits(waiting, 300)
    on.refuse(ORDERS, times=None, **CONFLICT)
    cancelled = queue.write(ORDERS, [{"id": 6, "note": SECRET}], id="cancelled-1")
    until_it_waits(cancelled, 300)
    on.seen({"cancelled-1": "RETRY"})
    queue.operations.cancel("cancelled-1")

    warehouse.clear_faults()
    on.hold(PRICES)
    queue.write(PRICES, [{"id": 7, "note": SECRET}], id="started-1")
    until(lambda: warehouse.held() == 1, "a statement is under way")
    queue.write(PRICES, [{"id": 8, "note": SECRET}], id="queued-1")


def ended(handle: Handle) -> None:
    try:
        handle.result(timeout=30)
    except JobFailed:
        assert handle.status().state in FINAL
