"""DESCRIBE TABLE EXTENDED … AS JSON and SHOW TABLES: answers the catalog gives without the engine."""

import re

from sqlglot import exp

from localwarehouse.catalog import TableName
from localwarehouse.errors import Unsupported
from localwarehouse.plans import Answer, Output
from localwarehouse.translate.context import Setting, only
from localwarehouse.types import BOOLEAN, STRING

_NAME = r"(?:`(?:[^`]|``)+`|[A-Za-z0-9_]+)"
_SHOW_TABLES = re.compile(rf"SHOW\s+TABLES(?:\s+(?:IN|FROM)\s+(?:({_NAME})\s*\.\s*)?({_NAME}))?\s*;?", re.IGNORECASE)

_SHOW_CREATE = re.compile(rf"SHOW\s+CREATE\s+TABLE\s+({_NAME})\s*\.\s*({_NAME})\s*\.\s*({_NAME})\s*;?", re.IGNORECASE)


def describe(setting: Setting, node: exp.Expression) -> Answer:
    only(node, "this", "style", "kind", "as_json")
    if not node.args.get("as_json") or str(node.args.get("style")).upper() not in ("EXTENDED", "FORMATTED"):
        raise Unsupported("DESCRIBE other than DESCRIBE TABLE EXTENDED … AS JSON")
    table = setting.table(node.this)
    return Answer("DESCRIBE", table.name, (Output("json_metadata", STRING),), ((table.describe(),),))


def show_tables(setting: Setting, text: str) -> Answer | None:
    """SHOW TABLES, which sqlglot does not parse; None is another statement."""
    found = _SHOW_TABLES.fullmatch(text.strip())
    if found is None:
        return None
    catalog = _bare(found[1]) if found[1] else setting.catalog
    schema = _bare(found[2]) if found[2] else setting.schema
    tables = setting.catalogs.tables(catalog.lower(), schema.lower())
    return Answer(
        "SHOW_TABLES",
        None,
        (Output("database", STRING), Output("tableName", STRING), Output("isTemporary", BOOLEAN)),
        tuple((schema.lower(), name, False) for name in sorted(tables)),
    )


def show_create(setting: Setting, text: str) -> Answer | None:
    """SHOW CREATE TABLE, which sqlglot does not parse; None is another statement."""
    found = _SHOW_CREATE.fullmatch(text.strip())
    if found is None:
        return None
    table = setting.catalogs.table(TableName(*(_bare(found[part]).lower() for part in (1, 2, 3))))
    return Answer("SHOW_CREATE_TABLE", table.name, (Output("createtab_stmt", STRING),), ((table.show_create(),),))


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
