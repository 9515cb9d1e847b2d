"""`doctor --table`: which privileges are missing, with the GRANT that gives each, and whether the table suits jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.table import AUDIT_TYPES
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_worker import worker_environ
from tests.support import sql
from worker.embedded import EmbeddedRedis

ME = "local@localhost"
TOKEN = "dapi-planted-5f1c"
AUDITED = (
    "id BIGINT, created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, "
    "deleted_at TIMESTAMP, _job_id STRING"
)
CATALOG, SCHEMA, TABLE = (["USE_CATALOG"], ["USE_SCHEMA"], ["SELECT", "MODIFY"])
Securable = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A catalog of its own, with the schema `sales` and the table `orders`, if they are to be there.

    Of each level it is said who holds what. What is not said is as the user needs it, and nothing is the user's own.
    """

    catalog: Securable | None = None
    schema: Securable | None = None
    table: Securable | None = None
    columns: str = AUDITED
    there: int = 3
    """How many levels."""

    def securables(self, name: str) -> list[dict[str, Any]]:
        said = (
            {"privileges": {ME: CATALOG}, **(self.catalog or {}), "kind": "catalog", "name": name},
            {"privileges": {ME: SCHEMA}, **(self.schema or {}), "kind": "schema", "name": f"{name}.sales"},
            {"privileges": {ME: TABLE}, **(self.table or {}), "kind": "table", "name": f"{name}.sales.orders"},
        )
        return [*said[: self.there]]

    def made_by(self, name: str) -> list[str]:
        quoted = f"`{name}`"
        return [
            f"CREATE CATALOG {quoted}",
            f"CREATE SCHEMA {quoted}.sales",
            f"CREATE TABLE {quoted}.sales.orders ({self.columns})",
        ][: self.there]


def holds(*privileges: str, by: str = ME) -> Securable:
    return {"privileges": {by: list(privileges)}}


def told(**document: Any) -> Securable:
    return {"told": document}


NOTHING = holds()
COLLATED = [
    {"name": name, "type_text": "timestamp" if name.endswith("_at") else "string collate UTF8_LCASE"}
    for name in AUDIT_TYPES
]
MASK = {"function_name": "main.f"}
PLACES = {
    "granted": Place(),
    "inherited": Place(holds("USE_CATALOG", "USE_SCHEMA", "SELECT", "MODIFY"), NOTHING, NOTHING),
    "everything": Place(holds("ALL_PRIVILEGES"), NOTHING, NOTHING),
    "group": Place(holds(*CATALOG, by="writers"), holds(*SCHEMA, by="writers"), holds(*TABLE, by="writers")),
    "everybody": Place(holds(*CATALOG, by="account users"), holds(*SCHEMA, by="account users")),
    "mine": Place({**NOTHING, "owner": ME}, {**NOTHING, "owner": ME}, {**NOTHING, "owner": ME}),
    "ours": Place({**NOTHING, "owner": "writers"}, {**NOTHING, "owner": "Writers"}, {**NOTHING, "owner": "writers"}),
    "odd#100%?é": Place(),
    "collated": Place(table={**holds("SELECT", "MODIFY"), **told(columns=COLLATED)}),
    "no_use_catalog": Place(catalog=NOTHING),
    "no_use_schema": Place(schema=NOTHING),
    "no_select": Place(table=holds("MODIFY")),
    "no_modify": Place(table=holds("SELECT")),
    "only_schema_mine": Place(schema={**NOTHING, "owner": ME}, table=NOTHING),
    "closed_group": Place(table={**holds("SELECT"), "closed_to": ["writers"]}),
    "closed": Place({"closed_to": [ME]}, {"closed_to": [ME]}, {"closed_to": [ME]}),
    "broken": Place(schema={"status": 500}),
    "no_table": Place(there=2),
    "new_table": Place(schema=holds("USE_SCHEMA", "CREATE_TABLE"), there=2),
    "no_schema": Place(there=1),
    "new_schema": Place(catalog=holds("USE_CATALOG", "CREATE_SCHEMA"), there=1),
    "no_catalog": Place(there=0),
    "view": Place(table={**holds("SELECT"), **told(table_type="MATERIALIZED_VIEW")}),
    "parquet": Place(table=told(data_source_format="PARQUET")),
    "unstamped": Place(columns="id BIGINT, created_at DATE, updated_at TIMESTAMP_NTZ, _job_id STRING"),
    "without_job_id": Place(columns="id BIGINT, Created_At TIMESTAMP, _job_id BIGINT"),
    "without_deleted_at": Place(columns=AUDITED.replace("deleted_at TIMESTAMP, ", "s STRUCT<a: INT>, ")),
    "filtered": Place(table=told(row_filter={**MASK, "input_column_names": []})),
    "masked": Place(table=told(columns=[{"name": "created_at", "type_text": "timestamp", "mask": MASK}])),
}


@dataclass(frozen=True)
class Report:
    code: int
    text: str

    def of(self, catalog: str) -> list[str]:
        """The findings about a catalog and what is in it, each with its remedy: what they tell begins with the name."""
        findings = re.split(r"\n(?=\S)", self.text.strip())
        return [each for each in findings if re.split(r"[.: ]", each[18:])[0] == catalog]

    def failures(self, catalog: str) -> list[tuple[str, str]]:
        """What is wrong and what to do about it."""
        wrong = [each for each in self.of(catalog) if each.startswith("FAIL")]
        assert all(" -> " in each for each in wrong), wrong
        return [(each.splitlines()[0][5:], each.split(" -> ")[1]) for each in wrong]


@dataclass(frozen=True)
class Scene:
    """The local warehouse with all places, and how to run doctor on it."""

    warehouse: LocalWarehouse
    environ: dict[str, str]

    def doctor(self, *args: str) -> Report:
        done = subprocess.run(
            [sys.executable, "-m", "worker", "doctor", *args],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        text = done.stdout + done.stderr
        assert "Traceback" not in text
        assert TOKEN not in text
        assert "config_file" not in text
        return Report(done.returncode, text)

    def says(self, **changes: Any) -> None:
        securables = [each for name, place in PLACES.items() for each in place.securables(name)]
        metastore = {"kind": "metastore", "name": "local"}
        self.warehouse.workspace(
            **{"state": "STOPPED", "groups": ["users", "writers"], "securables": [*securables, metastore], **changes}
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Iterator[Scene]:
    warehouse = LocalWarehouse(tmp_path_factory.mktemp("permissions") / "warehouse", token=TOKEN)
    try:
        sql(warehouse, *(text for name, place in PLACES.items() for text in place.made_by(name)))
        made = Scene(warehouse, worker_environ(redis_server.url, warehouse))
        made.says()
        yield made
    finally:
        warehouse.stop()


@pytest.fixture(scope="module")
def report(scene: Scene) -> Report:
    """Of all places, by one doctor: starting one takes a second."""
    before = len(scene.warehouse.statements())
    report = scene.doctor(*(arg for name in PLACES for arg in ("--table", f"{name}.sales.orders")))
    assert len(scene.warehouse.statements()) == before
    return report


@pytest.mark.parametrize(
    "place", ["granted", "inherited", "everything", "group", "everybody", "mine", "ours", "odd#100%?é", "collated"]
)
def test_all_that_jobs_need(report: Report, place: str) -> None:
    """Granted itself or further up, to the worker, its group or everybody, or owned."""
    owned = ", as its owner" if place in ("mine", "ours") else ""
    assert report.of(place) == [
        f"ok   catalog      {place}: USE CATALOG{owned}",
        f"ok   schema       {place}.sales: USE SCHEMA{owned}",
        f"ok   table        {place}.sales.orders: SELECT, MODIFY{owned}",
        f"ok   columns      {place}.sales.orders has all audit columns",
    ]


@pytest.mark.parametrize(
    ("place", "wrong", "grants"),
    [
        ("no_use_catalog", "catalog      no_use_catalog: USE CATALOG", "USE CATALOG ON CATALOG `no_use_catalog`"),
        (
            "no_use_schema",
            "schema       no_use_schema.sales: USE SCHEMA",
            "USE SCHEMA ON SCHEMA `no_use_schema`.`sales`",
        ),
        ("no_select", "table        no_select.sales.orders: SELECT", "SELECT ON TABLE `no_select`.`sales`.`orders`"),
        ("no_modify", "table        no_modify.sales.orders: MODIFY", "MODIFY ON TABLE `no_modify`.`sales`.`orders`"),
        ("no_table", "schema       no_table.sales: CREATE TABLE", "CREATE TABLE ON SCHEMA `no_table`.`sales`"),
        ("no_schema", "catalog      no_schema: CREATE SCHEMA", "CREATE SCHEMA ON CATALOG `no_schema`"),
    ],
)
def test_what_is_missing_is_named_with_its_grant(report: Report, place: str, wrong: str, grants: str) -> None:
    """One at a time; of a table that is not there, what it takes to make it."""
    assert report.failures(place) == [(f"{wrong} is missing", f"GRANT {grants} TO `{ME}`")]


def test_a_missing_catalog_needs_a_privilege_on_the_metastore(report: Report) -> None:
    assert report.failures("local") == [
        ("metastore    local: CREATE CATALOG is missing", f"GRANT CREATE CATALOG ON METASTORE TO `{ME}`")
    ]
    assert [each.splitlines()[0] for each in report.of("no_catalog")] == [
        f"warn catalog      no_catalog is not there, or is not shown to {ME}"
    ]


def test_the_owner_of_a_schema_has_no_privilege_on_the_tables_of_others(report: Report) -> None:
    assert [wrong for wrong, _ in report.failures("only_schema_mine")] == [
        "table        only_schema_mine.sales.orders: SELECT is missing",
        "table        only_schema_mine.sales.orders: MODIFY is missing",
    ]


def test_what_a_group_may_do_and_nobody_tells_is_said(report: Report) -> None:
    (failure,) = report.failures("closed_group")
    assert failure == (
        "table        closed_group.sales.orders: MODIFY is missing, unless a group has it: not told of writers",
        f"GRANT MODIFY ON TABLE `closed_group`.`sales`.`orders` TO `{ME}`",
    )


def test_who_may_not_ask_is_told_whom_to_ask(report: Report) -> None:
    failures = report.failures("closed")
    assert [remedy for _, remedy in failures] == [
        f"have its owner run SHOW GRANTS `{ME}` ON {level}"
        for level in ("CATALOG `closed`", "SCHEMA `closed`.`sales`", "TABLE `closed`.`sales`.`orders`")
    ]
    assert failures[2][0] == (
        "table        closed.sales.orders: not told whether SELECT, MODIFY may be used: "
        "PermissionDenied: User does not have MANAGE on Table 'closed.sales.orders'."
    )


def test_of_a_table_that_is_not_shown_nothing_more_is_said(report: Report) -> None:
    assert report.of("no_select")[-1] == f"skip columns      no_select.sales.orders is not shown to {ME}"


def test_an_answer_that_is_none_ends_that_table_alone(report: Report) -> None:
    assert report.failures("broken") == [
        (
            "table        broken.sales.orders: Unity Catalog does not answer: InternalError",
            "check DATABRICKS_HOST, the network and the proxy settings",
        )
    ]


@pytest.mark.parametrize(
    ("place", "why"), [("view", "is a materialized view"), ("parquet", "is in the format PARQUET, not Delta")]
)
def test_what_cannot_be_written_is_no_table_for_jobs(report: Report, place: str, why: str) -> None:
    """And the privilege to change it is not asked for."""
    ((wrong, _),) = report.failures(place)
    assert wrong == f"table        {place}.sales.orders {why}: jobs can read it, not write"
    assert f"ok   table        {place}.sales.orders: SELECT" in report.of(place)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("unstamped", "warn columns      unstamped.sales.orders has no created_at and no updated_at"),
        ("without_job_id", "warn columns      without_job_id.sales.orders has no _job_id"),
        (
            "without_deleted_at",
            "ok   columns      without_deleted_at.sales.orders has _job_id, created_at, created_by, updated_at, "
            "updated_by; not deleted_at",
        ),
        ("filtered", "warn columns      filtered.sales.orders has a row filter, or masks audit columns"),
        ("masked", "warn columns      masked.sales.orders has a row filter, or masks audit columns"),
    ],
)
def test_what_cannot_be_proved_is_said(report: Report, place: str, found: str) -> None:
    assert report.failures(place) == []
    assert report.of(place)[-1].startswith(found)
    remedies = {
        "unstamped": "rename the columns of these names, then adopt it",
        "without_job_id": "rename _job_id, then",
    }
    if remedy := remedies.get(place):
        assert f"-> {remedy}" in report.of(place)[-1]
        assert "the worker leaves it alone, jobs may write it" in report.of(place)[-2]


def test_a_stopped_warehouse_is_not_woken(report: Report) -> None:
    assert report.code == 1
    assert "skip warehouse    local warehouse is STOPPED" in report.text
    assert "skip statement    not sent" in report.text


def test_tables_that_jobs_may_make_are_nothing_wrong(scene: Scene) -> None:
    """Each is warned of; nothing is missing. Woken, the warehouse runs."""
    may = {"kind": "metastore", "name": "local", "privileges": {ME: ["CREATE_CATALOG"]}}
    places = {name: PLACES[name] for name in ("granted", "new_table", "new_schema")}
    scene.says(securables=[may, *(each for name, place in places.items() for each in place.securables(name))])
    try:
        tables = [f"{name}.sales.orders" for name in (*places, "no_catalog")]
        report = scene.doctor("--wake", *(arg for table in tables for arg in ("--table", table)))
    finally:
        scene.says()
    assert (report.code, "FAIL" in report.text) == (0, False), report.text
    assert report.of("local")[-1] == "ok   metastore    local: CREATE CATALOG"
    assert report.of("new_schema")[0] == "ok   catalog      new_schema: USE CATALOG, CREATE SCHEMA"
    assert report.of("new_table")[1] == "ok   schema       new_table.sales: USE SCHEMA, CREATE TABLE"
    for table, missing in (("new_table", "new_table.sales.orders"), ("new_schema", "new_schema.sales")):
        assert report.of(table)[-1].split("\n")[0].endswith(f"{missing} is not there, or is not shown to {ME}")
        assert "auto_create" in report.of(table)[-1]
    assert "ok   statement    answered" in report.text


def test_a_workspace_without_unity_catalog(scene: Scene) -> None:
    scene.says(securables=[{"kind": "metastore", "name": "local", "status": 404}])
    try:
        report = scene.doctor("--table", "no_catalog.sales.orders")
    finally:
        scene.says()
    ((wrong, remedy),) = report.failures("no_catalog")
    assert wrong.startswith("metastore    no_catalog.sales.orders: this workspace tells of no Unity Catalog: NotFound")
    assert remedy == "have a metastore assigned to the workspace"


def test_a_bad_name_is_told_before_anything_is_asked(scene: Scene) -> None:
    report = scene.doctor("--table", "main.sales.orders", "--table", "main.sales")
    assert report.code == 2
    assert report.text == "doctor: a table is written catalog.schema.table; 'main.sales' has 2 parts\n"
