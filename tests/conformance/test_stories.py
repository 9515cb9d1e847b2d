"""Every statement the product sends does the same on DuckDB and on the real engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.conformance.known import KNOWN
from tests.conformance.sides import Seen, Side
from tests.conformance.stories import STORIES, Story

_TOGETHER = 2


@pytest.fixture(scope="module")
def told(duck: Side, real: Side) -> Iterator[Mapping[str, Future[list[str]]]]:
    """What differs in each story. They keep to tables of their own, so some run at once, the longest first."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        longest = sorted(STORIES, key=lambda story: -len(story.steps))
        yield {story.name: pool.submit(_differences, duck, real, story) for story in longest}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_both_engines_see_the_same(told: Mapping[str, Future[list[str]]], story: Story) -> None:
    differ = told[story.name].result()
    print(f"\n{story.name}: {len(story.steps) + 1} cases")
    assert not differ, "".join(differ)


def _differences(duck: Side, real: Side, story: Story) -> list[str]:
    duck, real = duck.again(), real.again()
    differ = []
    with closing(duck.connection), closing(real.connection):
        for name in ("made", *story.steps):
            one, other = (_step(side, story, name) for side in (duck, real))
            expected = KNOWN.get(f"{story.name}: {name}")
            if real.name != "spark" and other == one:
                expected = None
            if (one, other) != (expected or (one, one)):
                differ.append(f"\n{story.name}: {name}\n  {duck.name} {one}\n  {real.name} {other}")
    return differ


def _step(side: Side, story: Story, name: str) -> Seen:
    if name != "made":
        return side.see(story.name, story.steps[name])
    made_by = story.made_by
    return side.see(story.name, made_by if isinstance(made_by, str) else made_by(side.table_name(story.name)))
