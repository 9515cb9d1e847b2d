"""The tables of the warehouse as this worker knows them: described once, created when a job asks for it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from lakequeue.definitions import SchemaColumn
from lakequeue.identifiers import TableName
from lakequeue.jobs import Write

from tasks import statements
from tasks.sql import Statement
from tasks.table import Table, from_describe_json, with_definition
from tasks.verdict_table import UNLISTED
from tasks.verdicts import Failure
from worker.warehouse import Answer, StatementFailed

MOST_COLUMNS = 50_000
"""Columns of all tables that are known at once: tens of megabytes. Of more, tables used least lately are forgotten."""

MOST_FILLED = 1_000
"""Tables of which it is remembered what SHOW CREATE TABLE told."""

YOUNG_S = 2.0
"""A description younger than this is believed: jobs that do not fit cost no statement each."""


class Tables:
    """A cache of descriptions. A lane runs on one thread at a time, so a table is described and created once."""

    def __init__(
        self,
        execute: Callable[[Statement], Answer],
        *,
        properties: Mapping[str, str],
        most_columns: int = MOST_COLUMNS,
    ) -> None:
        self._most = most_columns
        self._execute = execute
        self._properties = properties
        self._known: OrderedDict[str, tuple[Table, float]] = OrderedDict()
        self._filled: OrderedDict[str, tuple[Table, Table]] = OrderedDict()
        self._columns = 0
        self._lock = threading.Lock()

    def get(self, name: TableName, *, max_age_s: float | None = None) -> Table:
        """The table, described now if it is not known yet, or for longer than `max_age_s`.

        Raises:
            StatementFailed: cause `missing` if there is none.
        """
        with self._lock:
            known = self._known.get(str(name))
            if known is not None:
                self._known.move_to_end(str(name))
        if known is not None and (max_age_s is None or time.monotonic() - known[1] < max_age_s):
            return known[0]
        answer = self._execute(statements.describe(name))
        try:
            table = from_describe_json(name, "".join(str(row[0]) for row in answer.rows))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:  # a form that is not known: of no job
            raise StatementFailed(Failure(*UNLISTED, "UNREADABLE_DESCRIPTION", None, type(exc).__name__)) from exc
        self.forget(name)
        with self._lock:
            described, filled = self._filled.get(str(name), (None, table))
            table = filled if described == table else table
            self._known[str(name)] = table, time.monotonic()
            self._columns += len(table.columns)
            while self._columns > self._most and len(self._known) > 1:
                self._columns -= len(self._known.popitem(last=False)[1][0].columns)
        return table

    def changed(self, table: Table) -> Table | None:
        """The table described anew, if it has changed since; None if not, or if it was described just now.

        A job that does not fit is the sign to ask: a job that fits finds a change by the statement that fails.

        Raises:
            StatementFailed.
        """
        with self._lock:
            known = self._known.get(str(table.name))
        if known is not None and known[0] is table and time.monotonic() - known[1] < YOUNG_S:
            return None
        self.forget(table.name)
        fresh = self.get(table.name)
        return None if fresh == table else fresh

    def filled(self, table: Table) -> Table | None:
        """The table with the columns that it fills in itself, which DESCRIBE does not tell; None if that is no news.

        It is asked for once, when it matters: a job leaves out a column that takes no null, or some rows of a statement
        give a number and others do not, or the warehouse refuses the columns of a statement.

        Raises:
            StatementFailed: it cannot be told now.
        """
        with self._lock:
            if table in self._filled.get(str(table.name), ()):
                return None
        try:
            answer = self._execute(statements.show_create(table.name))
            found = with_definition(table, "".join(str(row[0]) for row in answer.rows))
        except StatementFailed as exc:
            if exc.failure.verdict != "permanent" and exc.failure.cause != "unlisted":
                raise
            found = table
        with self._lock:
            self._filled[str(table.name)] = table, found
            while len(self._filled) > MOST_FILLED:
                self._filled.popitem(last=False)
            if (known := self._known.get(str(table.name))) is not None and known[0] == table:
                self._known[str(table.name)] = found, known[1]
        return None if found == table else found

    def get_or_create(self, name: TableName, job: Write) -> Table:
        """As `get`, but a missing table is created if the job says so and how, with its schema and catalog.

        Raises:
            StatementFailed: cause `missing` if there is none and the job does not create it.
        """
        try:
            return self.get(name)
        except StatementFailed as exc:
            if exc.failure.cause != "missing" or not job.auto_create or not job.schema_definition:
                raise
            missing = exc.failure
        self._create(name, job.schema_definition, missing)
        return self.get(name)

    def _create(self, name: TableName, columns: Sequence[SchemaColumn], missing: Failure) -> None:
        """Create the table and only what is missing above it: few workers have the privilege to create a catalog."""
        steps = (
            statements.create_catalog(name),
            statements.create_schema(name),
            statements.create_table(name, columns, self._properties),
        )
        first = _level(missing)
        while True:
            try:
                for step in steps[first:]:
                    self._execute(step)
                return
            except StatementFailed as exc:
                if exc.failure.cause != "missing" or _level(exc.failure) >= first:
                    raise
                first = _level(exc.failure)

    def forget(self, name: TableName) -> None:
        """Drop what is known of a table that seems to have changed."""
        with self._lock:
            if (known := self._known.pop(str(name), None)) is not None:
                self._columns -= len(known[0].columns)


def _level(missing: Failure) -> int:
    """What is missing: 0 the catalog, 1 the schema, 2 the table (or the warehouse does not say)."""
    if missing.code in ("CATALOG_NOT_FOUND", "NO_SUCH_CATALOG_EXCEPTION") or missing.sqlstate == "42P08":
        return 0
    return 1 if missing.code == "SCHEMA_NOT_FOUND" or missing.sqlstate == "42704" else 2
