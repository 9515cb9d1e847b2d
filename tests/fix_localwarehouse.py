"""A real local warehouse process on a free port, with its control endpoint: faults, statements, counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from databricks import sql


class LocalWarehouse:
    """One server process; its data stays in `data` when it is stopped, and it can be started again."""

    process: subprocess.Popen[str]
    url: str
    port: int
    shared: ClassVar[LocalWarehouse | None] = None
    """One on Spark, which takes long to start, for all that the environment wants on Spark. These never end it."""

    def __init__(
        self, data: Path, *, token: str = "local", options: tuple[str, ...] = ("--faults",), engine: str | None = None
    ) -> None:
        """`engine` is duckdb or spark; unless said, what the environment says."""
        self.engine = engine or os.environ.get("LAKEQUEUE_TEST_ENGINE", "duckdb")
        self.data = data
        self.token = token
        self._options = options
        shared = LocalWarehouse.shared
        self._guest = False
        if engine is None and shared is not None and shared._is_like(self):
            self._guest = True
            self.process, self.url, self.port = shared.process, shared.url, shared.port
        else:
            self.start()

    def _is_like(self, other: LocalWarehouse) -> bool:
        return (self.engine, self.token, self._options) == (other.engine, other.token, other._options)

    def start(self, *, port: int = 0) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.data.parent / "localwarehouse.log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "localwarehouse", "--data", str(self.data), "--port", str(port)),
                    *("--token", self.token, "--engine", self.engine, *self._options),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # a session would have its own share of the processors
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"the local warehouse did not start: {line!r}"
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.split(":")[2].split("/")[0])

    def connect(self, **options: Any) -> Any:
        """The real connector, connected; `options` are its own."""
        host = f"http://127.0.0.1:{self.port}"
        given = {
            "server_hostname": host,
            "http_path": "/sql/1.0/warehouses/local",
            "_connection_uri": self.url,
            "access_token": self.token,
            "enable_telemetry": False,
            "_disable_pandas": True,
            "session_configuration": {"ANSI_MODE": "true", "TIMEZONE": "UTC", "STATEMENT_TIMEOUT": "120"},
        }
        return sql.connect(**{**given, **options})

    def counts(self) -> Counter[str]:
        """Executed statements by kind since the start."""
        return Counter(self._control("GET", "/control/counts"))

    def statements(self, since: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._control("GET", f"/control/statements?since={since}")["statements"]
        return found

    def fault(self, *rules: dict[str, Any]) -> None:
        self._control("POST", "/control/faults", list(rules))

    def clear_faults(self) -> None:
        self._control("DELETE", "/control/faults")

    def workspace(self, **script: Any) -> None:
        """What its REST API tells from now on, as `localwarehouse/scripted.py` reads it; the rest as at the start."""
        self._control("POST", "/control/workspace", script)

    def injected(self) -> Counter[str]:
        """Requests that met a fault since the start, by action."""
        return Counter(self._control("GET", "/control/injected"))

    def held(self) -> int:
        """How many requests a `hold` keeps waiting."""
        return int(self._control("GET", "/control/held")["held"])

    def release(self) -> None:
        """Let held statements go."""
        self._control("POST", "/control/release", [])

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self._guest:
            self.clear_faults()
            self.workspace()
            return 0
        self.process.terminate()
        return self.ended()

    def kill(self) -> None:
        assert not self._guest, "this one is shared"
        self.process.kill()
        self.ended()

    def ended(self) -> int:
        """Waits for its end, 30 s at most; returns the exit code."""
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[LocalWarehouse]:
    server = LocalWarehouse(tmp_path / "warehouse")
    yield server
    if server.process.poll() is None:
        server.stop()
