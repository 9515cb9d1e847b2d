"""The one place that talks to Databricks: databricks-sql-connector, set so that it never sends a statement twice."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal
from urllib.parse import urlsplit

import urllib3.exceptions as http
from databricks import sql as databricks_sql
from databricks.sql import exc as connector

from tasks import verdicts
from tasks.sql import Statement
from tasks.verdict_table import NO_SUCH_WAREHOUSE, UNAUTHENTICATED
from tasks.verdicts import Failure
from worker import trouble
from worker.target import Target

log = logging.getLogger(__name__)

CONNECT_S = 4.0
"""For how long the connector may repeat the opening of a session."""

POLLS, POLL_S = 3, 30.0
"""So often, and for so long, it asks again how a statement is doing when an answer to that is lost."""

Phase = Literal["connecting", "sending", "running"]


class StatementFailed(Exception):
    """A statement brought no result; `failure` says what follows from that. The text is safe to log."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error_class} ({failure.verdict})")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement brought: `affected` rows (None if the server did not say), columns and rows of a result."""

    statement_id: str | None
    affected: int | None
    columns: tuple[str, ...]
    rows: Sequence[Any]
    elapsed_s: float


class Connection:
    """One session, opened when first needed and again after it was lost. For one thread at a time."""

    def __init__(self, where: Target, *, statement_timeout_s: int, socket_timeout_s: float = 60.0) -> None:
        self._where = where
        self._session = {
            "ANSI_MODE": "true",
            "TIMEZONE": "UTC",
            "STATEMENT_TIMEOUT": str(statement_timeout_s),
        }
        self._socket_timeout_s = socket_timeout_s
        self._open: Any = None

    def execute(self, statement: Statement) -> Answer:
        """Send a statement, once, and fetch its whole result.

        Raises:
            StatementFailed: with the verdict. The session is closed where it is of no use any more.
        """
        started = time.monotonic()
        with self._translated(lambda: "connecting"):
            self._where.authenticate()  # a token that cannot be renewed is found before anything is sent
            connection = self._connected()
            cursor = connection.cursor()
        try:
            # The connector notes the id of a statement as soon as the server has taken it.
            with self._translated(lambda: "running" if cursor.query_id else "sending"):
                cursor.execute(str(statement.sql), dict(statement.parameters) or None)
                columns = tuple(part[0] for part in cursor.description or ())
                # Of a statement that changes something, the rows would only say again what it did.
                rows = cursor.fetchall() if columns and statement.reads else []
                affected = cursor.rowcount if cursor.rowcount is not None and cursor.rowcount >= 0 else None
                answer = Answer(cursor.query_id, affected, columns, rows, time.monotonic() - started)
            if affected is None and statement.changes_rows:
                # The connector is silent about a statement that was cancelled. Only a count says that it committed.
                raise StatementFailed(verdicts.answer_lost("the warehouse told no count of rows", "NO_COUNT"))
            return answer
        except StatementFailed as exc:
            raise StatementFailed(replace(exc.failure, statement=cursor.query_id or None)) from exc.__cause__
        finally:
            with suppress(connector.Error, http.HTTPError, OSError):
                cursor.close()

    def close(self) -> None:
        """Close the session; errors of a server that is gone do not matter any more."""
        if self._open is not None:
            connection, self._open = self._open, None
            try:
                connection.close()
            except (connector.Error, http.HTTPError, OSError):
                return

    def _connected(self) -> Any:
        if self._open is None:
            # The connector puts https:// before a host and :443 behind it.
            exact = self._where.plain_http or urlsplit(self._where.host).port is not None
            uri = {"_connection_uri": self._where.host + self._where.http_path} if exact else {}
            authenticate = self._where.authenticate
            connection = databricks_sql.connect(
                server_hostname=self._where.host if self._where.plain_http else urlsplit(self._where.host).netloc,
                http_path=self._where.http_path,
                credentials_provider=lambda: authenticate,
                session_configuration=dict(self._session),
                user_agent_entry="lakequeue",
                enable_telemetry=False,
                _disable_pandas=True,
                _socket_timeout=self._socket_timeout_s,
                _retry_delay_min=0.2,
                _retry_delay_max=5.0,
                # A warehouse that is away is asked again by the breaker, not here: any wait the connector would make at
                # a 429 or 5xx, which is `_retry_delay_max` at least, is longer than this.
                _retry_stop_after_attempts_count=1,
                _retry_stop_after_attempts_duration=CONNECT_S,
                **uri,
            )
            # urllib3 would send ExecuteStatement again when its answer is lost, and on 429 and 503, which may follow a
            # commit. Polling is repeated by the connector itself. Private, hence the exact version in pyproject.toml.
            backend: Any = connection.session.backend
            policy = backend.retry_policy
            policy.read = policy.other = policy.status = 0
            policy.connect = 1
            backend._retry_stop_after_attempts_count, backend._retry_stop_after_attempts_duration = POLLS, POLL_S
            self._open = connection
        return self._open

    @contextmanager
    def _translated(self, phase: Callable[[], Phase]) -> Iterator[None]:
        try:
            yield
        except StatementFailed:
            raise
        except Exception as exc:  # the connector lets those of pyarrow, thrift and the SDK through
            failure = translate(exc, phase())
            if failure.verdict == "unknown" or failure.cause in ("session", "warehouse", "unlisted"):
                self.close()
            if failure.needs_operator:
                log.error("%s: %s; jobs wait, none of them fails", failure.code, _REMEDIES[failure.code])
            elif found := trouble.explain(exc):
                log.error("%s: %s; %s; jobs wait, none of them fails", failure.code, *found)
            raise StatementFailed(failure) from exc


_REMEDIES = {
    UNAUTHENTICATED: "the warehouse does not take the credentials; renew or correct them and restart the workers",
    NO_SUCH_WAREHOUSE: "there is no such warehouse; correct DATABRICKS_WAREHOUSE_ID and restart the workers",
}


def translate(exc: Exception, phase: Phase) -> Failure:
    """The verdict on an exception of the connector, urllib3, the SDK or a socket.

    While `connecting` nothing was sent, and no job is at fault. While `sending` the request with the statement is under
    way. Once the statement is `running`, the server has taken it: then nothing but its own word that it failed means
    that it did.
    """
    if phase == "running":
        if isinstance(exc, connector.ServerOperationError):
            return verdicts.ended_by(verdicts.of_statement(_told(exc)))
        return verdicts.answer_lost(type(exc).__name__, verdicts.RESULT_LOST)
    if phase == "connecting":
        failure = verdicts.of_token(str(exc)) if type(exc) is ValueError else _translate(exc)
        return verdicts.while_connecting(failure)
    return _translate(exc)


def _translate(exc: BaseException) -> Failure:
    name = type(exc).__name__
    match verdicts.reading_of(type(exc)):
        case "never_sent":
            return verdicts.never_sent(name)
        case "refused":
            return verdicts.refused_credentials(name)
        case "reason":
            inside = getattr(exc, "reason", None) or getattr(exc, "original_error", None)
            return _translate(inside) if isinstance(inside, BaseException) else verdicts.answer_lost(name)
        case "status":
            return verdicts.of_http(_status(exc), _told(exc))
        case "text":
            failure = verdicts.of_statement(_told(exc))
            # The request was answered by an error. Without a class it says nothing of the statement.
            return verdicts.answered_without_class(failure) if failure.error_class == verdicts.NO_CLASS else failure
        case "lost":
            return verdicts.answer_lost(name)


def _told(exc: BaseException) -> str:
    """The text of an exception. The connector's may have none, and then cannot be made one by `str`."""
    if isinstance(exc, connector.Error) and not isinstance(exc.message, str):
        return ""
    return str(exc)


def _status(exc: BaseException) -> int | None:
    """The HTTP status an exception tells of: the connector keeps it in its context, urllib3 in a text."""
    context = getattr(exc, "context", None)
    if isinstance(context, dict):
        code = context.get("http-code")
        return code if isinstance(code, int) else None
    told = re.search(r"too many (\d{3}) error responses", str(exc))
    return int(told[1]) if told else None


class Connections:
    """One connection per thread, all closed together."""

    def __init__(self, where: Target, *, statement_timeout_s: int) -> None:
        for part in ("client", "backend.thrift_backend"):
            # Else most of the connector is imported with the first connection, while tables wait: half a second.
            import_module(f"databricks.sql.{part}")
        self._where = where
        self._statement_timeout_s = statement_timeout_s
        self._local = threading.local()
        self._all: list[Connection] = []
        self._lock = threading.Lock()

    def execute(self, statement: Statement) -> Answer:
        return self._mine().execute(statement)

    def close(self) -> None:
        with self._lock:
            opened, self._all = self._all, []
        for connection in opened:
            connection.close()

    def _mine(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = Connection(self._where, statement_timeout_s=self._statement_timeout_s)
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection
