"""Looks for lists with jobs of other Celery applications: those of the queue are drained, others are told of."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import redis
from lakequeue import keys, wire
from lakequeue.celery_lists import STANDARD, UnreadList, remedy_of, shown, urgency
from lakequeue.scripts import read_script

from worker.loop import Loop

log = logging.getLogger(__name__)

NEXT_PART_S, NEXT_LOOK_S = 1.0, 5.0
"""The pause between two parts of the keys, and after the last one."""

KEYS_AT_ONCE = 1_000
MOST_LISTS = 100
"""So many lists are remembered at most."""

MOST_WAITS = 100
"""So many results that are waited for are looked up at most."""


class Lists:
    """A thread that goes through the keys, a small part at a time. What one worker finds, all know."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._script = client.register_script(read_script("worker", "lists"))
        self._cursor = b"0"
        self._told: set[bytes] = set()
        self._names: tuple[bytes, ...] = STANDARD
        self._loop = Loop("lists", self._step, fault="lists of other Celery applications are not looked for")

    @property
    def names(self) -> tuple[bytes, ...]:
        """The lists to drain, the most urgent first."""
        return self._names

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    def _step(self) -> float:
        self._cursor, found = look(self._client, self._script, self._cursor)
        known: dict[bytes, bytes] = self._client.hgetall(keys.LISTS)  # type: ignore[assignment]
        for name, remedy in found.items():
            if known.get(name) != remedy and len(known) < MOST_LISTS:
                known[name] = remedy
                self._client.hset(keys.LISTS, name, remedy)
        for name, remedy in known.items():
            if remedy:
                self._tell(name, remedy)
        if self._cursor == b"0":
            self._tell_of_waits()
        self._names = tuple(sorted({*STANDARD, *(name for name, remedy in known.items() if not remedy)}, key=urgency))
        return NEXT_LOOK_S if self._cursor == b"0" else NEXT_PART_S

    def _tell(self, name: bytes, remedy: bytes) -> None:
        if not self._client.exists(name):
            self._client.hdel(keys.LISTS, name)
            self._told.discard(name)
        elif name not in self._told:
            self._told.add(name)
            length: int = self._client.llen(name)
            log.warning("%s", UnreadList(shown(name), length, remedy.decode()))

    def _tell_of_waits(self) -> None:
        for prefix in misplaced_waits(self._client):
            if prefix.encode() not in self._told:
                self._told.add(prefix.encode())
                log.warning(
                    "a Celery application waits for results of jobs under a prefix: %s", remedy_of_prefix(prefix)
                )


def remedy_of_prefix(prefix: str) -> str:
    return f"remove global_keyprefix '{prefix}' from its result_backend_transport_options"


def look(client: redis.Redis, script: redis.commands.core.Script, cursor: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The cursor to go on with, and the lists in a part of the keys, each with its remedy: none if it is drained."""
    following, of_queue, of_others = script(keys=[], args=[cursor, KEYS_AT_ONCE], client=client)
    found = {name: remedy_of(name, of_queue=True).encode() for name in of_queue if name not in STANDARD}
    return following, found | {name: remedy_of(name, of_queue=False).encode() for name in of_others}


def unread(client: redis.Redis, *, parts: int = 500) -> Iterator[UnreadList]:
    """All lists that nobody drains, as far as so many parts of the keys tell."""
    script, cursor = client.register_script(read_script("worker", "lists")), b"0"
    for _ in range(parts):
        cursor, found = look(client, script, cursor)
        for name, remedy in found.items():
            if remedy:
                yield UnreadList(shown(name), client.llen(name), remedy.decode())
        if cursor == b"0":
            return


_LENGTH = "redis.call('SELECT', ARGV[1]); return redis.call('LLEN', ARGV[2])"


def in_other_databases(client: redis.Redis) -> Iterator[UnreadList]:
    """The queue in other databases of the same server, which a sender may have in its URL."""
    ours = f"db{client.get_connection_kwargs().get('db') or 0}"
    told: dict[str, object] = client.info("keyspace")
    for database in told:
        if database != ours:
            # A script's choice of a database ends with it.
            length = client.eval(_LENGTH, 0, database.removeprefix("db"), wire.QUEUE)
            if length:
                remedy = f"give the sender the URL of database {ours.removeprefix('db')}, for broker and results"
                yield UnreadList(f"{wire.QUEUE} of database {database.removeprefix('db')}", int(length), remedy)


_RECORD = b"celery-task-meta-"


def misplaced_waits(client: redis.Redis) -> dict[str, int]:
    """Senders that wait for results of our jobs under a prefix, where no worker writes them: how many, by prefix."""
    waits: list[bytes] = client.pubsub_channels("?*celery-task-meta-*")  # type: ignore[assignment]
    found: dict[str, int] = {}
    for channel in waits[:MOST_WAITS]:
        prefix, _, job_id = channel.partition(_RECORD)
        if prefix and client.exists(_RECORD + job_id):
            found[shown(prefix)] = found.get(shown(prefix), 0) + 1
    return found
