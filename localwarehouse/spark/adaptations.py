"""What open Spark and Delta Lake lack of the warehouse, and nothing else: see DIFFERENCES.md.

Statements go to Spark as they come. Done here: catalogs, which open Spark only configures; DESCRIBE … AS JSON, which
it has for tables of its own kind only; and the number of rows of an INSERT, of which it says nothing.
"""

import json
import re
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from localwarehouse import errors
from localwarehouse.catalog import DEFAULT_SCHEMA
from localwarehouse.plans import CreateCatalog, DropCatalog
from localwarehouse.spark.sessions import Spark
from localwarehouse.translate.definitions import catalog_statement
from localwarehouse.types import quote

_PART = r"(?:`(?:[^`]|``)+`|[^\s`.;()]+)"
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TARGET = re.compile(
    r"\b(?:INSERT\s+INTO(?:\s+TABLE)?|MERGE\s+INTO|UPDATE|FROM|DESCRIBE\s+TABLE\s+EXTENDED|"
    r"(?:CREATE|DROP|ALTER)\s+TABLE(?:\s+IF(?:\s+NOT)?\s+EXISTS)?)\s+"
    rf"({_NAME})",
    re.IGNORECASE,
)
_DESCRIBE = re.compile(rf"DESCRIBE\s+TABLE\s+EXTENDED\s+({_NAME})\s+AS\s+JSON\s*;?", re.IGNORECASE)
_DEFAULT = "CURRENT_DEFAULT"
# Of the properties, those that somebody set; the others describe the table.
_OWN = frozenset({"provider", "location", "owner", "external", "comment", "is_managed_location"})


def _parts(name: str, catalog: str, schema: str) -> tuple[str, str, str]:
    found = [part[1:-1].replace("``", "`") if part[0] == "`" else part for part in re.findall(_PART, name)]
    full = [catalog, schema][: max(0, 3 - len(found))] + found
    one, two, three = full[-3:]
    return one.lower(), two.lower(), three.lower()


def table_of(text: str, catalog: str, schema: str) -> tuple[str, str, str] | None:
    """The table a statement is about, by its words."""
    found = _TARGET.search(text)
    return _parts(found[1], catalog, schema) if found is not None else None


def run_catalog_statement(spark: Spark, text: str) -> bool:
    """CREATE CATALOG and DROP CATALOG; False is neither."""
    definition = catalog_statement(text)
    if definition is None:
        return False
    match definition.action:
        case CreateCatalog(catalog, if_not_exists):
            if catalog in spark.catalogs() and not if_not_exists:
                raise errors.already_exists("catalog", quote(catalog))
            spark.create_catalog(catalog)
        case DropCatalog(catalog, if_exists, cascade):
            if catalog not in spark.catalogs():
                if if_exists:
                    return True
                raise errors.catalog_not_found(quote(catalog))
            _drop(spark, catalog, cascade)
    return True


def _drop(spark: Spark, catalog: str, cascade: bool) -> None:
    folder = spark.folder(catalog)
    full = [path for path in folder.iterdir() if path.name != DEFAULT_SCHEMA or any(path.iterdir())]
    if full and not cascade:
        raise errors.not_empty("catalog", quote(catalog))
    with spark.session(catalog, DEFAULT_SCHEMA) as session:
        for (schema,) in session.sql(f"SHOW SCHEMAS IN {quote(catalog)}").collect():
            session.sql(f"DROP SCHEMA {quote(catalog)}.{quote(schema)} CASCADE")
    folder.rmdir()


def described(text: str) -> str | None:
    """The name in a DESCRIBE … AS JSON, as it is written; None is another statement."""
    found = _DESCRIBE.fullmatch(text.strip())
    return found[1] if found is not None else None


def describe(spark: Spark, session: SparkSession, name: tuple[str, str, str]) -> str:
    """The document of DESCRIBE TABLE EXTENDED … AS JSON, from the table's own schema."""
    catalog, schema, table = name
    if not spark.folder(catalog).is_dir():
        raise errors.catalog_not_found(quote(catalog))
    jvm: Any = session._jvm
    namespace = session.sparkContext._gateway.new_array(jvm.java.lang.String, 1)
    namespace[0] = schema
    identifier = jvm.org.apache.spark.sql.connector.catalog.Identifier.of(namespace, table)
    found = session._jsparkSession.sessionState().catalogManager().catalog(catalog).loadTable(identifier)
    # As it was declared: Delta keeps CHAR and VARCHAR as STRING, and what they were beside it.
    raw = jvm.org.apache.spark.sql.catalyst.util.CharVarcharUtils.getRawSchema(
        found.schema(), session._jsparkSession.sessionState().conf()
    )
    fields = json.loads(raw.json())["fields"]
    properties = {key: value for key, value in dict(found.properties()).items() if key not in _OWN}
    document = {
        "table_name": table,
        "catalog_name": catalog,
        "namespace": [schema],
        "schema_name": schema,
        "columns": [_column(field) for field in fields],
        "location": str(location(spark, name)),
        "type": "MANAGED",
        "provider": "delta",
        "table_properties": properties,
    }
    return json.dumps(document, ensure_ascii=False)


def _column(field: dict[str, Any]) -> dict[str, Any]:
    metadata = field["metadata"]
    told: dict[str, Any] = {"name": field["name"], "type": _type(field["type"]), "nullable": field["nullable"]}
    if "comment" in metadata:
        told["comment"] = metadata["comment"]
    if _DEFAULT in metadata:
        told["default"] = metadata[_DEFAULT]
    return told


def _type(given: Any) -> dict[str, Any]:
    """A type of Spark's JSON as DESCRIBE … AS JSON writes it."""
    if isinstance(given, str):
        decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", given)
        if decimal is not None:
            return {"name": "decimal", "precision": int(decimal[1]), "scale": int(decimal[2])}
        text = re.fullmatch(r"(char|varchar)\((\d+)\)", given)
        if text is not None:
            return {"name": text[1], "length": int(text[2])}
        names = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint"}
        return {"name": {**names, "timestamp": "timestamp_ltz"}.get(given, given)}
    match given["type"]:
        case "array":
            element = _type(given["elementType"])
            return {"name": "array", "element_type": element, "element_nullable": given["containsNull"]}
        case "map":
            key, value = _type(given["keyType"]), _type(given["valueType"])
            return {"name": "map", "key_type": key, "value_type": value, "value_nullable": given["valueContainsNull"]}
        case _:
            inner = [
                {"name": each["name"], "type": _type(each["type"]), "nullable": each["nullable"]}
                for each in given["fields"]
            ]
            return {"name": "struct", "fields": inner}


def location(spark: Spark, name: tuple[str, str, str]) -> Path | None:
    """Where the Delta table is; None if there is none."""
    catalog, schema, table = name
    try:
        return Path((spark.folder(catalog) / spark.file(schema) / spark.file(table)).read_text(encoding="utf-8"))
    except OSError:
        return None


def committed(table: Path, mark: str) -> dict[str, str] | None:
    """The metrics of the commit that carries the mark; None if there is none."""
    for log in sorted((table / "_delta_log").glob("*.json"), reverse=True):
        for line in log.read_text(encoding="utf-8").splitlines():
            info = json.loads(line).get("commitInfo")
            if info is not None and info.get("userMetadata") == mark:
                metrics: dict[str, str] = info.get("operationMetrics", {})
                return metrics
    return None
