"""`make bench`: speed and cost beside plain Celery and the connector's own ways, all in one run on one machine.

`FULL=1` for the long run; `BENCH_JSON=path` writes the medians, by key, as JSON. Exits with 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import measures
from tests.bench.figures import Report
from tests.bench.stand import Stand

HEADING = """Set-up: one Redis or Valkey (append-only file, fsync every second) and one local warehouse a stand, on this
machine; every worker with results and events on. Ours: one process, its defaults (shorter pauses after failures, of
which there are none). Plain Celery: prefetch 64, early acknowledgement, no gossip, no mingling, the best of its pools
counts; its jobs carry the same arguments, their repr given. The loop of INSERTs: literals in one text, the best of five
sizes. Rows are counted after every drain, but for those of the memory's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path, default=os.environ.get("BENCH_JSON") or None)
    parser.add_argument("--only", help="names of measurements, separated by commas")
    given = parser.parse_args()
    scale = measures.FULL if given.full else measures.QUICK
    report = Report()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run(report, scale, Path(name), set(given.only.split(",")) if given.only else None)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {time.monotonic() - began:.0f} s\n{HEADING}\n")
    print("\n".join(report.lines()), end="\n\n")
    print("\n".join(report.verdicts()))
    if given.json is not None:
        report.write(given.json)


def run(report: Report, scale: measures.Scale, folder: Path, only: set[str] | None) -> None:
    fast, slow = Stand(folder / "fast"), Stand(folder / "slow", commit_ms=250)
    resting = Stand(folder / "resting")
    stands = (fast, slow, resting)

    def step(name: str, measure: Callable[[], None]) -> None:
        if only is None or name in only:
            began = time.monotonic()
            measure()
            print(f"# {name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    # An idle worker takes no time of the others'.
    rest = threading.Thread(target=lambda: step("idle", lambda: measures.idle(resting, scale.idle_s, report)))
    try:
        rest.start()
        for _ in range(scale.rounds):
            step("noop", lambda: measures.jobs_against_noop(report, fast, scale))
            step("single", lambda: measures.jobs_against_single(report, slow, scale))
            step("enqueue", lambda: measures.enqueueing(report, fast, scale))
            step("rows", lambda: measures.rows_at_once(report, fast, scale))
            step("rows250", lambda: measures.rows_at_250ms(report, slow, scale))
            step("delay", lambda: measures.delay(report, fast, scale))
        step("statements", lambda: measures.statements(report, fast))
        step("traffic", lambda: measures.traffic(report, fast, scale.jobs))
        for workers in scale.workers:
            if workers > 1:
                step("workers", lambda workers=workers: measures.scaling(report, fast, workers, scale.jobs))  # type: ignore[misc]
        for backlog in scale.backlogs:
            step("memory", lambda backlog=backlog: measures.memory(report, fast, backlog, scale.drained))  # type: ignore[misc]
        rest.join()
    finally:
        for stand in stands:
            stand.close()
    ratios(report, scale)


def ratios(report: Report, scale: measures.Scale) -> None:
    noop = [f"noop_{pool}" for pool in measures.NOOP_PEERS]
    single = [f"single_{pool}" for pool in measures.INSERT_PEERS]
    multirow = [f"multirow_{size}" for size in measures.BATCH_SIZES]
    for key, ours, peers, label in (
        ("jobs_ratio_to_celery_noop", "jobs_1_tables", noop, "one table against the best no-op"),
        ("jobs_50_tables_ratio_to_celery_noop", "jobs_50_tables", noop, "50 tables against the best no-op"),
        ("jobs_ratio_to_one_statement_per_job", "jobs_250ms", single, "50 tables, 250 ms, against one INSERT a job"),
        ("jobs_1_table_ratio_to_one_statement_per_job", "jobs_250ms_1_table", single, "one table, 250 ms, likewise"),
        ("enqueue_ratio_to_send_task", "enqueue_many", ["send_task"], "enqueue_many against send_task"),
        ("single_enqueue_ratio_to_send_task", "enqueue", ["send_task"], "enqueue against send_task"),
        ("rows_ratio_to_executemany", "rows_250ms", ["executemany"], "250 ms, against executemany"),
        ("rows_ratio_to_multirow_insert", "rows", multirow, "0 ms, against the best loop of INSERTs"),
    ):
        report.ratio(key, ours, peers, label)
    least, most = (f"worker_mb_{backlog}" for backlog in (min(scale.backlogs), max(scale.backlogs)))
    report.ratio("worker_memory_ratio_1m_to_10k", most, [least], "peak memory of a worker, 1,000,000 by 10,000")


if __name__ == "__main__":
    main()
