"""Settings of a worker, each an environment variable `LAKEQUEUE_<NAME>`; the warehouse's are Databricks' own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lakequeue.address import RedisAddress
from lakequeue.settings import DEFAULT_URL
from lakequeue.settings import Settings as ClientSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are in seconds (`_s`), sizes in bytes. `describe()` lists every variable with its meaning."""

    redis_url: str = field(
        default=DEFAULT_URL, repr=False, metadata={"is": "broker and result backend: redis://, rediss:// or unix://"}
    )
    threads: int = field(default=8, metadata={"is": "statements a worker runs at once"})
    linger_s: float = field(default=0.0, metadata={"is": "wait this long before a batch for more jobs to join it"})
    max_batch_rows: int = field(default=50_000, metadata={"is": "rows in one statement, at most"})
    max_batch_jobs: int = field(default=10_000, metadata={"is": "jobs in one statement, at most"})
    max_batch_bytes: int = field(
        default=900_000,
        metadata={"is": "bytes of one statement's rows, at most (the 1 MB bound is unconfirmed)"},
    )
    start_within_s: float = field(
        default=60.0,
        metadata={"is": "a statement that starts later than this fails by itself and is sent anew"},
    )
    statement_timeout_s: int = field(default=120, metadata={"is": "STATEMENT_TIMEOUT of every session"})
    proof_margin_s: float = field(
        default=10.0, metadata={"is": "added to both before an unproved statement is taken as not committed"}
    )
    lease_ttl_s: float = field(default=10.0, metadata={"is": "a dead worker's tables are taken over after this"})
    backoff_first_s: float = field(default=1.0, metadata={"is": "longest wait after a first transient failure"})
    backoff_longest_s: float = field(default=60.0, metadata={"is": "longest wait between two attempts"})
    max_message_bytes: int = field(
        default=8_000_000,
        metadata={"is": "a larger message at Celery's door becomes a dead letter that no worker reads"},
    )
    pause_after_s: float = field(
        default=3600.0,
        metadata={"is": "a table whose statements fail for so long by an error that says nothing of any job is paused"},
    )
    result_expires_s: int = field(
        default=86_400, metadata={"is": "a finished job's record, and its id, live this long"}
    )
    repeat_unprovable: bool = field(
        default=False, metadata={"is": "repeat an append that cannot be proved, at the risk of doubling it"}
    )
    table_properties: Mapping[str, str] = field(
        default_factory=dict, metadata={"is": "JSON object of extra properties of created tables"}
    )
    metrics_port: int = field(
        default=0, metadata={"is": "port of the Prometheus endpoint /metrics; 0: none", "from": 0, "to": 65_535}
    )
    metrics_address: str = field(default="127.0.0.1", metadata={"is": "address it listens on"})
    log_format: str = field(
        default="text", metadata={"is": "text, or json: one object a line", "one_of": ("text", "json")}
    )
    events_per_s: int = field(
        default=300,
        metadata={
            "is": "jobs a second that are shown in Flower; of more, successes are left out (0: all shown)",
            "from": 0,
        },
    )
    http_path: str = field(
        default="", metadata={"is": "HTTP path of the warehouse, if it is not /sql/1.0/warehouses/<id>"}
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the environment.

        Raises:
            ValueError: naming the variable that cannot be used.
        """
        given: dict[str, Any] = {}
        for each in fields(cls):
            name = variable(each.name)
            if text := environ.get(name):
                try:
                    if each.name == "redis_url":
                        RedisAddress.parse(text)
                    given[each.name] = _read(each.type, text, each.metadata)
                except ValueError as exc:
                    raise ValueError(f"{name}: {exc}") from exc
        return cls(**given)


def variable(field_name: str) -> str:
    return "LAKEQUEUE_" + field_name.upper()


OF_CLIENTS = {
    "max_queue_length": "in clients: jobs that may wait on a table; of more QueueFull",
    "max_job_bytes": "in clients: bytes of a job's rows, at most",
    "load_remembered_s": "in clients: the load of a file is remembered this long after it was last run",
}


def describe() -> list[tuple[str, str, str]]:
    """Each variable with its default and its meaning, those that only clients read last."""
    told = []
    for each in fields(Settings):
        default = "" if each.name == "table_properties" else str(each.default)
        told.append((variable(each.name), default, each.metadata["is"]))
    client = ClientSettings()
    return told + [(variable(name), str(getattr(client, name)), what) for name, what in OF_CLIENTS.items()]


def _number(kind: type[int] | type[float], text: str, what: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {what}, not {text[:40]!r}") from None


def _read(kind: Any, text: str, limits: Mapping[str, Any]) -> Any:
    match kind:
        case "int":
            number = _number(int, text, "a whole number")
        case "float":
            number = _number(float, text, "a number")
        case "bool":
            if text.lower() not in ("true", "false", "1", "0"):
                raise ValueError("expected true or false")
            return text.lower() in ("true", "1")
        case "Mapping[str, str]":
            loaded = json.loads(text)
            if not isinstance(loaded, dict) or not all(isinstance(v, str) for v in loaded.values()):
                raise ValueError(
                    'expected a JSON object of strings, such as {"delta.autoOptimize.autoCompact": "true"}'
                )
            if any("${" in each for each in (*loaded, *loaded.values())):
                raise ValueError("a property cannot hold ${, since Spark substitutes a variable there")
            return loaded
        case _:
            if text not in limits.get("one_of", (text,)):
                raise ValueError(f"expected {' or '.join(limits['one_of'])}")
            return text
    if not (0 < number < 1e9 or (number == 0 and (kind == "float" or limits.get("from") == 0))):
        raise ValueError("expected a number above 0 and below 1e9")
    if number > limits.get("to", number):
        raise ValueError(f"expected {limits['to']} at most")
    return number
