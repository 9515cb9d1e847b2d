"""The scripts on dead letters: each call looks at, or changes, a bounded number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lakequeue import keys, outcomes, wire
from lakequeue.connections import Client
from lakequeue.letters import DeadLetter, letter_of
from lakequeue.replays import next_ids
from lakequeue.scripts import read_script
from lakequeue.unreachable import reachable

LOOKED_AT = 200
"""Letters that one call looks at, at most: Redis answers nobody else meanwhile."""

LOOKED_AT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; `after` and `last` are places in the index. Without `ids`, letters of any id."""

    ids: tuple[str, ...] | None = None
    table: str = ""
    error: str = ""
    after: str = "-inf"
    last: str = "+inf"

    @property
    def any_content(self) -> bool:
        return self.ids is None and not self.table and not self.error


@dataclass(frozen=True, slots=True)
class Found:
    """A letter and its `place` in the index, which another letter of the same id would not have."""

    id: str
    place: str
    letter: DeadLetter


class DeadStore:
    """Every method may raise `QueueUnreachable`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._letters, self._replay, self._drop = (
            client.register_script(read_script("lakequeue", name)) for name in ("letters", "replay", "drop")
        )

    def now(self) -> float:
        """Redis' clock, Unix seconds."""
        with reachable(self._client):
            seconds, micros = self._client.time()
        return float(seconds) + float(micros) / 1e6

    def newest(self) -> str:
        """The place of the newest letter; `-inf` if there is none."""
        with reachable(self._client):
            # Not as a float: a place is compared as text.
            script = "return redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '-inf'"
            found = self._client.eval(script, 1, keys.DEAD_INDEX)
        return str(found, "ascii")

    def read(self, letter_ids: Sequence[str]) -> list[DeadLetter | None]:
        """Letters with their payloads."""
        if not letter_ids:
            return []
        with reachable(self._client):
            stored = self._client.hmget(keys.DEAD, list(letter_ids))
        return [
            None if raw is None else letter_of(letter_id, raw)
            for letter_id, raw in zip(letter_ids, stored, strict=True)
        ]

    def look(self, wanted: Wanted, cursor: str | None = None, limit: int = LOOKED_AT) -> tuple[list[Found], str | None]:
        """At most `limit` letters without their payloads, all together of some 1 MB with them.

        Returns them, and the cursor to go on with, None if these were the last.
        """
        some: tuple[str, ...] = ()
        last_of_some = None
        if wanted.ids is not None:
            start = wanted.ids.index(cursor) + 1 if cursor else 0
            some = wanted.ids[start : start + LOOKED_AT]
            if not some:
                return [], None
            last_of_some = some[-1] if start + LOOKED_AT < len(wanted.ids) else None
        after = wanted.after if cursor is None or wanted.ids is not None else cursor
        args: list[str | int] = [
            LOOKED_AT,
            LOOKED_AT_BYTES,
            limit,
            after,
            wanted.last,
            wanted.table,
            wanted.error,
            *some,
        ]
        with reachable(self._client):
            answer: list[bytes] = self._letters(keys=[], args=args)
        found = []
        for i in range(1, len(answer), 3):
            letter_id = answer[i].decode()
            found.append(Found(letter_id, answer[i + 1].decode(), letter_of(letter_id, answer[i + 2])))
        return found, answer[0].decode() or last_of_some

    def pages(self, wanted: Wanted) -> Iterator[list[Found]]:
        cursor: str | None = None
        while True:
            found, cursor = self.look(wanted, cursor)
            yield found
            if cursor is None:
                return

    def count(self, wanted: Wanted) -> int:
        if wanted.any_content:
            after = wanted.after if wanted.after == "-inf" else f"({wanted.after}"
            with reachable(self._client):
                return int(self._client.zcount(keys.DEAD_INDEX, after, wanted.last))
        return sum(len(found) for found in self.pages(wanted))

    def drop(self, letters: Sequence[tuple[str, str]]) -> int:
        """Drop letters by id and place ('' for whichever there is). Returns how many of them there were."""
        if not letters:
            return 0
        with reachable(self._client):
            answers: list[int] = self._drop(keys=[], args=[text for letter in letters for text in letter])
        return sum(answers)

    def replay(self, letters: Sequence[tuple[Found, wire.Encoded]], *, max_queue_length: int) -> list[str]:
        """Enqueue the replays of letters, which are gone with that. Returns a word for each, see `lua/replay.lua`.

        Raises:
            QueueFull: by memory; nothing was changed.
        """
        if not letters:
            return []
        args: list[str | int] = [max_queue_length]
        for found, job in letters:
            at = found.letter.enqueued_at
            args += [found.id, found.place, "" if at is None else wire.isoformat(at)]
            args += [job.id, job.lane, job.partition, job.digest, job.record, job.message]
        with reachable(self._client):
            answers: list[bytes] = self._replay(keys=[], args=args)
        return [answer.decode() for answer in answers]

    def replayed_as(self, letter_id: str) -> str | None:
        """The id under which a letter that is gone was replayed, as far as that is still remembered."""
        ids = [letter_id, *next_ids(letter_id)]
        with reachable(self._client):
            stored = self._client.mget([keys.record(each) for each in ids])
        records = [outcomes.load(raw) if raw else {} for raw in stored]
        if isinstance(told := records[0].get("replayed_as"), str):
            return told
        for job_id, record in zip(ids[1:], records[1:], strict=True):
            if (record.get("replay_of") or [None])[-1] == letter_id:
                return job_id
        return None
