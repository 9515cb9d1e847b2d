"""Unity Catalog by REST, as the real SDK asks for it: what is there, who may what, and what a test makes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.service.catalog import DataSourceFormat, TableType
from databricks.sdk.service.sql import State

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client

ME = "local@localhost"


@pytest.fixture
def sdk(shared: LocalWarehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceClient]:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield WorkspaceClient(host=f"http://127.0.0.1:{shared.port}", token="local")
    shared.workspace()


def held(sdk: WorkspaceClient, kind: str, name: str, principal: str | None = ME) -> dict[str, str | None]:
    """Privileges, and what each is inherited from."""
    answer = sdk.grants.get_effective(kind, name, principal=principal)
    return {
        each.privilege.value: each.inherited_from_name
        for assignment in answer.privilege_assignments or ()
        for each in assignment.privileges or ()
        if each.privilege is not None
    }


def test_a_table_is_told_as_it_was_created(sdk: WorkspaceClient, client: Client, shared: LocalWarehouse) -> None:
    client.run(
        "CREATE TABLE {s}.t (a BIGINT NOT NULL, b TIMESTAMP, c TIMESTAMP_NTZ, d DECIMAL(9,2), e VARCHAR(3), "
        "f ARRAY<MAP<STRING, STRUCT<x: INT, y: DATE>>>, g BINARY) TBLPROPERTIES ('k' = 'v')"
    )
    before = shared.counts()
    told = sdk.tables.get(f"{client.schema}.t")
    assert [(column.name, column.type_text, column.nullable) for column in told.columns or ()] == [
        ("a", "bigint", False),
        ("b", "timestamp", True),
        ("c", "timestamp_ntz", True),
        ("d", "decimal(9,2)", True),
        ("e", "varchar(3)", True),
        ("f", "array<map<string,struct<x:int,y:date>>>", True),
        ("g", "binary", True),
    ]
    assert (told.full_name, told.owner, told.properties) == (f"{client.schema}.t", ME, {"k": "v"})
    assert (told.table_type, told.data_source_format) == (TableType.MANAGED, DataSourceFormat.DELTA)
    assert shared.counts() == before


def test_what_is_not_there_does_not_exist(sdk: WorkspaceClient, client: Client) -> None:
    with pytest.raises(NotFound, match=f"Table '{client.schema}.nope' does not exist"):
        sdk.tables.get(f"{client.schema}.nope")
    with pytest.raises(NotFound, match=r"Schema 'main\.nope' does not exist"):
        sdk.tables.get("main.nope.t")
    with pytest.raises(NotFound, match=r"Schema 'main\.nope' does not exist"):
        sdk.schemas.get("main.nope")
    with pytest.raises(NotFound, match="Catalog 'nope' does not exist"):
        sdk.catalogs.get("nope")
    with pytest.raises(NotFound):
        sdk.grants.get_effective("schema", "main.nope")
    with pytest.raises(BadRequest, match="is not the name of a table"):
        sdk.tables.get("main")
    with pytest.raises(BadRequest, match="no securable type"):
        sdk.grants.get_effective("volume", "main.s.v")


def test_names_may_hold_what_a_path_must_not(sdk: WorkspaceClient, client: Client) -> None:
    client.run("CREATE TABLE {s}.`a#b%c?é` (a INT)")
    assert sdk.tables.get(quote(f"{client.schema}.a#b%c?é", safe="")).name == "a#b%c?é"


def test_the_user_may_do_all_until_told_otherwise(sdk: WorkspaceClient, client: Client, shared: LocalWarehouse) -> None:
    schema = client.schema
    assert held(sdk, "schema", schema) == {"ALL_PRIVILEGES": None}
    shared.workspace(
        groups=["writers", "users"],
        securables=[
            {"kind": "catalog", "name": "main", "privileges": {ME: ["USE_CATALOG"], "writers": ["USE_SCHEMA"]}},
            {"kind": "schema", "name": schema, "privileges": {ME: ["CREATE_TABLE"]}},
        ],
    )
    assert [group.display for group in sdk.current_user.me().groups or ()] == ["writers", "users"]
    assert held(sdk, "SCHEMA", schema) == {"CREATE_TABLE": None, "USE_CATALOG": "main"}
    assert held(sdk, "schema", schema, "writers") == {"USE_SCHEMA": "main"}
    assert set(held(sdk, "schema", schema, None)) == {"CREATE_TABLE", "USE_CATALOG", "USE_SCHEMA"}
    assert sdk.schemas.get(schema).owner == "somebody@else"
    for unknown in ("strangers", "users"):
        with pytest.raises(NotFound, match="Could not find principal"):
            held(sdk, "schema", schema, unknown)
    shared.workspace()
    assert held(sdk, "schema", schema) == {"ALL_PRIVILEGES": None}


def test_whoever_asks_for_pages_gets_an_empty_one_first(sdk: WorkspaceClient) -> None:
    first = sdk.grants.get_effective("catalog", "main", max_results=0)
    assert (first.privilege_assignments or [], first.next_page_token) == ([], "all")
    last = sdk.grants.get_effective("catalog", "main", max_results=0, page_token=first.next_page_token)
    assert (len(last.privilege_assignments or ()), last.next_page_token) == (1, None)


@pytest.mark.parametrize(
    ("lacking", "seen"),
    [
        ({"catalog": []}, {"schema"}),
        ({"schema": []}, {"catalog"}),
        ({"table": ["MODIFY"]}, {"catalog", "schema"}),
        ({}, {"catalog", "schema", "table"}),
    ],
    ids=["USE CATALOG", "USE SCHEMA", "SELECT", "nothing"],
)
def test_what_the_user_may_not_see_is_refused(
    sdk: WorkspaceClient, client: Client, shared: LocalWarehouse, lacking: dict[str, list[str]], seen: set[str]
) -> None:
    client.run("CREATE TABLE {s}.t (a INT)")
    names = {"catalog": "main", "schema": client.schema, "table": f"{client.schema}.t"}
    enough = {"catalog": ["USE_CATALOG"], "schema": ["USE_SCHEMA"], "table": ["SELECT"], **lacking}
    shared.workspace(
        securables=[{"kind": kind, "name": name, "privileges": {ME: enough[kind]}} for kind, name in names.items()]
    )
    asked: dict[str, Callable[[str], Any]] = {
        "catalog": sdk.catalogs.get,
        "schema": sdk.schemas.get,
        "table": sdk.tables.get,
    }
    for kind, ask in asked.items():
        if kind in seen:
            assert ask(names[kind]).full_name == names[kind]
        else:
            with pytest.raises(PermissionDenied, match="User does not have"):
                ask(names[kind])


def test_a_stopped_warehouse_answers_by_rest_and_a_statement_starts_it(
    sdk: WorkspaceClient, shared: LocalWarehouse
) -> None:
    shared.workspace(state="STOPPED")
    assert sdk.catalogs.get("main").name == "main"
    assert sdk.warehouses.get("local").state is State.STOPPED
    with shared.connect():
        assert sdk.warehouses.get("local").state is State.RUNNING


@pytest.mark.parametrize(
    "script",
    [{"state": "TIRED"}, {"more": 1}, {"securables": [{"kind": "volume", "name": "v"}]}, {"securables": [7]}],
    ids=["state", "key", "kind", "securable"],
)
def test_a_script_that_makes_no_sense_is_refused(shared: LocalWarehouse, script: dict[str, object]) -> None:
    with pytest.raises(HTTPError, match="400") as caught:
        shared.workspace(**script)
    caught.value.close()
