"""May this worker do what jobs on a table need? Unity Catalog is asked by REST, which starts no warehouse.

What a live workspace does is unconfirmed in these points:

- Whether what a principal may do includes what its groups may. The documentation does not say, so the groups are asked
  for where something is missing; whether a member may ask for its group is not documented either.
- Whether an owner's privileges are told as privileges. Owners are looked at here, each at its own level: who owns a
  schema may create tables in it, and has no privilege on those of others.
  https://docs.databricks.com/data-governance/unity-catalog/manage-privileges/ownership.html
- Whether what may not be seen is refused, or is said not to exist.

INSERT, UPDATE and DELETE (Beta), into which MODIFY can be split, are not looked for: the SDK does not know them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.catalog import CatalogInfo, GetMetastoreSummaryResponse, SchemaInfo, TableInfo
from lakequeue.identifiers import TableName

from tasks.sql import Sql, identifier, join
from worker.findings import Finding, short
from worker.suitable import columns_found, read_only

Kind = Literal["metastore", "catalog", "schema", "table"]
Info = GetMetastoreSummaryResponse | CatalogInfo | SchemaInfo | TableInfo

ALL = "ALL PRIVILEGES"
EVERYBODY = "account users"
"""The group of all users and service principals of an account."""

NEEDED: dict[Kind, tuple[str, ...]] = {
    "metastore": (),
    "catalog": ("USE CATALOG",),
    "schema": ("USE SCHEMA",),
    "table": ("SELECT", "MODIFY"),
}
"""Reads need no MODIFY. Writes need SELECT too: MERGE reads its table, and so does the proof of a lost answer."""


@dataclass(frozen=True, slots=True)
class Securable:
    """Something that privileges are granted on; `path` is its name in a path of the REST API."""

    kind: Kind
    name: str
    path: str
    sql: str
    """As GRANT … ON names it."""

    @classmethod
    def of(cls, kind: Kind, *parts: str) -> Securable:
        name = ".".join(parts)
        sql = Sql(f"{kind.upper()} {join('.', map(identifier, parts))}")
        return cls(kind, name, quote(name, safe=""), str(sql))


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the worker's credentials belong to. A service principal's name is its application id."""

    name: str
    groups: tuple[str, ...]

    def is_owner(self, owner: str | None) -> bool:
        return owner is not None and owner.casefold() in {each.casefold() for each in (self.name, *self.groups)}


def permission_findings(client: WorkspaceClient, table: TableName) -> Iterator[Finding]:
    """What jobs on the table may do, from the catalog down; and whether the table suits them, if it is there."""
    try:
        me = client.current_user.me()
        groups = tuple(group.display for group in me.groups or () if group.display)
        yield from _Question(client, Identity(me.user_name or "", groups)).findings(table)
    except (DatabricksError, ValueError, OSError, TimeoutError) as exc:
        told = f"{table}: Unity Catalog does not answer: {type(exc).__name__}"
        yield Finding("FAIL", "table", told, "check DATABRICKS_HOST, the network and the proxy settings")


class _Question:
    def __init__(self, client: WorkspaceClient, identity: Identity) -> None:
        self._client = client
        self._identity = identity

    def findings(self, table: TableName) -> Iterator[Finding]:
        levels = (
            Securable.of("catalog", table.catalog),
            Securable.of("schema", table.catalog, table.schema),
            Securable.of("table", table.catalog, table.schema, table.table),
        )
        seen: list[tuple[Securable, Info | None]] = []
        missing = None
        for level in levels:
            try:
                seen.append((level, self._look(level)))
            except NotFound:
                missing = level
                break
        if not seen:
            try:
                metastore = self._client.metastores.summary()
            except (NotFound, PermissionDenied) as exc:
                told = f"{table}: this workspace tells of no Unity Catalog: {short(exc)}"
                yield Finding("FAIL", "metastore", told, "have a metastore assigned to the workspace")
                return
            found = Securable(
                "metastore", metastore.name or "", quote(metastore.metastore_id or "", safe=""), "METASTORE"
            )
            seen.append((found, metastore))
        last, told_of_last = seen[-1]
        for level, info in seen:
            needed = NEEDED[level.kind]
            if isinstance(info, TableInfo) and (why := read_only(info)):
                yield Finding("FAIL", "table", f"{level.name} {why}: jobs can read it, not write", "name another table")
                needed = ("SELECT",)
            if missing is not None and level is last:
                needed = (*needed, f"CREATE {missing.kind.upper()}")
            yield from self._check(level, needed, info.owner if info is not None else None)
        if missing is not None:
            told = f"{missing.name} is not there, or is not shown to {self._identity.name}"
            made = "it" if missing.kind == "table" else f"it, and {table} in it"
            yield Finding("warn", missing.kind, told, f"a write with auto_create and schema_definition makes {made}")
        elif isinstance(told_of_last, TableInfo):
            yield from columns_found(table, told_of_last)
        else:
            yield Finding("skip", "columns", f"{table} is not shown to {self._identity.name}")

    def _look(self, level: Securable) -> Info | None:
        """What the catalog tells of it; None if it is there, but not shown.

        Raises:
            NotFound.
        """
        try:
            match level.kind:
                case "catalog":
                    return self._client.catalogs.get(level.path)
                case "schema":
                    return self._client.schemas.get(level.path)
                case _:
                    return self._client.tables.get(level.path)
        except PermissionDenied:
            return None

    def _check(self, level: Securable, needed: Sequence[str], owner: str | None) -> Iterator[Finding]:
        """What is held of the needed privileges, and of each that is not the GRANT that gives it."""
        who = str(identifier(self._identity.name))
        if self._identity.is_owner(owner):
            yield Finding("ok", level.kind, f"{level.name}: {', '.join(needed)}, as its owner")
            return
        try:
            held = self._held_by(self._identity.name, level)
        except PermissionDenied as exc:
            told = f"{level.name}: not told whether {', '.join(needed)} may be used: {short(exc)}"
            yield Finding("FAIL", level.kind, told, f"have its owner run SHOW GRANTS {who} ON {level.sql}")
            return
        untold = []
        for group in (*self._identity.groups, EVERYBODY):
            if ALL in held or held.issuperset(needed):
                break
            try:
                held |= self._held_by(group, level)
            except PermissionDenied:
                untold.append(group)
            except (BadRequest, NotFound):
                continue  # A group of the workspace alone is unknown to Unity Catalog, and has no privileges there.
        missing = [] if ALL in held else [each for each in needed if each not in held]
        if granted := [each for each in needed if each not in missing]:
            yield Finding("ok", level.kind, f"{level.name}: {', '.join(granted)}")
        for privilege in missing:
            told = f"{level.name}: {privilege} is missing"
            if untold:
                told += f", unless a group has it: not told of {', '.join(untold)}"
            yield Finding("FAIL", level.kind, told, f"GRANT {privilege} ON {level.sql} TO {who}")

    def _held_by(self, principal: str, level: Securable) -> set[str]:
        """Its privileges, inherited ones too, as GRANT spells them. Those the SDK does not know are left out."""
        held: set[str] = set()
        page: str | None = None
        while True:
            answer = self._client.grants.get_effective(
                level.kind, level.path, max_results=0, page_token=page, principal=principal
            )
            for assignment in answer.privilege_assignments or ():
                told = (each.privilege for each in assignment.privileges or ())
                held |= {privilege.value.replace("_", " ") for privilege in told if privilege is not None}
            page = answer.next_page_token
            if not page:
                return held
