"""What a worker makes of the answers to DESCRIBE."""

from __future__ import annotations

import pytest
from lakequeue.identifiers import TableName

from tasks.sql import Statement
from worker.tables import Tables
from worker.warehouse import Answer, StatementFailed


@pytest.mark.parametrize(
    "text", ["", "odd", "[]", "{}", '{"columns": [{}]}', '{"columns": [{"name": "a", "type": 7}]}']
)
def test_a_description_of_an_unknown_form_fails_no_job(text: str) -> None:
    def execute(statement: Statement) -> Answer:
        return Answer("s", None, ("json_metadata",), [(text,)], 0.0)

    with pytest.raises(StatementFailed) as raised:
        Tables(execute, properties={}).get(TableName.parse("a.b.c"))
    failure = raised.value.failure
    assert (failure.verdict, failure.code, failure.unexplained) == ("transient", "UNREADABLE_DESCRIPTION", True)
