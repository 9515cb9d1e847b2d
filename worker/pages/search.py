"""What jobs are searched and sorted by: Flower's own fields, and our columns.

The search box takes `table:orders`, `op:update`, `rows:2`, `batch:0f3a`, `error:HTTP_429`, `retries:1`, `state:RETRY`,
`job:order-17` and plain terms. Flower's engine (flower 2.2, `flower/utils/search.py`) knows no way to add fields: its
tables of them are replaced. A test types into the page.
"""

from __future__ import annotations

from typing import Any

from flower.utils import search

from worker.pages import columns

EXACT = frozenset({"op", "rows", "retries"})
"""Fields that are compared as a whole; of the others, a part of three characters will do."""

PARTS = frozenset({"table", "batch", "error", "job"})

NUMBERS = frozenset({"rows", "retries"})


class JobDocument(search.SearchDocument):  # type: ignore[misc]
    """A job as the engine keeps it."""

    __slots__ = ("batch", "error", "job", "op", "retries", "rows", "table")

    @classmethod
    def from_task(cls, task: Any) -> Any:
        columns.fill(task)
        document = super().from_task(task)
        for name in ("table", "op", "rows", "batch", "error", "retries"):
            value = getattr(task, name, None)
            setattr(document, name, "" if value is None else str(value).casefold())
        document.job = str(task.uuid).casefold()
        return document


def sort_key(task: Any, sort_by: str, task_id: str) -> tuple[Any, ...]:
    """Flower's own sorts numbers as text."""
    if sort_by in NUMBERS:
        value = getattr(task, sort_by, None)
        return isinstance(value, int), value if isinstance(value, int) else 0, task_id
    return _flowers_sort_key(task, sort_by, task_id)  # type: ignore[no-any-return]


_flowers_sort_key = search._task_sort_key


def install() -> None:
    search.SearchDocument = JobDocument
    search.SEARCH_FIELDS |= EXACT | PARTS
    search.EXACT_FIELDS |= EXACT
    search.EXACT_INDEX_FIELDS |= EXACT
    search._task_sort_key = sort_key
