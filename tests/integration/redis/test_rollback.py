"""Redis comes back without its last writes, as after a failover to a replica that lagged."""

from __future__ import annotations

from pathlib import Path

import redis
from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import StartWorker
from tests.integration.redis.callers import HOLD
from tests.integration.redis.mishaps import Memory
from tests.support import QUICK, TABLE, ids, job, until
from worker.embedded import EmbeddedRedis


def test_an_upsert_that_is_found_is_not_undone_by_a_delete_that_runs_again_before_it(
    server: EmbeddedRedis,
    admin: redis.Redis,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
    tmp_path: Path,
) -> None:
    first = start_worker(**QUICK)
    queue.enqueue(job(1)).result(timeout=30)
    first.stop()
    delete = queue.delete(TABLE, key={"id": 1}, soft=False)
    upsert = queue.write(TABLE, [{"id": 1}], mode="upsert", key_columns="id")
    before = Memory(server, admin, tmp_path)
    second = start_worker(**QUICK)
    assert upsert.result(timeout=30).receipt.batch == delete.result(timeout=30).receipt.batch
    second.stop()
    before.put_back()
    start_worker(**QUICK)
    assert (delete.result(timeout=30).count, upsert.result(timeout=30).count) == (1, 1)
    assert ids(warehouse) == [1]


def test_a_frozen_batch_that_comes_back_is_looked_up_before_it_is_repeated(
    server: EmbeddedRedis,
    admin: redis.Redis,
    queue: Queue,
    start_worker: StartWorker,
    warehouse: LocalWarehouse,
    tmp_path: Path,
) -> None:
    """It expired, was frozen anew under another stamp and committed: of that Redis knows nothing any more."""
    first = start_worker(**QUICK)
    queue.enqueue(job(0)).result(timeout=30)
    warehouse.fault(HOLD)
    handle = queue.enqueue(job(1))
    until(lambda: warehouse.held() == 1, "its first statement waits")
    before = Memory(server, admin, tmp_path)
    with warehouse.connect() as connection, connection.cursor() as cursor:

        def seconds() -> float:
            cursor.execute("SELECT current_timestamp() AS now")
            return float(cursor.fetchall()[0][0].timestamp())

        late = seconds() + 1.1
        until(lambda: seconds() > late, "it may not start any more")
    warehouse.release()
    assert handle.result(timeout=30).receipt.attempts == 2
    assert ids(warehouse) == [0, 1]
    first.stop()
    before.put_back()
    start_worker(**QUICK)
    assert handle.result(timeout=40).count == 1
    assert ids(warehouse) == [0, 1]
