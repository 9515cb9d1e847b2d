"""The contract said plainly, for a table of a key and two values: what a job alone does to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakequeue import Delete, Update


@dataclass(frozen=True)
class Row:
    """A row of the model. Who wrote it and whether it is deleted count; when does not."""

    k: str | None
    a: str | None
    b: str | None
    job: str | None = None
    created_by: str | None = None
    updated_by: str | None = None
    deleted: bool = False


def one_by_one(rows: Sequence[Row], job: Any, job_id: str) -> tuple[list[Row], int | None]:
    """What a job alone does, said plainly: the words of the contract, not the code under test. None if it fails."""
    live = [row for row in rows if not row.deleted]

    def text(value: Any) -> str | None:
        return None if value is None else str(value)

    if isinstance(job, Update):
        wanted = {text(change.key["k"]): change.updates for change in job.changes}
        hit = {k: sum(row.k == k for row in live) for k in wanted}
        if job.must_exist and not all(hit.values()):
            return list(rows), None
        result = []
        for row in rows:
            if row.k in wanted and row.k is not None and not row.deleted:
                changed: dict[str, Any] = {name: text(value) for name, value in wanted[row.k].items()}
                row = replace(row, updated_by=job.actor, **changed)
            result.append(row)
        return result, sum(hit.values())
    if isinstance(job, Delete):
        gone = {text(key["k"]) for key in job.targets}
        seen = live if job.soft else rows
        hit = {k: sum(row.k == k for row in seen) for k in gone}
        if job.must_exist and not all(hit.values()):
            return list(rows), None
        if not job.soft:
            return [row for row in rows if row.k not in gone], sum(hit.values())
        marked = [
            replace(row, deleted=True, updated_by=job.actor) if row.k in gone and not row.deleted else row
            for row in rows
        ]
        return marked, sum(hit.values())
    result = list(rows)
    written = 0
    for given_row in job.data:
        row = Row(text(given_row.get("k")), text(given_row.get("a")), text(given_row.get("b")))
        new = replace(row, job=job_id, created_by=job.actor, updated_by=job.actor)
        found = [i for i, each in enumerate(result) if each.k == row.k and not each.deleted and row.k is not None]
        if job.mode == "append" or not found:
            result.append(new)
            written += 1
        elif job.mode == "upsert":
            for i in found:
                values: dict[str, Any] = {name: text(value) for name, value in given_row.items() if name != "k"}
                result[i] = replace(result[i], updated_by=job.actor, **values)
            written += len(found)
    return result, written
