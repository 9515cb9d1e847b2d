"""Many jobs of one table as one statement: their effects are worked out in order, and what is left of them is sent.

The law. Let a table be as `counts` say, and let nobody else write it meanwhile. Then the outcomes and the table after
the one statement that `fold` gives are those of running the jobs one by one, in order, each as a statement of its own
(stamps apart: jobs of one statement share theirs).

How. A job finds rows by key. The rows of one key are those in the table, which all fare alike, and those that jobs
before it added. What becomes of the former is one source row of a MERGE (`U` or `D`), each of the latter another (`I`).
An update changes both; a hard delete drops both; an upsert becomes an update if it finds rows that are not deleted, and
an addition otherwise. Jobs for which this does not hold are not folded: see `Prepared.alone`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasks.prepared import Addition, Change, Key, Prepared, Removal, Values


@dataclass(frozen=True, slots=True)
class Found:
    """How many rows of a key the table holds: live ones, and softly deleted ones."""

    live: int = 0
    deleted: int = 0


@dataclass(slots=True)
class Source:
    """One source row of the MERGE: `U` and `D` for the rows of a key in the table, `I` for a row to insert."""

    op: Literal["U", "D", "I"]
    values: dict[str, str | None] = field(default_factory=dict)
    """Texts by lowercase column name: of `U` those that are set, of `I` all that are given."""
    key: Key | None = None
    job_id: str | None = None
    created_by: str | None = None
    updated_by: str | None = None
    soft: bool = False


@dataclass(slots=True)
class _Rows:
    """The rows of one key, as the jobs so far leave them."""

    live: int
    deleted: int
    change: Source | None = None
    added: list[Source] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch comes to: `counts` are rows by job id, `missing` the jobs that must find rows and did not, each with
    the places of those keys in it, `after` what the table holds of each key once the statement is committed."""

    sources: list[Source]
    counts: dict[str, int]
    missing: Mapping[str, tuple[int, ...]]
    after: dict[Key, Found]


def fold(jobs: Sequence[Prepared], counts: Mapping[Key, Found], key_of: Callable[[Values], Key | None]) -> Folded:
    """Work out jobs in order.

    Args:
        counts: what the table holds; a key that is not in it has no rows. All keys are of the same columns.
        key_of: the key of a row that is added; None if a part of it is null, and so nothing finds it.
    """
    state: dict[Key, _Rows] = {}
    loose: list[Source] = []
    result: dict[str, int] = {}
    missing: dict[str, tuple[int, ...]] = {}

    def rows_of(key: Key) -> _Rows:
        if key not in state:
            found = counts.get(key, Found())
            state[key] = _Rows(found.live, found.deleted)
        return state[key]

    for job in jobs:
        match job:
            case Addition():
                result[job.job_id] = _add(job, key_of, rows_of, loose)
            case Change():
                keys = [key for key, _ in job.changes] if job.must_exist else []
                if absent := tuple(place for place, key in enumerate(keys) if not _live(rows_of(key))):
                    missing[job.job_id] = absent
                else:
                    result[job.job_id] = sum(_set(rows_of(key), key, values, job.actor) for key, values in job.changes)
            case Removal():
                sought = job.keys if job.must_exist else ()
                if absent := tuple(place for place, key in enumerate(sought) if not _matched(rows_of(key), job)):
                    missing[job.job_id] = absent
                else:
                    result[job.job_id] = sum(_remove(rows_of(key), key, job) for key in job.keys)
    changes = [rows.change for rows in state.values() if rows.change is not None]
    added = loose + [source for rows in state.values() for source in rows.added]
    after = {key: _found(rows) for key, rows in state.items()}
    return Folded(changes + added, result, missing, after)


def _add(
    job: Addition, key_of: Callable[[Values], Key | None], rows_of: Callable[[Key], _Rows], loose: list[Source]
) -> int:
    written = 0
    for values in job.rows:
        key = key_of(values)
        rows = rows_of(key) if key is not None else None
        if rows is not None and job.mode != "append" and _live(rows):
            if job.mode == "upsert":
                assert key is not None
                written += _set(rows, key, {n: v for n, v in values.items() if n not in job.key_columns}, job.actor)
            continue
        new = Source("I", dict(values), key, job.job_id, created_by=job.actor, updated_by=job.actor)
        (rows.added if rows is not None else loose).append(new)
        written += 1
    return written


def _set(rows: _Rows, key: Key, values: Values, actor: str | None) -> int:
    """Set columns of the live rows of a key. Returns how many there are."""
    if rows.live:
        change = _changed(rows, key)
        change.values.update(values)
        change.updated_by = actor
    live = [source for source in rows.added if not source.soft]
    for source in live:
        source.values.update(values)
        source.updated_by = actor
    return rows.live + len(live)


def _remove(rows: _Rows, key: Key, job: Removal) -> int:
    matched = _matched(rows, job)
    if job.soft:
        if rows.live:
            change = _changed(rows, key)
            change.soft = True
            change.updated_by = job.actor
            rows.live, rows.deleted = 0, rows.deleted + rows.live
        for source in rows.added:
            if not source.soft:
                source.soft = True
                source.updated_by = job.actor
        return matched
    if rows.live or rows.deleted:
        rows.change = Source("D", {}, key)
    rows.live = rows.deleted = 0
    rows.added.clear()
    return matched


def _changed(rows: _Rows, key: Key) -> Source:
    if rows.change is None:
        rows.change = Source("U", {}, key)
    return rows.change


def _live(rows: _Rows) -> int:
    return rows.live + sum(1 for source in rows.added if not source.soft)


def _matched(rows: _Rows, job: Removal) -> int:
    """The rows a removal takes: a soft one those that are live, a hard one all."""
    return _live(rows) if job.soft else rows.live + rows.deleted + len(rows.added)


def _found(rows: _Rows) -> Found:
    soft = sum(1 for source in rows.added if source.soft)
    return Found(rows.live + len(rows.added) - soft, rows.deleted + soft)
