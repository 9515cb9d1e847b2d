"""The benchmark runs: its steps one by one, on their own Redis and warehouse, rows verified."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import measures
from tests.bench.figures import Report
from tests.bench.stand import Stand, drain

pytestmark = pytest.mark.timeout(400)
"""Many processes are started one after the other, beside other tests."""


def test_a_run_prints_what_it_measured_and_writes_it_as_json(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--only", "statements,enqueue,traffic", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(file.read_text())
    assert told["statements_per_10000_jobs"] == 3  # each holds 900 kB; the table is described in one more
    assert told["enqueue_many"] > 0
    assert len(told["rounds"]["enqueue_many"]) == 3
    assert "statements_per_10000_jobs" in done.stdout


def test_plain_workers_do_what_they_are_compared_for(tmp_path: Path) -> None:
    scale = measures.Scale(
        rounds=1,
        jobs=300,
        noop_jobs=30,
        single_inserts=20,
        enqueued=100,
        sent=10,
        bulk_jobs=2,
        loop_rows=200,
        executemany_rows=2,
        delays=3,
        idle_s=0.2,
        workers=(1, 2),
        backlogs=(200, 400),
        drained=200,
    )
    report, stand = Report(), Stand(tmp_path / "stand", commit_ms=1)
    try:
        measures.jobs_against_noop(report, stand, scale)
        measures.jobs_against_single(report, stand, scale)
        measures.rows_at_once(report, stand, scale)
        measures.rows_at_250ms(report, stand, scale)
        measures.delay(report, stand, scale)
        measures.idle(stand, scale.idle_s, report)
        measures.scaling(report, stand, 2, scale.jobs)
        measures.memory(report, stand, 400, 200)
    finally:
        stand.close()
    assert report.figures["idle_statements"].values == [0]
    assert min(min(figure.values) for key, figure in report.figures.items() if key.endswith("tables")) > 0


def test_rows_that_are_missing_or_there_twice_end_the_run(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "stand")
    try:
        drain(stand, stand.tables(1), 10)
        with pytest.raises(SystemExit, match="11 rows were sent, 10 are there"):
            stand.verify(stand.tables(1), 0, 11)
    finally:
        stand.close()
