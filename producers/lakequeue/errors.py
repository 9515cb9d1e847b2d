"""What can go wrong for a caller, as one tree.

LakequeueError
├── InvalidArgument    an id, a URL or another argument of a call cannot be used (also a ValueError)
├── InvalidJob         the job breaks the contract; nothing was sent
├── QueueFull          the queue is at its length or memory limit
├── QueueUnreachable   Redis did not answer
├── QueueClosed        `close` was called on this Queue
├── JobConflict        the id is already known, with another payload
├── UnknownJob         no such id: never enqueued, or its result has expired
├── UnknownLetter      no such dead letter: it was replayed or dropped, or its job did not fail
├── ReplayRefused      the dead letter stays: its job may have been committed, and nobody insists
├── JobFailed          the job ran and failed for good
└── JobTimeout         no outcome within the time given (also a TimeoutError)

Every error renders as `{"error": true, "message": …, "details": {…}}`.
"""

from collections.abc import Mapping
from typing import Any

Details = Mapping[str, Any]


class LakequeueError(Exception):
    """The root of the tree. `message` and `details` are JSON-ready and never hold row values."""

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.args = (message, self.details)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Not BaseException's way: OSError, a parent of JobTimeout, drops arguments it takes for an errno.
        return (type(self), (self.message, self.details))

    def to_dict(self) -> dict[str, Any]:
        return {"error": True, "message": self.message, "details": self.details}


class InvalidArgument(LakequeueError, ValueError):
    pass


class InvalidJob(LakequeueError):
    """`details["errors"]` is a list of `{"type", "loc", "msg"}`; `index` is the job's place among several."""

    def __init__(self, message: str, details: Details | None = None, index: int | None = None) -> None:
        super().__init__(message, details)
        self.index = index

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.details, self.index))


class QueueFull(LakequeueError):
    pass


class QueueUnreachable(LakequeueError):
    pass


class QueueClosed(LakequeueError):
    pass


class JobConflict(LakequeueError):
    """`index` is the job's place among several."""

    index: int | None = None


class UnknownJob(LakequeueError):
    pass


class UnknownLetter(LakequeueError):
    pass


class ReplayRefused(LakequeueError):
    pass


class JobFailed(LakequeueError):
    """Its arguments are JSON, since Celery's result backend stores them as such."""


class JobTimeout(LakequeueError, TimeoutError):
    pass
