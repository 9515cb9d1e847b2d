"""One breaker before the warehouse: while it is away one lane asks for all, and when it answers again all go on.

    closed      everything may be sent
    open        nothing is sent until the wait is over, which grows with every probe that fails
    half open   the wait is over: one probe is sent, and what comes of it closes or opens the breaker

Only what says that the warehouse cannot be had opens it: a connection that is not made, a session or a sign-in that is
refused, too many requests, a 5xx, a probe that fails. An answer, whatever it says of its statement, closes it.

Some failures do not say whether the warehouse or the one statement is at fault: an error that is not listed, a sign-in
that is refused. Then a probe is sent: if it fails too, it is the warehouse; if not, the failure is the statement's.
https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Literal

from tasks import statements, verdicts
from tasks.sql import Statement
from tasks.verdicts import Failure, backoff_s
from worker.warehouse import Answer, StatementFailed

log = logging.getLogger(__name__)

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Wraps the sending of statements; may be used by several threads. Waits are those of `backoff_s`."""

    def __init__(
        self,
        execute: Callable[[Statement], Answer],
        *,
        first_s: float,
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._execute = execute
        self._first_s = first_s
        self._longest_s = longest_s
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        with self._lock:
            if not self._failures:
                return "closed"
            return "half_open" if self._clock() >= self._until else "open"

    def wait_s(self) -> float:
        """For how many seconds nothing is sent; 0 when closed or half open."""
        with self._lock:
            return max(0.0, self._until - self._clock()) if self._failures else 0.0

    def execute(self, statement: Statement) -> Answer:
        """Send a statement if the breaker lets it pass.

        Raises:
            StatementFailed: as the warehouse's connection does; `WAREHOUSE_AWAY` if nothing was sent.
        """
        if self._enter():
            try:
                # A short statement, or everything would wait for as long as the one in hand takes.
                self._send(statements.who_and_when(), probe=True)
            except StatementFailed as exc:
                if self.state != "closed":
                    raise StatementFailed(verdicts.never_sent(str(exc), exc.failure.code)) from exc
        return self._send(statement, probe=False)

    def _send(self, statement: Statement, *, probe: bool) -> Answer:
        try:
            answer = self._execute(statement)
        except StatementFailed as exc:
            if not probe and _ambiguous(exc.failure) and self.state == "closed" and self._answers():
                if exc.failure.needs_operator:
                    raise StatementFailed(verdicts.of_statement_alone(exc.failure)) from exc
                raise
            self._left(exc.failure, probe=probe)
            raise
        except BaseException:
            self._give_up(probe=probe)
            raise
        self._close()
        return answer

    def _answers(self) -> bool:
        """Whether the warehouse runs a statement that cannot fail by itself. If not, the breaker opens."""
        try:
            self._execute(statements.who_and_when())
        except StatementFailed as exc:
            if exc.failure.verdict != "unknown" or exc.failure.error_class.startswith("HTTP"):
                self._open(exc.failure, probe=False)
            return self.state == "closed"
        return True

    def _enter(self) -> bool:
        """True if this is the probe."""
        with self._lock:
            if not self._failures:
                return False
            if self._probing or self._clock() < self._until:
                raise StatementFailed(verdicts.never_sent("the warehouse is away", "WAREHOUSE_AWAY"))
            self._probing = True
            return True

    def _left(self, failure: Failure, *, probe: bool) -> None:
        """A statement failed: open, close or leave it."""
        if not probe and failure.cause == "unlisted":
            return  # it was asked already, or is about to be by the next probe
        if failure.verdict == "unknown" and not failure.error_class.startswith("HTTP"):
            self._give_up(probe=probe)  # one lost answer is no sign that the warehouse is away
        elif failure.cause == "warehouse" or failure.verdict == "unknown" or probe:
            self._open(failure, probe=probe)
        else:
            self._close()

    def _open(self, failure: Failure, *, probe: bool) -> None:
        with self._lock:
            if self._failures and not probe:
                return  # one of those that were under way when the first one failed
            self._failures += 1
            self._probing = False
            wait = backoff_s(self._failures, first_s=self._first_s, longest_s=self._longest_s, jitter=self._jitter())
            self._until = self._clock() + wait
            failures = self._failures
        log.warning("warehouse=away error=%s probes=%d wait_s=%.1f", failure.code, failures, wait)

    def _give_up(self, *, probe: bool) -> None:
        """A probe that says nothing of the warehouse: the next one follows at once."""
        with self._lock:
            self._probing = self._probing and not probe

    def _close(self) -> None:
        with self._lock:
            was, self._failures, self._probing = self._failures, 0, False
        if was:
            log.warning("warehouse=back")


def _ambiguous(failure: Failure) -> bool:
    return failure.cause == "unlisted" or failure.needs_operator
