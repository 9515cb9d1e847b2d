"""`make demo` does the main job, says what it did, and leaves nothing behind."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "worker", "demo"]


def left_over(marker: str) -> list[str]:
    """Processes whose environment carries the marker, the demo's own children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.alone
def test_the_demo_loads_a_real_file_and_finds_it_in_the_table() -> None:
    marker = f"LAKEQUEUE_DEMO_TEST={time.time_ns()}"
    name, _, value = marker.partition("=")
    done = subprocess.run(
        COMMAND, cwd=PROJECT, env={**os.environ, name: value}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "table equals file   yes: 3,322 rows" in done.stdout
    counted = re.search(r"^statements +(\d+) in all, at 300 ms a commit", done.stdout, re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) <= 10
    assert left_over(marker) == []


def test_a_demo_that_is_kept_says_how_to_ask_it_and_is_not_overwritten(tmp_path: Path) -> None:
    marker = f"LAKEQUEUE_DEMO_TEST={time.time_ns()}"
    name, _, value = marker.partition("=")
    planes = tmp_path / "planes.csv"
    with open(PROJECT / "examples" / "planes.csv", encoding="utf-8") as source:
        planes.write_text("".join(itertools.islice(source, 20)), encoding="utf-8")
    command = [*COMMAND, "--keep", "--file", str(planes)]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), name: value}

    def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=tmp_path, env={**given, **environ}, capture_output=True, text=True, timeout=100, check=False
        )

    pids: list[int] = []
    try:
        done = run(*command)
        told = re.search(r"^  export (.+)\nTo stop it: kill ([\d ]+)$", done.stdout, re.MULTILINE)
        assert told, done.stdout + done.stderr
        pids = [int(pid) for pid in told[2].split()]
        environ = dict(word.split("=", 1) for word in told[1].split())
        assert json.loads(run(sys.executable, "-m", "lakequeue", "tables", **environ).stdout)["owner"]
        again = run(*command)
        assert (again.returncode, again.stdout) == (2, "")
        assert f"kill {told[2]}" in again.stderr
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while left := left_over(marker):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_an_interrupted_demo_stops_all_it_started() -> None:
    marker = f"LAKEQUEUE_DEMO_TEST={time.time_ns()}"
    name, _, value = marker.partition("=")
    process = subprocess.Popen(
        COMMAND,
        cwd=PROJECT,
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 30
    while len(left_over(marker)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "everything it started is being stopped" in process.stdout.read()
    process.stdout.close()
    assert left_over(marker) == []
