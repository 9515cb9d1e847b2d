"""A real Redis (or Valkey) server for the session, emptied before each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from lakequeue import Queue

from worker.embedded import EmbeddedRedis, embedded_redis

NO_FSYNC = ("--appendfsync", "no")
"""On a busy disk a server that waits for it is silent for seconds. Tests of its disk have their own."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with embedded_redis(folder, *NO_FSYNC) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The server's URL, its data gone."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue(redis_url) as opened:
        yield opened
