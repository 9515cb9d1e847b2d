"""Unity Catalog by REST: what is there, by the engine's own word, and who may do what with it, by a test's."""

import json
from collections.abc import Mapping
from typing import Any

from localwarehouse.catalog import DEFAULT_CATALOG, DEFAULT_SCHEMA
from localwarehouse.engine import Engine, Running
from localwarehouse.errors import WarehouseError
from localwarehouse.scripted import KINDS, Kind, Script, Securable
from localwarehouse.types import quote

Answer = tuple[int, dict[str, Any]]
"""Status and body."""

METASTORE = "local"
_MISSING = {
    "CATALOG_NOT_FOUND": "catalog",
    "NO_SUCH_CATALOG_EXCEPTION": "catalog",
    "SCHEMA_NOT_FOUND": "schema",
    "TABLE_OR_VIEW_NOT_FOUND": "table",
}
_OF_THE_WORKSPACE = ("admins", "users")
"""Groups of a workspace alone, which Unity Catalog does not know."""

_NOBODYS = "no such schema"
"""Asked for, it shows whether its catalog is there; no schema has a name with spaces."""


class Unity:
    """Asks the engine by statements that are in no log and in no count: no client sent them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def metastore(self, script: Script) -> Answer:
        securable = script.of("metastore", METASTORE)
        if securable.status != 200:
            return _scripted(securable)
        return 200, {"metastore_id": METASTORE, "name": METASTORE, "owner": securable.owner}

    def look(self, script: Script, kind: Kind, name: str) -> Answer:
        """A catalog, schema or table, if the user may see it, by the rules of the REST API's documentation."""
        parts, securable = name.split("."), script.of(kind, name)
        if securable.status != 200:
            return _scripted(securable)
        missing, described = self._find(kind, parts)
        if missing is not None:
            return missing
        refused = _refused(script, kind, parts)
        if refused is not None:
            return 403, _error("PERMISSION_DENIED", refused)
        told: dict[str, Any] = {"name": parts[-1], "full_name": name, "owner": securable.owner}
        if described is not None:
            told |= {
                "catalog_name": parts[0],
                "schema_name": parts[1],
                "table_type": described["type"],
                "data_source_format": str(described["provider"]).upper(),
                "columns": [_column(at, column) for at, column in enumerate(described["columns"])],
                "properties": described["table_properties"],
            }
        return 200, told | dict(securable.told)

    def permissions(self, script: Script, kind: Kind, name: str, query: Mapping[str, str]) -> Answer:
        """Who holds what. Of one principal: what was granted to it, not to its groups.

        Whoever asks for pages gets an empty one first: the documentation says to expect such.
        """
        principal = query.get("principal")
        if kind not in KINDS:
            return 400, _error("INVALID_PARAMETER_VALUE", f"'{kind}' is no securable type here")
        securable = script.of(kind, name)
        if securable.status != 200:
            return _scripted(securable)
        if kind != "metastore":
            missing, _ = self._find(kind, name.split("."))
            if missing is not None:
                return missing
        if principal in securable.closed_to:
            return 403, _error("PERMISSION_DENIED", f"User does not have MANAGE on {kind.capitalize()} '{name}'.")
        if principal not in (None, *script.mine()) or principal in _OF_THE_WORKSPACE:
            return 404, _error("PRINCIPAL_DOES_NOT_EXIST", f"Could not find principal with name {principal}.")
        if "max_results" in query and "page_token" not in query:
            return 200, {"next_page_token": "all"}
        held = script.assignments(kind, name)
        return 200, {
            "privilege_assignments": [
                {"principal": who, "privileges": privileges}
                for who, privileges in held.items()
                if privileges and principal in (None, who)
            ]
        }

    def _find(self, kind: Kind, parts: list[str]) -> tuple[Answer | None, dict[str, Any] | None]:
        """What to answer if it is not there; of a table, its description."""
        if len(parts) != KINDS.index(kind):
            return (400, _error("INVALID_PARAMETER_VALUE", f"'{'.'.join(parts)}' is not the name of a {kind}.")), None
        try:
            if kind == "table":
                text = self._ask(f"DESCRIBE TABLE EXTENDED {'.'.join(map(quote, parts))} AS JSON")
                return None, json.loads(text)
            self._ask(f"SHOW TABLES IN {'.'.join(map(quote, [*parts, _NOBODYS][:2]))}")
        except WarehouseError as exc:
            missing = _MISSING.get(exc.error_class)
            if missing is None:
                return (500, _error("INTERNAL_ERROR", str(exc))), None
            if KINDS.index(missing) <= KINDS.index(kind):
                name = ".".join(parts[: KINDS.index(missing)])
                told = _error(f"{missing.upper()}_DOES_NOT_EXIST", f"{missing.capitalize()} '{name}' does not exist.")
                return (404, told), None
        return None, None

    def _ask(self, text: str) -> str:
        """The first value it answers, if any."""
        table = self._engine.prepare(text, {}, DEFAULT_CATALOG, DEFAULT_SCHEMA).run(Running()).table
        return str(table.column(0)[0].as_py()) if table.num_rows else ""


def _refused(script: Script, kind: Kind, parts: list[str]) -> str | None:
    """Why the user may not see it."""
    catalog, schema, table = (".".join(parts[:depth]) for depth in (1, 2, 3))
    steps = [("USE_CATALOG", "catalog", catalog), ("USE_SCHEMA", "schema", schema), ("SELECT", "table", table)]
    match kind:
        case "catalog":
            wanted = steps[:1]
        case "schema":
            wanted = steps[1:2]
        case _ if script.owns("catalog", catalog):
            wanted = []
        case _ if script.owns("schema", schema):
            wanted = steps[:1]
        case _:
            wanted = steps
    for privilege, of, name in wanted:
        if not (script.owns(of, name) or script.may(privilege, of, name)):
            return f"User does not have {privilege.replace('_', ' ')} on {of.capitalize()} '{name}'."
    return None


def _column(position: int, described: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": described["name"],
        "type_text": _type_text(described["type"]),
        "nullable": described["nullable"],
        "position": position,
    }


def _type_text(described: Mapping[str, Any]) -> str:
    """A type as Spark writes it in catalogs."""
    match described["name"]:
        case "timestamp_ltz":
            return "timestamp"
        case "decimal":
            return f"decimal({described['precision']},{described['scale']})"
        case "char" | "varchar" as name:
            return f"{name}({described['length']})"
        case "array":
            return f"array<{_type_text(described['element_type'])}>"
        case "map":
            return f"map<{_type_text(described['key_type'])},{_type_text(described['value_type'])}>"
        case "struct":
            fields = (f"{each['name']}:{_type_text(each['type'])}" for each in described["fields"])
            return f"struct<{','.join(fields)}>"
        case name:
            return str(name)


def _scripted(securable: Securable) -> Answer:
    return securable.status, _error("SCRIPTED", "A scripted answer.")


def _error(code: str, message: str) -> dict[str, str]:
    return {"error_code": code, "message": message}
