"""What is to become of a lane's first jobs in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.records import Outcome


@dataclass(frozen=True, slots=True)
class Freezing:
    """A batch about to be frozen: `started` are its jobs' ids and STARTED records, `settled` the outcomes of jobs at
    the head that need no statement, `dead` the letters of those among them that failed."""

    batch: str
    span: int
    started: Sequence[tuple[str, str]]
    attempt: int
    identity: str = ""
    counts: tuple[int, ...] = ()
    replaces: str = ""
    keep_stamp_us: int | None = None
    settled: Sequence[Outcome] = ()
    dead: Sequence[tuple[str, str]] = ()
