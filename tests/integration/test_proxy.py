"""The proxy that tests put before Redis and the warehouse does what it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fix_proxy import Proxy, StartProxy
from worker.embedded import EmbeddedRedis

ONCE: Retry = Retry(NoBackoff(), 0)


@pytest.fixture
def proxy(redis_url: str, redis_server: EmbeddedRedis, start_proxy: StartProxy) -> Proxy:
    return start_proxy(redis_server.port)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    with redis.Redis(port=proxy.port, socket_timeout=5, retry=ONCE) as opened:
        assert opened.ping()
        yield opened


def until_gone(proxy: Proxy) -> None:
    deadline = time.monotonic() + 5
    while proxy.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_cut_is_closed_and_new_connections_are_taken(proxy: Proxy, client: redis.Redis) -> None:
    with client.pubsub() as listener:  # type: ignore[no-untyped-call]
        listener.subscribe("x")
        assert listener.get_message(timeout=5) is not None
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            listener.connection.read_response()
    until_gone(proxy)
    assert client.ping()


def test_refused_connections_are_refused_until_they_are_accepted_again(proxy: Proxy, client: redis.Redis) -> None:
    proxy.refuse()
    assert client.ping()  # an open connection goes on
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    proxy.accept()
    with redis.Redis(port=proxy.port) as other:
        assert other.ping()


def test_a_frozen_proxy_closes_nothing_and_forwards_it_later(proxy: Proxy, redis_url: str) -> None:
    with (
        redis.Redis.from_url(redis_url) as behind,
        redis.Redis(port=proxy.port, socket_timeout=2, retry=ONCE) as hasty,
    ):
        hasty.set("n", 0)
        proxy.freeze()
        with pytest.raises(redis.TimeoutError):
            hasty.incr("n")
        assert behind.get("n") == b"0"
        proxy.thaw()
        deadline = time.monotonic() + 5
        while behind.get("n") != b"1":
            assert time.monotonic() < deadline
        assert hasty.ping()


def test_new_connections_go_where_they_are_switched_to(proxy: Proxy, client: redis.Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        proxy.switch(elsewhere.getsockname()[1])
        assert client.ping()  # stays where it was
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as fresh:
            taken, _ = elsewhere.accept()
            with taken:
                taken.sendall(b"there")
                assert fresh.recv(5) == b"there"


def test_a_held_reply_comes_when_it_is_released(proxy: Proxy, client: redis.Redis, redis_url: str) -> None:
    hold = proxy.hold_replies(b"needle")
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(client.set("needle", "1")))
    asking.start()
    assert hold.held.wait(5)
    with redis.Redis.from_url(redis_url) as behind, redis.Redis(port=proxy.port) as other:
        assert behind.get("needle") == b"1"
        assert other.get("needle") == b"1"  # one request was asked for, and that was it
    assert answers == []
    proxy.release()
    asking.join(5)
    assert answers == [True]


def test_a_dropped_reply_is_lost_after_the_request_was_done(proxy: Proxy, client: redis.Redis, redis_url: str) -> None:
    drop = proxy.drop_reply(b"needle")
    with pytest.raises(redis.ConnectionError):
        client.set("needle", "1")
    assert drop.held.is_set()
    with redis.Redis.from_url(redis_url) as behind:
        assert behind.get("needle") == b"1"
    assert client.set("needle", "2")


def test_a_needle_is_found_across_two_reads(proxy: Proxy) -> None:
    drop = proxy.drop_reply(b"needle")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw:
        raw.sendall(b"*2\r\n$4\r\nECHO\r\n$6\r\nnee")
        threading.Event().wait(0.05)  # two segments
        raw.sendall(b"dle\r\n")
        assert raw.recv(100) == b""
    assert drop.held.is_set()


def test_closing_leaves_no_connection_and_no_thread(redis_server: EmbeddedRedis) -> None:
    before = threading.active_count()
    proxy = Proxy(redis_server.port)
    with redis.Redis(port=proxy.port) as client:
        assert client.ping()
        proxy.freeze()
        hold = proxy.hold_replies(b"x")
        proxy.close()
    assert not hold.held.is_set()
    assert proxy.connections == 0
    deadline = time.monotonic() + 5
    while threading.active_count() > before:  # each says that it is gone a moment before it is
        assert time.monotonic() < deadline
