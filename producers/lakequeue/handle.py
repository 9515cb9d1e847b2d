"""`Handle`: one job, from the application that enqueued it."""

from __future__ import annotations

from typing import Any, Protocol

from lakequeue import outcomes
from lakequeue.errors import InvalidArgument
from lakequeue.identifiers import JobId, check_job_id


class Source(Protocol):
    """What a handle asks: a `Queue`."""

    def record(self, job_id: str) -> dict[str, Any]: ...

    def wait(self, job_id: str, timeout_s: float | None = None) -> dict[str, Any]: ...


class Handle:
    """One enqueued job. It holds no connection; keep the id to find the job again with `Queue.job`.

    Handles of one id are equal, and hash alike. A handle is pickled as its id alone: where it is unpickled it uses the
    queue of `LAKEQUEUE_REDIS_URL`, and `queue.job(handle)` binds it to another one.
    `known` is True if enqueueing added nothing, since the job was there already.
    """

    __slots__ = ("_queue", "id", "known")

    def __init__(self, queue: Source, job_id: str, *, known: bool = False) -> None:
        self.id = job_id
        self.known = known
        self._queue = queue

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Handle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Handle:
        return self

    def __deepcopy__(self, memo: object) -> Handle:
        return self

    def status(self) -> outcomes.Status:
        """The job's state now.

        Raises:
            UnknownJob: no job of this id is known (any more).
            QueueUnreachable: Redis did not answer.
        """
        return outcomes.status_of(self.id, self._queue.record(self.id))

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job, at most `timeout` seconds, and return its `WriteResult` or `ReadResult`.

        Raises:
            JobFailed: it failed or was cancelled; `message` and `details` say why.
            JobTimeout: it is not finished yet.
            UnknownJob, QueueUnreachable: as `status`.
            QueueClosed: another thread closed the Queue.
        """
        return outcomes.result_of(self.id, self._queue.wait(self.id, timeout))


def id_of(job: str | Handle) -> JobId:
    """The id in a handle, or the id itself.

    Raises:
        InvalidArgument: it is neither.
    """
    given = job.id if isinstance(job, Handle) else job
    if not isinstance(given, str):
        raise InvalidArgument(f"a job is named by its id or its handle, not by {type(given).__name__}")
    return check_job_id(given)
