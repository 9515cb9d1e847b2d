"""Who may speak, and to what: bearer tokens, OAuth client credentials, the user, the warehouse."""

import base64
import binascii
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

USER = "local@localhost"
WAREHOUSE_ID = "local"
WORKSPACE_ID = "1"
TOKEN_LIFETIME_S = 3600

State = Literal["RUNNING", "STOPPED", "STARTING", "STOPPING", "DELETED", "DELETING"]


@dataclass(frozen=True)
class Identity:
    """Checks and issues tokens. Issued ones are signed, not remembered: they survive a restart."""

    token: str
    client_id: str
    client_secret: str

    def accepts(self, authorization: str | None) -> bool:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        given = token.strip().encode()
        return hmac.compare_digest(given, self.token.encode()) or self._issued(token.strip())

    def _sign(self, expires_at: str) -> str:
        key = f"{self.client_id}:{self.client_secret}".encode()
        return hmac.new(key, expires_at.encode(), hashlib.sha256).hexdigest()

    def _issued(self, token: str) -> bool:
        prefix, _, rest = token.partition(".")
        expires_at, _, signature = rest.partition(".")
        if prefix != "oauth" or not expires_at.isdigit():
            return False
        return (
            hmac.compare_digest(signature.encode(), self._sign(expires_at).encode()) and int(expires_at) > time.time()
        )

    def issue(self, authorization: str | None, form: bytes) -> tuple[int, dict[str, Any]]:
        """The answer of `/oidc/v1/token`: status and body. Credentials come in the header or in the form."""
        fields = {key: values[-1] for key, values in urllib.parse.parse_qs(form.decode("utf-8", "replace")).items()}
        given_id, given_secret = fields.get("client_id", ""), fields.get("client_secret", "")
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                decoded = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                decoded = ""
            # RFC 6749 wants both form-encoded; the SDK sends them as they are.
            given_id, _, given_secret = decoded.partition(":")
        known = hmac.compare_digest(given_id.encode(), self.client_id.encode()) & hmac.compare_digest(
            given_secret.encode(), self.client_secret.encode()
        )
        if not known:
            return 401, {"error": "invalid_client", "error_description": "Client authentication failed"}
        if fields.get("grant_type") != "client_credentials":
            return 400, {
                "error": "unsupported_grant_type",
                "error_description": "Only client_credentials is supported",
            }
        expires_at = str(int(time.time()) + TOKEN_LIFETIME_S)
        return 200, {
            "access_token": f"oauth.{expires_at}.{self._sign(expires_at)}",
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFETIME_S,
            "scope": fields.get("scope", "all-apis"),
        }


def discovery(host: str) -> dict[str, Any]:
    """`/.well-known/databricks-config`, which the SDK asks before anything else."""
    return {"oidc_endpoint": f"{host}/oidc", "workspace_id": WORKSPACE_ID}


def authorization_server(host: str) -> dict[str, Any]:
    """`/oidc/.well-known/oauth-authorization-server`: where tokens are to be had."""
    return {
        "issuer": f"{host}/oidc",
        "authorization_endpoint": f"{host}/oidc/v1/authorize",
        "token_endpoint": f"{host}/oidc/v1/token",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }


def warehouse(state: State) -> dict[str, Any]:
    """The warehouse as `/api/2.0/sql/warehouses/<id>` tells of it."""
    return {
        "id": WAREHOUSE_ID,
        "name": "local warehouse",
        "state": state,
        "cluster_size": "2X-Small",
        "warehouse_type": "PRO",
        "enable_serverless_compute": True,
        "auto_stop_mins": 0,
        "num_clusters": 1,
        "min_num_clusters": 1,
        "max_num_clusters": 1,
        "creator_name": USER,
    }


def me(groups: Sequence[str]) -> dict[str, Any]:
    """The user as `/api/2.0/preview/scim/v2/Me` tells of it."""
    return {
        "id": "1",
        "userName": USER,
        "displayName": "Local user",
        "active": True,
        "groups": [{"display": group, "type": "direct", "value": str(at)} for at, group in enumerate(groups)],
    }
