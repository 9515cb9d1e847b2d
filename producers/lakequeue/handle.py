"""`Handle`: one job, from the application that enqueued it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakequeue import outcomes

if TYPE_CHECKING:
    from lakequeue.client import Queue


class Handle:
    """One enqueued job. It holds no connection; keep the id to find the job again with `Queue.job`.

    `known` is True if enqueueing added nothing, since the job was there already.
    """

    __slots__ = ("_queue", "id", "known")

    def __init__(self, queue: Queue, job_id: str, *, known: bool = False) -> None:
        self.id = job_id
        self.known = known
        self._queue = queue

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

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
