"""Should it be tried again, and when: the verdict on a statement that brought no result.

transient   it did not run, or its transaction did not commit: again, in place, after a wait. Of an `unlisted` error
            that is only likely: a statement that leaves a stamp is proved before it is sent again
permanent   it did not commit and will not: the job fails
unknown     it may have committed: prove it before anything else
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tasks.verdict_table import (
    ERROR_CLASSES,
    EXCEPTIONS,
    LOST_SESSION,
    NO_SUCH_WAREHOUSE,
    SQLSTATE_CLASSES,
    SQLSTATES,
    STATUSES,
    TOKEN_REFUSED,
    UNAUTHENTICATED,
    UNLISTED,
    Cause,
    Reading,
    Verdict,
)

_ERROR = re.compile(r"\[(?P<error_class>[A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]\s*(?P<text>.*)", re.DOTALL)
_SQLSTATE = re.compile(r"SQLSTATE:?\s*(?P<state>[0-9A-Z]{5})")

NO_CLASS = "UNKNOWN_ERROR"
"""The class of an error whose text names none."""


ANSWER_LOST = "ANSWER_LOST"
"""The class of what was lost on the way, there or back."""

LOST = "INVALID_SESSION"
"""The class of a session that is gone, or not there yet."""

RESULT_LOST = "RESULT_LOST"
"""The class of a statement that the warehouse took, and whose end or result could not be had."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A statement that brought no result. `text` may hold values of rows: it never goes to a log."""

    verdict: Verdict
    cause: Cause
    error_class: str
    sqlstate: str | None
    text: str
    statement: str | None = None
    """The statement's id, if the warehouse had given it one."""

    @property
    def code(self) -> str:
        """The class alone, without its sub-class: short, and free of values."""
        return self.error_class.partition(".")[0]

    @property
    def taken(self) -> bool:
        """Whether the warehouse had the statement: what failed then may be the statement's own fault."""
        return self.cause == "answer" and self.error_class != ANSWER_LOST and not self.error_class.startswith("HTTP")

    @property
    def never_ran(self) -> bool:
        """Whether the warehouse did not so much as begin the statement."""
        return self.verdict == "transient" and self.cause in ("warehouse", "session")

    @property
    def unexplained(self) -> bool:
        """Whether it says neither that a job is at fault nor that the warehouse is away: it is tried for a while, and
        then the table waits for an operator."""
        return self.cause == "unlisted" or (self.verdict == "unknown" and self.taken)

    @property
    def needs_operator(self) -> bool:
        """Whether waiting alone will not help: the worker's own sign-in or its warehouse is wrong."""
        return self.error_class in (UNAUTHENTICATED, NO_SUCH_WAREHOUSE)


def reading_of(raised: type[BaseException]) -> Reading:
    """How exceptions of a class are to be read: as the table says of it, or else of its nearest base."""
    for each in raised.__mro__:
        if reading := EXCEPTIONS.get(f"{each.__module__}.{each.__qualname__}"):
            return reading
    return "lost"


def of_statement(message: str) -> Failure:
    """The verdict on what the warehouse said of a statement that failed; class and SQLSTATE are in the text only."""
    found = _ERROR.search(message)
    states = _SQLSTATE.findall(message)
    error_class = found["error_class"] if found else NO_CLASS
    sqlstate = states[-1] if states else None  # the last is the warehouse's own; others are in a row's value
    text = _SQLSTATE.sub("", found["text"] if found else message).strip(" .\n")
    base = error_class.partition(".")[0]
    if base == "USER_RAISED_EXCEPTION" and "expired" in text:
        return Failure("transient", "expired", base, sqlstate, text)
    state = sqlstate or ""
    listed = ERROR_CLASSES.get(base) or SQLSTATES.get(state) or SQLSTATE_CLASSES.get(state[:2])
    if listed is None and LOST_SESSION.search(message):  # of a listed class the text may be a row's value
        return Failure("transient", "session", LOST, sqlstate, message)
    verdict, cause = listed or UNLISTED
    return Failure(verdict, cause, error_class, sqlstate, text)


def of_http(code: int | None, message: str) -> Failure:
    """The verdict on an HTTP status that came instead of a statement's answer."""
    if LOST_SESSION.search(message):
        return Failure("transient", "session", LOST, None, message)
    name = f"HTTP_{code}" if code else "HTTP"
    cause: Cause = "warehouse" if code is not None and code >= 500 else "answer"
    listed = STATUSES.get(code or 0, ("unknown", cause, name))
    return Failure(*listed, None, message)


def of_token(message: str) -> Failure:
    """The verdict on a token that could not be had: no statement was sent, and no job is at fault."""
    if any(refused in message for refused in TOKEN_REFUSED):
        return refused_credentials(message)
    return never_sent(message)


def while_connecting(failure: Failure) -> Failure:
    """The same fault before any statement was sent: whatever it is, no job is at fault, and none fails for it."""
    # The connector keeps the status to itself when it was told to come back later than it may.
    names = {ANSWER_LOST: "UNREACHABLE", NO_CLASS: "UNREACHABLE", "HTTP": "WAREHOUSE_AWAY"}
    code = names.get(failure.error_class, failure.error_class)
    return Failure("transient", "warehouse", code, failure.sqlstate, failure.text)


def refused_credentials(message: str) -> Failure:
    return Failure("transient", "warehouse", UNAUTHENTICATED, None, message)


def never_sent(message: str, error_class: str = "UNREACHABLE") -> Failure:
    return Failure("transient", "warehouse", error_class, None, message)


def answered_without_class(failure: Failure) -> Failure:
    """An error without a class in the place of an answer to the request: whether the statement began is not known."""
    return replace(failure, verdict="unknown", cause="unlisted")


def ended_by(failure: Failure) -> Failure:
    """What a statement that was running ended by. A session that is gone then says nothing of the job."""
    return replace(failure, cause="unlisted") if failure.cause == "session" else failure


def of_statement_alone(failure: Failure) -> Failure:
    """A refusal that only this statement meets, while the warehouse answers others: none of the sign-in."""
    return replace(failure, cause="unlisted", error_class=f"STATEMENT_{failure.error_class}")


def answer_lost(message: str, error_class: str = ANSWER_LOST) -> Failure:
    return Failure("unknown", "answer", error_class, None, message)


def backoff_s(attempt: int, *, first_s: float, longest_s: float, jitter: float) -> float:
    """How long to wait after `attempt` attempts: full jitter, the fraction `jitter` of a bound that doubles.

    There is no floor: of many who wait, those that come early are few, and a bound that doubles spares the other side
    without one. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    bound: float = min(longest_s, first_s * 2.0 ** min(max(attempt, 1) - 1, 30))
    return bound * jitter
