"""`python -m worker doctor`: is everything there that a worker needs, and if not, what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import redis
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
from databricks.sdk.errors.base import DatabricksError
from lakequeue.connections import connect
from lakequeue.identifiers import TableName
from lakequeue.unreachable import explain

from tasks import statements
from worker import trouble
from worker.findings import Finding, short
from worker.lists import in_other_databases, misplaced_waits, remedy_of_prefix, unread
from worker.permissions import permission_findings
from worker.settings import Settings
from worker.target import Misconfigured, Target, sdk_config, target
from worker.warehouse import Connection, StatementFailed

OLDEST_REDIS = 7
CLOCK_SKEW_S = 5.0
PACKAGES = ("celery", "redis", "pydantic", "databricks-sql-connector", "databricks-sdk", "flower")
CONNECTOR = "4.9.0"
SILENT = ("STOPPED", "STOPPING", "DELETED", "DELETING")


def examine(*, wake: bool, tables: Sequence[TableName] = ()) -> Iterator[Finding]:
    """All findings, each as soon as it is known. A stopped warehouse is started only if `wake`.

    Args:
        tables: those on which the privileges are checked.
    """
    try:
        settings = Settings.from_env()
    except ValueError as exc:
        yield Finding("FAIL", "settings", str(exc), "correct the variable")
        return
    yield from versions()
    yield from redis_findings(settings)
    warehouse_id = os.environ.get("DATABRICKS_WAREHOUSE_ID", "")
    try:
        where = target(warehouse_id=warehouse_id, http_path=settings.http_path)
        client = WorkspaceClient(config=sdk_config())
    except Misconfigured as exc:
        yield Finding("FAIL", "credentials", "the warehouse cannot be addressed", str(exc))
        return
    credentials = ask_workspace("credentials", lambda: _identity(client, where))
    yield credentials
    if credentials.mark == "FAIL":
        return
    state = ask_workspace("warehouse", lambda: _warehouse(client, warehouse_id))
    yield state
    for table in tables:
        yield from permission_findings(client, table)
    if state.mark == "FAIL":
        return
    if state.mark == "skip" and not wake:
        yield Finding("skip", "statement", "not sent, it would start the warehouse", "run doctor --wake to try one")
        return
    yield statement(where, settings)


def versions() -> Iterator[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("FAIL", "versions", f"{name} is not installed", "install the project with its constraints")
    yield Finding("ok", "versions", f"python {sys.version.split()[0]}, {', '.join(found)}")
    if (connector := version("databricks-sql-connector")) != CONNECTOR:
        yield Finding(
            "FAIL",
            "versions",
            f"databricks-sql-connector {connector} instead of {CONNECTOR}",
            "install the pinned one: another may send a statement twice",
        )


def redis_findings(settings: Settings) -> Iterator[Finding]:
    client = connect(settings.redis_url, timeout_s=5)
    shown = client.address
    try:
        info = client.info()
    except (redis.RedisError, OSError) as exc:
        refused = isinstance(exc, redis.AuthenticationError | redis.ResponseError)
        step = "correct the user, password or database in" if refused else "start it, or correct"
        yield Finding("FAIL", "redis", explain(client, exc), f"{step} LAKEQUEUE_REDIS_URL")
        return
    if info.get("cluster_enabled"):
        told = f"{shown} is a Redis Cluster, which neither Celery nor lakequeue can use"
        yield Finding("FAIL", "redis", told, "give a server with cluster mode off")
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    number = str(info.get("valkey_version") or info.get("redis_version"))
    if int(str(info.get("redis_version", "0")).split(".")[0]) < OLDEST_REDIS:
        yield Finding("FAIL", "redis", f"{name} {number} at {shown}", f"install {OLDEST_REDIS}.0 or newer")
    else:
        yield Finding("ok", "redis", f"{name} {number} at {shown}")
    if info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "FAIL",
            "redis",
            f"maxmemory-policy is {info.get('maxmemory_policy')}: queued jobs may be thrown away",
            "set maxmemory-policy noeviction",
        )
    if not info.get("aof_enabled"):
        yield Finding("warn", "redis", "no append-only file: a restart loses what is queued", "set appendonly yes")
    yield from queue_findings(client)
    client.close()


def queue_findings(client: redis.Redis) -> Iterator[Finding]:
    """Jobs of other Celery applications that no worker will see."""
    try:
        found = [*unread(client), *in_other_databases(client)]
        waits = misplaced_waits(client)
    except redis.ResponseError as exc:
        yield Finding("skip", "queue", f"lists that nobody reads are not looked for: {short(exc)}")
        return
    for each in found:
        told, _, remedy = str(each).partition(": ")
        yield Finding("warn", "queue", told, remedy)
    for prefix, count in waits.items():
        waiting = "1 sender waits" if count == 1 else f"{count} senders wait"
        yield Finding("warn", "queue", f"{waiting} for results that are not there", remedy_of_prefix(prefix))
    if not found and not waits:
        yield Finding("ok", "queue", "no jobs in lists that no worker reads")


def ask_workspace(what: str, ask: Callable[[], Finding]) -> Finding:
    """A question to the workspace's control plane, which starts nothing."""
    try:
        return ask()
    except Unauthenticated as exc:
        return Finding("FAIL", what, short(exc), "renew the token or the client secret")
    except PermissionDenied as exc:
        return Finding("FAIL", what, short(exc), "grant CAN USE on the warehouse to this identity")
    except NotFound as exc:
        return Finding("FAIL", what, short(exc), "correct DATABRICKS_WAREHOUSE_ID")
    except (DatabricksError, ValueError, OSError, TimeoutError) as exc:
        told, step = trouble.explain(exc) or (
            type(exc).__name__,
            "check DATABRICKS_HOST, the network and the proxy settings",
        )
        return Finding("FAIL", what, told, step)


def statement(where: Target, settings: Settings) -> Finding:
    """One statement, as a worker would send it; compares the clocks."""
    connection = Connection(where, statement_timeout_s=settings.statement_timeout_s)
    try:
        answer = connection.execute(statements.who_and_when())
    except StatementFailed as exc:
        found = trouble.explain(exc)
        told, step = found or (str(exc), "see the error class in Databricks' documentation")
        return Finding("FAIL", "statement", told, step)
    finally:
        connection.close()
    user, now = answer.rows[0][0], answer.rows[0][1]
    skew = (now.replace(tzinfo=now.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    told = f"answered in {answer.elapsed_s * 1000:.0f} ms as {user}"
    if abs(skew) > CLOCK_SKEW_S + answer.elapsed_s:
        return Finding("warn", "statement", f"{told}; its clock is {skew:+.0f} s from ours", "set this machine's clock")
    return Finding("ok", "statement", told)


def _identity(client: WorkspaceClient, where: Target) -> Finding:
    me = client.current_user.me()
    return Finding("ok", "credentials", f"{me.user_name} on {where.host} ({client.config.auth_type or 'unknown'})")


def _warehouse(client: WorkspaceClient, warehouse_id: str) -> Finding:
    if not warehouse_id:
        return Finding("skip", "warehouse", "LAKEQUEUE_HTTP_PATH is used; its state is not known")
    found = client.warehouses.get(warehouse_id)
    state = found.state.value if found.state else "UNKNOWN"
    told = f"{found.name or warehouse_id} is {state}"
    return Finding("skip" if state in SILENT else "ok", "warehouse", told)
