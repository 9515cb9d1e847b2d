"""One server for these tests, a schema of its own for each; those that kill or configure it start their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fix_localwarehouse import LocalWarehouse
from tests.integration.localwarehouse.client import Client

_numbers = itertools.count()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    server = LocalWarehouse(tmp_path_factory.mktemp("shared") / "warehouse")
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE CATALOG IF NOT EXISTS `main`")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def connection(shared: LocalWarehouse) -> Iterator[Any]:
    with shared.connect() as opened:
        yield opened


@pytest.fixture
def client(connection: Any, shared: LocalWarehouse) -> Iterator[Client]:
    """Statements in a schema of the test's own: `{s}` in a text is its name."""
    made = Client(connection, f"main.test_{next(_numbers)}")
    made.run("CREATE SCHEMA {s}")
    yield made
    shared.clear_faults()
    made.run("DROP SCHEMA IF EXISTS {s} CASCADE")
