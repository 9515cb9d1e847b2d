"""The table of a run: medians, ratios to the best peer, and which promises are kept."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.figures import Report


def _report() -> Report:
    report = Report()
    for ours, weak, strong in ((120.0, 4.0, 10.0), (80.0, 30.0, 8.0), (100.0, 3.0, 10.0)):
        report.add("ours", ours, "ours", "jobs/s")
        report.add("weak", weak, "a peer", "jobs/s")
        report.add("strong", strong, "another peer", "jobs/s")
    return report


def test_a_ratio_is_taken_to_the_best_peer_of_each_round() -> None:
    report = _report()
    report.ratio("jobs_ratio_to_celery_noop", "ours", ["weak", "strong", "not measured"], "ratio")
    assert report.figures["jobs_ratio_to_celery_noop"].values == [12.0, 80 / 30, 10.0]
    assert report.verdicts()[0].split() == ["jobs_ratio_to_celery_noop", "10", "at", "least", "10", "kept"]


def test_what_falls_short_is_said() -> None:
    report = _report()
    report.ratio("jobs_ratio_to_one_statement_per_job", "ours", ["strong"], "ratio")
    report.add("idle_statements", 1, "statements", "statements")
    assert [line.endswith("NOT KEPT") for line in report.verdicts()] == [True, True]


def test_without_a_peer_there_is_no_ratio() -> None:
    report = _report()
    report.ratio("jobs_ratio_to_celery_noop", "ours", ["not measured"], "ratio")
    assert report.verdicts() == []


def test_medians_and_rounds_are_written_as_json(tmp_path: Path) -> None:
    _report().write(tmp_path / "figures.json")
    told = json.loads((tmp_path / "figures.json").read_text())
    assert (told["ours"], told["weak"]) == (100.0, 4.0)
    assert told["rounds"]["ours"] == [120.0, 80.0, 100.0]
