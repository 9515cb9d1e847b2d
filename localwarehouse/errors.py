"""The errors a warehouse answers, in the form its clients parse: `[CLASS] text SQLSTATE: xxxxx`.

WarehouseError            a statement or request failed; class and SQLSTATE are part of the text
└── Unsupported           this stand-in refuses what it does not imitate, by name
CannotStart               the server has no data or no engine; its text says what to do
"""

import re

import duckdb

_FORM = re.compile(r"\[([A-Z][A-Z0-9_.]+)\] (.*) SQLSTATE: ([0-9A-Z]{5})", re.DOTALL)


class WarehouseError(Exception):
    """One failed statement. `text` has no class and no SQLSTATE; `str()` has both, unless there is no class."""

    def __init__(self, error_class: str, text: str, sqlstate: str) -> None:
        self.error_class = error_class
        self.text = text
        self.sqlstate = sqlstate
        super().__init__(f"[{error_class}] {text} SQLSTATE: {sqlstate}" if error_class else text)


class Unsupported(WarehouseError):
    def __init__(self, what: str) -> None:
        super().__init__("UNSUPPORTED_LOCAL", f"The local warehouse does not support {what}.", "0A000")


class CannotStart(Exception):
    pass


def sql_text(error_class: str, text: str, sqlstate: str) -> str:
    """The form as a plain string, for errors raised inside the engine by `error(...)`."""
    return f"[{error_class}] {text} SQLSTATE: {sqlstate}"


def table_not_found(name: str) -> WarehouseError:
    return WarehouseError(
        "TABLE_OR_VIEW_NOT_FOUND",
        f"The table or view {name} cannot be found. Verify the spelling and correctness of the schema and catalog.",
        "42P01",
    )


def schema_not_found(name: str) -> WarehouseError:
    return WarehouseError(
        "SCHEMA_NOT_FOUND",
        f"The schema {name} cannot be found. Verify the spelling and correctness of the schema and catalog.",
        "42704",
    )


def catalog_not_found(name: str) -> WarehouseError:
    return WarehouseError(
        "CATALOG_NOT_FOUND",
        f"The catalog {name} not found. Consider to set the SQL config to a catalog plugin.",
        "42P08",
    )


def already_exists(kind: str, name: str) -> WarehouseError:
    error_class, sqlstate = {
        "table": ("TABLE_OR_VIEW_ALREADY_EXISTS", "42P07"),
        "schema": ("SCHEMA_ALREADY_EXISTS", "42P06"),
        "catalog": ("CATALOG_ALREADY_EXISTS", "42P06"),
    }[kind]
    return WarehouseError(
        error_class,
        f"Cannot create {kind} {name} because it already exists. Choose a different name, drop or replace the "
        "existing object, or add the IF NOT EXISTS clause.",
        sqlstate,
    )


def not_empty(kind: str, name: str) -> WarehouseError:
    return WarehouseError(
        f"{kind.upper()}_NOT_EMPTY",
        f"Cannot drop a {kind} {name} because it contains objects. Use DROP {kind.upper()} ... CASCADE.",
        "2BP01",
    )


def unresolved_column(name: str, known: list[str]) -> WarehouseError:
    if not known:
        return WarehouseError(
            "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
            f"A column, variable, or function parameter with name {name} cannot be resolved.",
            "42703",
        )
    suggestion = ", ".join(f"`{column}`" for column in known[:5])
    return WarehouseError(
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        f"A column, variable, or function parameter with name {name} cannot be resolved. Did you mean one of "
        f"the following? [{suggestion}].",
        "42703",
    )


def type_mismatch(expression: str, why: str) -> WarehouseError:
    return WarehouseError(
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        f'Cannot resolve "{expression}" due to data type mismatch: {why}.',
        "42K09",
    )


def incompatible_data(table: str, column: str, source: str, target: str) -> WarehouseError:
    return WarehouseError(
        "INCOMPATIBLE_DATA_FOR_TABLE.CANNOT_SAFELY_CAST",
        f'Cannot write incompatible data for the table {table}: Cannot safely cast `{column}` "{source}" to '
        f'"{target}".',
        "KD000",
    )


def syntax_error(where: str) -> WarehouseError:
    return WarehouseError("PARSE_SYNTAX_ERROR", f"Syntax error at or near {where}.", "42601")


def ambiguous_merge() -> WarehouseError:
    return WarehouseError(
        "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE",
        "Cannot perform Merge as multiple source rows matched and attempted to modify the same target row in the "
        "Delta table in possibly conflicting ways.",
        "21506",
    )


def statement_timeout(seconds: int) -> WarehouseError:
    return WarehouseError(
        "STATEMENT_TIMEOUT",
        f"The statement was cancelled because it ran longer than STATEMENT_TIMEOUT ({seconds} s).",
        "57KD0",
    )


def cancelled() -> WarehouseError:
    return WarehouseError("OPERATION_CANCELED", "The operation was cancelled by its user.", "HY008")


def invalid_session(session_id: str) -> WarehouseError:
    return WarehouseError("INVALID_HANDLE", f"Invalid SessionHandle: SessionHandle [{session_id}]", "HY000")


def from_engine(exc: duckdb.Error) -> WarehouseError:
    """An error DuckDB raised, as the warehouse would say it.

    Guards in the translated SQL raise the finished text themselves, so that text is taken as it is. The rest
    are the engine's own checks that mean the same as the warehouse's.
    """
    text = str(exc)
    found = _FORM.search(text)
    if found is not None:
        return WarehouseError(found[1], found[2], found[3])
    if isinstance(exc, duckdb.InterruptException):
        return cancelled()
    if (
        "Malformed JSON" in text
        or text.startswith("Invalid Input Error: Expected ")
        or "does not have key" in text
        or "has duplicate key" in text
    ):
        # Spark also puts the record into the text; clients must not hand it on.
        return WarehouseError(
            "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
            f"Malformed records are detected in record parsing: {text.partition(':')[2].strip()}. Parse Mode: "
            "FAILFAST.",
            "22023",
        )
    if "Map keys must be unique" in text:
        return WarehouseError("DUPLICATED_MAP_KEY", "Duplicate map key was found.", "23505")
    if "Map keys can not be NULL" in text:
        return WarehouseError("NULL_MAP_KEY", "Cannot use null as map key.", "2200E")
    if "ivision by zero" in text:
        return WarehouseError("DIVIDE_BY_ZERO", "Division by zero. Use `try_divide` instead.", "22012")
    if isinstance(exc, duckdb.OutOfRangeException) or "Overflow" in text or "out of range" in text:
        return WarehouseError("ARITHMETIC_OVERFLOW", "An arithmetic operation overflowed.", "22003")
    if "GROUP BY" in text and isinstance(exc, duckdb.BinderException):
        return WarehouseError(
            "MISSING_AGGREGATION",
            "A non-aggregating expression is based on columns which are not participating in the GROUP BY clause.",
            "42803",
        )
    if "More than one row returned by a subquery" in text:
        return WarehouseError(
            "SCALAR_SUBQUERY_TOO_MANY_ROWS",
            "More than one row returned by a subquery used as an expression.",
            "21000",
        )
    if isinstance(exc, duckdb.BinderException | duckdb.ParserException | duckdb.NotImplementedException):
        return Unsupported(f"this statement ({text.splitlines()[0]})")
    return WarehouseError("INTERNAL_ERROR", text.splitlines()[0], "XX000")
