"""The verdict on a run: what Redis and the tables hold at its end, against the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from lakequeue import outcomes

from tests.contract import Row
from tests.torture.model import INVALID, REVOKED, SUCCESS, UNKNOWN, Finding, Model, Outcome
from tests.torture.plan import Plan, Spec, Table

FAILED = ("lost", "doubled", "out of order", "wrong", "stuck")
"""What can have gone wrong: `lost`, a job without outcome or effect; `doubled`, one with two; `wrong`, an outcome that
the jobs before it do not explain; `stuck`, something left behind in Redis."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """When a row was inserted, and last updated, by the stamps of the statements; by jobs of which places."""

    inserted_by: int
    created_at: datetime
    updated_by: int | None
    """None for a row that was softly deleted: that leaves no place."""
    updated_at: datetime


@dataclass(frozen=True)
class Evidence:
    """What a run left behind.

    `records` are Celery's, by job id; `published` how often which final record of a job was published; `letters` the
    dead letters; `left` the keys in Redis that an idle system does not have, each with what is in it.
    """

    records: Mapping[str, bytes]
    published: Mapping[str, Counter[bytes]]
    letters: Mapping[str, Mapping[str, Any]]
    rows: Mapping[int, Sequence[Row]]
    stamps: Mapping[int, Sequence[Stamps]] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    findings: list[Finding]
    outcomes: Mapping[str, Outcome]
    notes: Counter[str]
    """How often an outcome's receipt says what."""

    def count(self, what: str) -> int:
        """How many jobs, or places where no job can be named, this went wrong with."""
        jobs = {finding.jobs[0] if finding.jobs else finding.text for finding in self.findings if finding.what == what}
        return len(jobs)


def judge(plan: Plan, evidence: Evidence) -> Verdict:
    findings, found, notes = _outcomes(plan, evidence)
    for table in plan.tables:
        specs = sorted((spec for spec in plan.jobs if spec.table == table.number), key=lambda spec: spec.seq)
        findings += _table(table, specs, found, evidence.rows.get(table.number, ()))
        findings += _order(table, evidence.stamps.get(table.number, ()))
    findings += _letters(plan, evidence, found)
    findings += [Finding("stuck", (), f"{key} was left behind: {value}") for key, value in evidence.left.items()]
    return Verdict(findings, found, notes)


def _outcomes(plan: Plan, evidence: Evidence) -> tuple[list[Finding], dict[str, Outcome], Counter[str]]:
    """Every job has one final outcome, and nobody was told another."""
    findings: list[Finding] = []
    found: dict[str, Outcome] = {}
    notes: Counter[str] = Counter()
    for spec in plan.jobs:
        raw = evidence.records.get(spec.id)
        record = outcomes.load(raw) if raw is not None else None
        if raw is None or record is None or record["status"] not in outcomes.FINAL:
            state = record["status"] if record else "not known"
            findings.append(Finding("lost", (spec.id,), f"it has no outcome: it is {state}"))
            continue
        found[spec.id] = _outcome(record, evidence.letters.get(spec.id))
        if isinstance(record["result"], dict):
            notes.update((record["result"].get("receipt") or {}).get("notes", ()))
        others = [other for other in evidence.published.get(spec.id, ()) if other != raw]
        if others:
            told = ", ".join(outcomes.load(other)["status"] for other in others)
            findings.append(Finding("doubled", (spec.id,), f"it is {record['status']}, and was said to be {told}"))
    return findings, found, notes


def _outcome(record: Mapping[str, Any], letter: Mapping[str, Any] | None) -> Outcome:
    result = record["result"]
    unproved = letter is not None and letter["committed"] == "unknown"
    if record["status"] == "SUCCESS":
        return Outcome(SUCCESS, result["count"], tuple(result.get("data", ())), unproved)
    if record["status"] == "REVOKED":
        return Outcome(REVOKED)
    _, details = result["exc_message"]
    return Outcome(details["error"], unproved=unproved)


def _table(table: Table, specs: Sequence[Spec], found: Mapping[str, Outcome], rows: Iterable[Row]) -> list[Finding]:
    model = Model(table)
    early = {job for job, outcome in found.items() if outcome.code in (INVALID, REVOKED)}
    places = {spec.id: None if spec.id in early else spec.seq for spec in specs}
    findings = [
        finding
        for spec in specs
        if spec.kind != "read" and spec.id in found
        for finding in model.apply(spec, found[spec.id])
    ]
    findings += [
        finding
        for spec in specs
        if spec.kind == "read" and spec.id in found
        for finding in model.read(spec, found[spec.id], places[spec.fields["after"]])
    ]
    return findings + model.compare(rows)


def _order(table: Table, stamps: Sequence[Stamps]) -> list[Finding]:
    """Stamps rise with the statements: of two jobs of a table, the later one's is never the lower."""
    created = sorted((each.inserted_by, each.created_at) for each in stamps)
    updated = sorted((each.updated_by, each.updated_at) for each in stamps if each.updated_by is not None)
    return [
        Finding(
            "out of order",
            (f"t{table.number}.{one}", f"t{table.number}.{other}"),
            f"{table.name}: the {what} of {one} is {at}, of {other} {then}",
        )
        for what, times in (("created_at", created), ("updated_at", updated))
        for (one, at), (other, then) in pairwise(times)
        if one < other and at > then
    ]


def _letters(plan: Plan, evidence: Evidence, found: Mapping[str, Outcome]) -> list[Finding]:
    """The dead letters are those of the failed jobs, and only an unproved one says `unknown`."""
    failed = {job for job, outcome in found.items() if outcome.code not in (SUCCESS, REVOKED)}
    letters = evidence.letters
    findings = [Finding("wrong", (job,), "it failed and is no dead letter") for job in sorted(failed - letters.keys())]
    for job in sorted(letters.keys() - failed):
        findings.append(Finding("wrong", (job,), f"it is a dead letter and did not fail: {letters[job]['reason']}"))
    for job in sorted(failed & letters.keys()):
        if (found[job].code == UNKNOWN) and letters[job]["committed"] != "unknown":
            findings.append(
                Finding("wrong", (job,), f"nobody knows of it, but its letter: {letters[job]['committed']}")
            )
    return findings


@dataclass(frozen=True)
class LogCounts:
    """What the logs of the workers say, each a file's text by a name of its own."""

    found: int
    """Batches whose commit was proved by their stamp."""

    taken_over: int
    """Batches that a worker went on with though another one had frozen them."""


_PROVED = re.compile(r"batch=(\w+) table=\S+ (?:jobs=\d+ )?proved=(\w+)")
_LOST = re.compile(r"batch=(\w+) table=\S+ jobs=\d+ attempt=\d+ verdict=unknown")


def count_logs(logs: Iterable[str]) -> LogCounts:
    found: set[str] = set()
    taken_over = 0
    for text in logs:
        own = set(_LOST.findall(text))
        proved = _PROVED.findall(text)
        found |= {batch for batch, verdict in proved if verdict == "committed"}
        taken_over += len({batch for batch, _ in proved} - own)
    return LogCounts(len(found), taken_over)


def history(finding: Finding, plan: Plan, evidence: Evidence, lines: Callable[[Sequence[str]], list[str]]) -> str:
    """All that is known of the jobs of a finding: the plan, their records and letters, what the logs say."""
    specs = {spec.id: spec for spec in plan.jobs}
    told = [f"{finding.what}: {finding.text}"]
    for job in finding.jobs[:4]:
        raw = evidence.records.get(job, b"")
        told += [
            f"  job {job}: {dict(specs[job].fields) if job in specs else 'of nobody'}",
            f"    {raw.decode()[:900]}",
        ]
        if job in evidence.letters:
            told.append(f"    letter: {evidence.letters[job]['committed']}, {evidence.letters[job]['reason']}")
        batches = re.findall(r'"batch":"(\w+)"', raw.decode())
        told += [f"    {line}" for line in (lines([f"batch={batch}" for batch in batches]) if batches else [])[:12]]
    return "\n".join(told)
