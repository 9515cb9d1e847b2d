"""The model: what the tables have to hold once each job has its outcome, and which outcomes a job may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from lakequeue.jobs import parse_job

from tests.contract import Row, one_by_one
from tests.torture.plan import Spec, Table

State = tuple[Row, ...]
"""The rows of one key, in an order of their own."""

SUCCESS = "SUCCESS"
REVOKED = "REVOKED"
UNKNOWN = "UNPROVABLE"
NOT_FOUND = "ROW_NOT_FOUND"
INVALID = "INVALID_JOB"
REFUSED = "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: SUCCESS, REVOKED, or the code of its failure."""

    code: str
    count: int | None = None
    data: tuple[Mapping[str, Any], ...] = ()
    unproved: bool = False
    """Its dead letter says that nobody knows whether it was committed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was not kept. `jobs` are those it is about, where that can be said."""

    what: str
    jobs: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One job's part in one key, as it was applied; `maybe` if nobody knows whether it was."""

    spec: Spec
    job: Any
    maybe: bool = False


@dataclass(slots=True)
class Rows:
    """One key: the states that its rows may be in, and how they came to be."""

    states: frozenset[State] = frozenset({()})
    steps: list[Step] = field(default_factory=list)
    history: list[tuple[int, frozenset[State]]] = field(default_factory=lambda: [(-1, frozenset({()}))])

    def follow(self, seq: int, states: frozenset[State]) -> None:
        self.states = states
        self.history.append((seq, states))

    def since(self, seq: int) -> Iterator[State]:
        """Every state from the end of the job `seq` on."""
        first = max(i for i, (at, _) in enumerate(self.history) if at <= seq)
        for _, states in self.history[first:]:
            yield from states


class Model:
    """One table. Jobs are applied in their order; keys do not touch each other, so each is a model of its own.

    Where an outcome is unknown, a key has several states, and what follows may rule some of them out.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.keys: dict[str | None, Rows] = {}

    def apply(self, spec: Spec, outcome: Outcome) -> list[Finding]:
        """Go on by one job that is no read; what it says must fit what was before it."""
        if spec.flavour == "invalid":
            right = outcome.code == INVALID or (outcome.code == REVOKED and spec.revoked)
            return [] if right else [Finding("wrong", (spec.id,), f"{outcome.code} came instead of {INVALID}")]
        parts = {key: parse_job(part) for key, part in parts_of(spec)}
        results = {key: self._results(key, spec, job) for key, job in parts.items()}
        allowed = self._allowed(spec, results)
        findings = []
        if outcome.code not in allowed:
            text = f"{outcome.code} came instead of {' or '.join(sorted(allowed))}"
            what = "lost" if SUCCESS in allowed and outcome.code != SUCCESS else "wrong"
            findings.append(Finding(what, (spec.id,), text))
        if outcome.code == SUCCESS:
            findings += self._count(spec, outcome, results)
        for key, job in parts.items():
            rows = self.keys.setdefault(key, Rows())
            done = frozenset(new for new, count, refused in results[key].values() if count is not None and not refused)
            if outcome.code == SUCCESS and done:
                rows.steps.append(Step(spec, job))
                rows.follow(spec.seq, done)
            elif outcome.code == UNKNOWN:
                rows.steps.append(Step(spec, job, maybe=True))
                rows.follow(spec.seq, rows.states | done)
            elif outcome.code == NOT_FOUND and len(parts) == 1:
                missed = frozenset(state for state, (_, count, _) in results[key].items() if count is None)
                rows.follow(spec.seq, missed or rows.states)
        return findings

    def read(self, spec: Spec, outcome: Outcome, after: int | None) -> list[Finding]:
        """A page of one key shows a state of it that was there at the end of the job `after`, or later; any, if that
        job had its outcome before its turn came, being invalid or cancelled."""
        if outcome.code != SUCCESS:
            return [Finding("lost", (spec.id,), f"a read came to {outcome.code}")]
        key = str(spec.fields["filters"][0]["value"])
        shown = Counter((row["a"], row["b"]) for row in outcome.data)
        for state in self.keys.get(key, Rows()).since(-1 if after is None else after):
            if Counter((row.a, _number(row.b)) for row in state if not row.deleted) == shown:
                return []
        text = f"the page of key {key} shows {dict(shown)}, no state of it after {spec.fields['after']}"
        return [Finding("out of order", (spec.id, spec.fields["after"]), text)]

    def compare(self, found: Iterable[Row]) -> list[Finding]:
        """Hold the table's rows against the model's, key by key."""
        actual: dict[str | None, list[Row]] = {}
        for row in found:
            actual.setdefault(row.k, []).append(row)
        findings = []
        for key in sorted(actual.keys() | self.keys.keys(), key=str):
            state = state_of(actual.get(key, ()), stamped=self.table.stamped)
            rows = self.keys.get(key, Rows())
            if state not in rows.states:
                findings.append(self._explained(key, rows, state))
        return findings

    def _results(self, key: str | None, spec: Spec, job: Any) -> dict[State, tuple[State, int | None, bool]]:
        """By each state the key may be in: the state after the job, its count, whether the CHECK refuses it."""
        results = {}
        for state in self.keys.get(key, Rows()).states:
            after, count = one_by_one(state, job, spec.id)
            refused = self.table.kind == "checked" and any((_number(row.b) or 0) < 0 for row in after)
            results[state] = (state_of(after, stamped=self.table.stamped), count, refused)
        return results

    def _allowed(
        self, spec: Spec, results: Mapping[str | None, Mapping[State, tuple[State, int | None, bool]]]
    ) -> set[str]:
        allowed = {REVOKED} if spec.revoked else set()
        each_misses = [{count is None for _, count, _ in of_key.values()} for of_key in results.values()]
        each_refused = [{refused for _, _, refused in of_key.values()} for of_key in results.values()]
        if any(True in misses for misses in each_misses):
            allowed.add(NOT_FOUND)
        if any(True in refused for refused in each_refused):
            allowed.add(REFUSED)
        if not any(misses == {True} for misses in each_misses) and not any(r == {True} for r in each_refused):
            allowed.add(SUCCESS)
        if not self.table.stamped and spec.kind == "write" and spec.fields.get("mode", "append") == "append":
            allowed.add(UNKNOWN)
        return allowed

    def _count(
        self,
        spec: Spec,
        outcome: Outcome,
        results: Mapping[str | None, Mapping[State, tuple[State, int | None, bool]]],
    ) -> list[Finding]:
        if outcome.count is None:
            return []
        counts = [[count or 0 for _, count, _ in of_key.values()] for of_key in results.values()]
        least, most = sum(map(min, counts)), sum(map(max, counts))
        if least <= outcome.count <= most:
            return []
        return [Finding("wrong", (spec.id,), f"its count is {outcome.count}, and {least} to {most} was to be")]

    def _explained(self, key: str | None, rows: Rows, state: State) -> Finding:
        """The least that must have gone wrong for a key to be as it is: one job's effect missing, there twice, or
        later than that of one that came after it."""
        steps, stamped = rows.steps, self.table.stamped
        told = f"{self.table.name}, key {key}: {list(state)} instead of {[list(each) for each in rows.states]}"
        for i, step in enumerate(steps):
            if state in replay([*steps[:i], *steps[i + 1 :]], stamped=stamped):
                return Finding("lost", (step.spec.id,), f"{told}: as if {step.spec.id} had no effect")
        for i, step in enumerate(steps):
            for j in range(i, len(steps)):
                if state in replay([*steps[: j + 1], step, *steps[j + 1 :]], stamped=stamped):
                    return Finding("doubled", (step.spec.id,), f"{told}: as if {step.spec.id} had taken effect twice")
        for i, step in enumerate(steps):
            for j in range(i + 1, len(steps)):
                moved = [*steps[:i], *steps[i + 1 : j + 1], step, *steps[j + 1 :]]
                if state in replay(moved, stamped=stamped):
                    names = (step.spec.id, steps[j].spec.id)
                    return Finding("out of order", names, f"{told}: as if {names[0]} had come after {names[1]}")
        return Finding(*self._by_rows(rows, state), told)

    def _by_rows(self, rows: Rows, state: State) -> tuple[str, tuple[str, ...]]:
        expected = Counter(row.job for row in next(iter(rows.states)))
        there = Counter(row.job for row in state)
        more, fewer = there - expected, expected - there
        if more:
            return "doubled", tuple(job for job in more if job)
        if fewer:
            return "lost", tuple(job for job in fewer if job)
        return "out of order", tuple(step.spec.id for step in rows.steps)


def replay(steps: Sequence[Step], *, stamped: bool) -> frozenset[State]:
    """The states that a key may be in after these steps, whatever they were meant to be."""
    states: frozenset[State] = frozenset({()})
    for step in steps:
        done = frozenset(state_of(one_by_one(s, step.job, step.spec.id)[0], stamped=stamped) for s in states)
        states = states | done if step.maybe else done
    return states


def state_of(rows: Iterable[Row], *, stamped: bool) -> State:
    """Rows in an order of their own; of a table without audit columns only what it keeps."""
    if not stamped:
        rows = (replace(row, job=None, created_by=None, updated_by=None) for row in rows)
    return tuple(sorted(rows, key=repr))


def parts_of(spec: Spec) -> list[tuple[str | None, dict[str, Any]]]:
    """A job cut into jobs of one key each."""
    fields = spec.fields
    if "data" in fields:
        rows = sorted(fields["data"], key=lambda row: repr(row["k"]))
        return [(_text(k), {**fields, "data": list(of_key)}) for k, of_key in groupby(rows, lambda row: row["k"])]
    for many in ("rows", "keys"):
        if many in fields:
            return [
                (_text((part["key"] if many == "rows" else part)["k"]), {**fields, many: [part]})
                for part in fields[many]
            ]
    return [(_text(fields["key"]["k"]), dict(fields))]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
