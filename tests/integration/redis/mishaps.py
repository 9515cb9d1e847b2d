"""What becomes of Redis itself: its disk is full, or it comes back with what it had earlier."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from tests.support import until
from worker.embedded import EmbeddedRedis


@contextmanager
def full_disk(server: EmbeddedRedis) -> Iterator[None]:
    """No file of the server's may grow any more, its log of commands included."""
    limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)


class Memory:
    """What Redis had at a moment, to be put back later."""

    def __init__(self, server: EmbeddedRedis, admin: redis.Redis, folder: Path) -> None:
        self._server = server
        self._log, self._kept = folder / "redis" / "appendonlydir", folder / "kept"
        until(lambda: admin.info("persistence")["aof_buffer_length"] == 0, "all is written")
        shutil.copytree(self._log, self._kept)

    def put_back(self) -> None:
        self._server.kill()
        shutil.rmtree(self._log)
        shutil.copytree(self._kept, self._log)
        self._server.start()
