"""Which jobs of a load are to be sent: none whose rows are in the table or on their way to it, and all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lakequeue.load_changes import Comparison, Rows, compare, merged
from lakequeue.load_ledger import Loaded
from lakequeue.load_names import next_tag
from lakequeue.load_plan import Plan
from lakequeue.tabular import counted

State = str | None
"""Of a job, that of its last replay if it was replayed; None if nothing is known of it."""

UNDER_WAY = frozenset(("QUEUED", "STARTED", "RETRY"))
_FAILED = frozenset(("FAILURE", "REVOKED"))


class LoadRefused(Exception):
    """Nothing was sent: the message says why and what to do."""


@dataclass(frozen=True)
class Load:
    """What a user asks for. The file's content is cut into jobs by `plan`, under the tag `tag`; see `csv_jobs.Survey`.

    `named` says that the user gave the name, `all_rows` that a file of other content than before has new rows only.
    `options` are those that decide how a row is written; `rows_per_job` and `room` are the size of a job.
    """

    name: str
    named: bool
    table: str
    file: str
    folder: str
    header: str
    content: str
    tag: str
    plan: Plan
    options: Mapping[str, str]
    create: bool
    all_rows: bool
    rows_per_job: int
    room: int


@dataclass(frozen=True)
class Seen:
    """What the table was found to be. `rows` carry ids of this load; None if the table has no `_job_id`."""

    exists: bool
    rows: int | None = None


@dataclass(frozen=True)
class Sources:
    """How it is found out what is known; each may be called several times.

    `states` are those of jobs by id, `look` looks at the table (None if it is not to be looked at), `rows_of` counts
    its rows of a content and `present` gives those of a plan's jobs, by index, that have rows in it. `rows` reads the
    file again. `last` are the ids of the jobs' last replays, or their own; `unproved` are those of failed jobs that may
    have been committed all the same.
    """

    states: Callable[[Sequence[str]], Sequence[State]]
    look: Callable[[], Seen | None]
    rows_of: Callable[[str], int]
    present: Callable[[Plan, Sequence[int]], set[int]]
    rows: Callable[[], Rows]
    last: Callable[[Sequence[str]], Sequence[str]]
    unproved: Callable[[Sequence[str]], set[str]]


@dataclass
class Decision:
    """`plan` are all jobs of the file; `send` is 1 for those that are sent, `watch` for those whose outcome is not
    known yet: the rest is in the table. `lines` are said before anything is sent. `gone` are failed jobs that new ones
    take the place of. `remember` is false where what is remembered already says more."""

    plan: Plan
    tag: str
    send: bytearray
    watch: bytearray
    lines: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    remember: bool = True

    @classmethod
    def all_of(cls, plan: Plan, tag: str, *lines: str) -> Decision:
        return cls(plan, tag, bytearray(b"\1" * len(plan)), bytearray(b"\1" * len(plan)), list(lines))

    def leave_out(self, indexes: Iterable[int]) -> None:
        """Jobs whose rows are in the table."""
        for index in indexes:
            self.send[index] = self.watch[index] = 0


def decide(load: Load, known: Loaded | None, sources: Sources) -> Decision:
    """What to send of a load of which `known` is remembered.

    Raises:
        LoadRefused: sending could double rows, or leave some out.
        ProbeFailed: the table cannot be looked into.
    """
    if known is not None and known.table != load.table:
        raise LoadRefused(f"the load {load.name} is one of {known.table}: give another --load-id for {load.table}")
    if known is not None and (known.content, known.header) == (load.content, load.header):
        plan = _same_plan(load, known)
        states = sources.states(plan.ids(load.name))
        return _resumed(load, known, plan, states, sources.look(), sources)
    if known is None or load.all_rows:
        return _first(load, known, sources)
    return _changed(load, known, sources)


def _first(load: Load, known: Loaded | None, sources: Sources) -> Decision:
    """A content that nothing is remembered of. Redis has the last word on jobs that it still knows: all are sent."""
    states = sources.states(load.plan.ids(load.name))
    table = sources.look()
    decision = Decision.all_of(load.plan, load.tag)
    if known is not None:
        decision.lines.append(f"{_loaded(load, known)} with other content; all rows of this one are taken for new")
    if table is None:
        return decision
    if not table.exists:
        return _once_more(load, "before", load.plan, states) if "SUCCESS" in states else decision
    if table.rows is None:
        decision.lines.append(
            f"{load.table} has no _job_id: whether rows of this file are in it already cannot be seen "
            f"(python -m worker adopt {load.table} adds it)"
        )
    elif table.rows:
        own = sources.rows_of(load.tag)
        if own != table.rows and not load.all_rows:
            raise LoadRefused(
                f"{counted(table.rows - own, 'row')} of another {load.file} are in {load.table}, and what that held is "
                f"not remembered. {_choices(load)}"
            )
        unknown = [index for index, state in enumerate(states) if state is None]
        found = sources.present(load.plan, unknown) if own else set()
        decision.leave_out(found)
        decision.lines += _lacking(load, load.plan, states, found, own)
    return decision


def _same_plan(load: Load, known: Loaded) -> Plan:
    """How the same content was cut before."""
    if not load.named and known.folder != load.folder:
        raise LoadRefused(
            f"{_loaded(load, known)} from another folder, {known.folder}, with the same rows. If this is the same "
            f"file, give --load-id {load.name}; if its rows are to be loaded too, give a --load-id of its own"
        )
    differing = [name for name in load.options if load.options[name] != known.options.get(name)]
    plan = known.plan
    if plan is None:
        plan = load.plan.tagged(known.tag)
        if load.tag != known.tag.partition(".")[0]:
            differing.append("--rows-per-job")
    if differing:
        raise LoadRefused(
            f"the load {load.name} was made with other options on {known.when} ({', '.join(differing)}); nothing was "
            "sent now. Give the options of that time to go on with it, or --again for a second copy of its rows"
        )
    return plan


def _resumed(
    load: Load, known: Loaded, plan: Plan, states: Sequence[State], table: Seen | None, sources: Sources
) -> Decision:
    """What is left to be sent of a load that is remembered; what Redis does not know any more is found in the table."""
    unknown = [index for index, state in enumerate(states) if state is None]
    decision = Decision.all_of(plan, known.tag)
    for index, state in enumerate(states):
        decision.send[index] = state is None
    loaded = "SUCCESS" in states or (bool(unknown) and known.state != "sending")
    if table is not None and not table.exists:
        return _once_more(load, f"on {known.when}", plan, states) if loaded else decision
    if table is not None and table.rows == 0 and loaded:
        raise LoadRefused(
            f"{_loaded(load, known)}, and none of its rows are in {load.table} now: they were deleted, or the table "
            "was made anew. Nothing was sent; --again loads all of them"
        )
    if table is not None and table.rows:
        # Of a load that is done, what is not in the table any more was deleted.
        found = set(unknown) if known.state == "done" or not unknown else sources.present(plan, unknown)
        decision.leave_out(found)
        decision.lines += _lacking(load, plan, states, found, table.rows)
        again = plan.rows_of(decision.send)
        if known.state == "sent" and again:
            decision.lines.append(
                f"{counted(again, 'row')} of this load are not in {load.table}, and what became of their jobs is not "
                "known any more: they are sent again, and so are rows that somebody deleted"
            )
    elif table is not None and table.rows is None and known.state == "done":
        decision.leave_out(unknown)
    elif unknown and (table is None or table.rows is None) and not _never_sent(known, states):
        how = (
            f"leave out --no-check to have its rows looked up in {load.table}"
            if table is None
            else f"{load.table} has no _job_id, so its rows cannot be looked up: look yourself"
        )
        raise LoadRefused(
            f"{_loaded(load, known)}, and what became of {counted(len(unknown), 'job')} is not known any more: {how}, "
            "or give --again to load all rows. Nothing was sent"
        )
    return decision


def _lacking(load: Load, plan: Plan, states: Sequence[State], found: set[int], rows: int) -> list[str]:
    """What is said where the table has fewer rows than the jobs that have succeeded."""
    loaded = plan.rows_of([state == "SUCCESS" or index in found for index, state in enumerate(states)])
    if rows >= loaded:
        return []
    return [
        f"{counted(loaded - rows, 'row')} of this load are not in {load.table} any more: they were deleted, or the "
        "table was made anew. --again loads all of them"
    ]


def _never_sent(known: Loaded, states: Sequence[State]) -> bool:
    """Whether the jobs that Redis does not know were never sent, as it still knows those that were sent before them."""
    first = states.index(None)
    return known.state == "sending" and first > 0 and not any(states[first:])


def _once_more(load: Load, when: str, plan: Plan, states: Sequence[State]) -> Decision:
    """The table is gone and its rows with it: all are sent under new ids, since Redis may know those of before."""
    if under_way := sum(state in UNDER_WAY for state in states):
        raise LoadRefused(
            f"{load.table} does not exist any more, and {counted(under_way, 'job')} of the load {load.name} are still "
            "under way: wait for them or cancel them (lakequeue purge). Nothing was sent"
        )
    if not load.create:
        raise LoadRefused(f"{load.table} does not exist: leave out --no-create to have it created. Nothing was sent")
    used = [part.tag for part in plan if part.tag.partition(".")[0] == load.tag]
    tag = next_tag(max(used, key=lambda each: int(each.partition(".")[2] or 1))) if used else load.tag
    told = f"{load.table} does not exist any more: it was loaded {when} and dropped since; all rows are loaded again"
    return Decision.all_of(load.plan.tagged(tag), tag, told)


def _changed(load: Load, known: Loaded, sources: Sources) -> Decision:
    """Another content under a known name: what it has in common with the one before is not sent again."""
    if known.plan is None or known.header != load.header:
        what = "other columns" if known.header != load.header else "other content"
        raise LoadRefused(f"{_loaded(load, known)} with {what}: {counted(known.rows, 'row')}. {_choices(load)}")
    ids = known.plan.ids(load.name)
    states = sources.states(ids)
    before = _resumed(load, known, known.plan, states, sources.look(), sources)
    if before.plan is not known.plan:  # the table is gone
        return _first(load, None, sources)
    rows = sources.rows()
    found = compare(known.plan, rows)
    failed = [index for index in found.gone if states[index] in _FAILED]
    last = dict(zip(failed, sources.last([ids[index] for index in failed]), strict=True))
    unproved = sources.unproved([last[index] for index in failed if states[index] == "FAILURE"])
    held = [
        index
        for index in found.gone
        if not before.send[index] and (states[index] not in _FAILED or last[index] in unproved)
    ]
    if held and found.fresh:
        raise LoadRefused(_overlap(load, known, held, states))
    plan, new = merged(known.plan, rows, found, rows_per_job=load.rows_per_job, room=load.room)
    tag = plan.content_tag(load.header + load.content)
    decision = Decision(Plan(), tag, bytearray(), bytearray(), list(before.lines))
    kept = iter(found.kept)
    for part, is_new in zip(plan, new, strict=True):
        index = -1 if is_new else next(kept)
        decision.plan.append(part.tagged(tag) if is_new else part)
        decision.send.append(1 if is_new else before.send[index])
        decision.watch.append(1 if is_new else before.watch[index])
    decision.gone = list(last.values())
    decision.lines.append(_told(load, known, found, decision))
    if not found.fresh:
        decision.tag, decision.remember, decision.gone = known.tag, False, []
    return decision


def _told(load: Load, known: Loaded, found: Comparison, decision: Decision) -> str:
    assert known.plan is not None
    same = sum(known.plan[index].rows for index in found.kept)
    if not found.fresh:
        missing = counted(known.rows - same, "row")
        return f"{_loaded(load, known)} with {missing} more; what this file lacks stays as it is"
    place = f", in the place of {counted(len(decision.gone), 'job')} that failed" if decision.gone else ""
    return (
        f"{_loaded(load, known)} with other content: {_rows_are(same)} the same and left out, "
        f"{_rows_are(found.fresh_rows)} new{place}"
    )


def _rows_are(many: int) -> str:
    return f"{counted(many, 'row')} {'is' if many == 1 else 'are'}"


def _overlap(load: Load, known: Loaded, held: Sequence[int], states: Sequence[State]) -> str:
    assert known.plan is not None
    rows = counted(sum(known.plan[index].rows for index in held), "row")
    under_way = sum(states[index] in UNDER_WAY for index in held)
    where = f"{counted(under_way, 'job')} of them still under way" if under_way else "all of them written"
    return (
        f"{_loaded(load, known)} with other content: {rows} of that time, from row {known.plan[held[0]].first:,} on, "
        f"went in jobs that hold other rows now ({where}). {_choices(load)}"
    )


def _loaded(load: Load, known: Loaded) -> str:
    return f"{load.file} was loaded into {load.table} on {known.when}"


def _choices(load: Load) -> str:
    return (
        "Nothing was sent. If every row of the file is new, give --all-rows, or a --load-id NAME for each file; if "
        "some rows are there already, put the new ones into a file of their own, or write them by key with upsert jobs"
    )
