"""The engines to compare, started once. These tests run in `make conformance` and `make live` only."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from databricks import sql

from tests.conformance.sides import Side
from tests.fix_localwarehouse import LocalWarehouse
from worker.settings import Settings
from worker.target import target

AGAINST = os.environ.get("LAKEQUEUE_CONFORMANCE", "")
"""What is compared with DuckDB: spark, or live for the warehouse that the environment names."""

_IGNORED = {
    "spark": ["test_live.py"],
    "live": ["test_fuzz.py", "test_adaptations.py", "test_parts.py"],
    "duckdb": ["test_live.py"],
}
collect_ignore_glob = _IGNORED.get(AGAINST, ["test_*.py"])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the one Spark of the session comes before what else is to run on it."""
    if AGAINST == "spark":
        items.sort(key=lambda item: item.path.parent.name != "conformance")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    server = LocalWarehouse(tmp_path_factory.mktemp("spark") / "warehouse", engine="spark")
    LocalWarehouse.shared = server
    yield server
    LocalWarehouse.shared = None
    assert server.stop() == 0


@pytest.fixture(scope="session")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    server = LocalWarehouse(tmp_path_factory.mktemp("duck") / "warehouse", engine="duckdb")
    side = Side("duckdb", server.connect, "conformance", f"s_{uuid.uuid4().hex[:8]}")
    side.see("", "CREATE CATALOG conformance")
    side.see("", "CREATE SCHEMA {s}")
    side.see("", f"CREATE SCHEMA {{c}}.{side.schema}_too")
    yield side
    side.connection.close()
    assert server.stop() == 0


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> Iterator[Side]:
    """The engine that is right."""
    if AGAINST == "live":
        yield from _live()
        return
    if AGAINST == "duckdb":  # to try the tests themselves
        duck: Side = request.getfixturevalue("duck")
        yield Side("duckdb", duck.connect, duck.catalog, f"{duck.schema}_too", serial=True)
        return
    server: LocalWarehouse = request.getfixturevalue("spark")
    side = Side("spark", server.connect, "conformance", f"s_{uuid.uuid4().hex[:8]}")
    assert side.see("", "CREATE CATALOG IF NOT EXISTS conformance") == ("done",)
    assert side.see("", "CREATE SCHEMA {s}") == ("done",)
    yield side
    side.connection.close()


def _live() -> Iterator[Side]:
    """The environment's warehouse, in a schema of its own that is dropped in the end."""
    settings = Settings.from_env()
    where = target(warehouse_id=os.environ.get("DATABRICKS_WAREHOUSE_ID", ""), http_path=settings.http_path)

    def connect(**options: Any) -> Any:
        plain = {"_connection_uri": where.host + where.http_path} if where.plain_http else {}
        given: dict[str, Any] = {
            "server_hostname": where.host if where.plain_http else urlsplit(where.host).netloc,
            "http_path": where.http_path,
            "credentials_provider": lambda: where.authenticate,
            "session_configuration": {"ANSI_MODE": "true", "TIMEZONE": "UTC", "STATEMENT_TIMEOUT": "120"},
            "enable_telemetry": False,
            "_disable_pandas": True,
        }
        return sql.connect(**{**given, **plain, **options})

    catalog = os.environ.get("LAKEQUEUE_LIVE_CATALOG", "main")
    side = Side("live", connect, catalog, f"lakequeue_conformance_{uuid.uuid4().hex[:8]}", serial=where.plain_http)
    if where.plain_http:
        print("\nnot a workspace: a local warehouse answers")
        side.see("", "CREATE CATALOG IF NOT EXISTS {c}")
    assert side.see("", "CREATE SCHEMA {s}") == ("done",)
    try:
        yield side
    finally:
        assert side.see("", "DROP SCHEMA {s} CASCADE") == ("done",)
        side.connection.close()
