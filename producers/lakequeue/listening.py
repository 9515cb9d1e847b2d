"""One thread and one connection that hear of all the jobs somebody in this process waits for."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.exceptions import ReadOnlyError, ResponseError

from lakequeue import keys
from lakequeue.connections import Client
from lakequeue.errors import LakequeueError, QueueClosed
from lakequeue.forks import reset_after_fork
from lakequeue.unreachable import unreachable

POLL_S = 1.0
"""How often the records of all jobs waited for are read, should a published outcome have been lost."""

OUTAGE_S = 300.0
"""So long a waiting client waits for a Redis that does not answer: a restart or a failover ends by itself."""

OUTAGE_PAUSE_S = 0.2

IDLE_S = 10.0
"""The thread and its connection end when nobody has waited for so long."""

SILENCE_S = 5.0
"""After so long a silence the connection is asked whether it lives, and after as long again it is given up."""

LOOK_S = 0.1
"""How often a waiting thread looks for itself where there is no thread to listen."""

AT_ONCE = 500
"""Jobs in one command."""

LONGEST_S = 3600.0
"""Python's locks take no timeout of any length."""

News = bytes | None | LakequeueError
"""A job's record, None if the job is unknown, or why nothing can be heard."""

_Selector = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""Without a file descriptor of its own, which a forked child would share with its parent."""


class Ear:
    """What one waiting thread is told of its job, in order; the same record is told once."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._last: News = b""
        self._told = threading.Event()
        self.look: Callable[[], News] | None = None
        """Where no thread can be started, as at the interpreter's end: how to look for oneself."""

    def tell(self, news: News) -> None:
        if news is None or news != self._last:
            self._last = news
            self._news.append(news)
            self._told.set()

    def next(self, deadline: float | None) -> bytes | TimeoutError | None:
        """The next news; TimeoutError, returned, if there is none until `deadline`, by `time.monotonic`.

        Raises:
            LakequeueError: nothing can be heard any more.
        """
        while not self._news:
            self._told.clear()
            if self._news:
                break
            left = LONGEST_S if deadline is None else min(LONGEST_S, deadline - time.monotonic())
            if left <= 0:
                return TimeoutError()
            if self.look is not None:
                self.tell(self.look())
                left = min(left, LOOK_S)
            self._told.wait(left)
        news = self._news.popleft()
        if isinstance(news, LakequeueError):
            raise news
        return news


class Listener:
    """Waiting threads share it. The thread begins with the first of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._begin()
        reset_after_fork(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()  # a signal handler may close the queue while its thread holds this
        self._ears: dict[str, list[Ear]] = {}
        self._new: set[str] = set()
        self._left: set[str] = set()
        self._thread: _Thread | None = None
        self._closed = False

    def forked(self) -> None:
        thread, closed = self._thread, self._closed
        self._begin()
        self._closed = closed
        if thread is not None:
            thread.forget()

    @contextmanager
    def waiting(self, job_id: str) -> Iterator[Ear]:
        """Hear of a job; its record as it is comes first."""
        ear = Ear()
        with self._lock:
            if self._closed:
                raise closed()
            self._ears.setdefault(job_id, []).append(ear)
            self._new.add(job_id)
        try:
            self._wake(job_id, ear)
            yield ear
        finally:
            with self._lock:
                ears = self._ears.get(job_id, [])
                if ear in ears:
                    ears.remove(ear)
                    if not ears:
                        del self._ears[job_id]
                        self._left.add(job_id)

    def _wake(self, job_id: str, ear: Ear) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                thread = _Thread(self, self._client)
                try:
                    thread.start()
                except RuntimeError:
                    ear.look = lambda: self._record(job_id)
                    return
                self._thread = thread
            if self._thread is not None:
                self._thread.ring()

    def _record(self, job_id: str) -> News:
        record: Any = self._client.get(keys.record(job_id))
        return None if record is None else bytes(record)

    def close(self) -> None:
        """End the thread; those who wait get QueueClosed."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            everybody = [ear for ears in self._ears.values() for ear in ears]
        for ear in everybody:
            ear.tell(closed())
        if thread is not None:
            thread.ring()
            if thread is not threading.current_thread():
                thread.join(SILENCE_S)

    def changes(self) -> tuple[set[str], set[str]]:
        """The jobs waited for since the last call, and those waited for no more."""
        with self._lock:
            new, left = self._new, self._left
            self._new, self._left = set(), set()
            return {each for each in new if each in self._ears}, left

    @property
    def busy(self) -> bool:
        return bool(self._ears)

    def everything(self) -> list[str]:
        with self._lock:
            return list(self._ears)

    def may_end(self, thread: _Thread, *, idle: bool) -> bool:
        """Whether the thread is not needed any more. A waiting thread that comes later begins another one."""
        with self._lock:
            if self._thread is thread and (self._ears or not idle):
                return False
            if self._thread is thread:
                self._thread = None
            return True

    def tell(self, job_id: str, news: News) -> None:
        with self._lock:
            ears = list(self._ears.get(job_id, ()))
        for ear in ears:
            ear.tell(news)


def closed() -> QueueClosed:
    return QueueClosed("this Queue was closed while somebody waited for a job: open another one and wait again")


class _Thread(threading.Thread):
    def __init__(self, listener: Listener, client: Client) -> None:
        super().__init__(name="lakequeue-listener", daemon=True)
        self._listener = listener
        self._client = client
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)
        self._connection: Any = None
        self._heard_at = self._asked_at = self._looked_at = 0.0

    def ring(self) -> None:
        """Something has changed: do not wait any longer."""
        with suppress(OSError):  # rung so often that nothing more fits, or at its end
            self._bell.send(b"\0")

    def forget(self) -> None:
        """In a forked child: what is the parent's is let go. A socket is closed here, not shut down."""
        for each in (self._bell, self._rung):
            each.close()
        with suppress(Exception):
            if self._connection is not None:
                self._connection.disconnect()

    def run(self) -> None:
        lost_at: float | None = None
        needed_at = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                needed_at = now if self._listener.busy else needed_at
                if self._listener.may_end(self, idle=now - needed_at >= IDLE_S):
                    return
                try:
                    if self._connection is None and self._listener.busy:
                        self._connect()
                    if self._connection is not None:
                        self._turn()
                    self._wait(POLL_S)
                    lost_at = None
                except Exception as exc:  # of any kind: without this thread those who wait would wait for ever
                    self._hang_up()
                    lost_at = now if lost_at is None else lost_at
                    if isinstance(exc, LakequeueError):
                        self._give_up(exc)
                    elif time.monotonic() - lost_at > OUTAGE_S or is_refusal(exc):
                        self._give_up(unreachable(self._client, exc))
                    time.sleep(OUTAGE_PAUSE_S)
        finally:
            self._hang_up()
            self._bell.close()
            self._rung.close()

    def _connect(self) -> None:
        self._connection = self._client.connection_of_its_own()
        self._connection.connect()
        self._heard_at = time.monotonic()
        self._asked_at = 0.0
        self._listener.changes()
        self._subscribe(self._listener.everything())

    def _hang_up(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.disconnect()

    def _give_up(self, error: LakequeueError) -> None:
        for job_id in self._listener.everything():
            self._listener.tell(job_id, error)

    def _subscribe(self, job_ids: Iterable[str], command: str = "SUBSCRIBE") -> None:
        names = [keys.record(each) for each in job_ids]
        for first in range(0, len(names), AT_ONCE):
            self._connection.send_command(command, *names[first : first + AT_ONCE])

    def _turn(self) -> None:
        """Pass on what has come, look at what is due, and wait for more."""
        new, left = self._listener.changes()
        self._subscribe(left, "UNSUBSCRIBE")
        self._subscribe(new)
        look = self._read()
        now = time.monotonic()
        if now - self._looked_at >= POLL_S:
            self._looked_at = now
            look = self._listener.everything()
        self._look(look)
        if now - self._heard_at >= SILENCE_S:
            if self._asked_at > self._heard_at and now - self._asked_at >= SILENCE_S:
                raise redis.TimeoutError("the listening connection is dead")
            if self._asked_at <= self._heard_at:
                self._asked_at = now
                self._connection.send_command("PING")

    def _read(self) -> list[str]:
        """Pass on all that was published. Returns the jobs whose subscription was confirmed just now."""
        confirmed: list[str] = []
        while self._connection.can_read(timeout=0):
            answer = self._connection.read_response()
            self._heard_at = time.monotonic()
            if isinstance(answer, list) and answer[0] in (b"message", b"subscribe"):
                job_id = answer[1].decode().removeprefix(keys.record(""))
                if answer[0] == b"message":
                    self._listener.tell(job_id, answer[2])
                else:
                    confirmed.append(job_id)
        return confirmed

    def _look(self, job_ids: list[str]) -> None:
        """Read records: an outcome may have been published before it was listened for."""
        for first in range(0, len(job_ids), AT_ONCE):
            part = job_ids[first : first + AT_ONCE]
            records: list[Any] = self._client.mget([keys.record(each) for each in part])
            for job_id, record in zip(part, records, strict=True):
                self._listener.tell(job_id, record)

    def _wait(self, at_most_s: float) -> None:
        with _Selector() as selector:
            selector.register(self._rung, selectors.EVENT_READ)
            if self._connection is not None:
                selector.register(self._connection._sock, selectors.EVENT_READ)
            selector.select(at_most_s)
        with suppress(BlockingIOError):
            self._rung.recv(4096)


def is_refusal(exc: BaseException) -> bool:
    """Whether Redis answers that it will not do it, now or later, such as for want of rights."""
    waits = ("MISCONF", "LOADING", "MASTERDOWN", "BUSY", "NOREPLICAS")
    return isinstance(exc, ResponseError) and not isinstance(exc, ReadOnlyError) and not str(exc).startswith(waits)
