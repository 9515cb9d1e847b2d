"""The intake: reads the lanes of the partitions this worker owns, and gives each a turn whenever it is due."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import redis
from lakequeue import keys
from lakequeue.keys import Partition

from worker.lane import CHUNK, Place, Turn
from worker.leases import LeaseKeeper
from worker.reads import ReadLane
from worker.store import LeaseLost, Store
from worker.writes import WriteLane

log = logging.getLogger(__name__)

SCAN_S = 1.0
"""How often all lanes are looked at, should a published wake have been missed."""

FAULT_S = 5.0
"""How long a lane rests after an error that is ours."""


@dataclass(frozen=True, slots=True)
class _Wake:
    partition: Partition


@dataclass(frozen=True, slots=True)
class _Done:
    place: Place
    turn: Turn


class Intake:
    """One thread decides, another listens for wakes, a pool takes the turns. A lane has one turn at a time."""

    def __init__(self, store: Store, *, writes: WriteLane, reads: ReadLane, threads: int, lease_ttl_s: float) -> None:
        self._store = store
        self._writes = writes
        self._reads = reads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lane")
        self._inbox: queue.SimpleQueue[_Wake | _Done | None] = queue.SimpleQueue()
        self._running: dict[Place, Future[None]] = {}
        self._due: dict[Place, float] = {}
        self._missed: set[Partition] = set()
        self._stopping = threading.Event()
        self._leases = LeaseKeeper(store, ttl_s=lease_ttl_s, busy=self._busy, changed=self._owned_changed)
        self._decider = threading.Thread(target=self._decide, name="intake", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="wakes", daemon=True)

    def start(self) -> None:
        self._leases.start()
        self._decider.start()
        self._listener.start()

    def stop(self, *, wait: bool = True) -> None:
        """Start nothing more, let running statements finish and settle (unless not to `wait`), give the leases back."""
        self._stopping.set()
        self._inbox.put(None)
        self._decider.join()
        self._pool.shutdown(wait=wait, cancel_futures=True)
        self._leases.stop()
        self._listener.join(timeout=2 * SCAN_S)

    def _busy(self) -> Iterable[Partition]:
        return {place.partition for place in list(self._running)}

    def _owned_changed(self, owned: frozenset[Partition]) -> None:
        for partition in owned:
            self._inbox.put(_Wake(partition))

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._store.client.pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call]
                    listener.subscribe(keys.WAKE_CHANNEL)
                    while not self._stopping.is_set():
                        message = listener.get_message(timeout=SCAN_S)
                        if message is not None and message["data"].isdigit():
                            self._inbox.put(_Wake(Partition(int(message["data"]))))
            except (redis.RedisError, OSError):
                self._stopping.wait(0.5)

    def _decide(self) -> None:
        next_scan = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            due = min(self._due.values(), default=next_scan)
            try:
                wakes = self._collect(max(0.0, min(due, next_scan) - now))
                if time.monotonic() >= next_scan:
                    next_scan = time.monotonic() + SCAN_S
                    wakes = set(self._leases.owned)
                self._wake(wakes)
                self._take_due()
            except (redis.RedisError, OSError) as exc:
                log.warning("lanes not read: %s", type(exc).__name__)
                self._stopping.wait(0.5)

    def _collect(self, timeout_s: float) -> set[Partition]:
        """Wait for news; returns the partitions to look at."""
        wakes: set[Partition] = set()
        try:
            item = self._inbox.get(timeout=timeout_s)
            while True:
                if isinstance(item, _Wake):
                    wakes.add(item.partition)
                elif isinstance(item, _Done):
                    self._finished(item, wakes)
                item = self._inbox.get_nowait()
        except queue.Empty:
            return wakes

    def _finished(self, done: _Done, wakes: set[Partition]) -> None:
        self._running.pop(done.place, None)
        if done.turn.due_in_s is not None:
            self._due[done.place] = time.monotonic() + done.turn.due_in_s
        elif done.place.partition in self._missed:
            # A job may have come after the lane was found empty, and its wake before this.
            self._missed.discard(done.place.partition)
            wakes.add(done.place.partition)

    def _wake(self, partitions: set[Partition]) -> None:
        owned = sorted(partitions & self._leases.owned)
        if not owned:
            return
        for partition, lane in self._store.ready(owned):
            place = Place(partition, lane)
            if place in self._running:
                self._missed.add(partition)
            elif place not in self._due:
                self._submit(place)

    def _take_due(self) -> None:
        now = time.monotonic()
        owned = self._leases.owned
        for place, at in list(self._due.items()):
            if at <= now:
                del self._due[place]
                if place.partition in owned:
                    self._submit(place)

    def _submit(self, place: Place) -> None:
        self._running[place] = self._pool.submit(self._turn, place)

    def _turn(self, place: Place) -> None:
        turn = Turn.after(FAULT_S)
        try:
            turn = self._take(place)
        except LeaseLost as exc:
            log.warning("table=%s lost its owner's lease: %s", place.lane, exc)
            turn = Turn(None)
        except (redis.RedisError, OSError) as exc:
            log.warning("table=%s redis: %s", place.lane, type(exc).__name__)
            turn = Turn.after(SCAN_S)
        except Exception:
            log.exception("table=%s a turn failed; nothing was lost, it is tried again", place.lane)
        finally:
            self._inbox.put(_Done(place, turn))

    def _take(self, place: Place) -> Turn:
        head = self._store.look(place.partition, place.lane, 0, CHUNK - 1)
        if head.frozen is None:
            if not head.messages:
                return Turn(None)
            if head.waiting is not None and (left := head.waiting.until - time.time()) > 0:
                return Turn.after(left)
        lane = self._reads if place.lane.startswith("r:") else self._writes
        return lane.run(place, head)
