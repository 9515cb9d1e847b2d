"""Every statement the product sends does the same on DuckDB and on the real engine."""

from __future__ import annotations

import pytest

from tests.conformance.known import KNOWN
from tests.conformance.sides import Seen, Side
from tests.conformance.stories import STORIES, Story


@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_both_engines_see_the_same(duck: Side, real: Side, story: Story) -> None:
    differ = []
    for name in ("made", *story.steps):
        one, other = (_step(side, story, name) for side in (duck, real))
        expected = KNOWN.get(f"{story.name}: {name}")
        if real.name != "spark" and other == one:
            expected = None
        if (one, other) != (expected or (one, one)):
            differ.append(f"\n{story.name}: {name}\n  {duck.name} {one}\n  {real.name} {other}")
    print(f"\n{story.name}: {len(story.steps) + 1} cases")
    assert not differ, "".join(differ)


def _step(side: Side, story: Story, name: str) -> Seen:
    if name != "made":
        return side.see(story.name, story.steps[name])
    made_by = story.made_by
    return side.see(story.name, made_by if isinstance(made_by, str) else made_by(side.table_name(story.name)))
