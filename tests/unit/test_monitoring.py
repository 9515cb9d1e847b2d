"""The files for Prometheus and Grafana: promtool takes them, and each alert fires when it should and only then."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fix_promtool import Promtool, asked_for

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
RUNBOOK = MONITORING.parent / "runbook.md"


@pytest.fixture
def dashboard() -> Any:
    return json.loads((MONITORING / "dashboard.json").read_text())


def test_promtool_takes_the_rules(promtool: Promtool) -> None:
    assert "9 rules found" in promtool.run("check", "rules", str(MONITORING / "alerts.yaml"))


def test_each_alert_fires_when_it_should_and_only_then(promtool: Promtool) -> None:
    """What is raised when, and with which words, is in the file."""
    promtool.run("test", "rules", str(MONITORING / "alerts_test.yaml"))
    rules, shown = ((MONITORING / name).read_text() for name in ("alerts.yaml", "alerts_test.yaml"))
    for alert in re.findall(r"alert: (\w+)", rules):
        assert re.search(rf"eval_time: \w+, alertname: {alert}\}}", shown), f"{alert} is never shown silent"
        assert re.search(rf"alertname: {alert}\n +exp_alerts: *(\[\{{|\n +- )", shown), f"{alert} is never shown firing"


def test_each_alert_leads_to_a_chapter_of_the_runbook() -> None:
    chapters = [line.removeprefix("## ").lower() for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")]
    led = re.findall(r'runbook: "docs/runbook.md: (.+)"', (MONITORING / "alerts.yaml").read_text())
    assert len(led) == 9
    for each in led:
        assert any(chapter.startswith(each.lower().replace("restart redis", "restart y")) for chapter in chapters), each


def test_every_expression_of_the_dashboard_parses(promtool: Promtool) -> None:
    promtool.parses(promtool.panels(MONITORING / "dashboard.json"))


def test_every_panel_has_a_source_to_choose_a_legend_and_a_unit(dashboard: Any) -> None:
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert asked_for(variables["table"]["definition"])[0] == {"lakequeue_queued_jobs"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 10
    for panel in dashboard["panels"]:
        for asking in (panel, *panel["targets"]):
            assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_no_two_panels_lie_on_each_other(dashboard: Any) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
