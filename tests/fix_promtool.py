"""Prometheus' own checker, and what the expressions of a file ask for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_NAME = re.compile(r"\blakequeue_\w+")
_MATCHED = re.compile(r"\{([^}]*)\}")


class Promtool:
    """Runs `promtool`; the files are ours."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def run(self, *arguments: str) -> str:
        done = subprocess.run([self._program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def parses(self, expressions: list[str]) -> None:
        """Each as a recording rule, which is how promtool reads an expression that is in no file of rules."""
        rules = [{"record": f"asked:{i}", "expr": each} for i, each in enumerate(expressions)]
        file = self._folder / "asked.json"
        file.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))  # YAML takes JSON
        assert f"{len(rules)} rules found" in self.run("check", "rules", str(file))

    def alerts(self, file: Path) -> list[str]:
        """The expressions of a file of alerts, one of which may take several lines."""
        found = re.findall(r"expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", file.read_text())
        return [" ".join((folded or plain).split()) for folded, plain in found]

    def panels(self, file: Path) -> list[str]:
        """The expressions of a dashboard, its variables filled in as Grafana does."""
        panels = json.loads(file.read_text())["panels"]
        asked = [target["expr"] for panel in panels for target in panel["targets"]]
        return [each.replace("$__rate_interval", "5m").replace("$table", "a|b") for each in asked]


def asked_for(expression: str) -> tuple[set[str], set[str]]:
    """The names of metrics and of labels in an expression."""
    bare = _STRING.sub('""', expression)
    labels = {each.strip() for group in _GROUPED.findall(bare) for each in group.split(",") if each.strip()}
    for matched in _MATCHED.findall(bare):
        labels |= set(re.findall(r"(\w+)\s*[=!]", matched))
    return set(_NAME.findall(bare)), labels


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    program = shutil.which("promtool")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not here: it comes with Debian's package prometheus")
        pytest.skip("promtool is not here")
    return Promtool(program, tmp_path)
