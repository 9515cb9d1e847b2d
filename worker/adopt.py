"""`python -m worker adopt c.s.t`: give a table that exists the audit columns it lacks."""

from __future__ import annotations

import os

from lakequeue.identifiers import TableName

from tasks import statements
from tasks.sql import Statement
from tasks.table import AUDIT_TYPES, from_describe_json
from worker.settings import Settings
from worker.target import target
from worker.warehouse import Connection


class CannotAdopt(Exception):
    """The table has a column of an audit column's name and another type."""


class Adoption:
    """One table and a connection to its warehouse. What it does needs MODIFY on the table."""

    def __init__(self, name: TableName) -> None:
        settings = Settings.from_env()
        where = target(warehouse_id=os.environ.get("DATABRICKS_WAREHOUSE_ID", ""), http_path=settings.http_path)
        self._name = name
        self._connection = Connection(where, statement_timeout_s=settings.statement_timeout_s)

    def plan(self) -> Statement | None:
        """The statement that adds the missing columns; None if none is missing.

        Raises:
            CannotAdopt, StatementFailed.
        """
        answer = self._connection.execute(statements.describe(self._name))
        table = from_describe_json(self._name, "".join(str(row[0]) for row in answer.rows))
        odd = [
            f"{column.name} is {column.type.sql}, not {AUDIT_TYPES[key]}"
            for key, column in table.by_name.items()
            if key in AUDIT_TYPES and key not in table.audit
        ]
        if odd:
            raise CannotAdopt(f"{self._name}: {', '.join(odd)}; rename the column or change its type first")
        missing = [name for name in AUDIT_TYPES if name not in table.audit]
        return statements.add_audit_columns(self._name, missing) if missing else None

    def carry_out(self, statement: Statement) -> None:
        self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()
