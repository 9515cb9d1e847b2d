"""What comes through Celery's own door: canvases of every shape, and what each has to leave behind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery, chain, chord, group

from worker.signatures import with_ids

TABLES = ("torture.run.c0", "torture.run.c1")
FOREIGN = "torture-others"
"""A queue of another application: what is sent to its tasks stays there, to be looked at."""

JOBS_EACH = 4
"""So many jobs a canvas has, on average."""

Shape = Any
"""The id of a job whose result is handed on, or a list of shapes."""

_app = Celery("plan", set_as_current=False)


@dataclass(frozen=True, slots=True)
class Canvas:
    """One thing that is sent. Each write in it appends a row with a key that no other has.

    `signature` is Celery's JSON, with ids; `priority`, `eta_s` and `expires_s` (seconds after it was made) go with it.
    `once` are the keys whose rows are to be there once, `never` those that may not be there; `states` are the ends of
    jobs by id. In `order`, the row of the first key is written before that of the second. `told` says by the id of a
    foreign task whose results it has to be given.
    """

    number: int
    kind: str
    table: str
    signature: Mapping[str, Any]
    once: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    states: Mapping[str, str] | None = None
    order: tuple[tuple[int, int], ...] = ()
    told: Mapping[str, Shape] | None = None
    priority: int | None = None
    eta_s: float | None = None
    expires_s: float | None = None

    @property
    def id(self) -> str:
        return f"c{self.number}"

    @property
    def in_order(self) -> bool:
        """Whether its rows are written in the order in which such canvases were sent."""
        return self.kind == "plain" and not self.priority


class _Maker:
    """Makes the parts of one canvas, with ids and keys that follow from its number."""

    def __init__(self, number: int, table: str) -> None:
        self.number, self.table = number, table
        self.count = 0
        self.states: dict[str, str] = {}
        self.once: list[int] = []
        self.never: list[int] = []

    def write(self, state: str | None = "SUCCESS", *, named: bool = True) -> Any:
        """A job that appends one row; `state` is None for one that is never sent."""
        job_id, key = self.take()
        (self.once if state == "SUCCESS" else self.never).append(key)
        if state is not None and named:
            self.states[job_id] = state
        return self._made(job_id, {"table": self.table, "data": [{"k": key}]}, named=named)

    def bad(self) -> Any:
        job_id, _ = self.take()
        self.states[job_id] = "FAILURE"
        return self._made(job_id, {"table": self.table, "data": [{"k": "no number"}]})

    def foreign(self) -> Any:
        job_id, _ = self.take()
        return _app.signature("others.take", options={"task_id": job_id, "queue": FOREIGN})

    def several(self, count: int) -> list[Any]:
        return [self.write() for _ in range(count)]

    def take(self) -> tuple[str, int]:
        self.count += 1
        return f"c{self.number}.{self.count}", self.number * 100 + self.count

    def _made(self, job_id: str, kwargs: Mapping[str, Any], *, named: bool = True) -> Any:
        options = {"task_id": job_id} if named else {}
        return _app.signature("records.write", kwargs=kwargs, immutable=True, options=options)


def make(seed: int, jobs: int) -> tuple[Canvas, ...]:
    """Canvases of so many jobs in all."""
    chance = random.Random(f"canvas {seed}")
    kinds = list(_KINDS)
    chance.shuffle(kinds)
    return tuple(
        _KINDS[kinds[n % len(kinds)]](_Maker(n, chance.choice(TABLES)), chance) for n in range(jobs // JOBS_EACH)
    )


def _canvas(maker: _Maker, kind: str, signature: Any, **more: Any) -> Canvas:
    plain = with_ids(json.loads(json.dumps(signature)), f"c{maker.number}")
    parts = {"once": tuple(maker.once), "never": tuple(maker.never), "states": maker.states}
    return Canvas(maker.number, kind, maker.table, plain, **{**parts, **more})


def _plain(maker: _Maker, chance: random.Random) -> Canvas:
    sent = maker.write()
    links = [maker.write(named=False) for _ in range(chance.randint(0, 2))]
    for link in links:
        sent.link(link)
    sent.link_error(maker.write(None))
    priority = chance.choice([None, None, 0, 3, 6, 9])
    first = maker.once[0]
    order = tuple((first, key) for key in maker.once[1:])
    return _canvas(maker, "plain", sent, priority=priority, order=order)


def _failing(maker: _Maker, chance: random.Random) -> Canvas:
    sent = maker.bad()
    sent.link(maker.write(None))
    for _ in range(chance.randint(1, 2)):
        sent.link_error(maker.write(named=False))
    return _canvas(maker, "failing", sent)


def _delayed(maker: _Maker, chance: random.Random) -> Canvas:
    sent = maker.write()
    sent.link(maker.write(named=False))
    return _canvas(maker, "delayed", sent, eta_s=round(chance.uniform(0.3, 4), 2), expires_s=3600.0)


def _expired(maker: _Maker, chance: random.Random) -> Canvas:
    sent = maker.write("REVOKED")
    sent.link(maker.write(None))
    eta_s = round(chance.uniform(1, 3), 2)
    return _canvas(maker, "expired", sent, eta_s=eta_s, expires_s=round(eta_s * 0.5, 2))


def _chain(maker: _Maker, chance: random.Random) -> Canvas:
    steps = maker.several(chance.randint(2, 5))
    last = maker.foreign()
    told = {last.options["task_id"]: steps[-1].options["task_id"]}
    order = tuple(zip(maker.once, maker.once[1:], strict=False))
    return _canvas(maker, "chain", chain(*steps, last, app=_app), order=order, told=told)


def _broken_chain(maker: _Maker, chance: random.Random) -> Canvas:
    steps = [maker.write(), maker.bad(), *(maker.write("FAILURE") for _ in range(chance.randint(1, 3)))]
    return _canvas(maker, "broken chain", chain(*steps, app=_app))


def _group(maker: _Maker, chance: random.Random) -> Canvas:
    return _canvas(maker, "group", group(maker.several(chance.randint(2, 6)), app=_app))


def _chord(maker: _Maker, chance: random.Random) -> Canvas:
    header = maker.several(chance.randint(1, 6))
    before = tuple(maker.once)
    body = maker.write()
    alarm = maker.write(None)
    body.link_error(alarm)
    order = tuple((key, maker.once[-1]) for key in before)
    return _canvas(maker, "chord", chord(header, body, app=_app), order=order)


def _summed(maker: _Maker, chance: random.Random) -> Canvas:
    header = maker.several(chance.randint(1, 5))
    body = maker.foreign()
    told = {body.options["task_id"]: [each.options["task_id"] for each in header]}
    return _canvas(maker, "chord to others", chord(header, body, app=_app), told=told)


def _failed_chord(maker: _Maker, chance: random.Random) -> Canvas:
    header = [*maker.several(chance.randint(0, 3)), maker.bad()]
    chance.shuffle(header)
    body = maker.write("FAILURE")
    body.link_error(maker.write(named=False))
    return _canvas(maker, "failed chord", chord(header, body, app=_app))


def _nested(maker: _Maker, chance: random.Random) -> Canvas:
    """A chord whose header holds a chord and a chain that ends in a group, and whose body is one as well."""
    inner = chord(maker.several(2), maker.write(), app=_app)
    forked = chain(maker.write(), group(maker.several(2), app=_app), app=_app)
    before = tuple(maker.once)
    body = chord(maker.several(chance.randint(1, 2)), maker.write(), app=_app)
    order = ((before[0], before[2]), (before[1], before[2]), *((key, maker.once[-1]) for key in before))
    return _canvas(maker, "nested", chord([inner, forked, maker.write()], body, app=_app), order=order)


def _forked_chain(maker: _Maker, chance: random.Random) -> Canvas:
    """A chain with a chord in it and a group at its end."""
    first = maker.write()
    fork = chord(maker.several(chance.randint(2, 3)), maker.write(), app=_app)
    *_, body = maker.once
    ends = group(maker.several(2), app=_app)
    order = ((maker.once[0], maker.once[1]), *((key, body) for key in maker.once[1:-3]))
    order += tuple((body, key) for key in maker.once[-2:])
    return _canvas(maker, "forked chain", chain(first, fork, ends, app=_app), order=order)


_KINDS: Mapping[str, Callable[[_Maker, random.Random], Canvas]] = {
    **{f"plain {n}": _plain for n in range(5)},
    "failing": _failing,
    "delayed": _delayed,
    "expired": _expired,
    "chain": _chain,
    "broken chain": _broken_chain,
    "group": _group,
    "chord": _chord,
    "another chord": _chord,
    "chord to others": _summed,
    "failed chord": _failed_chord,
    "nested": _nested,
    "forked chain": _forked_chain,
}


def jobs_of(canvases: Sequence[Canvas]) -> list[str]:
    """The ids of all jobs that have to come to an end."""
    return [job for canvas in canvases for job in canvas.states or ()]
