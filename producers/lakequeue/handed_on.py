"""What a chain, a link or a chord hands on to a write as its positional argument: rows, or pages of reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lakequeue.columns import AUDIT_TYPES
from lakequeue.problems import Problems

_PAGE = {"data", "count", "total", "receipt"}
_WRITTEN = {"message", "count", "receipt"}


def rows_handed_on(op: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The rows of a write; of a chord's parts, those of all parts, in order. There may be none.

    A read's page loses its audit columns and `_job_id`: the write stamps its own.

    Raises:
        InvalidJob: the job takes no positional argument, or it is no rows.
    """
    problems = Problems()
    rows: list[Any] = []
    if op != "write":
        msg = "takes no positional argument; in a chain or link, an immutable signature, .si(...), takes none"
        problems.add("positional", (), f"{_with_article(op)} {msg}")
    elif len(args) > 1:
        problems.add("positional", (), f"a write takes one positional argument, its rows, not {len(args)}")
    elif "data" in kwargs:
        msg = "are given twice, as a positional argument and as data; an immutable signature, .si(...), takes none"
        problems.add("both_forms", ("data",), f"the rows {msg}")
    elif not _gather(args[0], rows):
        msg = "is no row and no list of rows; an immutable signature, .si(...), takes none"
        problems.add("wrong_type", ("data",), f"what was handed on {msg}")
    if problems:
        raise problems.as_invalid_job(_with_article(op))
    return rows


def _with_article(op: str) -> str:
    return f"an {op}" if op == "update" else f"a {op}"


def _gather(given: Any, rows: list[Any]) -> bool:
    """Append the rows in a value, which may be lists of lists: a chord of groups. False if there is anything else."""
    if isinstance(given, list):
        return all(_gather(each, rows) for each in given)
    if not isinstance(given, dict) or given.keys() == _WRITTEN:
        return False
    if given.keys() != _PAGE:
        rows.append(given)
        return True
    page = given["data"]
    if not isinstance(page, list) or not all(isinstance(row, dict) for row in page):
        return False
    stamps = _stamps(given["receipt"])
    rows += ({name: value for name, value in row.items() if name.lower() not in stamps} for row in page)
    return True


def _stamps(receipt: Any) -> frozenset[str]:
    """The audit columns of a page: by their types, as far as the receipt tells these."""
    types = receipt.get("columns") if isinstance(receipt, dict) else None
    if not isinstance(types, dict):
        return frozenset(AUDIT_TYPES)
    told = {str(name).lower(): text for name, text in types.items()}
    return frozenset(name for name, text in AUDIT_TYPES.items() if told.get(name, text) == text)
