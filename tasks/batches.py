"""Jobs of one table gathered into one statement, in order, up to its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lakequeue.jobs import Job, Write

from tasks import merges, statements
from tasks.fold import Folded, Found, fold
from tasks.prepared import Addition, Change, Key, Prepared, Removal, insert_fragment, key_of, size_of
from tasks.sql import Statement
from tasks.table import Column, Table


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one statement: rows, jobs, and bytes of its JSON parameter."""

    max_rows: int = 50_000
    max_jobs: int = 10_000
    max_bytes: int = 900_000


class Gathering:
    """A statement being filled: takes jobs in order until one does not belong to it.

    Jobs belong together when `fold` can work them out together: their keys are of the same columns, and no row is
    added of which the table itself fills in a column. Where a CHECK constraint may refuse a job, none may hide what
    another did before it: then each key is touched by one job only.
    """

    def __init__(self, limits: Limits, table: Table | None = None) -> None:
        self._limits = limits
        self.bytes = 2
        self._rows = 0
        self._key_columns: tuple[str, ...] | None = None
        self._touched: set[Key] | None = None
        self.table = table
        self.jobs: list[Prepared] = []

    def take(self, candidate: Prepared) -> bool:
        """Add a job. False if it does not belong here or a bound would be passed; a first job is always taken."""
        rows = len(candidate.rows)
        if self.jobs and not (
            self._rows + rows <= self._limits.max_rows
            and len(self.jobs) < self._limits.max_jobs
            and self.bytes + candidate.bytes + 1 <= self._limits.max_bytes
            and self._belongs(candidate)
        ):
            return False
        self.bytes += candidate.bytes + 1
        self._rows += rows
        if self._key_columns is None and candidate.keyed:
            self._key_columns = candidate.key_columns
        self.jobs.append(candidate)
        return True

    def mixes_numbers(self, candidate: Prepared, job: Job) -> bool:
        """Whether one statement of it and the jobs before it gives a number in some new rows, and in others NULL, where
        a column that counts up would have a number of its own."""
        if self.table is None or not isinstance(candidate, Addition) or not isinstance(job, Write):
            return False
        given = self.table.numbers.intersection(candidate.columns)
        short = (row for row in job.data if len(row) < len(candidate.columns))
        if given and any(given.difference(name.lower() for name in row) for row in short):
            return True
        last = next((each for each in reversed(self.jobs) if isinstance(each, Addition)), None)
        return last is not None and given != self.table.numbers.intersection(last.columns)

    def _belongs(self, candidate: Prepared) -> bool:
        last = self.jobs[-1]
        if last.alone or candidate.alone:
            return False
        if _leaves_defaults(last) or _leaves_defaults(candidate):
            return not last.keyed and not candidate.keyed and _columns(last) == _columns(candidate)
        if self.table is not None and self.table.stamp_column is None and last.keyed != candidate.keyed:
            return False  # what can be repeated without a stamp is not mixed with what cannot
        key_columns = self._key_columns
        if candidate.keyed:
            if key_columns is None:
                key_columns = candidate.key_columns
            elif candidate.key_columns != key_columns:
                return False
        if key_columns is None or self.table is None or not self.table.constrained:
            return True
        return self._touches_none(candidate, key_columns)

    def _touches_none(self, candidate: Prepared, key_columns: tuple[str, ...]) -> bool:
        """Whether no job so far touches a key that this one does; its keys count as touched from now on."""
        assert self.table is not None
        if self._touched is None:
            self._touched = {key for job in self.jobs for key in touched_keys(job, key_columns, self.table)}
        keys = touched_keys(candidate, key_columns, self.table)
        if not self._touched.isdisjoint(keys):
            return False
        self._touched |= keys
        return True


@dataclass(frozen=True)
class Batch:
    """Gathered jobs on their table: what they ask of it, and the statement that they come to."""

    table: Table
    jobs: tuple[Prepared, ...]

    @property
    def key_columns(self) -> list[Column]:
        """The columns of the keys, none if all jobs only append."""
        keyed = next((job for job in self.jobs if job.keyed), None)
        return [self.table.by_name[name] for name in keyed.key_columns] if keyed else []

    @property
    def repeatable(self) -> bool:
        """Whether running it twice leaves the table as running it once does, without any proof."""
        return all(job.keyed for job in self.jobs)

    def keys(self) -> list[Key]:
        """The distinct keys by which jobs look for rows, in order."""
        names = tuple(column.name.lower() for column in self.key_columns)
        looked_for = (touched_keys(job, names, self.table) for job in self.jobs if job.keyed)
        return sorted({key for keys in looked_for for key in keys})

    def count_statement(self, keys: Sequence[Key]) -> Statement:
        return merges.count_keys(self.table, self.key_columns, keys)

    def fold(self, counts: Mapping[Key, Found]) -> Folded:
        """What the jobs come to, given what the table holds of their keys."""
        every_row = any(isinstance(job, Change) and job.every_row for job in self.jobs)
        if every_row:
            counts = {key: Found(live=found.live + found.deleted) for key, found in counts.items()}
        names = tuple(column.name.lower() for column in self.key_columns)
        return fold(self.jobs, counts, lambda row: key_of(row, names, self.table) if names else None)

    def statement(self, folded: Folded, *, stamp_us: int, start_by_us: int, guarded: bool = False) -> Statement | None:
        """The statement that carries all effects; None if there are none."""
        if not folded.sources:
            return None
        if not self.key_columns:
            return self._insert(stamp_us=stamp_us, start_by_us=start_by_us, guarded=guarded)
        columns = merges.touched(folded.sources, self.table)
        return merges.merge(
            self.table,
            self.key_columns,
            columns,
            merges.source_rows(folded.sources, self.key_columns, columns),
            stamp_us=stamp_us,
            start_by_us=start_by_us,
            every_row=any(isinstance(job, Change) and job.every_row for job in self.jobs),
            guarded=guarded and self.table.stamp_column is not None,
        )

    def _insert(self, *, stamp_us: int, start_by_us: int, guarded: bool) -> Statement:
        additions = [job for job in self.jobs if isinstance(job, Addition)]
        given = {name for job in additions for name in job.columns}
        columns = [column for column in self.table.columns if column.name.lower() in given]
        names = tuple(column.name.lower() for column in columns)
        fragments = (
            job.fragment if job.columns == names else insert_fragment(job.job_id, job.actor, job.rows, names)
            for job in additions
        )
        return statements.insert(
            self.table,
            columns,
            "[" + ",".join(fragments) + "]",
            stamp_us=stamp_us,
            start_by_us=start_by_us,
            guarded=guarded,
        )


def touched_keys(job: Prepared, key_columns: tuple[str, ...], table: Table) -> set[Key]:
    """The keys of the rows that a job finds or adds."""
    match job:
        case Addition():
            return {key for row in job.rows if (key := key_of(row, key_columns, table)) is not None}
        case Change():
            return {key for key, _ in job.changes}
        case Removal():
            return set(job.keys)


def payload_bytes(statement: Statement) -> int:
    """The size of a statement's values together."""
    return sum(size_of(value) for value in statement.parameters.values() if value is not None)


def _leaves_defaults(job: Prepared) -> bool:
    return isinstance(job, Addition) and job.leaves_defaults


def _columns(job: Prepared) -> tuple[str, ...]:
    return job.columns if isinstance(job, Addition) else ()
