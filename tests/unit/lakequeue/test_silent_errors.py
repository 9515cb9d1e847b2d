"""What the client raises names job, row and column, and quotes no value: not in its text, its details or its causes."""

from __future__ import annotations

import json
from collections.abc import Callable
from traceback import format_exception
from typing import Any

import pytest
from lakequeue import InvalidJob
from lakequeue.jobs import parse_job
from lakequeue.typed_values import Typed

from tests.planted import found_in, planted

TABLE = "shop.sales.secrets"
COLUMNS = [{"name": "id", "data_type": "BIGINT"}, {"name": "note", "data_type": "STRING"}]

JOBS: list[dict[str, Any]] = [
    {"kind": "write", "data": [{"id": object(), "note": planted("beside")}]},
    {"kind": "write", "data": planted("data")},
    {"kind": "write", "data": [planted("row")]},
    {"kind": "write", "data": [], "mode": planted("mode")},
    {"kind": "write", "data": [{"id": planted("typed")}], "schema_definition": COLUMNS, "auto_create": True},
    {"kind": "write", "data": [{"id": 1}], "schema_definition": planted("definition"), "auto_create": True},
    {"kind": "update", "key_column": "id", "key_value": {"x": planted("key")}, "updates": {"note": object()}},
    {"kind": "update", "key": planted("key"), "updates": planted("updates")},
    {"kind": "delete", "keys": [planted("key")]},
    {"kind": "delete", "key": {"id": planted("key")}, "soft": planted("soft")},
    {"kind": "read", "filters": [{"column": "id", "op": planted("op"), "value": planted("value")}]},
    {"kind": "read", "filters": [{"column": "id", "op": "in", "value": [object(), planted("value")]}]},
    {"kind": "read", "limit": planted("limit")},
    {"kind": "read", "columns": [{"x": planted("column")}]},
    {"kind": planted("kind")},
    *(
        {"kind": "write", "data": [{"id": Typed({"__type__": kind, "__value__": planted(kind)})}]}
        for kind in ("decimal", "datetime", "date", "time", "uuid", "base64", "float", planted("type"))
    ),
    {"kind": "write", "data": [{"note": Typed({"__type__": "bytes", "__value__": [planted("bytes")]})}]},
    {"kind": "write", "data": [{"note": planted("text").encode()}], "schema_definition": COLUMNS},
    {"kind": "write", "data": [{"raw": planted("raw")}], "schema_definition": [{"name": "raw", "data_type": "BINARY"}]},
]


def check_silent(do: Callable[[], object]) -> None:
    with pytest.raises(InvalidJob) as caught:
        do()
    exc = caught.value
    assert found_in(str(exc) + repr(exc) + json.dumps(exc.details)) == []
    assert found_in("".join(format_exception(exc))) == []


@pytest.mark.parametrize("job", JOBS, ids=[f"{i}-{job['kind'][:6]}" for i, job in enumerate(JOBS)])
def test_an_invalid_job(job: dict[str, Any]) -> None:
    check_silent(lambda: parse_job({"table": TABLE, **job}))


@pytest.mark.parametrize("text", ["{", "[", '{"a": NaN, "b": "', '{"kind": "write", "data": "', ""], ids=repr)
def test_a_text_that_is_no_job(text: str) -> None:
    check_silent(lambda: parse_job(text + planted("text")))
