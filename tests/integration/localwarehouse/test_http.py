"""The door: tokens, OAuth with the real SDK, the REST calls a check makes, and HTTP's own manners."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service.sql import State
from databricks.sql.exc import RequestError

from tests.fix_localwarehouse import LocalWarehouse

AUTH = {"Authorization": "Bearer local"}


@pytest.fixture(autouse=True)
def _no_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def ask(server: LocalWarehouse, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_oauth_of_the_real_sdk(shared: LocalWarehouse) -> None:
    config = Config(host=f"http://127.0.0.1:{shared.port}", client_id="local", client_secret="local")
    assert config.auth_type == "oauth-m2m"
    client = WorkspaceClient(config=config)
    assert client.warehouses.get("local").state is State.RUNNING
    assert client.current_user.me().user_name == "local@localhost"
    with (
        shared.connect(access_token=None, credentials_provider=lambda: config.authenticate) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT current_user()")
        assert [tuple(row) for row in cursor.fetchall()] == [("local@localhost",)]


def test_a_token_of_the_real_sdk(shared: LocalWarehouse) -> None:
    client = WorkspaceClient(host=f"http://127.0.0.1:{shared.port}", token="local")
    before = sum(shared.counts().values())
    assert client.warehouses.get("local").id == "local"
    assert sum(shared.counts().values()) == before


def test_a_wrong_client_secret_gets_no_token(shared: LocalWarehouse) -> None:
    config = Config(host=f"http://127.0.0.1:{shared.port}", client_id="local", client_secret="wrong")
    with pytest.raises(ValueError, match="invalid_client"):
        config.authenticate()


@pytest.mark.parametrize("token", ["", "wrong", "oauth.99999999999.0000", "oauth.1.2"])
def test_without_a_valid_token_nothing_is_answered(shared: LocalWarehouse, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for method, path in (
        ("POST", "/sql/1.0/warehouses/local"),
        ("GET", "/control/counts"),
        ("GET", "/api/2.0/sql/warehouses/local"),
        ("DELETE", "/control/faults"),
    ):
        assert ask(shared, method, path, headers)[0] == 401
    with pytest.raises(RequestError):
        shared.connect(access_token=token or "none")


def test_unknown_paths_are_404(shared: LocalWarehouse) -> None:
    for path in ("/", "/api/2.0/sql/warehouses/other", "/sql/1.0/warehouses/other", "/control/other"):
        assert ask(shared, "GET", path, AUTH)[0] == 404
    assert ask(shared, "POST", "/sql/1.0/warehouses/other", AUTH)[0] == 404


def test_what_is_no_thrift_is_400(shared: LocalWarehouse) -> None:
    status, body = ask(shared, "POST", "/sql/1.0/warehouses/local", AUTH)
    assert status == 400
    assert "Thrift" in json.loads(body)["message"]


def test_a_connection_is_kept_after_an_answer_and_after_an_error(shared: LocalWarehouse) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.connect()
    opened = connection.sock
    for path, headers in (("/control/counts", AUTH), ("/control/counts", {}), ("/x", AUTH), ("/control/counts", AUTH)):
        connection.request("GET", path, body=b"ignored", headers=headers)
        connection.getresponse().read()
        assert connection.sock is opened
    connection.close()


def test_only_the_loopback_is_bound(shared: LocalWarehouse) -> None:
    with socket.socket() as other:
        other.settimeout(1)
        assert other.connect_ex(("127.0.0.2", shared.port)) != 0


def test_counts_are_served_without_faults_and_the_rest_is_not(tmp_path: Path) -> None:
    server = LocalWarehouse(tmp_path / "warehouse", options=())
    try:
        assert ask(server, "GET", "/control/counts", AUTH) == (200, b"{}")
        for method, path in (
            ("GET", "/control/statements"),
            ("POST", "/control/faults"),
            ("POST", "/control/workspace"),
            ("POST", "/control/release"),
        ):
            assert ask(server, method, path, AUTH)[0] == 404
    finally:
        server.stop()


def test_its_own_client_id_and_token(tmp_path: Path) -> None:
    server = LocalWarehouse(
        tmp_path / "warehouse", token="other", options=("--client-id", "id", "--client-secret", "s:e%cret/+")
    )
    try:
        assert ask(server, "GET", "/control/counts", AUTH)[0] == 401
        config = Config(host=f"http://127.0.0.1:{server.port}", client_id="id", client_secret="s:e%cret/+")
        assert WorkspaceClient(config=config).warehouses.get("local").name == "local warehouse"
    finally:
        server.stop()


def test_a_second_server_on_the_same_data_says_why_it_cannot(shared: LocalWarehouse) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localwarehouse", "--data", str(shared.data)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("cannot open")
    assert "Traceback" not in done.stderr
