"""Redis and its clients with a proxy between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.fix_proxy import Proxy, StartProxy
from worker.embedded import EmbeddedRedis


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """A server of the test's own; a parameter is its `appendfsync`."""
    started = EmbeddedRedis(tmp_path / "redis", options=("--appendfsync", getattr(request, "param", "everysec")))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def proxy(server: EmbeddedRedis, start_proxy: StartProxy) -> Proxy:
    return start_proxy(server.port)


@pytest.fixture
def redis_url(proxy: Proxy) -> str:
    """Workers and clients of these tests reach Redis through the proxy."""
    return proxy.redis_url


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client that goes to the server itself."""
    with redis.Redis(port=server.port) as client:
        yield client
