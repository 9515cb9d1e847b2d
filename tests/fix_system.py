"""One whole system for the session: Redis, local warehouse and worker. Its tests keep to tables of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_redis import NO_FSYNC
from tests.fix_worker import Worker, worker_environ
from worker.embedded import EmbeddedRedis, embedded_redis


@dataclass(frozen=True)
class System:
    redis: EmbeddedRedis
    warehouse: LocalWarehouse
    worker: Worker
    queue: Queue
    environ: dict[str, str]


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("system")
    with embedded_redis(folder / "redis", *NO_FSYNC) as server:
        warehouse = LocalWarehouse(folder / "warehouse")
        environ = worker_environ(server.url, warehouse, LAKEQUEUE_LEASE_TTL_S="30")
        worker = Worker(environ, folder / "worker.log", "shared")
        try:
            worker.wait_ready()
            with Queue(server.url) as queue:
                yield System(server, warehouse, worker, queue, environ)
            assert worker.stop() == 0
        finally:
            if worker.process.poll() is None:
                worker.kill()
            warehouse.stop()


@pytest.fixture
def table() -> str:
    """The name of a table no other test uses."""
    return f"shop.sales.t_{uuid4().hex[:12]}"
