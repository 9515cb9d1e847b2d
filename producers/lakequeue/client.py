"""`Queue`: how an application enqueues jobs and learns what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, overload
from uuid import uuid4

from redis.exceptions import OutOfMemoryError, RedisError

from lakequeue import keys, outcomes, wire
from lakequeue.connections import connect
from lakequeue.errors import (
    InvalidArgument,
    InvalidJob,
    JobConflict,
    JobTimeout,
    LakequeueError,
    QueueFull,
    UnknownJob,
)
from lakequeue.handle import Handle, id_of
from lakequeue.job_model import JobModel
from lakequeue.jobs import Delete, Job, Read, Update, Write, parse_job
from lakequeue.limits import check_size, too_long
from lakequeue.listening import Listener
from lakequeue.problems import Problems
from lakequeue.scripts import read_script
from lakequeue.settings import Settings
from lakequeue.unreachable import reachable, unreachable

if TYPE_CHECKING:
    from lakequeue.dead_letters import DeadLetters
    from lakequeue.load_ledger import Ledger
    from lakequeue.operations import Operations

__all__ = ["Handle", "Queue"]

CHUNK_JOBS = 500
CHUNK_BYTES = 1_000_000
FULL_PAUSE_S = 0.2
"""How often it is looked whether a full queue has room again."""


class Queue:
    """A connection to the queue; threads may share it. Nothing is sent before the first job.

    Args:
        url: of Redis or Valkey 7 or newer, e.g. `redis://localhost:6379/0`; `rediss://` for TLS. Without one,
            `LAKEQUEUE_REDIS_URL`.
        settings: the limits; see `Settings`.
    """

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_env()
        self._redis = connect(url or self.settings.redis_url, timeout_s=self.settings.timeout_s)
        self._enqueue = self._redis.register_script(read_script("lakequeue", "enqueue"))
        self._listener = Listener(self._redis)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Queue holds connections and is not pickled: make one in each process, and pickle handles")

    def close(self) -> None:
        """Close all connections. Threads that wait for a job get QueueClosed, and so do later calls."""
        self._listener.close()
        self._redis.close()

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """The jobs that failed for good, each kept with its payload until it is replayed or dropped."""
        from lakequeue.dead_letters import DeadLetters

        return DeadLetters(self, self._redis)

    @cached_property
    def operations(self) -> Operations:
        """What an operator asks of the queue and does to it: tables, jobs, errors, costs, workers, pauses."""
        from lakequeue.operations import Operations

        return Operations(self, self._redis)

    @cached_property
    def loads(self) -> Ledger:
        """What is remembered of loads of files, by name."""
        from lakequeue.load_ledger import Ledger

        return Ledger(self._redis, life_s=self.settings.load_remembered_s)

    def write(
        self,
        table: str,
        data: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        wait_s: float = 0,
        **fields: Any,
    ) -> Handle:
        """Enqueue rows to append, or with `mode="upsert"` or `"insert_if_absent"` and `key_columns` to merge by key.

        `fields` are those of `Write`, such as `auto_create` and `schema_definition`; `wait_s` is as for `enqueue`.
        """
        return self.enqueue(_build(Write, {"table": table, "data": data, **fields}), wait_s=wait_s)

    def update(self, table: str, *, wait_s: float = 0, **fields: Any) -> Handle:
        """Enqueue an update of the rows of one key, `key={"id": 7}, updates={"state": "paid"}`, or of many keys.

        Many are `rows=[{"key": {…}, "updates": {…}}, …]`; `fields` are those of `Update`, such as `must_exist`.
        """
        return self.enqueue(_build(Update, {"table": table, **fields}), wait_s=wait_s)

    def delete(self, table: str, *, wait_s: float = 0, **fields: Any) -> Handle:
        """Enqueue a delete of the rows of one key, `key={"id": 7}`, or of many, `keys=[{"id": 7}, …]`.

        It is soft unless `soft=False`; `fields` are those of `Delete`, such as `must_exist`.
        """
        return self.enqueue(_build(Delete, {"table": table, **fields}), wait_s=wait_s)

    def read(self, table: str, *, wait_s: float = 0, **fields: Any) -> Handle:
        """Enqueue a read; `fields` are those of `Read`. Its `after` takes an id or a handle."""
        return self.enqueue(_build(Read, {"table": table, **fields}), wait_s=wait_s)

    def enqueue(self, job: Job | Mapping[str, Any], *, wait_s: float = 0) -> Handle:
        """Enqueue one job. A job whose id is known already is not sent again: its handle is returned.

        Args:
            wait_s: how many seconds to wait for room in a full queue.

        Raises:
            InvalidJob: with located errors; nothing was sent.
            JobConflict: the id is known with another payload.
            QueueFull: by length or by memory, also after `wait_s`; try again later.
            QueueUnreachable: Redis did not answer for seconds; whether the job was queued is not known, so enqueue it
                again with the id in `details["ids"]`: if it was queued, that adds nothing.
        """
        until = time.monotonic() + checked_seconds(wait_s, "wait_s")
        encoded = self._encode(job)
        while True:
            try:
                (answer,) = self._send([encoded])
                error = self._refusal(encoded, answer)
            except QueueFull as exc:
                error = exc
            if error is None:
                return Handle(self, encoded.id, known=answer == "known")
            if not isinstance(error, QueueFull) or time.monotonic() >= until:
                raise error
            time.sleep(min(FULL_PAUSE_S, wait_s))

    @overload
    def enqueue_many(
        self,
        jobs: Iterable[Job | Mapping[str, Any]],
        *,
        on_error: Literal["raise"] = "raise",
        wait_s: float = 0,
    ) -> Iterator[Handle]: ...

    @overload
    def enqueue_many(
        self, jobs: Iterable[Job | Mapping[str, Any]], *, on_error: Literal["collect"], wait_s: float = 0
    ) -> Iterator[Handle | InvalidJob | JobConflict]: ...

    def enqueue_many(
        self,
        jobs: Iterable[Job | Mapping[str, Any]],
        *,
        on_error: Literal["raise", "collect"] = "raise",
        wait_s: float = 0,
    ) -> Iterator[Handle | InvalidJob | JobConflict]:
        """Enqueue any number of jobs in order, a few hundred a round trip, and yield a handle for each.

        It is an iterator: jobs are read and sent as handles are taken, so memory stays bounded, and what is not
        iterated is not sent. A bad job raises, its place in `jobs` as `index`, after those before it were sent and
        their handles yielded; nothing after it is sent, nor after a conflict. With `on_error="collect"` the error is
        yielded in its place and the rest goes on.
        A full queue raises, once `wait_s` seconds have brought no room.

        Raises:
            InvalidJob, JobConflict, QueueFull, QueueUnreachable: as `enqueue`; the jobs whose handles were not yielded
                were not sent, but for those in `details["ids"]`, of which it is not known.
        """
        checked_seconds(wait_s, "wait_s")
        if isinstance(jobs, str | bytes | Mapping | JobModel) or not isinstance(jobs, Iterable):
            raise InvalidArgument(f"enqueue_many takes many jobs, such as a list of them, not {type(jobs).__name__}")
        chunk: list[tuple[int, wire.Encoded | InvalidJob]] = []
        size, index = 0, -1
        source = iter(jobs)
        while True:
            failure: BaseException | None = None
            try:
                job = next(source)
            except StopIteration:
                yield from self._flush(chunk, on_error, wait_s)
                return
            except Exception as exc:  # the caller's own iterator failed: what came before it still counts
                failure = exc
            else:
                index += 1
                try:
                    item: wire.Encoded | InvalidJob = self._encode(job)
                except InvalidJob as exc:
                    exc.index = index
                    item = exc
                except Exception as exc:
                    failure = exc
            if failure is not None:
                yield from self._flush(chunk, on_error, wait_s)
                raise failure
            chunk.append((index, item))
            size += item.payload_bytes if isinstance(item, wire.Encoded) else 0
            refused = isinstance(item, InvalidJob) and on_error == "raise"
            if refused or len(chunk) >= CHUNK_JOBS or size >= CHUNK_BYTES:
                yield from self._flush(chunk, on_error, wait_s)
                chunk, size = [], 0

    def job(self, job: str | Handle) -> Handle:
        """The handle of a job enqueued earlier, here or elsewhere, by its id or another handle. Asks nothing yet.

        Raises:
            InvalidArgument: no job can have this id.
        """
        return Handle(self, id_of(job), known=isinstance(job, Handle) and job.known)

    def statuses(self, jobs: Iterable[str | Handle]) -> list[outcomes.Status | None]:
        """The states of many jobs, by ids or handles, in one round trip and in order; None for an unknown one.

        Raises:
            InvalidArgument: no job can have one of these ids.
        """
        if isinstance(jobs, str | bytes) or not isinstance(jobs, Iterable):
            raise InvalidArgument("statuses takes many ids or handles, such as a list of them")
        job_ids = [id_of(each) for each in jobs]
        with reachable(self._redis):
            found: list[Any] = self._redis.mget([keys.record(each) for each in job_ids]) if job_ids else []
        return [
            None if raw is None else outcomes.status_of(job_id, outcomes.load(raw))
            for job_id, raw in zip(job_ids, found, strict=True)
        ]

    def record(self, job: str | Handle) -> dict[str, Any]:
        """A job's stored record as it is.

        Raises:
            UnknownJob: no job of this id is known (any more).
            InvalidArgument: no job can have this id.
        """
        job_id = id_of(job)
        with reachable(self._redis):
            raw: Any = self._redis.get(keys.record(job_id))
        return self._known(job_id, raw)

    def wait(self, job: str | Handle, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait until a job is finished and return its record. A Redis that goes away meanwhile is waited for.

        Raises:
            JobTimeout, UnknownJob.
            QueueClosed: another thread closed this Queue.
            QueueUnreachable: Redis does not answer, at first, at the deadline or for minutes.
        """
        job_id = id_of(job)
        deadline = None if timeout_s is None else time.monotonic() + checked_seconds(timeout_s, "a timeout")
        record = self.record(job_id)
        if record["status"] in outcomes.FINAL:
            return record
        with self._listener.waiting(job_id) as ear:
            while not isinstance(news := ear.next(deadline), TimeoutError):
                record = self._known(job_id, news)
                if record["status"] in outcomes.FINAL:
                    return record
        record = self.record(job_id)
        if record["status"] in outcomes.FINAL:
            return record
        state = record["status"]
        raise JobTimeout(f"job {job_id} is {state} after {timeout_s:g} s", {"state": state})

    def _known(self, job_id: str, raw: bytes | None) -> dict[str, Any]:
        if raw is None:
            raise UnknownJob(f"no job {job_id} is known: it was never enqueued here, or its result has expired")
        return outcomes.load(raw)

    def _encode(self, job: Job | Mapping[str, Any]) -> wire.Encoded:
        checked = _checked(job)
        encoded = wire.encode(checked, job_id=checked.id or str(uuid4()), now=datetime.now(UTC))
        check_size(checked, encoded, self.settings.max_job_bytes)
        return encoded

    def _send(self, chunk: Sequence[wire.Encoded], *, past_conflicts: bool = False) -> list[str]:
        args: list[Any] = [self.settings.max_queue_length, int(past_conflicts)]
        for job in chunk:
            # As bytes: what the client would make of them, but slower.
            args += (
                *(job.id.encode(), job.lane.encode(), job.partition, job.digest.encode()),
                *(job.record.encode(), job.message.encode()),
            )
        with reachable(self._redis):
            try:
                answers: list[bytes] = self._enqueue(keys=[], args=args)
            except OutOfMemoryError:
                raise
            except (RedisError, OSError) as exc:
                raise unreachable(self._redis, exc, ids=[job.id for job in chunk]) from exc
        return [answer.decode() for answer in answers]

    def _flush(
        self, chunk: list[tuple[int, wire.Encoded | InvalidJob]], on_error: str, wait_s: float
    ) -> Iterator[Handle | InvalidJob | JobConflict]:
        encoded = [item for _, item in chunk if isinstance(item, wire.Encoded)]
        deadline = time.monotonic() + wait_s
        answers: list[str] = []
        full: QueueFull | None = None
        collect = on_error == "collect"
        while len(answers) < len(encoded) and full is None:
            try:
                answers += [a for a in self._send(encoded[len(answers) :], past_conflicts=collect) if a != "full"]
            except QueueFull as exc:
                full = exc
            if answers and answers[-1] == "differs" and not collect:
                break
            if len(answers) < len(encoded):
                full = full or too_long(encoded[len(answers)])
                if time.monotonic() < deadline:
                    full = None
                    time.sleep(min(FULL_PAUSE_S, wait_s))
        yield from self._answer(chunk, answers, on_error)
        if full is not None:
            raise full

    def _answer(
        self, chunk: list[tuple[int, wire.Encoded | InvalidJob]], answers: list[str], on_error: str
    ) -> Iterator[Handle | InvalidJob | JobConflict]:
        verdicts = iter(answers)
        for index, item in chunk:
            error: LakequeueError | None
            answer: str | None = None
            if isinstance(item, InvalidJob):
                error = item
            else:
                answer = next(verdicts, None)
                if answer is None:
                    return
                error = self._refusal(item, answer)
            if error is None:
                assert isinstance(item, wire.Encoded)
                yield Handle(self, item.id, known=answer == "known")
                continue
            if isinstance(error, (InvalidJob, JobConflict)):
                error.index = index
                if on_error == "collect":
                    yield error
                    continue
            raise error

    def _refusal(self, job: wire.Encoded, answer: str) -> LakequeueError | None:
        if answer == "differs":
            return JobConflict(
                f"job {job.id} is known already, with another payload: give a new id, or the same payload"
            )
        if answer == "full":
            return too_long(job)
        return None


def _checked(job: object) -> Job:
    if isinstance(job, Write | Update | Delete | Read):
        return job
    if isinstance(job, Mapping):
        return parse_job(job)
    problems = Problems()
    msg = f"takes a Write, Update, Delete or Read, or a mapping of its fields, not {type(job).__name__}"
    problems.add("wrong_type", (), f"{msg}; JSON text is read by parse_job" if isinstance(job, str | bytes) else msg)
    raise problems.as_invalid_job("a job")


def checked_seconds(given: float, what: str) -> float:
    if not isinstance(given, int | float) or isnan(given):
        raise InvalidArgument(f"{what} is a number of seconds, not {type(given).__name__}")
    return given


def _build(model: type[Job], fields: dict[str, Any]) -> Job:
    kind = model.__name__.lower()
    return parse_job({"kind": kind, **fields})
