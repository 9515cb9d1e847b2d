"""What a seed stands for: the jobs of every table in their order, and which fault comes when."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.torture import canvas
from tests.torture.canvas import Canvas

Kind = Literal["created", "checked", "adopted", "plain"]
"""How a table comes to be: by its first job's `auto_create`; made before, with a CHECK constraint; made before and
given its audit columns by `adopt`; made before, without any."""

Flavour = Literal["fine", "invalid", "refused"]
"""`invalid` jobs fail in the worker, `refused` ones by the table's CHECK constraint, if they come to a row at all."""

What = Literal["kill", "stop", "redis", "warehouse"]

DEFINITION = [
    {"name": "k", "data_type": "BIGINT"},
    {"name": "a", "data_type": "VARCHAR(4)"},
    {"name": "b", "data_type": "INT"},
]
SCHEMA = "torture.run"
KEYS = 40
"""Keys of a table that jobs of all kinds meet on; each appended row beside these has a key of its own."""

ACTORS = ("ann", "bob", "eve")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; `drop` is the share of replies that are lost, half of them before anything ran."""

    jobs: int = 10_000
    kills: int = 200
    stops: int = 20
    bursts: int = 60
    drop: float = 0.05
    redis_restarts: int = 3
    workers: int = 3
    tables: int = 8
    canvas: float = 0.1
    """So many jobs beside them, as a share, come through Celery's own door in canvases."""

    pace_s: float = 1.2
    """The pause between two faults, on average."""


@dataclass(frozen=True, slots=True)
class Table:
    number: int
    kind: Kind

    @property
    def name(self) -> str:
        return f"{SCHEMA}.t{self.number}"

    @property
    def stamped(self) -> bool:
        return self.kind != "plain"


@dataclass(frozen=True, slots=True)
class Spec:
    """One job of the plan. `seq` is its place among its table's jobs; the rows it touches get it as their `b`."""

    id: str
    table: int
    seq: int
    fields: Mapping[str, Any]
    flavour: Flavour = "fine"
    revoked: bool = False
    """It is cancelled right after it was enqueued; whether that comes in time is another matter."""

    @property
    def kind(self) -> str:
        return str(self.fields["kind"])


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong once `at` jobs were enqueued, and at least `pause_s` after the fault before it.

    `worker` is the number of a worker. `busy`: a kill waits a moment for a batch of this worker to be under way.
    `seconds` is how long a worker is stopped, or Redis away. `rules` are the local warehouse's.
    """

    at: int
    pause_s: float
    what: What
    worker: int = 0
    busy: bool = False
    seconds: float = 0.0
    rules: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Plan:
    seed: int
    scale: Scale
    tables: tuple[Table, ...]
    jobs: tuple[Spec, ...]
    faults: tuple[Fault, ...]
    canvases: tuple[Canvas, ...] = ()
    standing: tuple[Mapping[str, Any], ...] = field(default=())
    """Rules in force from the start: the replies that are lost."""


def make(seed: int, scale: Scale) -> Plan:
    """The plan of a seed; the same one every time."""
    kinds: tuple[Kind, ...] = ("created", "checked", "plain", "adopted", "created", "checked")
    tables = tuple(Table(n, kinds[n % len(kinds)]) for n in range(scale.tables))
    standing = (
        {"on": "any", "action": "drop_after", "probability": scale.drop / 2, "seed": seed * 2},
        # Of the requests that the rule before has let through.
        {"on": "any", "action": "drop_before", "probability": scale.drop / 2, "seed": seed * 2 + 1},
    )
    jobs = _Jobs(random.Random(f"jobs {seed}"), tables).some(scale.jobs)
    faults = _faults(random.Random(f"faults {seed}"), scale)
    canvases = canvas.make(seed, int(scale.jobs * scale.canvas))
    return Plan(seed, scale, tables, jobs, faults, canvases, standing)


class _Jobs:
    def __init__(self, chance: random.Random, tables: Sequence[Table]) -> None:
        self._chance = chance
        self._tables = tables
        self._made: dict[int, list[Spec]] = {table.number: [] for table in tables}
        self._fresh = KEYS

    def some(self, count: int) -> tuple[Spec, ...]:
        # Some tables get more than others.
        weights = [self._chance.uniform(0.5, 2) for _ in self._tables]
        return tuple(self._job(self._chance.choices(self._tables, weights)[0]) for _ in range(count))

    def _job(self, table: Table) -> Spec:
        made = self._made[table.number]
        seq = len(made)
        flavour: Flavour = "fine"
        chance = self._chance
        kinds = {"append": 26, "upsert": 18, "absent": 8, "update": 20, "soft": 7, "hard": 6, "read": 9, "invalid": 3}
        if table.kind == "checked":
            kinds["refused"] = 4
        if not table.stamped:
            del kinds["soft"]
        if seq == 0:
            kinds = {"append": 1}
        kind = chance.choices(list(kinds), list(kinds.values()))[0]
        if kind in ("invalid", "refused"):
            flavour = "invalid" if kind == "invalid" else "refused"
        fields = self._fields(kind, table, seq)
        spec = Spec(
            id=f"t{table.number}.{seq}",
            table=table.number,
            seq=seq,
            fields={**fields, "table": table.name, "actor": chance.choice(ACTORS)},
            flavour=flavour,
            revoked=seq > 0 and kind not in ("invalid", "refused", "read") and chance.random() < 0.01,
        )
        made.append(spec)
        return spec

    def _fields(self, kind: str, table: Table, seq: int) -> dict[str, Any]:
        chance = self._chance
        must_exist = chance.random() < 0.25
        create = {"auto_create": True, "schema_definition": DEFINITION} if table.kind == "created" else {}
        match kind:
            case "append":
                rows: list[dict[str, Any]] = [
                    {"k": self._new_key(), "a": self._text(), "b": seq} for _ in range(self._rows(5))
                ]
                return {"kind": "write", "data": rows, **create}
            case "upsert" | "absent":
                rows = [{"k": k, "a": self._text(), "b": seq} for k in self._keys(3)]
                mode = "upsert" if kind == "upsert" else "insert_if_absent"
                return {"kind": "write", "data": rows, "mode": mode, "key_columns": ["k"], **create}
            case "update" if chance.random() < 0.5:
                updates: dict[str, Any] = {"b": seq} if chance.random() < 0.5 else {"a": self._text(), "b": seq}
                (key,) = self._keys(1)
                return {"kind": "update", "key": {"k": key}, "updates": updates, "must_exist": must_exist}
            case "update":
                changes = [{"key": {"k": k}, "updates": {"b": seq}} for k in self._keys(3)]
                return {"kind": "update", "rows": changes, "must_exist": must_exist}
            case "soft" | "hard":
                wanted = [{"k": k} for k in self._keys(2)]
                return {"kind": "delete", "keys": wanted, "soft": kind == "soft", "must_exist": must_exist}
            case "invalid":
                updates = {"a": "too long"} if chance.random() < 0.5 else {"nosuch": 1}
                return {"kind": "update", "key": {"k": self._keys(1)[0]}, "updates": updates}
            case "refused" if chance.random() < 0.5:
                return {"kind": "write", "data": [{"k": self._new_key(), "a": "x", "b": -1 - seq}]}
            case "refused":
                return {"kind": "update", "key": {"k": self._keys(1)[0]}, "updates": {"b": -1 - seq}}
            case _:
                after = chance.choice([each for each in self._made[table.number][-30:] if each.kind != "read"])
                (key,) = self._keys(1)
                return {
                    "kind": "read",
                    "columns": "k,a,b",
                    "filters": [{"column": "k", "op": "=", "value": key}],
                    "order_by": "b",
                    "limit": 1000,
                    "after": after.id,
                }

    def _rows(self, most: int) -> int:
        return self._chance.randint(2, most) if self._chance.random() < 0.2 else 1

    def _keys(self, most: int) -> list[int]:
        return self._chance.sample(range(KEYS), self._rows(most) if most > 1 else 1)

    def _new_key(self) -> int | None:
        """Mostly one that no other row has; a row whose key is one of the common ones, or null, is appended as well."""
        roll = self._chance.random()
        if roll < 0.25:
            return self._chance.randrange(KEYS)
        if roll < 0.27:
            return None
        self._fresh += 1
        return self._fresh

    def _text(self) -> str | None:
        return self._chance.choice(["x", "y'; ", None, "é", "", "🦆"])


def _faults(chance: random.Random, scale: Scale) -> tuple[Fault, ...]:
    """Mixed and spread over the stream, the last of them before its end."""
    shares: dict[What, int] = {
        "kill": scale.kills,
        "stop": scale.stops,
        "redis": scale.redis_restarts,
        "warehouse": scale.bursts,
    }
    whats = [what for what, count in shares.items() for _ in range(count)]
    chance.shuffle(whats)
    first, last = scale.jobs * 0.01, scale.jobs * 0.97
    at = [int(first + (last - first) * i / max(1, len(whats))) for i in range(len(whats))]
    return tuple(_fault(chance, what, moment, scale) for what, moment in zip(whats, at, strict=True))


def _fault(chance: random.Random, what: What, at: int, scale: Scale) -> Fault:
    # Those of the warehouse come between the others: they end by themselves.
    pause_s = round(scale.pace_s * (chance.uniform(0, 0.6) if what == "warehouse" else chance.uniform(0.4, 1.6)), 3)
    worker = chance.randrange(scale.workers)
    match what:
        case "kill":
            return Fault(at, pause_s, what, worker=worker, busy=chance.random() < 0.7)
        case "stop":
            return Fault(at, pause_s, what, worker=worker, seconds=round(chance.uniform(2.5, 5), 2))
        case "redis":
            return Fault(at, pause_s, what, seconds=round(chance.uniform(0, 4), 2))
        case _:
            return Fault(at, pause_s, what, rules=_burst(chance))


def _burst(chance: random.Random) -> tuple[Mapping[str, Any], ...]:
    """A few requests that meet the same fault."""
    times = chance.randint(1, 4)
    writes = {"on": "ExecuteStatement", "match": "^(INSERT|MERGE)", "times": times}
    anything = {"on": "any", "times": times}
    rule: Mapping[str, Any] = chance.choice(
        [
            {**anything, "action": "status", "status": 429},
            {**anything, "action": "status", "status": 503, "executed": False},
            {**anything, "action": "status", "status": 503, "executed": True},
            {**anything, "action": "status", "status": 500, "executed": chance.random() < 0.5},
            {**anything, "action": "forget_session"},
            {**writes, "action": "error", "error_class": "DELTA_CONCURRENT_APPEND", "sqlstate": "2D521"},
            {**writes, "action": "error", "error_class": "DELTA_CONCURRENT_DELETE_READ", "sqlstate": "2D521"},
            {**writes, "action": "delay", "seconds": round(chance.uniform(0.2, 1.5), 2)},
            # Past the time by which a statement has to have started, and past the time by which it has to be done.
            {**writes, "action": "delay", "seconds": round(chance.uniform(2.1, 5), 2)},
            {"on": "any", "times": 1, "action": "cold_start", "seconds": round(chance.uniform(0.3, 2), 2)},
        ]
    )
    return (rule,)
