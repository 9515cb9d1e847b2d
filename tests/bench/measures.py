"""The measurements. Each adds one round's values to a report; peers and we take turns within a round."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from tests.bench import plain
from tests.bench.figures import Report
from tests.bench.stand import Stand, drain, job, owned, plain_drain, queued, row, until
from tests.fix_worker import Worker

NOOP_PEERS = {"solo": 1, "threads": 2, "prefork": 2}
"""Pools of plain workers and their sizes, of which the best counts."""

INSERT_PEERS = {"solo": 1, "threads": 8}
BATCH_SIZES = (100, 500, 1000, 2000, 4000)
"""Rows of one INSERT … VALUES of the loop that competes with 500-row jobs."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    rounds: int
    jobs: int
    noop_jobs: int
    single_inserts: int
    enqueued: int
    sent: int
    bulk_jobs: int
    """Of 500 rows each."""

    loop_rows: int
    executemany_rows: int
    delays: int
    idle_s: float
    workers: tuple[int, ...]
    backlogs: tuple[int, ...]
    drained: int
    """Jobs taken from each backlog."""


QUICK = Scale(
    rounds=3,
    jobs=20_000,
    noop_jobs=800,
    single_inserts=200,
    enqueued=10_000,
    sent=1_500,
    bulk_jobs=100,
    loop_rows=4_000,
    executemany_rows=6,
    delays=80,
    idle_s=60,
    workers=(1,),
    backlogs=(10_000, 1_000_000),
    drained=10_000,
)
FULL = Scale(
    rounds=7,
    jobs=50_000,
    noop_jobs=5_000,
    single_inserts=400,
    enqueued=50_000,
    sent=5_000,
    bulk_jobs=400,
    loop_rows=40_000,
    executemany_rows=60,
    delays=1_000,
    idle_s=60,
    workers=(1, 2, 4),
    backlogs=(10_000, 100_000, 1_000_000),
    drained=1_000_000,
)


def jobs_against_noop(report: Report, stand: Stand, scale: Scale) -> None:
    """One-row inserts at 0 ms, into one table and into 50, and a plain worker's no-op in its three pools."""
    for tables in (1, 50):
        label = f"one-row jobs, {tables} table{'s' if tables > 1 else ''}, 0 ms"
        report.add(f"jobs_{tables}_tables", drain(stand, stand.tables(tables), scale.jobs), label, "jobs/s")
    jobs = [{"table": "t", "data": [row(i)]} for i in range(scale.noop_jobs)]
    for pool, size in NOOP_PEERS.items():
        rate = plain_drain(stand, pool, size, "nothing", jobs)
        report.add(f"noop_{pool}", rate, f"plain Celery, no-op, {pool} {size}", "jobs/s")


def jobs_against_single(report: Report, stand: Stand, scale: Scale) -> None:
    """One-row inserts at 250 ms into 50 tables, where no commit of a plain worker waits for another."""
    tables = stand.tables(50)
    wanted = {"jobs_250ms": tables}
    if "jobs_250ms_1_table" not in report.figures:
        wanted["jobs_250ms_1_table"] = tables[:1]  # once: it is not promised
    for name, into in wanted.items():
        label = f"one-row jobs, {len(into)} table{'s' if len(into) > 1 else ''}, 250 ms"
        report.add(name, drain(stand, into, scale.jobs), label, "jobs/s")
    for pool, size in INSERT_PEERS.items():
        sent = scale.single_inserts if size > 1 else scale.single_inserts // 16
        first = stand.new_ids(sent)
        jobs = [{"table": tables[i % 50], "data": [row(first + i)]} for i in range(sent)]
        rate = plain_drain(stand, pool, size, "one_insert", jobs)
        stand.verify(tables, first, sent)
        report.add(f"single_{pool}", rate, f"plain Celery, one INSERT a job, {pool} {size}, 250 ms", "jobs/s")


def enqueueing(report: Report, stand: Stand, scale: Scale) -> None:
    (table,) = stand.tables(1)
    stand.client.flushall()
    prepared = [job(i, table) for i in range(scale.enqueued)]
    stand.queue.enqueue(job(0, table))
    began = time.perf_counter()
    deque(stand.queue.enqueue_many(prepared), maxlen=0)
    rate = scale.enqueued / (time.perf_counter() - began)
    report.add("enqueue_many", rate, "enqueue_many, one-row jobs", "jobs/s")
    app = plain.application(stand.redis.url)
    app.send_task("nothing", kwargs=job(0, table))
    began = time.perf_counter()
    for each in prepared[: scale.sent]:
        app.send_task("nothing", kwargs=each, argsrepr="()", kwargsrepr="{}")
    report.add("send_task", scale.sent / (time.perf_counter() - began), "send_task, one after the other", "jobs/s")
    app.close()
    began = time.perf_counter()
    for each in prepared[: scale.sent]:
        stand.queue.enqueue(each)
    report.add("enqueue", scale.sent / (time.perf_counter() - began), "enqueue, one after the other", "jobs/s")


def rows_at_once(report: Report, stand: Stand, scale: Scale) -> None:
    """500-row jobs at 0 ms, and a loop of multi-row INSERTs in five sizes, literals in one text."""
    rate = 500 * drain(stand, stand.tables(1), scale.bulk_jobs, rows=500)
    report.add("rows", rate, "500-row jobs, 0 ms", "rows/s")
    for size in BATCH_SIZES:
        rate = multirow(stand, size, scale.loop_rows)
        report.add(f"multirow_{size}", rate, f"loop of INSERTs of {size} rows, 0 ms", "rows/s")


def rows_at_250ms(report: Report, stand: Stand, scale: Scale) -> None:
    rate = 500 * drain(stand, stand.tables(1), scale.bulk_jobs, rows=500)
    report.add("rows_250ms", rate, "500-row jobs, 250 ms", "rows/s")
    (table,) = stand.tables(1)
    first = stand.new_ids(scale.executemany_rows)
    rows = [row(first + i) for i in range(scale.executemany_rows)]
    with stand.warehouse.connect() as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.executemany(f"INSERT INTO {table} (id, name, amount) VALUES (:id, :name, :amount)", rows)
        rate = len(rows) / (time.perf_counter() - began)
    stand.verify([table], first, len(rows))
    report.add("executemany", rate, "the connector's executemany, 250 ms", "rows/s")


def multirow(stand: Stand, size: int, rows: int) -> float:
    """Rows per second of INSERT … VALUES with `size` rows; values as literals, since parameters are at most 255."""
    (table,) = stand.tables(1)
    first = stand.new_ids(rows)
    with stand.warehouse.connect() as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        for at in range(first, first + rows, size):
            values = ", ".join(
                f"({each['id']}, '{each['name']}', '{each['amount']}', current_timestamp(), 'me')"
                for each in map(row, range(at, min(first + rows, at + size)))
            )
            cursor.execute(f"INSERT INTO {table} (id, name, amount, created_at, created_by) VALUES {values}")
        rate = rows / (time.perf_counter() - began)
    stand.verify([table], first, rows)
    return rate


def statements(report: Report, stand: Stand) -> None:
    """Every statement the server executed for 10,000 preloaded one-row jobs, descriptions included."""
    tables = stand.tables(1)
    before = stand.warehouse.counts().total()
    drain(stand, tables, 10_000)
    used = stand.warehouse.counts().total() - before - 1  # the one that verified
    report.add("statements_per_10000_jobs", used, "statements of 10,000 one-row jobs", "statements")


def idle(stand: Stand, seconds: float, report: Report) -> None:
    """What a worker that has worked sends while nothing is queued."""
    (table,) = stand.tables(1)
    stand.client.flushall()
    with stand.worker():
        stand.queue.enqueue(job(0, table)).result(timeout=60)
        before = stand.warehouse.counts().total()
        time.sleep(seconds)
        used = stand.warehouse.counts().total() - before
    report.add("idle_statements", used, f"statements in {seconds:.0f} s without jobs", "statements")


def delay(report: Report, stand: Stand, scale: Scale) -> None:
    """From the call of `enqueue` to the return of `.result()`, one job at a time, less the bare statement's time."""
    (table,) = stand.tables(1)
    stand.client.flushall()
    bare, whole = [], []
    with stand.warehouse.connect() as connection, connection.cursor() as cursor, stand.worker():
        numbers = count(stand.new_ids(2 * scale.delays + 1))
        text = f"INSERT INTO {table} (id, name, amount, created_at, created_by) VALUES "
        stand.queue.enqueue(job(next(numbers), table)).result(timeout=60)
        for _ in range(scale.delays):
            i = next(numbers)
            began = time.perf_counter()
            cursor.execute(f"{text} ({i}, 'name {i}', '9.90', current_timestamp(), 'me')")
            bare.append((time.perf_counter() - began) * 1000)
            i = next(numbers)
            began = time.perf_counter()
            stand.queue.enqueue(job(i, table)).result(timeout=60)
            whole.append((time.perf_counter() - began) * 1000)
    bare.sort()
    whole.sort()
    typical = bare[len(bare) // 2]
    report.add("bare_statement_ms_p50", typical, "a bare INSERT of one row, p50", "ms")
    for percent in (50, 95, 99):
        at = whole[min(len(whole) - 1, len(whole) * percent // 100)]
        report.add(f"idle_added_ms_p{percent}", at - typical, f"a job on an idle system over that, p{percent}", "ms")


def memory(report: Report, stand: Stand, backlog: int, drained: int) -> None:
    """Peak RSS of a producer that enqueues the backlog and of a worker that takes jobs off it."""
    (table,) = stand.tables(1)
    stand.client.flushall()
    command = [
        sys.executable,
        "-m",
        "tests.bench.producer",
        stand.redis.url,
        table,
        str(stand.new_ids(backlog)),
        str(backlog),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report.add(f"producer_mb_{backlog}", int(done.stdout) / 1024, f"peak memory of a producer, {backlog:,} jobs", "MiB")
    left = max(0, backlog - drained)
    with stand.worker(ready=False) as worker:
        began = until(lambda: owned(stand), every_s=0.001)
        ended = until(lambda: queued(stand, [table]) <= left)
        taken = backlog - queued(stand, [table])
        peak = peak_kb(worker)
        if left:
            worker.kill()
    report.add(f"worker_mb_{backlog}", peak / 1024, f"peak memory of a worker, {backlog:,} jobs queued", "MiB")
    report.add(f"jobs_backlog_{backlog}", taken / (ended - began), f"one-row jobs, {backlog:,} queued", "jobs/s")
    stand.client.flushall()


def scaling(report: Report, stand: Stand, workers: int, jobs: int) -> None:
    """Several workers on 50 tables. On two cores the machine is the limit."""
    rate = drain(stand, stand.tables(50), jobs, workers=workers)
    report.add(f"jobs_{workers}_workers", rate, f"one-row jobs, 50 tables, {workers} workers, 0 ms", "jobs/s")


def traffic(report: Report, stand: Stand, jobs: int) -> None:
    """Redis commands and bytes of a job, enqueueing and all, by the server's own counts."""
    tables = stand.tables(1)
    stand.client.flushall()
    before = _traffic(stand)
    drain(stand, tables, jobs, every_s=0.5)
    after = _traffic(stand)
    for name, unit in (("commands", "commands"), ("in", "bytes"), ("out", "bytes")):
        report.add(f"redis_{name}_per_job", (after[name] - before[name]) / jobs, f"Redis {name} a job", unit)


def _traffic(stand: Stand) -> Mapping[str, int]:
    told = stand.client.info("stats")
    return {
        "commands": told["total_commands_processed"],
        "in": told["total_net_input_bytes"],
        "out": told["total_net_output_bytes"],
    }


def peak_kb(worker: Worker) -> int:
    """The peak of its resident memory (VmHWM)."""
    with open(f"/proc/{worker.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
