"""One engine behind the real connector, and what is seen of a statement there in a form that can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from databricks.sql.exc import Error
from lakequeue.identifiers import TableName

from tasks import statements
from tasks.sql import Statement
from tasks.table import Table, from_describe_json
from tests.strategies import comparable

Seen = tuple[Any, ...]
"""("rows", names, rows), ("changed", names, counts), ("done",) or ("error", class, SQLSTATE): never a text."""

Step = Callable[[Table], Statement] | Statement | str
"""A statement of the product for a table, or a text in which {t} is the table and {s} its schema."""

_ERROR = re.compile(r"\[(?P<error_class>[A-Z0-9_]+)(?:\.[A-Z0-9_]+)*\].*SQLSTATE: (?P<state>[0-9A-Z]{5})", re.DOTALL)
# The clocks differ, and so do the users of a live warehouse.
_APART = frozenset({"now", "user"})


@dataclass
class Side:
    name: Literal["duckdb", "spark", "live"]
    connect: Callable[..., Any]
    """Takes the connector's own options."""
    catalog: str
    schema: str
    tables: dict[str, Table] = field(default_factory=dict)
    serial: bool = False
    """Its writers of one table follow each other and never conflict: DuckDB."""

    def __post_init__(self) -> None:
        self.connection = self.connect()

    def again(self) -> Side:
        """The same place through a connection of its own, for a thread."""
        return Side(self.name, self.connect, self.catalog, self.schema, serial=self.serial)

    def connect_with(self, session: Mapping[str, str]) -> Callable[..., Any]:
        """`connect` with settings of the session on top."""
        settings = {"ANSI_MODE": "true", "TIMEZONE": "UTC", **session}
        return lambda: self.connect(session_configuration=settings)

    def table_name(self, story: str) -> TableName:
        return TableName(self.catalog, self.schema, story)

    def describe(self, story: str) -> Table:
        """The table as the product knows it; described once, like there."""
        if story not in self.tables:
            name = self.table_name(story)
            text = self.rows(statements.describe(name))[0][0]
            self.tables[story] = from_describe_json(name, text)
        return self.tables[story]

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(str(statement.sql), dict(statement.parameters) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def see(self, story: str, step: Step) -> Seen:
        if callable(step):
            step = step(self.describe(story))
        if isinstance(step, Statement):
            return self.run(str(step.sql), step.parameters)
        schema = f"`{self.catalog}`.`{self.schema}`"
        text = step.replace("{t}", f"{schema}.`{story}`").replace("{s}", schema).replace("{c}", f"`{self.catalog}`")
        if text.startswith("ALTER"):
            self.tables.pop(story, None)
        return self.run(text, {})

    def run(self, text: str, parameters: Mapping[str, str | None]) -> Seen:
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(text, dict(parameters) or None)
            except Error as exc:
                found = _ERROR.search(str(exc))
                return ("error", found["error_class"], found["state"]) if found else ("error", str(exc), "")
            names = tuple(column[0] for column in cursor.description or ())
            rows = [tuple(row) for row in cursor.fetchall()]
            if names and names[0] == "num_affected_rows":
                assert cursor.rowcount == rows[0][0]
                return ("changed", names, rows[0])
        if not text.startswith(("SELECT", "VALUES")):
            return ("done",)
        kept = [i for i, name in enumerate(names) if name not in _APART]
        values = [tuple(comparable(row[i]) for i in kept) for row in rows]
        if "ORDER BY" not in text:
            values.sort(key=repr)
        return ("rows", tuple(names[i] for i in kept), tuple(values))
