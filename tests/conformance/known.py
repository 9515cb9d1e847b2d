"""Where the engines differ and stay so: what DuckDB and what Spark answers; the reasons are in DIFFERENCES.md."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.sides import Seen

_NO_SCHEMA: tuple[Seen, Seen] = (("error", "SCHEMA_NOT_FOUND", "42704"), ("error", "TABLE_OR_VIEW_NOT_FOUND", "42P01"))

_CHAR_IN_MERGE: tuple[Seen, Seen] = (
    ("changed", ("num_affected_rows", "num_updated_rows", "num_deleted_rows", "num_inserted_rows"), (1, 1, 0, 0)),
    ("error", "INTERNAL_ERROR", "XX000"),
)
_DIGITS: tuple[Seen, Seen] = (
    ("error", "NUMERIC_VALUE_OUT_OF_RANGE", "22003"),
    ("error", "NUMERIC_OUT_OF_SUPPORTED_RANGE", "22003"),
)

KNOWN: Mapping[str, tuple[Seen, Seen]] = {
    "append: not an array": (
        ("error", "MALFORMED_RECORD_IN_PARSING", "22023"),
        ("changed", ("num_affected_rows", "num_inserted_rows"), (0, 0)),
    ),
    "chars: is set": _CHAR_IN_MERGE,
    "chars: is a key": _CHAR_IN_MERGE,
    f"DECIMAL(38,0): {'9' * 39}": _DIGITS,
    f"DECIMAL(38,0): 1{'0' * 38}": _DIGITS,
    "BINARY: AA": (
        ("error", "CONVERSION_INVALID_INPUT", "22018"),
        ("rows", ("v",), ((("bytes", b"\x00"),),)),
    ),
    "names: VARCHAR under a quoted name": (("done",), ("error", "INVALID_IDENTIFIER", "42602")),
    "missing: schema": _NO_SCHEMA,
    "missing: schema of an INSERT": _NO_SCHEMA,
    "missing: schema described": _NO_SCHEMA,
}
