"""A TCP proxy on loopback in front of a real server: connections cut, stopped, sent elsewhere, replies held or lost.

A `needle` is looked for in the bytes of the requests, also across reads: for Redis a script's SHA-1 or an argument of
it (`EVALSHA` sends no text), for the warehouse a piece of the statement's text.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

READ_BYTES = 65_536
CONNECT_S = 5.0


@dataclass(eq=False, slots=True)
class Hold:
    """What `hold_replies` and `drop_reply` give back."""

    needle: bytes
    action: Literal["hold", "drop"]
    times: int
    """So many requests are still to be taken."""

    held: threading.Event = field(default_factory=threading.Event)
    """Set once a reply has come from the server and is kept back, or lost: what was asked for is done there."""

    count: int = 0
    """How many such replies there were."""

    released: bool = False


class _Link:
    """One client's connection and the one behind it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.closed = False
        self.stranded = False
        self.hold: Hold | None = None
        self.seen: dict[Hold, bytes] = {}
        """The end of the last request, where a needle may have begun."""

    def cut(self) -> None:
        """Both ends see the end of the connection; the threads that pump close the sockets."""
        self.closed = True
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Forwards what comes to `port` to `target_port`, both on loopback, until told to do worse.

    While the target is not there, a connection is accepted and closed at once; `refuse` makes it refused.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._changed = threading.Condition()
        self._links: set[_Link] = set()
        self._threads: set[threading.Thread] = set()
        self._holds: list[Hold] = []
        self._frozen = False
        self._accepting: threading.Thread | None = None
        self._closed = False
        self._listener = self._bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.accept()

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def http_url(self) -> str:
        """As in DATABRICKS_HOST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        with self._changed:
            return len(self._links)

    def cut(self) -> None:
        """Close all connections now. New ones are taken."""
        with self._changed:
            links = list(self._links)
            for link in links:
                link.cut()
            self._changed.notify_all()

    def refuse(self) -> None:
        """Refuse new connections; the open ones go on."""
        if self._accepting is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that accepts
        self._accepting.join()
        self._accepting = None
        self._listener.close()
        self._listener = self._bound(self.port)  # nobody else is to get the port meanwhile

    def accept(self) -> None:
        """Take new connections again."""
        if self._accepting is None:
            self._listener.listen(128)
            self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
            self._accepting.start()

    def freeze(self) -> None:
        """Forward nothing either way, close nothing, not even what an end closes; new connections hang, too."""
        with self._changed:
            self._frozen = True

    def strand(self) -> None:
        """Leave the open connections half-open: nothing comes through them any more, and neither end is told. New
        ones are served."""
        with self._changed:
            for link in self._links:
                link.stranded = True

    def thaw(self) -> None:
        """Forward again, first what came meanwhile."""
        with self._changed:
            self._frozen = False
            self._changed.notify_all()

    def switch(self, target_port: int) -> None:
        """New connections go to another server; the open ones stay where they are."""
        with self._changed:
            self._target_port = target_port

    def hold_replies(self, after: bytes, *, times: int = 1) -> Hold:
        """Forward a request that contains the bytes, but keep back everything that its connection answers from then
        on, until `release`. So with the next `times` such requests."""
        return self._add(Hold(after, "hold", times))

    def drop_reply(self, after: bytes, *, times: int = 1) -> Hold:
        """Forward a request that contains the bytes and close its connection in place of the reply."""
        return self._add(Hold(after, "drop", times))

    def release(self) -> None:
        """Let the replies go that are held; rules that have not met their requests yet are dropped."""
        with self._changed:
            for hold in self._holds:
                hold.times = 0
                hold.released = True
            self._holds.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """End everything, threads and sockets; may be called again."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self.refuse()
        self._listener.close()
        self.release()
        self.thaw()
        while True:
            self.cut()
            with self._changed:
                threads = list(self._threads)
            if not threads:
                return
            for thread in threads:
                thread.join(timeout=0.2)

    @staticmethod
    def _bound(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def _add(self, hold: Hold) -> Hold:
        with self._changed:
            self._holds.append(hold)
        return hold

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            link = _Link(client)
            with self._changed:
                self._links.add(link)
            self._start(self._serve, link)

    def _start(self, work: Callable[[_Link], None], link: _Link) -> threading.Thread:
        def run() -> None:
            try:
                work(link)
            finally:
                with self._changed:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True)
        with self._changed:
            self._threads.add(thread)
        thread.start()
        return thread

    def _serve(self, link: _Link) -> None:
        """Pump requests in this thread and replies in another; closes the sockets when both have ended."""
        replies = None
        try:
            if not self._thawed(link):
                return
            with self._changed:
                target = self._target_port
            link.server = socket.create_connection(("127.0.0.1", target), timeout=CONNECT_S)
            link.server.settimeout(None)
            for end in (link.client, link.server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies = self._start(self._pump_replies, link)
            self._pump_requests(link)
        except OSError:  # the target is not there
            link.cut()
        finally:
            if replies is not None:
                replies.join()
            link.client.close()
            if link.server is not None:
                link.server.close()
            with self._changed:
                self._links.discard(link)

    def _pump_requests(self, link: _Link) -> None:
        assert link.server is not None
        try:
            while data := link.client.recv(READ_BYTES):
                if not self._thawed(link):
                    return
                self._look_for_needles(link, data)
                link.server.sendall(data)
            if self._thawed(link):
                link.server.shutdown(socket.SHUT_WR)
        except OSError:
            self._cut(link)

    def _pump_replies(self, link: _Link) -> None:
        assert link.server is not None
        try:
            while data := link.server.recv(READ_BYTES):
                if not self._thawed(link) or not self._reply_may_go(link):
                    return
                link.client.sendall(data)
            if self._thawed(link):
                link.client.shutdown(socket.SHUT_WR)
        except OSError:
            self._cut(link)

    def _cut(self, link: _Link) -> None:
        with self._changed:
            link.cut()
            self._changed.notify_all()

    def _thawed(self, link: _Link) -> bool:
        """Wait until something is forwarded again; False if the connection was cut before."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._frozen or link.stranded) or link.closed)
            return not link.closed

    def _look_for_needles(self, link: _Link, data: bytes) -> None:
        with self._changed:
            for hold in self._holds:
                seen = link.seen.get(hold, b"") + data
                if link.hold is None and hold.times > 0 and hold.needle in seen:
                    hold.times -= 1
                    link.hold = hold
                    seen = b""
                keep = len(hold.needle) - 1
                link.seen[hold] = seen[-keep:] if keep else b""

    def _reply_may_go(self, link: _Link) -> bool:
        with self._changed:
            hold, link.hold = link.hold, None
            if hold is None:
                return True
            hold.count += 1
            hold.held.set()
            if hold.action == "drop":
                link.cut()
                return False
            self._changed.wait_for(lambda: hold.released or link.closed)
            return not link.closed


StartProxy = Callable[[int], Proxy]


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    """Starts proxies in front of ports of loopback, and ends them."""
    started: list[Proxy] = []

    def start(target_port: int) -> Proxy:
        proxy = Proxy(target_port)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        proxy.close()
