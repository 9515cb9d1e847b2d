"""The intake: reads the lanes of the partitions this worker owns, and gives each a turn whenever it is due."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import redis
from lakequeue import keys
from lakequeue.keys import Lane, Partition

from worker.lane import CHUNK, Desk, Turn
from worker.leases import LeaseKeeper
from worker.reads import ReadLane
from worker.store import Lease, LeaseLost, Place
from worker.writes import WriteLane

log = logging.getLogger(__name__)

SCAN_S = 1.0
"""How often all lanes are looked at, should a published wake have been missed."""

FAULT_S = 2.0
"""How long a lane rests after an error that is ours."""

MOST_FAULTS = 3
"""After so many in a row, what is at the lane's head becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class _Wake:
    partition: Partition


@dataclass(frozen=True, slots=True)
class _Done:
    place: Place
    turn: Turn


class Intake:
    """One thread decides, another listens for wakes, a pool takes the turns. A lane has one turn at a time."""

    def __init__(self, desk: Desk, *, writes: WriteLane, reads: ReadLane, threads: int, lease_ttl_s: float) -> None:
        self._desk = desk
        self._store = desk.store
        self._lanes: dict[bool, WriteLane | ReadLane] = {False: writes, True: reads}
        # Reads do not wait behind writes, not even for a thread.
        self._pools = {
            False: ThreadPoolExecutor(threads, thread_name_prefix="write"),
            True: ThreadPoolExecutor(threads, thread_name_prefix="read"),
        }
        self._inbox: queue.SimpleQueue[_Wake | _Done | None] = queue.SimpleQueue()
        self._running: dict[Lane, Place] = {}
        self._due: dict[Lane, tuple[float, Partition]] = {}
        self._faults: dict[Lane, int] = {}
        self._missed: set[Partition] = set()
        self._stopping = threading.Event()
        self._leases = LeaseKeeper(self._store, ttl_s=lease_ttl_s, busy=self._busy, changed=self._owned_changed)
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
        for pool in self._pools.values():
            pool.shutdown(wait=wait, cancel_futures=True)
        self._leases.stop()
        self._listener.join(timeout=2 * SCAN_S)

    def places(self) -> list[Place]:
        """The lanes that have a turn now."""
        return list(self._running.values())

    def _busy(self) -> Iterable[Partition]:
        return {place.partition for place in list(self._running.values())}

    def _owned_changed(self, owned: Mapping[Partition, Lease]) -> None:
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
            except Exception as exc:  # whatever it is, wakes have to be heard again
                log.warning("wakes not heard: %s", type(exc).__name__)
                self._stopping.wait(0.5)

    def _decide(self) -> None:
        next_scan = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            due = min((at for at, _ in self._due.values()), default=next_scan)
            try:
                wakes = self._collect(max(0.0, min(due, next_scan) - now))
                if time.monotonic() >= next_scan:
                    next_scan = time.monotonic() + SCAN_S
                    wakes = set(self._leases.owned)
                self._wake(wakes)
                self._take_due()
            except Exception as exc:  # whatever it is, the lanes have to be read again
                log.warning("lanes not read: %s", type(exc).__name__, exc_info=not isinstance(exc, redis.RedisError))
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
        partition, lane = done.place.partition, done.place.lane
        self._running.pop(lane, None)
        if done.turn.due_in_s is not None:
            self._due[lane] = time.monotonic() + done.turn.due_in_s, partition
        if partition in self._missed:
            # A job may have come after the lane was found empty, and its wake before this.
            self._missed.discard(partition)
            wakes.add(partition)

    def _wake(self, partitions: set[Partition]) -> None:
        owned = self._leases.owned
        for lane, (_, partition) in list(self._due.items()):
            if partition not in owned:
                del self._due[lane]
        for partition, lane in self._store.ready(sorted(partitions & owned.keys())):
            if lane in self._running:
                self._missed.add(partition)
            elif lane not in self._due:
                self._submit(lane, partition)

    def _take_due(self) -> None:
        now = time.monotonic()
        for lane, (at, partition) in list(self._due.items()):
            if at <= now and lane not in self._running:
                del self._due[lane]
                self._submit(lane, partition)

    def _submit(self, lane: Lane, partition: Partition) -> None:
        lease = self._leases.owned.get(partition)
        if lease is not None:
            place = Place(partition, lane, lease)
            self._running[lane] = place
            self._pools[lane.startswith("r:")].submit(self._turn, place)

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
            turn = self._after_fault(place)
        else:
            self._faults.pop(place.lane, None)
        finally:
            self._inbox.put(_Done(place, turn))

    def _take(self, place: Place) -> Turn:
        head = self._store.look(place, 0, CHUNK - 1)
        if head.frozen is None:
            if not head.messages:
                return Turn(None)
            if head.waiting is not None and (left := head.waiting.until - time.time()) > 0:
                return Turn.after(left)
        return self._lanes[place.lane.startswith("r:")].run(place, head)

    def _after_fault(self, place: Place) -> Turn:
        """An error of ours, again and again: its cause is taken out of the way, or the table would stand for ever."""
        faults = self._faults[place.lane] = self._faults.get(place.lane, 0) + 1
        if faults < MOST_FAULTS:
            return Turn.after(FAULT_S)
        try:
            self._desk.bury(place, self._store.look(place, 0, CHUNK - 1))
            self._faults.pop(place.lane, None)
        except Exception:
            log.exception("table=%s the cause could not be taken to the dead letters", place.lane)
            return Turn.after(FAULT_S)
        return Turn.after(0.0)
