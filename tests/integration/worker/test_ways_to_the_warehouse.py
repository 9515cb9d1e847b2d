"""What stands before the warehouse is named, by doctor and by the log: a private CA, a proxy, a second credential."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lakequeue import Queue

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_tls import StartTls, TlsFront
from tests.fix_worker import StartWorker, worker_environ
from tests.support import job, until


@pytest.fixture
def front(warehouse: LocalWarehouse, start_tls: StartTls) -> TlsFront:
    """The warehouse behind https, with a certificate of a private CA."""
    return start_tls(warehouse.port)


@pytest.fixture
def environ(redis_url: str, warehouse: LocalWarehouse, front: TlsFront) -> dict[str, str]:
    return worker_environ(redis_url, warehouse, DATABRICKS_HOST=f"https://localhost:{front.port}", NO_PROXY="localhost")


def doctor(environ: dict[str, str], **changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "doctor", "--wake"],
        env={**os.environ, **environ, **changes},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout


UNTRUSTED = "the certificate of the host is not trusted (self-signed certificate)"


def test_a_private_ca_is_named_and_its_file_makes_it_work(environ: dict[str, str], front: TlsFront) -> None:
    told = doctor(environ)
    assert UNTRUSTED in told
    assert "name the CA's file in REQUESTS_CA_BUNDLE and in SSL_CERT_FILE" in told
    trusted = doctor(environ, REQUESTS_CA_BUNDLE=str(front.cert), SSL_CERT_FILE=str(front.cert))
    assert "ok   statement" in trusted
    assert "FAIL" not in trusted


def test_a_worker_says_what_is_wrong_with_the_certificate_and_its_jobs_wait(
    queue: Queue, start_worker: StartWorker, front: TlsFront
) -> None:
    worker = start_worker(DATABRICKS_HOST=f"https://localhost:{front.port}", NO_PROXY="localhost")
    handle = queue.enqueue(job(1))
    until(lambda: UNTRUSTED in worker.text(), "the log says it")
    assert "jobs wait, none of them fails" in worker.text()
    assert not handle.status().final


class _Proxy(BaseHTTPRequestHandler):
    """Wants a login before it connects anybody."""

    def do_CONNECT(self) -> None:
        self.send_response(407)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_a_proxy_that_does_not_let_us_through_is_named(environ: dict[str, str], proxy: str) -> None:
    told = doctor(environ, NO_PROXY="", no_proxy="", HTTPS_PROXY=proxy, https_proxy=proxy)
    assert "the proxy does not let us through: it wants a login" in told
    assert "check HTTPS_PROXY, and NO_PROXY for the host" in told
    away = doctor(environ, NO_PROXY="", no_proxy="", HTTPS_PROXY="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1")
    assert "the proxy does not let us through: it does not connect" in away


def test_credentials_of_two_kinds_are_named(environ: dict[str, str]) -> None:
    two = {"DATABRICKS_CLIENT_ID": "an-id", "DATABRICKS_CLIENT_SECRET": "a-secret"}
    told = doctor(environ, **two)
    assert "credentials of more than one kind are set" in told
    assert "DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN" in told
    assert "DATABRICKS_AUTH_TYPE=pat is the token, oauth-m2m the client id and secret" in told
    assert "a-secret" not in told
