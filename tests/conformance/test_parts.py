"""Without Java or Delta Lake nothing starts, and nothing is skipped: it says what is missing and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, java_home: Path | None = None) -> tuple[int, str]:
    """The exit code of `python -m` with these arguments, and what it says of its failure."""
    environ = {**os.environ, **({"JAVA_HOME": str(java_home)} if java_home is not None else {})}
    done = subprocess.run([sys.executable, "-m", *arguments], env=environ, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def old_java(tmp_path: Path) -> Path:
    """A JAVA_HOME of version 11."""
    program = tmp_path / "old" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return program.parent.parent


@pytest.mark.parametrize("module", ["localwarehouse.spark", "localwarehouse"])
def test_without_java_nothing_starts(module: str, tmp_path: Path, old_java: Path) -> None:
    there = str(tmp_path / "there")
    arguments = [there] if module.endswith("spark") else ["--engine", "spark", "--data", there]
    code, told = run(module, *arguments, java_home=tmp_path / "nowhere")
    assert (code, told) == (
        1,
        "java is not there. Spark needs a JDK, 17 or newer: install one, or set JAVA_HOME to it\n",
    )
    code, told = run(module, *arguments, java_home=old_java)
    assert code == 1
    assert "is version 11. Spark needs a JDK, 17 or newer: install one, or set JAVA_HOME to it" in told


def test_without_delta_lake_the_engine_does_not_start(tmp_path: Path) -> None:
    code, told = run("localwarehouse", "--engine", "spark", "--data", str(tmp_path / "d"), "--jars", str(tmp_path))
    assert code == 1
    assert f"{tmp_path} has no Delta Lake: run `make conformance`" in told
