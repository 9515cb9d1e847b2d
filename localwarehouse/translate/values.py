"""A translated expression, its type, and the literals and error guards it is written with."""

from dataclasses import dataclass, replace

from localwarehouse.errors import Unsupported, sql_text
from localwarehouse.types import DataType

# Larger than a literal in a statement of the largest size.
_MAX_LENGTH = 20 * 1024 * 1024


@dataclass(frozen=True)
class Value:
    """`sql` is DuckDB SQL that needs no brackets around it; `of_row` says that it depends on a row.

    `again` is shorter SQL for the same value, good where `sql` has been evaluated before it and raised nothing:
    what is read several times over would else make statements that DuckDB plans for longer than it runs them.
    """

    sql: str
    type: DataType
    of_row: bool = False
    again: str | None = None

    def __post_init__(self) -> None:
        # A cast repeats its operand, so that casts within casts grow by powers.
        if len(self.sql) > _MAX_LENGTH:
            raise Unsupported("an expression nested this deeply")

    @property
    def repeated(self) -> str:
        return self.again or self.sql

    def become(self, sql: str, data_type: DataType) -> "Value":
        return replace(self, sql=sql, type=data_type, again=None)


def string(text: str) -> str:
    """A DuckDB string literal."""
    if "\0" in text:
        # DuckDB reads SQL text up to a NUL.
        return "(" + " || chr(0) || ".join(string(part) for part in text.split("\0")) + ")"
    return "'" + text.replace("'", "''") + "'"


def failure(error_class: str, text: str, sqlstate: str, shown: str | None = None) -> str:
    """An expression that raises. `{value}` in the text is replaced by the SQL string `shown` when it does."""
    if shown is None:
        return f"error({string(sql_text(error_class, text, sqlstate))})"
    before, _, after = sql_text(error_class, text, sqlstate).partition("{value}")
    return f"error({string(before)} || {shown} || {string(after)})"
