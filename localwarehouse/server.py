"""HTTP: who may speak, and which part answers which path."""

import json
import logging
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localwarehouse.faults import DropConnection, Faults, HttpStatus, InvalidRule
from localwarehouse.identity import (
    WAREHOUSE_ID,
    WORKSPACE_ID,
    Identity,
    authorization_server,
    discovery,
)
from localwarehouse.statement_log import StatementLog
from localwarehouse.thrift_service import InvalidMessage, ThriftService
from localwarehouse.workspace import Workspace

_log = logging.getLogger(__name__)

SQL_PATH = f"/sql/1.0/warehouses/{WAREHOUSE_ID}"
# Twice what a statement and its parameters may weigh together.
_MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Parts:
    """What the paths are answered by. `with_faults` opens the control paths that change anything."""

    thrift: ThriftService
    identity: Identity
    faults: Faults
    log: StatementLog
    workspace: Workspace
    with_faults: bool


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many workers connect at the same moment.
    request_queue_size = 256

    def __init__(self, port: int, parts: Parts) -> None:
        self.parts = parts
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._changed:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._connections.discard(connection)
                self._changed.notify_all()

    def hang_up(self, within_s: float) -> None:
        """End every connection and wait for the threads that serve them."""
        with self._changed:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, within_s)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that is killed leaves its connection half-way; that is nobody's error here.
        _log.debug("a connection of %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.server.connected(self.connection):
            super().handle()

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if self._body() is None:
            return
        if url.path == "/.well-known/databricks-config":
            self._json(200, discovery(self.server.url))
        elif url.path == "/oidc/.well-known/oauth-authorization-server":
            self._json(200, authorization_server(self.server.url))
        elif not self._authorized():
            return
        elif url.path.startswith("/control/"):
            self._control("GET", url, b"")
        else:
            self._rest(url)

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self._body()
        if body is None:
            return
        if url.path == "/oidc/v1/token":
            status, answer = self.server.parts.identity.issue(self.headers.get("Authorization"), body)
            self._json(status, answer)
        elif not self._authorized():
            return
        elif url.path == SQL_PATH:
            self._thrift(body)
        elif url.path.startswith("/control/"):
            self._control("POST", url, body)
        else:
            self._rest(url)

    def do_DELETE(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self._body()
        if body is not None and self._authorized():
            self._control("DELETE", url, body)

    def _body(self) -> bytes | None:
        """The request's body, read before anything is answered, or None when it was refused."""
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") is not None or not (length.isascii() and length.isdigit()):
            self.close_connection = True
            self._json(411, _error("INVALID_REQUEST", "A Content-Length is required"))
            return None
        if int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._json(413, _error("INVALID_REQUEST", "The request is too large"))
            return None
        return self.rfile.read(int(length))

    def _authorized(self) -> bool:
        if self.server.parts.identity.accepts(self.headers.get("Authorization")):
            return True
        self._json(401, _error("UNAUTHENTICATED", "A valid bearer token is required"))
        return False

    def _thrift(self, body: bytes) -> None:
        self.server.parts.workspace.wake()
        try:
            reply = self.server.parts.thrift.handle(body)
        except DropConnection:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except HttpStatus as exc:
            headers = {} if exc.retry_after_s is None else {"Retry-After": str(exc.retry_after_s)}
            self._json(exc.status, _error("TEMPORARILY_UNAVAILABLE", "A scripted fault"), headers)
        except InvalidMessage as exc:
            self._json(400, _error("INVALID_REQUEST", str(exc)))
        else:
            self._send(200, "application/x-thrift", reply)

    def _rest(self, url: urllib.parse.SplitResult) -> None:
        found = self.server.parts.workspace.answer(url) if self.command == "GET" else None
        status, document = found or (404, _error("ENDPOINT_NOT_FOUND", f"No API found for '{self.command} {url.path}'"))
        self._json(status, document, {"x-databricks-org-id": WORKSPACE_ID} if found is not None else None)

    def _control(self, method: str, url: urllib.parse.SplitResult, body: bytes) -> None:
        parts = self.server.parts
        call = (method, url.path)
        if call == ("GET", "/control/counts"):
            self._json(200, parts.log.counts())
        elif not parts.with_faults:
            self._json(404, _error("ENDPOINT_NOT_FOUND", "The server was started without --faults"))
        elif call == ("GET", "/control/statements"):
            since = urllib.parse.parse_qs(url.query).get("since", ["0"])[0]
            self._json(200, parts.log.since(int(since) if since.isdigit() else 0))
        elif call == ("GET", "/control/held"):
            self._json(200, {"held": parts.faults.held()})
        elif call == ("GET", "/control/injected"):
            self._json(200, parts.faults.injected())
        elif call == ("POST", "/control/release"):
            self._json(200, {"released": parts.faults.release()})
        elif call == ("DELETE", "/control/faults"):
            parts.faults.clear()
            self._json(200, {})
        elif call == ("DELETE", "/control/workspace"):
            parts.workspace.forget()
            self._json(200, {})
        elif call in (("POST", "/control/faults"), ("POST", "/control/workspace")):
            script = parts.faults.add if url.path == "/control/faults" else parts.workspace.say
            try:
                script(json.loads(body))
            except (InvalidRule, json.JSONDecodeError, UnicodeDecodeError) as exc:
                self._json(400, _error("INVALID_PARAMETER_VALUE", str(exc)))
            else:
                self._json(200, {})
        else:
            self._json(404, _error("ENDPOINT_NOT_FOUND", f"No control at '{method} {url.path}'"))

    def _json(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, "application/json", json.dumps(document).encode(), headers)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def _error(code: str, message: str) -> dict[str, str]:
    return {"error_code": code, "message": message}
