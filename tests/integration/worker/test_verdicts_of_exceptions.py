"""Every exception class of the connector, urllib3 and the SDK has its verdict, and so has every listed error class."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import databricks.sdk
import databricks.sql.backend.thrift_backend  # what it is made of cannot be imported alone
import pytest
import urllib3
import urllib3.exceptions as http
from databricks.sdk.core import Config
from databricks.sdk.errors import platform
from databricks.sdk.errors.private_link import PrivateLinkValidationError
from databricks.sql import exc as connector

from tasks.sql import Sql, Statement
from tasks.verdict_table import ERROR_CLASSES, EXCEPTIONS, SQLSTATES
from tasks.verdicts import Failure
from tests.fix_localwarehouse import LocalWarehouse
from worker.target import Target
from worker.warehouse import Connection, StatementFailed, translate

NOT_HERE = {"js", "OpenSSL", "socks", "h2", "grpc", "IPython"}
"""What modules want that are no use here: browsers, other transports, notebooks."""

SIGNS_IN = "databricks.sdk.runtime"
"""Importing it connects to a workspace; it defines no exception."""


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """A package and every module in it that can be imported."""
    yield package
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name == SIGNS_IN:
            continue
        try:
            module = importlib.import_module(found.name)
        except ModuleNotFoundError as exc:
            if exc.name not in NOT_HERE:
                raise
            continue
        yield from modules(module) if found.ispkg else [module]


def name_of(raised: type[BaseException]) -> str:
    return f"{raised.__module__}.{raised.__qualname__}"


def defined() -> dict[str, type[Exception]]:
    """Every exception class that the three libraries define."""
    packages = (databricks.sql, urllib3, databricks.sdk)
    return {
        name_of(each): each
        for package in packages
        for module in modules(package)
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception) and each.__module__.startswith(tuple(p.__name__ for p in packages))
    }


DEFINED = defined()


def test_every_exception_class_has_been_judged() -> None:
    assert len(DEFINED) >= 90
    assert {name for name in DEFINED if name not in EXCEPTIONS} == set()


def test_every_judged_exception_class_exists() -> None:
    others = {"builtins": builtins, "requests.exceptions": importlib.import_module("requests.exceptions")}
    for name in EXCEPTIONS.keys() - DEFINED.keys():
        module, _, last = name.rpartition(".")
        found = getattr(others[module], last)
        assert issubclass(found, Exception)


def instance(raised: type[Exception]) -> Exception:
    """One as if just raised, whatever its constructor asks for."""
    if issubclass(raised, OSError | RuntimeError):
        return raised("something went wrong")
    exc = raised.__new__(raised)
    Exception.__init__(exc, "something went wrong")
    exc.__dict__.update(message="x", reason=None, original_error=None, partial=0, expected=0, length=b"0")
    return exc


@pytest.mark.parametrize("name", sorted(DEFINED))
def test_an_exception_alone_has_its_verdict(name: str) -> None:
    """What neither was kept from leaving nor says more of itself may have been sent, and may run."""
    exc = instance(DEFINED[name])
    expected = "transient" if EXCEPTIONS[name] in ("never_sent", "refused") else "unknown"
    assert translate(exc, "sending").verdict == expected
    connecting = translate(exc, "connecting")
    assert (connecting.verdict, connecting.cause) == ("transient", "warehouse")
    own_word = name == "databricks.sql.exc.ServerOperationError"
    assert translate(exc, "running").verdict == ("transient" if own_word else "unknown")


def test_only_what_surely_never_left_is_sent_again_unproved() -> None:
    """The whole list, by hand: a class too many in it doubles writes."""
    never = {name for name in DEFINED if EXCEPTIONS[name] in ("never_sent", "refused")}
    assert {name for name in never if not name.startswith("databricks.sdk.")} == {
        "urllib3.exceptions.NewConnectionError",
        "urllib3.exceptions.ConnectTimeoutError",
        "urllib3.exceptions.NameResolutionError",
    }


@pytest.mark.parametrize(
    "exc",
    [platform.Unauthenticated("x"), platform.PermissionDenied("x"), PrivateLinkValidationError("x")],
    ids=lambda each: type(each).__name__,
)
def test_credentials_that_are_refused_are_no_jobs_fault(exc: Exception) -> None:
    for failure in (translate(exc, "connecting"), translate(exc, "sending")):
        assert (failure.verdict, failure.cause, failure.code) == ("transient", "warehouse", "UNAUTHENTICATED")
        assert failure.needs_operator


def proxied(reason: Exception) -> http.ProxyError:
    return http.ProxyError("Unable to connect to proxy", reason)


NO_POOL: Any = None
REFUSED = http.NewConnectionError(NO_POOL, "refused")
REASONS = [
    (REFUSED, "transient"),
    (http.ConnectTimeoutError(), "transient"),
    (http.ResponseError("too many 429 error responses"), "transient"),
    (http.ResponseError("too many 503 error responses"), "unknown"),
    (http.ResponseError("too many redirects"), "unknown"),
    (http.ProtocolError("Connection aborted."), "unknown"),
    (http.ReadTimeoutError(NO_POOL, "/", "Read timed out."), "unknown"),
    (proxied(REFUSED), "transient"),
    (proxied(ConnectionResetError("lost after it was sent")), "unknown"),
]


@pytest.mark.parametrize(("reason", "verdict"), REASONS, ids=[f"{type(r).__name__}: {r}"[:60] for r, _ in REASONS])
def test_retries_that_ran_out_are_judged_by_their_reason(reason: Exception, verdict: str) -> None:
    exc = http.MaxRetryError(NO_POOL, "/", reason)
    assert translate(exc, "sending").verdict == verdict
    assert translate(exc, "running").verdict == "unknown"


ERRORS: Any = connector  # its constructors are untyped


@pytest.mark.parametrize(
    ("exc", "sending", "running"),
    [
        (ERRORS.ServerOperationError("[CAST_INVALID_INPUT] x SQLSTATE: 22018"), "permanent", "permanent"),
        (ERRORS.ServerOperationError("[DELTA_CONCURRENT_APPEND] x SQLSTATE: 2D521"), "transient", "transient"),
        (ERRORS.ServerOperationError("[INSUFFICIENT_PERMISSIONS] x SQLSTATE: 42501"), "permanent", "permanent"),
        (ERRORS.ServerOperationError("Invalid SessionHandle: x"), "transient", "transient"),
        (ERRORS.DatabaseError("[PARSE_SYNTAX_ERROR] x SQLSTATE: 42601"), "permanent", "unknown"),
        (ERRORS.DatabaseError("Invalid SessionHandle: x"), "transient", "unknown"),
        (ERRORS.DatabaseError("Command x unexpectedly closed server side"), "unknown", "unknown"),
        (ERRORS.DatabaseError(), "unknown", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 400}), "transient", "unknown"),
        (ERRORS.RequestError("Invalid SessionHandle: x", {"http-code": 400}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 401}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 403}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 404}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 429}), "transient", "unknown"),
        (ERRORS.RequestError("x", {"http-code": 503}), "unknown", "unknown"),
        (ERRORS.RequestError("too many 429 error responses", {"http-code": 200}), "unknown", "unknown"),
        (ERRORS.MaxRetryDurationError("would exceed", {"http-code": 200}), "unknown", "unknown"),
    ],
    ids=lambda each: f"{each} {each.context}"[:60] if isinstance(each, connector.Error) and each.message else None,
)
def test_a_statement_that_runs_is_believed_to_have_failed_by_its_own_word_only(
    exc: Exception, sending: str, running: str
) -> None:
    assert translate(exc, "sending").verdict == sending
    assert translate(exc, "running").verdict == running
    assert translate(exc, "connecting").verdict == "transient"


CANCELLED = "HY008"
"""The connector is silent about a statement that was cancelled: its class does not arrive, its verdict does."""

INSERT = Statement(Sql("INSERT INTO c.s.t VALUES (1)"), does="change")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalWarehouse, Connection]]:
    """One warehouse with an empty table c.s.t, and one connection to it."""
    folder: Path = tmp_path_factory.mktemp("verdicts")
    warehouse = LocalWarehouse(folder / "warehouse")
    host = f"http://127.0.0.1:{warehouse.port}"
    config = Config(host=host, token=warehouse.token, retry_timeout_seconds=2)
    connection = Connection(Target(host, "/sql/1.0/warehouses/local", config.authenticate), statement_timeout_s=5)
    for text in ("CREATE CATALOG c", "CREATE SCHEMA c.s", "CREATE TABLE c.s.t (id BIGINT)"):
        connection.execute(Statement(Sql(text), does="define"))
    yield warehouse, connection
    connection.close()
    warehouse.stop()


def failure_of(served: tuple[LocalWarehouse, Connection], error_class: str, sqlstate: str) -> Failure:
    """What the connection makes of a statement that the warehouse fails so."""
    warehouse, connection = served
    told = {"error_class": error_class, "sqlstate": sqlstate, "message": "Something with a value 'x'."}
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "times": 1, "action": "error", **told})
    with pytest.raises(StatementFailed) as caught:
        connection.execute(INSERT)
    return caught.value.failure


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_an_error_class_of_the_warehouse_arrives_with_its_verdict(
    served: tuple[LocalWarehouse, Connection], error_class: str
) -> None:
    failure = failure_of(served, f"{error_class}.SOME_SUB_CLASS", "XXKST")
    assert (failure.verdict, failure.cause) == ERROR_CLASSES[error_class]
    assert (failure.code, failure.sqlstate) == (error_class, "XXKST")


@pytest.mark.parametrize("sqlstate", SQLSTATES)
def test_a_sqlstate_of_the_warehouse_arrives_with_its_verdict(
    served: tuple[LocalWarehouse, Connection], sqlstate: str
) -> None:
    failure = failure_of(served, "SOME_NEW_CLASS", sqlstate)
    assert (failure.verdict, failure.cause) == SQLSTATES[sqlstate]
    if sqlstate != CANCELLED:
        assert (failure.code, failure.sqlstate) == ("SOME_NEW_CLASS", sqlstate)


def test_none_of_these_statements_ran(served: tuple[LocalWarehouse, Connection]) -> None:
    _, connection = served
    failure_of(served, "SOME_NEW_CLASS", "99999")
    assert connection.execute(Statement(Sql("SELECT id FROM c.s.t"))).rows == []
    assert connection.execute(INSERT).affected == 1


def test_the_module_that_signs_in_defines_no_exception() -> None:
    """It is left out of the walk, so its text is looked at."""
    texts = [path.read_text() for path in Path(databricks.sdk.__path__[0], "runtime").rglob("*.py")]
    assert texts
    assert not any(re.search(r"class \w+\(.*(Exception|Error)\)", text) for text in texts)
