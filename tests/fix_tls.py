"""TLS in front of a plain server, as a Redis with `tls-port` has it; its certificate is of a CA that nobody knows."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

READ_BYTES = 65_536


class TlsFront:
    """Listens on `port` of loopback with the certificate in `cert`, and forwards to another port."""

    def __init__(self, target_port: int, cert: Path, key: Path) -> None:
        self.cert = cert
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(30)
            self._open.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """One connection. What comes is read whole before it is passed on, since one SSL object serves one thread."""
        try:
            spoken = self._context.wrap_socket(client, server_side=True)
        except OSError:
            client.close()
            return
        server = socket.create_connection(("127.0.0.1", self._target_port))
        self._open += [spoken, server]
        with suppress(OSError):
            while _pass_on(spoken, server) and _pass_on(server, spoken):
                pass
        for each in (spoken, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _pass_on(source: socket.socket, target: socket.socket) -> bool:
    source.settimeout(0.005)
    try:
        data = source.recv(READ_BYTES)
    except TimeoutError:
        return True
    if data:
        target.settimeout(30)
        target.sendall(data)
    return bool(data)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of `localhost` that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2")
    subprocess.run([openssl, *made, *names], check=True, capture_output=True)
    return cert, key


StartTls = Callable[[int], TlsFront]


@pytest.fixture
def start_tls(certificate: tuple[Path, Path]) -> Iterator[StartTls]:
    """Puts TLS in front of a port."""
    started: list[TlsFront] = []

    def start(port: int) -> TlsFront:
        started.append(TlsFront(port, *certificate))
        return started[-1]

    yield start
    for each in started:
        each.close()
