"""Laws of loads: whatever is done to a file, its jobs and their records, no row of it is in the table twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakequeue.load_changes import Rows, compare, merged
from lakequeue.load_decision import Decision, Load, LoadRefused, Seen, Sources, State, decide
from lakequeue.load_ledger import Loaded
from lakequeue.load_names import after, bounds, job_id, next_tag
from lakequeue.load_plan import Cutter, Plan, row_digest
from lakequeue.load_presence import MOST_READS, present
from lakequeue.table_probe import ProbeFailed, Range

NAME = "orders.csv.0a1b2c3d"

Row = tuple[str, str]
"""A key, and the version of its value; a version that begins with `bad` fails its job."""


def planned(rows: Sequence[Sequence[str]], size: int = 3) -> tuple[str, str, Plan]:
    """The content, tag and plan of rows."""
    cutter = Cutter(size, 1_000_000)
    content = blake2b(digest_size=16)
    for row in rows:
        cutter.add(row_digest(row), 1)
        content.update(row_digest(row))
    plan = cutter.parts()
    tag = plan.content_tag(content.hexdigest())
    return content.hexdigest(), tag, plan.tagged(tag)


def weighed(rows: Sequence[Sequence[str]]) -> Rows:
    found = Rows()
    for row in rows:
        found.add(row_digest(row), 1)
    return found


# Cutting and comparing


def test_rows_are_digested_as_they_are_parsed() -> None:
    assert row_digest(["a", "b"]) == row_digest(("a", "b"))
    assert len({row_digest(row) for row in (["a\x1fb"], ["a", "b"], ["ab"], ["ab", ""], ["", "ab"])}) == 5


def test_a_plan_is_stored_and_loaded() -> None:
    _, _, plan = planned([(str(n), "x") for n in range(10)])
    plan.append(plan[0].tagged("other"))
    loaded = Plan.load(plan.stored())
    assert list(loaded) == list(plan)
    assert loaded.rows == plan.rows == 13
    for damaged in (b"", b"x", plan.stored()[:-3]):
        with pytest.raises(ValueError, match="no plan"):
            Plan.load(damaged)


def test_ids_sort_as_rows_do_and_ranges_hold_replays_too() -> None:
    ids = [job_id(NAME, "c", n) for n in (1, 9, 10, 99_999)]
    assert ids == sorted(ids)
    assert ids[0] < f"{ids[0]}.replay1" < after(ids[0]) < ids[1]
    low, high = bounds(NAME, "c")
    assert all(low <= each < high for each in ids)
    others = (bounds(NAME, next_tag("c")), bounds(NAME + ".again-1"), bounds("orders.csv.0a1b2c3"))
    assert not any(first <= each < end for first, end in others for each in ids)
    assert next_tag(next_tag("c")) == "c.3"


lists = st.lists(st.sampled_from("abcdef"), max_size=24)


@given(before=lists, now=lists, size=st.integers(1, 4))
@settings(deadline=None)
def test_a_changed_file_is_what_it_keeps_and_what_is_new_in_order(before: list[str], now: list[str], size: int) -> None:
    _, tag, plan = planned([[each] for each in before], size)
    rows = weighed([[each] for each in now])
    found = compare(plan, rows)
    assert sorted([*found.kept, *found.gone]) == list(range(len(plan)))
    assert found.kept == sorted(found.kept)
    changed, new = merged(plan, rows, found, rows_per_job=size, room=1_000)
    rebuilt: list[str] = []
    for part, is_new in zip(changed, new, strict=True):
        source, tagged = (now, "") if is_new else (before, tag)
        assert part.tag == tagged
        rebuilt += source[part.first - 1 : part.first - 1 + part.rows]
        assert part.rows <= size
    assert rebuilt == now


@given(before=lists, more=lists, size=st.integers(1, 4))
def test_a_file_that_has_grown_keeps_all_it_had(before: list[str], more: list[str], size: int) -> None:
    _, _, plan = planned([[each] for each in before], size)
    found = compare(plan, weighed([[each] for each in [*before, *more]]))
    assert found.gone == []
    assert found.fresh_rows == len(more)


# Looking jobs up in the table


@given(has=st.lists(st.integers(0, 9), min_size=1, max_size=60), replayed=st.sets(st.integers(0, 59)))
@settings(deadline=None)
def test_jobs_that_have_rows_are_found_by_counts(has: list[int], replayed: set[int]) -> None:
    """Of each job of nine rows some may have been deleted, and some came by a replay."""
    _, _, plan = planned([(str(n), "x") for n in range(9 * len(has))], 9)
    stored = [
        plan.ids(NAME)[index] + (".replay1" if index in replayed else "")
        for index, rows in enumerate(has)
        for _ in range(rows)
    ]
    reads = 0

    def counts(ranges: Sequence[Range]) -> list[int]:
        nonlocal reads
        reads += len(ranges)
        return [sum(low <= each < high for each in stored) for low, high in ranges]

    asked = range(len(plan))
    assert present(counts, NAME, plan, asked) == {index for index, rows in enumerate(has) if rows}
    assert reads <= 2 * len(plan)


@pytest.mark.parametrize(("there", "most"), [(0, 1), (5_000, 1), (1_234, 40)], ids=["none", "all", "the first"])
def test_few_reads_find_where_a_long_load_was_stopped(there: int, most: int) -> None:
    _, _, plan = planned([(str(n), "x") for n in range(5_000)], 1)
    ids = plan.ids(NAME)
    reads = 0

    def counts(ranges: Sequence[Range]) -> list[int]:
        nonlocal reads
        reads += len(ranges)
        return [sum(low <= each < high for each in ids[:there]) for low, high in ranges]

    assert present(counts, NAME, plan, range(5_000)) == set(range(there))
    assert reads <= most


def test_jobs_that_are_too_scattered_are_not_looked_for_without_end() -> None:
    _, _, plan = planned([(str(n), "x") for n in range(3 * MOST_READS)], 1)
    ids = plan.ids(NAME)

    def counts(ranges: Sequence[Range]) -> list[int]:
        return [sum(low <= each < high for each in ids[::2]) for low, high in ranges]

    with pytest.raises(ProbeFailed, match="too many pieces"):
        present(counts, NAME, plan, range(len(plan)))


# A world of one file, one table and one Redis


@dataclass
class World:
    """What a load meets. Jobs are run as soon as they are sent."""

    file: list[Row] = field(default_factory=list)
    exists: bool = False
    has_job_ids: bool = True
    table: dict[str, list[Row]] = field(default_factory=dict)
    records: dict[str, State] = field(default_factory=dict)
    letters: set[str] = field(default_factory=set)
    known: Loaded | None = None

    def load(self, *, check: bool = True, all_rows: bool = False, size: int = 3, stop_after: int = 10**9) -> Decision:
        content, tag, plan = planned(self.file, size)
        load = Load(
            name=NAME, named=False, table="a.b.c", file="orders.csv", folder="/in", header="h", content=content,
            tag=tag, plan=plan, options={}, create=True, all_rows=all_rows, rows_per_job=size, room=1_000,
        )  # fmt: skip
        decision = decide(load, self.known, self._sources(check))
        if decision.remember:
            self.known = Loaded(
                table="a.b.c", file="orders.csv", folder="/in", header="h", content=content, tag=decision.tag,
                rows=decision.plan.rows, jobs=len(decision.plan), options={}, at=0.0, state="sending",
                plan=decision.plan,
            )  # fmt: skip
        self._send(decision, stop_after)
        return decision

    def _send(self, decision: Decision, stop_after: int) -> None:
        at = sent = 0
        for part, job, send in zip(decision.plan, decision.plan.ids(NAME), decision.send, strict=True):
            rows = self.file[at : at + part.rows]
            at += part.rows
            if not send or job in self.records:
                continue
            if sent == stop_after:
                return
            sent += 1
            if any(version.startswith("bad") for _, version in rows):
                self.records[job] = "FAILURE"
                self.letters.add(job)
            else:
                self.exists = True
                self.table[job] = rows
                self.records[job] = "SUCCESS"
        self.letters -= set(decision.gone)
        if decision.remember and self.known:
            self.known = Loaded(**{**vars(self.known), "state": "sent"})

    def _count(self, ids: Range) -> int:
        return sum(len(rows) for job, rows in self.table.items() if ids[0] <= job < ids[1])

    def _sources(self, check: bool) -> Sources:
        def look() -> Seen | None:
            if not check:
                return None
            rows = self._count(bounds(NAME)) if self.has_job_ids else None
            return Seen(self.exists, rows) if self.exists else Seen(False)

        def state(job: str) -> State:
            return self.records.get(job, "FAILURE" if job in self.letters and self.known else None)

        return Sources(
            states=lambda ids: [state(job) for job in ids],
            look=look,
            rows_of=lambda tag: self._count(bounds(NAME, tag)),
            present=lambda plan, asked: present(lambda all_: [self._count(each) for each in all_], NAME, plan, asked),
            rows=lambda: weighed(self.file),
            last=lambda ids: ids,
            unproved=lambda ids: {job for job in ids if job not in self.letters},
        )

    def stored(self) -> Counter[str]:
        """How often each key is in the table."""
        return Counter(key for rows in self.table.values() for key, _ in rows)


_edits = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("bad"), st.integers(0, 30)),
    st.tuples(st.just("mend"), st.just(0)),
    st.tuples(st.just("change"), st.integers(0, 30)),
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.just("remove bad"), st.just(0)),
    st.tuples(st.just("insert"), st.integers(0, 30)),
    st.tuples(st.just("load"), st.sampled_from([1, 2, 10**9])),
    st.tuples(st.just("load unchecked"), st.just(10**9)),
    st.tuples(st.just("forget results"), st.just(0)),
    st.tuples(st.just("forget load"), st.just(0)),
    st.tuples(st.just("drop table"), st.just(0)),
)


def _edit(world: World, what: str, number: int, fresh: int) -> None:
    file = world.file
    at = number % len(file) if file else 0
    match what:
        case "append":
            file += [(f"n{fresh}-{n}", "v") for n in range(number)]
        case "insert":
            file.insert(at, (f"n{fresh}", "v"))
        case "bad" if file:
            file[at] = (file[at][0], f"bad{fresh}")
        case "change" if file:
            file[at] = (file[at][0], f"v{fresh}")
        case "mend":
            world.file = [(key, "mended" if version.startswith("bad") else version) for key, version in file]
        case "remove" if file:
            del file[at]
        case "remove bad":
            world.file = [(key, version) for key, version in file if not version.startswith("bad")]
        case "forget results":
            world.records.clear()
        case "forget load":
            world.known = None
        case "drop table":
            world.table.clear()
            world.exists = False


@given(start=st.integers(1, 12), edits=st.lists(_edits, max_size=14))
@settings(deadline=None, max_examples=400)
def test_no_row_is_ever_loaded_twice_and_a_whole_load_leaves_none_out(start: int, edits: list[tuple[str, int]]) -> None:
    world = World([(f"k{n}", "v") for n in range(start)])
    for fresh, (what, number) in enumerate([*edits, ("load", 10**9)]):
        if not what.startswith("load"):
            _edit(world, what, number, fresh)
            continue
        if not world.file:
            continue
        before = dict(world.table)
        try:
            # Without a look into the table nothing is known of a load that is forgotten.
            checked = what == "load" or world.known is None
            decision = world.load(check=checked, stop_after=number)
        except LoadRefused:
            assert world.table == before
            continue
        stored = world.stored()
        assert not [key for key, times in stored.items() if times > 1]
        if checked and number == 10**9 and "were deleted" not in "".join(decision.lines):
            failing = {
                key
                for job, state in world.records.items()
                if state == "FAILURE" or job in world.letters
                for key, _ in _rows_of(world, job)
            } | _unsent(world)
            assert not [key for key, _ in world.file if key not in stored and key not in failing]


def _rows_of(world: World, job: str) -> list[Row]:
    assert world.known is not None
    assert world.known.plan is not None
    at = 0
    for part, each in zip(world.known.plan, world.known.plan.ids(NAME), strict=True):
        if each == job:
            return world.file[at : at + part.rows]
        at += part.rows
    return []


def _unsent(world: World) -> set[str]:
    """The keys of rows in jobs that failed once and whose letters alone remember it."""
    return {key for job in world.letters for key, _ in _rows_of(world, job)}
