"""How a load finds out what is known of it: from its jobs' records, their dead letters and the table itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lakequeue.client import Queue
from lakequeue.letters import UNKNOWN, DeadLetter
from lakequeue.load_changes import Rows
from lakequeue.load_decision import Seen, Sources, State
from lakequeue.load_names import bounds
from lakequeue.load_outcomes import effective, letters_of, replays_of
from lakequeue.load_presence import present
from lakequeue.sending import ASKED_AT_ONCE
from lakequeue.table_probe import TableProbe


def sources(
    queue: Queue,
    name: str,
    table: str,
    probe: TableProbe,
    *,
    remembered: bool,
    look: Callable[[], Seen | None],
    rows: Callable[[], Rows],
) -> Sources:
    """Where the load `name` is looked up.

    Args:
        remembered: whether the load was made before, so that jobs without a record may be dead letters.
    """

    def letters() -> dict[str, DeadLetter]:
        return letters_of(queue, table, name)

    def states(job_ids: Sequence[str]) -> list[State]:
        found: list[State] = []
        buried: dict[str, DeadLetter] | None = None
        for first in range(0, len(job_ids), ASKED_AT_ONCE):
            some = list(job_ids[first : first + ASKED_AT_ONCE])
            now: list[State] = [status.state if status else None for _, status in effective(queue, some)]
            if remembered and None in now:
                buried = letters() if buried is None else buried
                _forgotten(queue, some, now, buried)
            found += now
        return found

    def last(job_ids: Sequence[str]) -> list[str]:
        buried, replays = letters(), replays_of(queue, job_ids)
        known = [replays[i][0] if i in replays else i for i in job_ids]
        return [buried[i].id if i in buried else replay for i, replay in zip(job_ids, known, strict=True)]

    def unproved(job_ids: Sequence[str]) -> set[str]:
        proved = {letter.id for letter in letters().values() if letter.committed != UNKNOWN}
        return {job_id for job_id in job_ids if job_id not in proved}

    return Sources(
        states=states,
        look=look,
        rows_of=lambda tag: probe.counts([bounds(name, tag)])[0],
        present=lambda plan, asked: present(probe.counts, name, plan, asked),
        rows=rows,
        last=last,
        unproved=unproved,
    )


def _forgotten(queue: Queue, job_ids: Sequence[str], states: list[State], letters: Mapping[str, DeadLetter]) -> None:
    """Fill in what is still known of jobs whose records have expired: their replays and their dead letters."""
    asked = [index for index, state in enumerate(states) if state is None]
    replays = replays_of(queue, [job_ids[index] for index in asked])
    for index in asked:
        job_id = job_ids[index]
        if job_id in replays:
            states[index] = replays[job_id][1].state
        elif job_id in letters:
            states[index] = "FAILURE"
