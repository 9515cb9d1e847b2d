"""docs/loading.md is true: its commands run as they stand, and what it says of types is what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.csv_loading import read

PAGE = (Path(__file__).parents[2] / "docs" / "loading.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash run\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("commands", BLOCKS, ids=[block.splitlines()[1].split()[2] for block in BLOCKS])
def test_the_commands_of_the_page_run(commands: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "LAKEQUEUE_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("nothing was sent") == commands.count("--dry-run")


CASES = {
    "1 -20": "BIGINT", "2.5 3.25": "DOUBLE", "2.50 13.00": "DOUBLE", "1e-05": "DOUBLE", "1.0 2.0": "DOUBLE",
    "1.10 1.1": "STRING", "1 2.50": "STRING", "9007199254740993.5": "STRING", "12E4": "STRING", "1E5 100000": "STRING",
    "007": "STRING", "+5": "STRING", "1.234 2.500": "DOUBLE", "2,50": "STRING", "true FALSE": "BOOLEAN",
    "2024-12-31": "DATE", "2024-12-31T10:00:00": "TIMESTAMP_NTZ", "31.12.2024": "STRING",
}  # fmt: skip


@pytest.mark.parametrize(("values", "inferred"), CASES.items(), ids=CASES)
def test_the_table_of_types_is_true(values: str, inferred: str, tmp_path: Path) -> None:
    row = next(row for row in PAGE.splitlines() if row.startswith("|") and all(f"`{v}`" in row for v in values.split()))
    assert inferred in row.split("|")[2]
    path = tmp_path / "rows.csv"
    path.write_text("".join(f'"{value}",x\n' for value in ["c", *values.split()]))
    assert read(path).types["c"] == inferred


def test_every_option_of_the_page_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lakequeue", "load", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert named - set(re.findall(r"--[a-z][a-z-]+", done.stdout)) == set()
