"""`DeadLetters`: find the jobs that failed for good, and replay or drop them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakequeue.connections import Client
from lakequeue.dead_store import LOOKED_AT, DeadStore, Found, Wanted
from lakequeue.errors import InvalidArgument, JobConflict, LakequeueError, UnknownLetter
from lakequeue.handle import Handle
from lakequeue.identifiers import TableName
from lakequeue.letters import DeadLetter
from lakequeue.limits import too_long
from lakequeue.replays import replay_of
from lakequeue.wire import Encoded

if TYPE_CHECKING:
    from lakequeue.client import Queue

MOST_TAKEN = 100
"""So many ids that are taken by other jobs are passed over."""


@dataclass(frozen=True)
class Page:
    """Some letters, oldest first, and the `cursor` to go on with; None if these were the last."""

    letters: tuple[DeadLetter, ...]
    cursor: str | None


@dataclass(frozen=True)
class Replay:
    """What became of the dead letter `of`: the `handle` of its replay, or the `error` for which it stays."""

    of: str
    handle: Handle | None = None
    error: LakequeueError | None = None


class DeadLetters:
    """The dead letters of a queue. They have no expiry: each stays until it is replayed or dropped."""

    def __init__(self, queue: Queue, client: Client) -> None:
        self._queue = queue
        self._store = DeadStore(client)

    def get(self, job: str | Handle) -> DeadLetter:
        """The letter of a job, by its id or handle, with its payload.

        Raises:
            UnknownLetter, QueueUnreachable.
        """
        letter_id = _letter_id(job)
        (letter,) = self._store.read([letter_id])
        if letter is None:
            raise _unknown(letter_id)
        return letter

    def list(
        self,
        *,
        ids: Iterable[str | Handle] | None = None,
        table: str | None = None,
        error: str | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """A page of the letters that `select` would select, oldest first and without their payloads.

        Args:
            cursor: that of the page before; the other arguments stay the same.
        """
        wanted = self._wanted(ids, table, error, older_than_s, newer_than_s)
        letters: tuple[DeadLetter, ...] = ()
        while len(letters) < limit:
            found, cursor = self._store.look(wanted, cursor, min(LOOKED_AT, limit - len(letters)))
            letters += tuple(each.letter for each in found)
            if cursor is None:
                break
        return Page(letters, cursor)

    def select(
        self,
        *,
        ids: Iterable[str | Handle] | None = None,
        table: str | None = None,
        error: str | None = None,
        older_than_s: float | None = None,
        newer_than_s: float | None = None,
    ) -> Selection:
        """The letters to which all that is given applies, of those there are now: later ones do not belong to it.

        Args:
            error: an error's class, such as `INVALID_JOB` or `DELTA_NOT_NULL_CONSTRAINT_VIOLATED`.
            older_than_s: only those that failed at least so long ago.

        Raises:
            InvalidArgument: no table can have this name.
            QueueUnreachable.
        """
        wanted = self._wanted(ids, table, error, older_than_s, newer_than_s)
        if wanted.ids is None and wanted.last == "+inf":
            wanted = replace(wanted, last=self._store.newest())
        return Selection(self._queue, self._store, wanted)

    def replay(self, job: str | Handle, *, force: bool = False) -> Handle:
        """Enqueue a letter's job again, as a new job that points back to it; the letter is gone with that.

        The new id is derived from the old one: a letter that was replayed already gives the handle of that replay,
        whose `known` is true. The job goes to the end of its table's list.

        Raises:
            UnknownLetter: there is none of this id.
            ReplayRefused: whether the job was committed is not known: look into the table, then give `force`.
            InvalidJob: the payload is no valid job.
            QueueFull, QueueUnreachable: as `Queue.enqueue`; the letter stays.
        """
        letter_id = _letter_id(job)
        (done,) = self.select(ids=[letter_id]).replay(force=force)
        if done.handle is None:
            raise done.error or _unknown(letter_id)
        return done.handle

    def drop(self, job: str | Handle) -> None:
        """Forget a letter and its payload, for good.

        Raises:
            UnknownLetter, QueueUnreachable.
        """
        letter_id = _letter_id(job)
        if not self._store.drop([(letter_id, "")]):
            raise _unknown(letter_id)

    def _wanted(
        self,
        ids: Iterable[str | Handle] | None,
        table: str | None,
        error: str | None,
        older_than_s: float | None,
        newer_than_s: float | None,
    ) -> Wanted:
        now = 0.0 if older_than_s is None and newer_than_s is None else self._store.now()
        return Wanted(
            ids=None if ids is None else tuple(dict.fromkeys(map(_letter_id, _several(ids)))),
            table=str(TableName.parse(table)) if table else "",
            error=error.upper() if error else "",
            after="-inf" if newer_than_s is None else f"{now - newer_than_s:.6f}",
            last="+inf" if older_than_s is None else f"{now - older_than_s:.6f}",
        )


def _letter_id(job: str | Handle) -> str:
    """Of any text: the letter of a message that was no job has the id that its sender gave it."""
    if isinstance(job, str | Handle):
        return job.id if isinstance(job, Handle) else job
    raise InvalidArgument(f"a dead letter is named by its job's id or handle, not by {type(job).__name__}")


def _several(ids: Iterable[str | Handle]) -> Iterable[str | Handle]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InvalidArgument("ids takes many ids or handles, such as a list of them")
    return ids


class Selection:
    """Some of the letters there were when it was made. Memory holds a few hundred of them at once."""

    def __init__(self, queue: Queue, store: DeadStore, wanted: Wanted) -> None:
        self._queue = queue
        self._store = store
        self._wanted = wanted

    @property
    def ids(self) -> tuple[str, ...] | None:
        """The ids it was made of, if it was."""
        return self._wanted.ids

    def __iter__(self) -> Iterator[DeadLetter]:
        """The letters without their payloads, oldest first."""
        for page in self._store.pages(self._wanted):
            yield from (found.letter for found in page)

    def count(self) -> int:
        """How many there are now."""
        return self._store.count(self._wanted)

    def drop(self) -> int:
        """Forget them and their payloads, for good. Returns how many there were."""
        return sum(self._store.drop([(each.id, each.place) for each in page]) for page in self._pages())

    def replay(self, *, force: bool = False) -> Iterator[Replay]:
        """Replay them in order, see `DeadLetters.replay`, and yield what became of each: one that fails stops no other.

        It is an iterator: what is not iterated is not replayed. Of ids that were asked for, those without a letter
        come last.

        Raises:
            QueueFull, QueueUnreachable: those before were replayed; the rest stay.
        """
        seen: set[str] = set()
        for page in self._pages():
            yield from self._replay(page, force)
            if self._wanted.ids is not None:
                seen.update(found.id for found in page)
        for letter_id in self._wanted.ids or ():
            if letter_id not in seen:
                yield self._gone(letter_id)

    def _pages(self) -> Iterator[list[Found]]:
        return self._store.pages(self._wanted)

    def _replay(self, page: list[Found], force: bool) -> Iterator[Replay]:
        """Replay a page, its payloads read now. An id that another job has taken is passed over for the next."""
        letters = self._store.read([found.id for found in page])
        rest = deque(zip(page, letters, strict=True))
        taken = 0
        while rest:
            ready: list[tuple[Found, Encoded]] = []
            results: list[Replay | None] = []
            for found, letter in rest:
                encoded = self._encoded(letter, taken if not results else 0, force) if letter else None
                if isinstance(encoded, Encoded):
                    ready.append((found, encoded))
                    results.append(None)
                else:
                    results.append(Replay(found.id, error=encoded) if encoded else self._gone(found.id))
            answers = iter(self._store.replay(ready, max_queue_length=self._queue.settings.max_queue_length))
            sent = iter(ready)
            for result in results:
                if result is None:
                    found, encoded = next(sent)
                    answer = next(answers, "full")
                    if answer == "full":
                        raise too_long(encoded)
                    if answer == "taken":
                        break
                    known = answer == "known"
                    result = (
                        self._gone(found.id)
                        if answer == "gone"
                        else Replay(found.id, Handle(self._queue, encoded.id, known=known))
                    )
                rest.popleft()
                taken = 0
                yield result
            else:
                return
            taken += 1
            if taken > MOST_TAKEN:
                raise JobConflict(f"the ids that are next for replays of {rest[0][0].id} are taken by other jobs")

    def _encoded(self, letter: DeadLetter, skip: int, force: bool) -> Encoded | LakequeueError:
        settings = self._queue.settings
        try:
            return replay_of(
                letter, skip=skip, max_job_bytes=settings.max_job_bytes, now=datetime.now(UTC), force=force
            )
        except LakequeueError as exc:
            return exc

    def _gone(self, letter_id: str) -> Replay:
        """There is no such letter, or no more: it may have been replayed."""
        job_id = self._store.replayed_as(letter_id)
        if job_id is None:
            return Replay(letter_id, error=_unknown(letter_id))
        return Replay(letter_id, Handle(self._queue, job_id, known=True))


def _unknown(letter_id: str) -> UnknownLetter:
    return UnknownLetter(
        f"no dead letter {letter_id!r}: it was replayed or dropped long ago, or no job of this id failed"
    )
