"""When Redis does not do it, one sentence names the address and the cause, and never the password."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import redis
from lakequeue import Queue, QueueFull, QueueUnreachable, Settings
from lakequeue.connections import connect
from lakequeue.unreachable import reachable

from tests.fix_tls import StartTls
from tests.integration.client.finishing import job
from worker.embedded import EmbeddedRedis, embedded_redis

SECRET = "hush/@1"
QUOTED = "hush%2F%401"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with embedded_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


def told(url: str, ask: Callable[[redis.Redis], object] = lambda client: client.get("celery-task-meta-x")) -> str:
    """What a caller is told of a Redis that does not do it."""
    client = connect(url, timeout_s=1, patience_s=0)
    with pytest.raises(QueueUnreachable) as raised, reachable(client):
        ask(client)
    client.close()
    text = raised.value.message
    assert "hush" not in text
    assert "\n" not in text
    assert text.startswith("Redis ")
    return text


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


class _Page(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a web server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_port
        serving.shutdown()
        thread.join()


def test_nobody_listens() -> None:
    assert told(f"redis://:{QUOTED}@127.0.0.1:1/3") == (
        "Redis did not answer: nothing listens at 127.0.0.1:1/3 (connection refused)"
    )


def test_a_name_that_is_none() -> None:
    assert "the host's name in nosuch.invalid:6379/0 is not known" in told("redis://nosuch.invalid/0")


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "no.sock"
    assert f"the socket is not there ({path} (database 2))" in told(f"unix://:{QUOTED}@{path}?db=2")


def test_somebody_who_says_nothing(silent: int) -> None:
    assert f"127.0.0.1:{silent}/0 was silent for too long (timeout)" in told(f"redis://127.0.0.1:{silent}/0")


def test_what_listens_is_no_redis(web: int) -> None:
    assert f"127.0.0.1:{web}/0 closed the connection; it is no Redis" in told(f"redis://127.0.0.1:{web}/0")
    assert f"127.0.0.1:{web}/0 speaks no TLS" in told(f"rediss://127.0.0.1:{web}/0")


def test_a_certificate_of_a_private_ca_is_named_and_its_file_makes_it_work(
    server: EmbeddedRedis, start_tls: StartTls
) -> None:
    front = start_tls(server.port)
    text = told(f"rediss://127.0.0.1:{front.port}/0")
    assert f"127.0.0.1:{front.port}/0 has a certificate that is not trusted (self-signed certificate)" in text
    assert "?ssl_ca_certs=FILE" in text
    assert "a file of the TLS options is not there" in told(f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs=/no.pem")
    trusted = f"ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={front.cert}"
    for options in ("ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs=none", trusted):
        client = connect(f"rediss://localhost:{front.port}/0?{options}", timeout_s=5, patience_s=0)
        assert client.ping()
        client.close()


def test_tls_and_none_are_told_apart(server: EmbeddedRedis, start_tls: StartTls) -> None:
    assert "if it speaks no TLS, the URL begins with redis://" in told(f"rediss://127.0.0.1:{server.port}/0")
    front = start_tls(server.port)
    assert "wants TLS: then the URL begins with rediss://" in told(f"redis://127.0.0.1:{front.port}/0")


def test_a_database_that_is_not_there(server: EmbeddedRedis) -> None:
    assert f"Redis at 127.0.0.1:{server.port}/99 has no database of that number" in told(server.url[:-1] + "99")


@pytest.fixture
def rights(server: EmbeddedRedis) -> Iterator[Callable[..., str]]:
    """Gives a user these rights, and the URL of that user."""
    with redis.Redis(port=server.port) as admin:

        def give(*rules: str) -> str:
            admin.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{SECRET}", *rules)
            return f"redis://app:{QUOTED}@127.0.0.1:{server.port}/0"

        yield give
        admin.execute_command("ACL", "DELUSER", "app")


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (("~*", "&*", "+@all", "-evalsha"), "+evalsha"),
        (("~*", "&*", "+@all", "-publish"), "+publish"),
        (("~*", "&other", "+@all"), "&lakequeue:*"),
        (("~other", "&*", "+@all"), "~lakequeue:*"),
    ],
    ids=["a command", "a command within a script", "a channel", "a key"],
)
def test_missing_rights_are_named(rights: Callable[..., str], rules: tuple[str, ...], named: str) -> None:
    with Queue(rights(*rules)) as queue, pytest.raises(QueueUnreachable) as raised:
        queue.enqueue(job("no-rights")).result(timeout=5)
    assert named in raised.value.message
    assert "hush" not in raised.value.message


def test_credentials_that_are_wrong_and_none_are_told_apart(server: EmbeddedRedis, rights: Callable[..., str]) -> None:
    url = rights("~*", "&*", "+@all").replace(QUOTED, "hushed")
    assert "refused the credentials in the URL" in told(url)
    with redis.Redis(port=server.port) as admin:
        admin.config_set("requirepass", SECRET)
        assert f"Redis at 127.0.0.1:{server.port}/0 wants a password, and the URL has none" in told(server.url)
        admin.config_set("requirepass", "")


def test_a_replica_and_a_server_that_cannot_save(server: EmbeddedRedis) -> None:
    def write(client: redis.Redis) -> object:
        return client.set("x", "y")

    with redis.Redis(port=server.port) as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            assert f"127.0.0.1:{server.port}/0 is a replica" in told(server.url, write)
        finally:
            admin.execute_command("REPLICAOF", "NO", "ONE")


def test_a_full_memory_names_the_address(server: EmbeddedRedis) -> None:
    with redis.Redis(port=server.port) as admin, Queue(server.url) as queue:
        admin.config_set("maxmemory", "1")
        try:
            with pytest.raises(QueueFull, match=f"127.0.0.1:{server.port}/0 is at its maxmemory"):
                queue.enqueue(job("too-much"))
        finally:
            admin.config_set("maxmemory", "0")


def test_a_cluster_is_named(tmp_path: Path) -> None:
    with embedded_redis(tmp_path, "--cluster-enabled", "yes") as server:
        assert "is a Redis Cluster, which lakequeue cannot use" in told(server.url)
        with (
            Queue(server.url, settings=Settings(timeout_s=1)) as queue,
            pytest.raises(QueueUnreachable, match="Cluster"),
        ):
            queue.enqueue(job("clustered"))
