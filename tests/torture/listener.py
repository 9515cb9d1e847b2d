"""What is published of jobs: every final outcome that anybody was told."""

from __future__ import annotations

import threading
from collections import Counter

import redis
from lakequeue import keys, outcomes

PATTERN = keys.record("*")


class Listener:
    """A thread that hears every published record, and goes on after an outage of Redis. It may miss some then."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener")
        self.ready = threading.Event()
        self.final: dict[str, Counter[bytes]] = {}
        """By job id: the final records that were published, each with how often."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with (
                    redis.Redis.from_url(self._url, socket_timeout=5) as client,
                    client.pubsub(ignore_subscribe_messages=True) as heard,
                ):
                    heard.psubscribe(PATTERN)
                    self.ready.set()
                    while not self._stopping.is_set():
                        if (message := heard.get_message(timeout=0.2)) is not None:
                            self._note(message["channel"].decode(), message["data"])
            except (redis.RedisError, OSError):
                self._stopping.wait(0.1)

    def _note(self, channel: str, record: bytes) -> None:
        if outcomes.load(record)["status"] in outcomes.FINAL:
            self.final.setdefault(channel.removeprefix(keys.record("")), Counter())[record] += 1
