"""What a worker's Prometheus endpoint says: a real scrape, read by a real parser."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support import until


@dataclass(frozen=True)
class Scrape:
    """Families by name, as a parser reads them."""

    text: str
    families: dict[str, Metric]

    def of(self, sample: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The samples of a name, by the values of the labels named."""
        return {
            tuple(each.labels[label] for label in labels): each.value
            for family in self.families.values()
            for each in family.samples
            if each.name == sample
        }

    def summed(self, sample: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The same, over all other labels."""
        sums: Counter[tuple[str, ...]] = Counter()
        for family in self.families.values():
            for each in family.samples:
                if each.name == sample:
                    sums[tuple(each.labels[label] for label in labels)] += int(each.value)
        return sums

    def one(self, sample: str) -> float | None:
        """The only sample of a name, None without one."""
        return self.of(sample).get(())

    def total(self, sample: str) -> float:
        return sum(each.value for family in self.families.values() for each in family.samples if each.name == sample)

    def labels(self, label: str) -> set[str]:
        """All values of a label."""
        samples = (each for family in self.families.values() for each in family.samples)
        return {each.labels[label] for each in samples if label in each.labels}


def parse(text: str) -> Scrape:
    return Scrape(text, {family.name: family for family in text_string_to_metric_families(text)})


def scrape(port: int, *, host: str = "127.0.0.1", timeout_s: float = 10) -> Scrape:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=timeout_s) as answer:
        return parse(answer.read().decode())


def wait_served(port: int, *, host: str = "127.0.0.1") -> None:
    """Until a worker answers there: it owns partitions a moment before."""

    def answers() -> bool:
        try:
            scrape(port, host=host)
        except urllib.error.URLError:
            return False
        return True

    until(answers, "the endpoint answers")
