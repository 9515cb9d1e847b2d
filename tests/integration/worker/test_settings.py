"""A variable that cannot be used ends the worker, and Flower, with one line that names it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["worker", "flower"])
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LAKEQUEUE_PAUSE_AFTER_S", "soon", "expected a number, not 'soon'"),
        ("LAKEQUEUE_THREADS", "2.5", "expected a whole number, not '2.5'"),
        ("LAKEQUEUE_LEASE_TTL_S", "nan", "expected a number above 0"),
        ("LAKEQUEUE_REDIS_URL", "http://:hush@x", "its scheme is unknown"),
    ],
)
def test_a_variable_that_cannot_be_used_ends_it_with_one_line(command: str, name: str, value: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", command],
        env={**os.environ, "FLOWER_BASIC_AUTH": "ann:a-password", name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"lakequeue: {name}: ")
    assert told in done.stderr
    assert "hush" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
