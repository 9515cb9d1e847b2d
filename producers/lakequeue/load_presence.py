"""Which jobs of a load have rows in the table: counts of ranges of `_job_id`, halved where they leave a doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakequeue.load_names import after, job_id
from lakequeue.load_plan import Plan
from lakequeue.table_probe import ProbeFailed, Range

MOST_READS = 1_000
"""More are not sent for one load: what is asked for is then too scattered to be found so."""

AT_ONCE = 32

Counts = Callable[[Sequence[Range]], Sequence[int]]

Run = tuple[int, int]
"""Jobs of a plan by index, the end excluded; their ids are neighbours."""


def present(counts: Counts, name: str, plan: Plan, asked: Sequence[int]) -> set[int]:
    """Those of the jobs `asked` for, by index in ascending order, that have rows in the table.

    Args:
        counts: gives how many rows there are in each of some ranges.

    Raises:
        ProbeFailed: the table cannot be looked into, or it would take too many reads.
    """
    found: set[int] = set()
    runs = _runs(plan, asked)
    reads = 0
    while runs:
        some, runs = runs[:AT_ONCE], runs[AT_ONCE:]
        reads += len(some)
        if reads > MOST_READS:
            raise ProbeFailed(
                f"rows of this load are in the table in too many pieces: {MOST_READS:,} reads did not find all"
            )
        for (start, end), count in zip(some, counts([_range(name, plan, run) for run in some]), strict=True):
            if not count:
                continue
            if end - start == 1 or count == sum(part.rows for part in plan[start:end]):
                found.update(range(start, end))
                continue
            middle = (start + end) // 2
            runs += [(start, middle), (middle, end)]
    return found


def _runs(plan: Plan, asked: Sequence[int]) -> list[Run]:
    runs: list[Run] = []
    for index in asked:
        if runs and runs[-1][1] == index and _neighbours(plan, index):
            runs[-1] = runs[-1][0], index + 1
        else:
            runs.append((index, index + 1))
    return runs


def _neighbours(plan: Plan, index: int) -> bool:
    """Whether a job's id follows that of the one before it, with no other job of the plan between them."""
    before, part = plan[index - 1], plan[index]
    return before.tag == part.tag and before.first < part.first


def _range(name: str, plan: Plan, run: Run) -> Range:
    first, last = plan[run[0]], plan[run[1] - 1]
    return job_id(name, first.tag, first.first), after(job_id(name, last.tag, last.first))
