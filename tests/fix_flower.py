"""A real Flower process, `celery -A worker flower`, on the Redis of a test."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.embedded import free_port
from worker.processes import stop

READY_S = 60.0
LOGIN = "ann:a-password"


class Flower:
    """One process; its log and its history are in `folder`, and it can be started again."""

    process: subprocess.Popen[bytes]

    def __init__(
        self, environ: Mapping[str, str], folder: Path, *, login: str | None = LOGIN, options: Sequence[str] = ()
    ) -> None:
        """Without a `login` it makes one up."""
        self._options = options
        self.login = login
        self.port = free_port()
        self.log = folder / "flower.log"
        self._folder = folder
        self._environ = {"FLOWER_DB": str(folder / "history"), **environ}
        if login:
            self._environ["FLOWER_BASIC_AUTH"] = login
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, away from the project's folder, and wait until it answers."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWER_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--port={self.port}", *self._options],
                env={**inherited, **self._environ},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"Flower does not answer:\n{self.text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return self.status("/healthcheck") == 200
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, as a deployment does."""
        if self.process.poll() is None:
            stop(self.process, within_s=30)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def authorization(self, login: str | None = None) -> str:
        return "Basic " + base64.b64encode((login or self.login or "").encode()).decode()

    def request(
        self, path: str, *, method: str = "GET", login: str | None = None, open_: bool = False
    ) -> tuple[int, str]:
        """Status and body of an answer. `open_`: without credentials."""
        headers = {} if open_ else {"Authorization": self.authorization(login)}
        data = b"" if method == "POST" else None
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def status(self, path: str, **options: Any) -> int:
        return self.request(path, **options)[0]

    def get(self, path: str) -> str:
        code, body = self.request(path)
        assert code == 200, f"{path}: {code} {body}"
        return body

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def states(self) -> dict[str, str]:
        """The jobs it lists, with the state of each."""
        return {job_id: task["state"] for job_id, task in self.json("/api/tasks").items()}
