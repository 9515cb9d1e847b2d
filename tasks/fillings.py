"""Which columns a table fills in itself, as far as DESCRIBE or SHOW CREATE TABLE tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Filled = Literal["", "default", "generated", "identity", "always"]
"""How the table itself fills in a column: by a `default`, always by an expression (`generated`), or by a number that
counts up, where none is given (`identity`) or `always`."""

_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_COLUMN = re.compile(r"(`(?:[^`]|``)+`|\w+)\s+(.*)", re.DOTALL)
_GENERATED = re.compile(r"\bGENERATED\s+(ALWAYS|BY\s+DEFAULT)\s+AS\s*(IDENTITY\b|\()", re.IGNORECASE)
_DEFAULT = re.compile(r"\bDEFAULT\b", re.IGNORECASE)


def of_description(described: Mapping[str, Any]) -> Filled:
    """How a column of `DESCRIBE … AS JSON` is filled in, in any form in which it may be described.

    Of Databricks only `default` is documented (docs, DESCRIBE TABLE). The others are unconfirmed: the names of
    `information_schema.columns` and the keys of Delta Lake's metadata.
    """
    told = {str(key).lower(): value for key, value in {**(described.get("metadata") or {}), **described}.items()}

    def is_set(*names: str) -> bool:
        return any(told.get(name) not in (None, False, "", "NO", "NEVER", "no", "never") for name in names)

    if is_set("generation_expression", "delta.generationexpression", "generated_always_as"):
        return "generated"
    if is_set("identity", "is_identity", "delta.identity.start", "delta.identity.step"):
        spec = told.get("identity")
        explicit = (spec if isinstance(spec, dict) else told).get("delta.identity.allowexplicitinsert")
        by_default = str(told.get("identity_generation", "")).upper() == "BY DEFAULT"
        return "identity" if by_default or str(explicit).lower() == "true" else "always"
    return "default" if is_set("default", "column_default") else ""


def of_definition(text: str) -> dict[str, Filled]:
    """What SHOW CREATE TABLE tells, by lowercase column name: one column a line (unconfirmed on a live warehouse)."""
    found: dict[str, Filled] = {}
    for line in _LITERAL.sub("''", text).splitlines():
        column = _COLUMN.match(line.strip())
        if column is None:
            continue
        name = column[1][1:-1].replace("``", "`") if column[1].startswith("`") else column[1]
        if generated := _GENERATED.search(column[2]):
            counts = generated[2].upper() == "IDENTITY"
            always: Filled = "always" if counts else "generated"
            found[name.lower()] = "identity" if counts and generated[1].upper() != "ALWAYS" else always
        elif _DEFAULT.search(column[2]):
            found[name.lower()] = "default"
    return found
