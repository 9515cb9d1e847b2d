"""`python -m worker adopt c.s.t`: give a table that exists the audit columns it lacks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from lakequeue.identifiers import TableName

from tasks import statements
from tasks.sql import Statement
from tasks.table import AUDIT_TYPES, JOB_ID, Table, from_describe_json, ordinary
from worker.settings import Settings
from worker.target import target
from worker.warehouse import Connection


@dataclass(frozen=True, slots=True)
class Plan:
    """`statement` adds the missing columns, None if none is missing; `notes` say what is so, a line each."""

    statement: Statement | None
    notes: Sequence[str]


class Adoption:
    """One table and a connection to its warehouse. What it does needs MODIFY on the table."""

    def __init__(self, name: TableName) -> None:
        settings = Settings.from_env()
        where = target(warehouse_id=os.environ.get("DATABRICKS_WAREHOUSE_ID", ""), http_path=settings.http_path)
        self._name = name
        self._connection = Connection(where, statement_timeout_s=settings.statement_timeout_s)

    def plan(self) -> Plan:
        """What it takes to adopt the table.

        Raises:
            StatementFailed.
        """
        answer = self._connection.execute(statements.describe(self._name))
        table = from_describe_json(self._name, "".join(str(row[0]) for row in answer.rows))
        missing = [name for name in AUDIT_TYPES if name not in table.by_name]
        return Plan(statements.add_audit_columns(self._name, missing) if missing else None, _notes(table, missing))

    def carry_out(self, statement: Statement) -> None:
        self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()


def _notes(table: Table, missing: Sequence[str]) -> list[str]:
    """Of columns that are in the way, and of what then cannot be had."""
    notes = [f"{phrase}: it stays an ordinary column" for phrase in ordinary(table)]
    stamps = table.audit | set(missing)
    if not stamps & {"created_at", "updated_at"}:
        notes.append("no column can carry the stamp: appends whose answer is lost end as `unknown`")
    if "deleted_at" not in stamps:
        notes.append("no column can mark deleted rows: jobs delete with soft=false")
    if JOB_ID not in stamps:
        notes.append("no column can name the job of a row: what a job wrote before is not found when it is replayed")
    return notes
