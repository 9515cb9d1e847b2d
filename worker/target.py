"""Which warehouse, and as whom: host and credentials from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker import trouble

if TYPE_CHECKING:
    from databricks.sdk.core import Config

Headers = dict[str, str]

PATIENCE_S = 3
"""For how long one call of the SDK is repeated. Waiting longer is the lanes' business."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

CREDENTIALS = ("DATABRICKS_", "ARM_", "GOOGLE_")
"""How the names of the variables begin that the SDK's unified authentication reads."""

TOKEN_ALONE = frozenset({"DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_WAREHOUSE_ID", "DATABRICKS_CONFIG_FILE"})
"""With a host and a token and none but these, there is one way to authenticate, and the SDK would take it."""


NO_CREDENTIALS = frozenset(
    {
        *("DATABRICKS_HOST", "DATABRICKS_WAREHOUSE_ID", "DATABRICKS_CONFIG_FILE", "DATABRICKS_CLUSTER_ID"),
        *("DATABRICKS_ACCOUNT_ID", "DATABRICKS_AUTH_TYPE"),
    }
)
"""What else begins like them."""


class Misconfigured(Exception):
    """The environment names no warehouse that could be used, or no credentials; says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the warehouse is, as the connector wants it, and how the headers of a request come by its credentials."""

    host: str
    http_path: str
    authenticate: Callable[[], Headers] = field(repr=False, compare=False)

    @property
    def plain_http(self) -> bool:
        return self.host.startswith("http://")


def target(*, warehouse_id: str, http_path: str = "") -> Target:
    """Resolve host and credentials: a token in the environment, else by the SDK (a profile, OAuth M2M and others).

    Raises:
        Misconfigured: saying which variable to set.
    """
    host, authenticate = _token(os.environ) or _unified()
    parts = urlsplit(host)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise Misconfigured("DATABRICKS_HOST is plain http: credentials travel over https, except to this machine")
    if not warehouse_id and not http_path:
        raise Misconfigured("DATABRICKS_WAREHOUSE_ID is not set: it is in the warehouse's connection details")
    return Target(host, http_path or f"/sql/1.0/warehouses/{warehouse_id}", authenticate)


def sdk_config() -> Config:
    """The SDK's configuration, from the same environment.

    Raises:
        Misconfigured: if it holds no credentials, or no host.
    """
    from databricks.sdk.core import Config

    try:
        # The SDK asks the host about itself first, and by default goes on for five minutes if that is not there.
        config = Config(retry_timeout_seconds=PATIENCE_S, http_timeout_seconds=PATIENCE_S)
        config.authenticate()
    except Exception as exc:  # the SDK raises ValueError and its own errors alike
        if "more than one authorization method" in str(exc):
            raise Misconfigured(_two_credentials(os.environ)) from exc
        if found := trouble.explain(exc):
            raise Misconfigured("; ".join(found)) from exc
        raise Misconfigured(
            "no usable Databricks credentials: set DATABRICKS_HOST and DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and "
            f"DATABRICKS_CLIENT_SECRET, or DATABRICKS_CONFIG_PROFILE ({type(exc).__name__})"
        ) from exc
    if not config.host:
        raise Misconfigured("DATABRICKS_HOST is not set")
    return config


def _two_credentials(environ: Mapping[str, str]) -> str:
    given = sorted(name for name, value in environ.items() if value and name.startswith(CREDENTIALS))
    named = ", ".join(name for name in given if name not in NO_CREDENTIALS)
    return (
        f"credentials of more than one kind are set: {named}. Unset all but one kind, or say which is meant: "
        "DATABRICKS_AUTH_TYPE=pat is the token, oauth-m2m the client id and secret"
    )


def _token(environ: Mapping[str, str]) -> tuple[str, Callable[[], Headers]] | None:
    """Host and token, if they are all there is. Importing the SDK takes a worker a second and 70 MB."""
    given = {name for name, value in environ.items() if value and name.startswith(CREDENTIALS)}
    if not {"DATABRICKS_HOST", "DATABRICKS_TOKEN"} <= given <= TOKEN_ALONE:
        return None
    parts = urlsplit(host if "://" in (host := environ["DATABRICKS_HOST"].strip()) else f"https://{host}")
    headers = {"Authorization": f"Bearer {environ['DATABRICKS_TOKEN'].strip()}"}
    return f"{parts.scheme}://{parts.netloc.removesuffix(':443')}", headers.copy


def _unified() -> tuple[str, Callable[[], Headers]]:
    config = sdk_config()
    return str(config.host).rstrip("/"), config.authenticate
