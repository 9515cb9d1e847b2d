"""The torture, short: one seed, a few of every fault. `make torture` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPTIONS = (
    "--seed",
    "5",
    "--jobs",
    "600",
    "--kills",
    "6",
    "--stops",
    "1",
    "--bursts",
    "8",
    "--redis-restarts",
    "1",
    "--canvas",
    "0.3",
)


@pytest.mark.timeout(400)
def test_under_kills_lost_replies_and_restarts_nothing_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.torture", *OPTIONS, "--drop", "0.05", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=380)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert "1 of 1 seeds hold" in done.stdout
