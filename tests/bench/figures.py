"""What was measured: rounds of one figure, and the ratios that are promised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal


@dataclass(slots=True)
class Figure:
    """One line of the table; `values` are those of the rounds."""

    label: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        if not self.values:
            return f"{self.label:<62} not measured"
        spread = f"{_short(min(self.values))} to {_short(max(self.values))}" if len(self.values) > 1 else ""
        return f"{self.label:<62} {_short(self.median):>10} {self.unit:<14} {spread}"


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure that is to be at least, or at most, so much."""

    key: str
    bound: Literal["at least", "at most"]
    limit: float

    def kept(self, value: float) -> bool:
        return value >= self.limit if self.bound == "at least" else value <= self.limit


PROMISES = (
    Promise("jobs_ratio_to_celery_noop", "at least", 10),
    Promise("jobs_ratio_to_one_statement_per_job", "at least", 100),
    Promise("enqueue_ratio_to_send_task", "at least", 10),
    Promise("rows_ratio_to_executemany", "at least", 100),
    Promise("rows_ratio_to_multirow_insert", "at least", 1),
    Promise("statements_per_10000_jobs", "at most", 5),
    Promise("idle_statements", "at most", 0),
    Promise("idle_added_ms_p95", "at most", 20),
    Promise("worker_memory_ratio_1m_to_10k", "at most", 1.1),
)


class Report:
    """All figures of a run, by key, in the order in which they came."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def add(self, key: str, value: float, label: str, unit: str) -> None:
        """One round's value."""
        self.figures.setdefault(key, Figure(label, unit)).values.append(value)

    def ratio(self, key: str, ours: str, peers: Iterable[str], label: str) -> None:
        """Ours by the best peer's of the round; peers that were not measured are left out."""
        found = [self.figures[peer].values for peer in peers if peer in self.figures]
        if ours in self.figures and found:
            for mine, *others in zip(self.figures[ours].values, *found, strict=False):
                self.add(key, mine / max(others), label, "x")

    def lines(self) -> list[str]:
        return [str(figure) for figure in self.figures.values()]

    def verdicts(self) -> list[str]:
        told = []
        for promise in PROMISES:
            if (figure := self.figures.get(promise.key)) is not None:
                word = "kept" if promise.kept(figure.median) else "NOT KEPT"
                limit = f"{promise.bound} {promise.limit:g}"
                told.append(f"{promise.key:<40} {_short(figure.median):>10}   {limit:<14} {word}")
        return told

    def write(self, path: Path) -> None:
        """The medians by key as JSON, and the rounds beside them."""
        rounds: Mapping[str, Sequence[float]] = {key: figure.values for key, figure in self.figures.items()}
        medians = {key: figure.median for key, figure in self.figures.items()}
        path.write_text(json.dumps({**medians, "rounds": rounds}, indent=1) + "\n", encoding="utf-8")


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
