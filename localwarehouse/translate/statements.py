"""One statement's text to its plan: parsed once, sent to the module of its kind, refused when it has none."""

import logging
from collections.abc import Callable

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from localwarehouse.errors import Unsupported, WarehouseError, syntax_error
from localwarehouse.plans import Plan
from localwarehouse.translate import (
    aggregates,
    definitions,
    descriptions,
    functions,
    merges,
    nested,
    predicates,
    select,
    writes,
)
from localwarehouse.translate.context import Setting

# sqlglot logs what it cannot parse as a command; those are refused below, with a reason.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
# Importing them registers their handlers of expressions.
_HANDLING = (aggregates, functions, nested, predicates)

_KINDS: dict[type[exp.Expression], tuple[str, Callable[[Setting, exp.Expression], Plan]]] = {
    exp.Select: ("SELECT", select.query),
    exp.Values: ("SELECT", select.query),
    exp.Subquery: ("SELECT", select.query),
    exp.Insert: ("INSERT", writes.insert),
    exp.Update: ("UPDATE", writes.update),
    exp.Delete: ("DELETE", writes.delete),
    exp.Merge: ("MERGE", merges.merge),
    exp.Create: ("CREATE", definitions.create),
    exp.Drop: ("DROP", definitions.drop),
    exp.Alter: ("ALTER", definitions.alter),
    exp.Describe: ("DESCRIBE", descriptions.describe),
}
MAX_STATEMENT_BYTES = 16 * 1024 * 1024


def translate(setting: Setting, text: str) -> Plan:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_STATEMENT_BYTES:
        raise WarehouseError("STATEMENT_TOO_LARGE", "The statement is larger than 16 MiB.", "54000")
    shown = descriptions.show_tables(setting, text) or descriptions.show_create(setting, text)
    ready = definitions.catalog_statement(text) or shown
    if ready is not None:
        return ready
    node = _parse(text)
    found = _KINDS.get(type(node))
    if found is None:
        raise Unsupported(f"the statement {type(node).__name__.upper()}")
    try:
        return found[1](setting, node)
    except RecursionError as exc:
        raise Unsupported("a statement nested this deeply") from exc


def _parse(text: str) -> exp.Expression:
    try:
        nodes = sqlglot.parse(text, read="databricks")
    except ParseError as exc:
        error = exc.errors[0] if exc.errors else {}
        where = f"'{error.get('highlight', '')}' (line {error.get('line')}, pos {error.get('col')})"
        raise syntax_error(where) from exc
    except SqlglotError as exc:
        raise syntax_error(str(exc).splitlines()[0]) from exc
    except RecursionError as exc:
        raise Unsupported("a statement nested this deeply") from exc
    statements = [node for node in nodes if isinstance(node, exp.Expression)]
    if not statements:
        raise syntax_error("end of input")
    if len(statements) > 1:
        raise Unsupported("several statements in one text")
    (node,) = statements
    if isinstance(node, exp.Command):
        raise Unsupported(f"the statement {text.strip().split()[0].upper()} in this form")
    return node


_FIRST_WORDS = {"SELECT", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "DESCRIBE", "DESC"}
_FIRST_TWO_WORDS = {"CREATE", "DROP", "ALTER", "SHOW"}
_OBJECTS = {"CATALOG", "SCHEMA", "DATABASE", "TABLE", "TABLES", "VIEW"}


def kind_of(text: str) -> str:
    """A statement's kind by its first words, for one that could not be translated."""
    first, second, *_ = [*text.upper().split()[:2], "", ""]
    if first in _FIRST_TWO_WORDS and second in _OBJECTS:
        return f"{first}_{second}"
    return first if first in _FIRST_WORDS else "OTHER"
