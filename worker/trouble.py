"""What stands between us and the warehouse: a certificate of a private CA, a proxy, a name that is not known."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

_MOST_LINKS = 20


def explain(exc: BaseException) -> tuple[str, str] | None:
    """What is wrong and what to do about it; None if the exception tells nothing of the way to the warehouse.

    The exceptions of the connector, the SDK, requests and urllib3 hold each other as cause, context, reason or
    argument.
    """
    links = list(_links(exc))
    text = " ".join(str(each) for each in links)
    for each in links:
        if isinstance(each, ssl.SSLCertVerificationError):
            return (
                f"the certificate of the host is not trusted ({each.verify_message or 'verification failed'}): "
                "it is of a private CA, or a proxy opens the connection",
                "name the CA's file in REQUESTS_CA_BUNDLE and in SSL_CERT_FILE",
            )
    if any(isinstance(each, urllib3_errors.ProxyError | requests_errors.ProxyError) for each in links):
        wants = "it wants a login" if "407" in text else "it does not connect"
        return f"the proxy does not let us through: {wants}", "check HTTPS_PROXY, and NO_PROXY for the host"
    if any(isinstance(each, ssl.SSLError) for each in links):
        return "the host or a proxy before it speaks no TLS that is understood", "check DATABRICKS_HOST and HTTPS_PROXY"
    if any(isinstance(each, socket.gaierror | urllib3_errors.NameResolutionError) for each in links):
        return "the host's name is not known", "check DATABRICKS_HOST, the network and the proxy settings"
    return None


def _links(exc: BaseException) -> Iterator[BaseException]:
    waiting, seen = [exc], set[int]()
    while waiting and len(seen) < _MOST_LINKS:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        named = (getattr(each, name, None) for name in ("reason", "original_error"))
        near = (each.__cause__, each.__context__, *named, *each.args)
        waiting += [other for other in near if isinstance(other, BaseException)]
