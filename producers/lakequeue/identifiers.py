"""Names of tables, columns and jobs, checked once so that whoever writes SQL can quote them blindly."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from lakequeue.errors import InvalidArgument
from lakequeue.problems import quoted

JobId = NewType("JobId", str)

MAX_NAME_CHARS = 255

# docs.databricks.com, "Names": no dot, space, slash, control characters or DEL in a Unity Catalog object.
# Backticks are ours: without them a name's dotted form reads back as the same name.
_NOT_IN_OBJECTS = re.compile(r"[\x00-\x20./\x7f`\ud800-\udfff]")
# Delta takes ` ,;{}()\n\t=` in column names only under column mapping, which tables that are made here do not have.
_NOT_IN_NEW_COLUMNS = re.compile(r"[\x00-\x20,;{}()=\x7f\ud800-\udfff]")
_NOT_IN_COLUMNS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Ids stand unescaped in JSON, in lists with blanks between, in pages and in terminals: whatever is seen there as it is.
_JOB_ID = re.compile(
    r"[^\s\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\"'`\\<>&]{1,255}"
)


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A Unity Catalog table, in the lowercase form in which the catalog stores it."""

    catalog: str
    schema: str
    table: str

    def __post_init__(self) -> None:
        for part in ("catalog", "schema", "table"):
            object.__setattr__(self, part, check_object_name(getattr(self, part), part))

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """`catalog.schema.table`, each part plain or in backticks."""
        if not isinstance(text, str):
            raise InvalidArgument(f"a table is written catalog.schema.table, not as {quoted(text)}")
        return _parse_table(text)

    @classmethod
    def of(cls, catalog: str, schema: str, table: str) -> "TableName":
        """The same as the constructor, remembered: a busy producer names few tables, again and again."""
        return _table_of(catalog, schema, table)


@lru_cache(maxsize=4096)
def _parse_table(text: str) -> TableName:
    parts = [_without_backticks(part) for part in text.split(".")]
    if len(parts) != 3:
        raise InvalidArgument(f"a table is written catalog.schema.table; {quoted(text)} has {len(parts)} parts")
    return TableName(*parts)


@lru_cache(maxsize=4096)
def _table_of(catalog: str, schema: str, table: str) -> TableName:
    return TableName(catalog, schema, table)


def _without_backticks(part: str) -> str:
    return part[1:-1] if len(part) > 2 and part[0] == part[-1] == "`" else part


def check_object_name(name: object, what: str) -> str:
    """The lowercase form of a catalog's, schema's or table's name; ValueError if Unity Catalog refuses it."""
    if not isinstance(name, str):
        raise InvalidArgument(f"a {what} name is a string, not {quoted(name)}")
    lower = name.lower()
    _check(lower, f"{what} name", _NOT_IN_OBJECTS)
    return lower


@lru_cache(maxsize=8192)
def check_column_name(name: str) -> str:
    """The name itself, in its own case: columns keep theirs, though they compare without it."""
    if not isinstance(name, str):
        raise InvalidArgument(f"a column name is a string, not {quoted(name)}")
    _check(name, "column name", _NOT_IN_COLUMNS)
    return name


@lru_cache(maxsize=8192)
def check_new_column_name(name: str) -> str:
    """As `check_column_name`, of a column of a table that is to be created: without blanks and `,;{}()=`."""
    check_column_name(name)
    _check(name, "column name", _NOT_IN_NEW_COLUMNS)
    return name


def check_job_id(text: str) -> JobId:
    if not isinstance(text, str) or not _JOB_ID.fullmatch(text):
        raise InvalidArgument("a job id is 1 to 255 visible characters, without blanks, quotes, backslashes and < > &")
    return JobId(text)


def _check(name: str, what: str, forbidden: re.Pattern[str]) -> None:
    if not name:
        raise InvalidArgument(f"a {what} cannot be empty")
    if len(name) > MAX_NAME_CHARS:
        raise InvalidArgument(f"a {what} has at most {MAX_NAME_CHARS} characters, this one {len(name)}")
    if "${" in name:
        # Spark puts a variable's value there, in names too: spark.sql.variable.substitute is on by default.
        raise InvalidArgument(f"a {what} cannot hold ${{, since Spark substitutes a variable there: {quoted(name)}")
    if found := forbidden.search(name):
        raise InvalidArgument(f"a {what} cannot hold {_spelled(found[0])}: {quoted(name)}")


def _spelled(character: str) -> str:
    if character == " ":
        return "a space"
    if character < " " or character == "\x7f":
        return "a control character"
    return "a lone surrogate" if "\ud800" <= character <= "\udfff" else f"a {character}"
