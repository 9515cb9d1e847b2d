"""What holds of the running containers: who they run as, what they may write, what they may take of the machine."""

from __future__ import annotations

import re
from typing import Any

from tests.compose.engines import SERVICES, Engine, Failed

USERS = {"redis": 999, "localwarehouse": 10001, "worker": 10001, "flower": 10001}
WRITABLE = {"redis": "/data", "localwarehouse": "/data", "worker": "/tmp", "flower": "/data"}


def check(engine: Engine, *, secret: str) -> None:
    """Ask each container itself where that is possible, else the engine.

    Raises:
        Failed: saying all that does not hold.
    """
    faults = [f"{service}: {fault}" for service in SERVICES for fault in _faults(engine, service, secret)]
    if faults:
        raise Failed("\n".join(faults))


def _faults(engine: Engine, service: str, secret: str) -> list[str]:
    found = engine.inspect(service)
    host = found["HostConfig"]
    status = engine.execute(service, "cat", "/proc/1/status").stdout
    ids = re.search(r"^Uid:\s+(.*)", status, re.MULTILINE)
    who = {int(each) for each in ids[1].split()} if ids else set()
    root = engine.execute(service, "touch", "/there")
    home = engine.execute(service, "touch", f"{WRITABLE[service]}/.there")
    command = [found["Path"], *found["Args"]]
    ports = [bound["HostIp"] for bindings in (host["PortBindings"] or {}).values() for bound in bindings]
    checks = {
        f"runs as {who}": who == {USERS[service]},
        "may have capabilities": re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE) is not None,
        "may gain privileges": re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE) is not None,
        f"can write to its root: {root.stderr}": root.returncode != 0 and "Read-only file system" in root.stderr,
        f"cannot write to {WRITABLE[service]}: {home.stderr}": home.returncode == 0,
        "has no limit of memory": host["Memory"] > 0,
        "has no limit of CPU": _cpus(host) > 0,
        "has no limit of processes": (host["PidsLimit"] or 0) > 0,
        "has the password in its command": not any(secret in part for part in command),
        f"listens on {ports}": set(ports) <= {"127.0.0.1"},
    }
    return [fault for fault, holds in checks.items() if not holds]


def _cpus(host: dict[str, Any]) -> float:
    if host["NanoCpus"]:
        return float(host["NanoCpus"]) / 1e9
    return float(host["CpuQuota"]) / float(host["CpuPeriod"] or 100_000)
