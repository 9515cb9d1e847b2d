"""The columns of Flower's list of tasks: what our events say of a job, taken out of `kwargs` and `result`.

`TASK_COLUMNS` is not meant to be added to (flower 2.2); a test looks at the page.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

ADDED = {"table": "Table", "op": "Op", "rows": "Rows", "batch": "Batch", "error": "Error code"}

SHOWN = "uuid,state,table,op,rows,batch,error,retries,received,runtime,worker"

LONGEST = 10_000


def install() -> None:
    from flower.views import tasks

    tasks.TASK_COLUMNS.update(ADDED)
    tasks.TASK_COLUMNS["uuid"] = "Job"


def fill(task: Any) -> None:
    """Give one of Flower's tasks our columns as attributes; they are not kept with its history."""
    asked, became = told(task.kwargs), told(task.result)
    task.table = asked.get("table")
    task.op = asked.get("op")
    task.rows = became.get("rows", asked.get("rows"))
    task.batch = became.get("batch")
    task.error = became.get("error")


def format_task(task: Any) -> Any:
    """A copy of Flower's task with our columns among its fields."""
    fill(task)
    task._fields = (*task._fields, *ADDED)
    return task


def told(text: Any) -> dict[str, Any]:
    """The Python literal of an event's `kwargs` or `result`; of a foreign one, nothing."""
    return _literal(text) if isinstance(text, str) and len(text) <= LONGEST else {}


@lru_cache(maxsize=4096)
def _literal(text: str) -> dict[str, Any]:
    try:
        read = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
