"""Which engine runs the statements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_without_its_parts_the_spark_engine_says_how_to_get_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localwarehouse", "--engine", "spark", "--data", str(tmp_path / "data")]
    done = subprocess.run([*command, "--jars", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    # According to what the machine has: no Spark, no Java, or no Delta Lake.
    assert "run `make conformance`" in done.stderr or "install one" in done.stderr
    assert "Traceback" not in done.stderr
