"""`python -m worker healthy`: does the worker beside this command do its work? For containers, asked every few seconds.

Unhealthy means what a new start may help against: a worker that is gone or stuck, does not reach Redis, or takes no
tables though some are free. One that waits for a warehouse is healthy: a new start would bring that no nearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

ANSWER_S = 5.0
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where an endpoint is found that listens on all addresses."""


@dataclass(frozen=True, slots=True)
class Health:
    good: bool
    told: str


def look(*, port: int, address: str, within_s: float = ANSWER_S) -> Health:
    """Ask the worker's own metrics endpoint. That it answers shows a live process; the figures show the rest."""
    # Plain http.client: a proxy that the environment names is not for this.
    connection = HTTPConnection(EVERYWHERE.get(address, address), port, timeout=within_s)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, HTTPException) as exc:
        return Health(False, f"no worker answers at {address}:{port}: {exc or type(exc).__name__}")
    finally:
        connection.close()
    if answer.status != 200:
        return Health(False, f"no worker answers at {address}:{port}: HTTP {answer.status}")
    return judge(figures(text))


def figures(text: str) -> dict[str, float]:
    """The values without labels of a page of metrics."""
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {parts[0]: float(parts[1]) for parts in lines if len(parts) == 2 and "{" not in parts[0]}


def judge(found: Mapping[str, float]) -> Health:
    if not {"lakequeue_redis_up", "lakequeue_warehouse_up", "lakequeue_leases"} <= found.keys():
        return Health(False, "what answers is no worker's metrics")
    if not found["lakequeue_redis_up"]:
        return Health(False, "the worker does not reach Redis")
    leases = int(found["lakequeue_leases"])
    # How many are free is told by one worker of all: where another takes them, nothing waits.
    if not leases and (free := int(found.get("lakequeue_partitions_unowned", 0))):
        return Health(False, f"the worker takes none of the {free} partitions that are free")
    warehouse = "is there" if found["lakequeue_warehouse_up"] else "is waited for"
    return Health(True, f"partitions={leases}, Redis answers, the warehouse {warehouse}")
