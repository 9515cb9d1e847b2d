"""What these tests do with the connector: run a text, expect an error, insert in the product's way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from databricks.sql.exc import Error

LATER = "2999-01-01T00:00:00Z"
STAMP = "2024-05-05T01:02:03.000004Z"
FAILFAST = "map('mode', 'FAILFAST')"
AMBIGUOUS = ("DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506")
JOBS_SCHEMA = "ARRAY<STRUCT<id: STRING, actor: STRING, rows: ARRAY<ARRAY<STRING>>>>"


@dataclass(frozen=True)
class Client:
    connection: Any
    schema: str

    def run(self, text: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(text.replace("{s}", self.schema), parameters)
            return [tuple(row) for row in cursor.fetchall()]

    def value(self, text: str, parameters: Any = None) -> Any:
        ((value,),) = self.run(text, parameters)
        return value

    def fails(self, text: str, parameters: Any = None) -> tuple[str, str]:
        """The class and SQLSTATE of the error the statement must raise."""
        error_class, _, sqlstate = self.error(text, parameters)
        return error_class, sqlstate

    def error(self, text: str, parameters: Any = None) -> tuple[str, str, str]:
        with pytest.raises(Error) as caught:
            self.run(text, parameters)
        message = str(caught.value)
        assert message.startswith("["), message
        assert " SQLSTATE: " in message, message
        return message[1 : message.index("]")], message, message[-5:]


def insert_text(
    table: str, columns: Sequence[str], expressions: Sequence[str], *, audit: bool = False, guarded: bool = False
) -> str:
    """The product's INSERT: rows of jobs in one JSON parameter, every value a string, one cast a column."""
    names = list(columns)
    values = list(expressions)
    if audit:
        names += ["created_at", "created_by", "updated_at", "updated_by", "_job_id"]
        stamp = "CAST(:stamp AS TIMESTAMP)"
        values += [stamp, "actor", stamp, "actor", "job"]
    text = (
        f"INSERT INTO {table} ({', '.join(f'`{name}`' for name in names)})\n"
        f"SELECT {', '.join(values)}\n"
        "FROM (SELECT j.id AS job, j.actor AS actor, explode(j.rows) AS r\n"
        f"      FROM (SELECT explode(from_json(:jobs, '{JOBS_SCHEMA}', map('mode', 'FAILFAST'))) AS j))\n"
        f"WHERE assert_true(size(r) = {len(columns)}, 'row width') IS NULL\n"
        "  AND assert_true(current_timestamp() < CAST(:start_by AS TIMESTAMP), 'expired') IS NULL"
    )
    if guarded:
        text += f"\n  AND NOT EXISTS (SELECT 1 FROM {table} WHERE `updated_at` = CAST(:stamp AS TIMESTAMP))"
    return text


def payload(*rows: Sequence[str | None], jobs: int = 1, start_by: str = LATER, stamp: str = STAMP) -> dict[str, str]:
    """The parameters of `insert_text`: the rows, dealt out to the jobs j0, j1, …"""
    dealt = [{"id": f"j{job}", "actor": "ann", "rows": [list(row) for row in rows[job::jobs]]} for job in range(jobs)]
    return {"jobs": json.dumps(dealt, ensure_ascii=False), "stamp": stamp, "start_by": start_by}


def merge_counts(client: Client, text: str, values: Any = None) -> tuple[int, ...]:
    """Updated, deleted and inserted rows, checked against their sum and the cursor's rowcount."""
    with client.connection.cursor() as cursor:
        cursor.execute(text.replace("{s}", client.schema), values)
        assert [column[0] for column in cursor.description] == [
            *("num_affected_rows", "num_updated_rows", "num_deleted_rows", "num_inserted_rows")
        ]
        ((affected, *others),) = (tuple(row) for row in cursor.fetchall())
        assert cursor.rowcount == affected == sum(others)
        return tuple(others)
