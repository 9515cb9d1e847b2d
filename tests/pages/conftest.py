"""One system for the tests of the pages, with jobs that stay in their states."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.stage import JOBS, Stage, play, stage
from tests.support import PATIENT


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The jobs of `play`, as Flower shows them."""
    with stage(tmp_path_factory.mktemp("pages"), settings=PATIENT) as made:
        play(made)
        made.seen(JOBS)
        yield made
