"""The intake: reads the lanes of the partitions this worker owns, and gives each a turn whenever it is due."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import redis
from lakequeue import keys
from lakequeue.keys import Lane, Partition

from worker.entries import is_killer
from worker.lane import CHUNK, Desk, Turn
from worker.leases import LeaseKeeper
from worker.reads import AT_ONCE, ReadLane
from worker.store import Lease, LeaseLost, Place
from worker.writes import WriteLane

log = logging.getLogger(__name__)

SCAN_S = 1.0
"""How often all lanes are looked at, should a published wake have been missed."""

MOST_UNANSWERED = 4
"""So many PINGs in a row, one a look, without an answer: then wakes are listened for on a connection made anew."""

QUIET_FIRST_S, QUIET_LONGEST_S = 1.0, 60.0
"""So long other tables are held back for a suspect: a job with which workers died. It doubles with every death."""

LOOK_ANEW = b"anew "
"""What a wake begins with that is for lanes that wait, too; the number of the partition follows."""

PAUSED_S = 1.0
"""How soon a lane looks again whether its table is still paused."""

PROBE_S = 0.1
"""How soon a lane looks again whether a probe was answered."""

FAULT_S = 2.0
"""How long a lane rests after an error that is ours."""

MOST_FAULTS = 3
"""After so many in a row, what is at the lane's head becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class _Wake:
    partition: Partition
    anew: bool = False
    """Whether lanes that wait are to be looked at before their time."""


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
        self._turns: dict[Lane, Future[None]] = {}
        self._due: dict[Lane, tuple[float, Partition]] = {}
        self._probe: Lane | None = None
        self._suspects: dict[Lane, float] = {}
        self._alone: Lane | None = None
        self._quiet_until = 0.0
        self._faults: dict[Lane, int] = {}
        self._missed: set[Partition] = set()
        self._anew: set[Lane] = set()
        self._purged: set[Lane] = set()
        self._discarding: set[Lane] = set()
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
            pool.shutdown(wait=False, cancel_futures=True)
        if wait:
            self._leases.leave()  # other workers have at once what nothing runs on
        for pool in self._pools.values():
            pool.shutdown(wait=wait)
        for place in self.places():  # cut off where they are, on purpose
            self._let_go(place)
        self._leases.stop()
        self._listener.join(timeout=2 * SCAN_S)

    @property
    def owned(self) -> Mapping[Partition, Lease]:
        """The partitions that this worker owns, each with its lease."""
        return self._leases.owned

    def places(self) -> list[Place]:
        """The lanes that have a turn now."""
        return list(self._running.values())

    def _busy(self) -> Iterable[Partition]:
        running = list(self._running.items())
        return {
            place.partition for lane, place in running if (turn := self._turns.get(lane)) is None or not turn.done()
        }

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
                        elif message is not None and message["data"].startswith(LOOK_ANEW):
                            self._inbox.put(_Wake(Partition(int(message["data"][len(LOOK_ANEW) :])), anew=True))
                        elif message is not None:  # another worker gave partitions back
                            self._leases.hurry()
                        if listener.health_check_response_counter > MOST_UNANSWERED:
                            # redis-py asks by PING when it heard nothing for seconds, and never minds the silence.
                            raise redis.TimeoutError("the connection is half-open")
            except Exception as exc:  # whatever it is, wakes have to be heard again
                log.warning("wakes not heard: %s", type(exc).__name__)
                self._stopping.wait(0.5)

    def _decide(self) -> None:
        next_scan = 0.0
        while not self._stopping.is_set():
            try:
                wakes = self._collect(max(0.0, min(self._next_due(), next_scan) - time.monotonic()))
                if time.monotonic() >= next_scan:
                    next_scan = time.monotonic() + SCAN_S
                    wakes = set(self._leases.owned)
                    self._purged = set() if self._desk.breaker.state == "closed" else self._store.purged()
                self._wake(wakes)
                self._take_due()
            except Exception as exc:  # whatever it is, the lanes have to be read again
                log.warning("lanes not read: %s", type(exc).__name__, exc_info=not isinstance(exc, redis.RedisError))
                self._stopping.wait(0.5)

    def _next_due(self) -> float:
        """When a lane may be given a turn, as far as is known."""
        if self._probes():
            return math.inf  # its end is news
        if self._quiet():
            return self._quiet_until
        due = min((at for at, _ in self._due.values()), default=math.inf)
        return max(due, time.monotonic() + self._desk.breaker.wait_s())

    def _probes(self) -> bool:
        """Whether a lane is finding out if the warehouse is back: the others wait for what it says."""
        return self._probe in self._running and self._desk.breaker.state != "closed"

    def _quiet(self) -> bool:
        """Whether nothing is to begin: a suspect runs alone, or waits for the others to end. Never for long."""
        return time.monotonic() < self._quiet_until and bool(self._running)

    def _due_suspect(self) -> Lane | None:
        now = time.monotonic()
        return next((lane for lane in self._suspects if self._due.get(lane, (math.inf,))[0] <= now), None)

    def _collect(self, timeout_s: float) -> set[Partition]:
        """Wait for news; returns the partitions to look at."""
        wakes: set[Partition] = set()
        try:
            item = self._inbox.get(timeout=timeout_s)
            while True:
                if isinstance(item, _Wake):
                    wakes.add(item.partition)
                    if item.anew:
                        self._look_anew(item.partition)
                elif isinstance(item, _Done):
                    self._finished(item, wakes)
                item = self._inbox.get_nowait()
        except queue.Empty:
            return wakes

    def _finished(self, done: _Done, wakes: set[Partition]) -> None:
        partition, lane = done.place.partition, done.place.lane
        self._running.pop(lane, None)
        self._turns.pop(lane, None)
        self._discarding.discard(lane)
        if lane == self._alone:
            self._alone, self._quiet_until = None, 0.0
        if done.turn.quiet_s:
            self._suspects[lane] = done.turn.quiet_s
            self._quiet_until = max(self._quiet_until, time.monotonic() + done.turn.quiet_s)
        if done.turn.due_in_s is not None:
            self._due[lane] = time.monotonic() + (0.0 if lane in self._anew else done.turn.due_in_s), partition
        self._anew.discard(lane)
        if partition not in self._leases.owned:
            self._leases.hurry()  # it is to go to another worker, who may have it now
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
                self._due[lane] = time.monotonic(), partition

    def _look_anew(self, partition: Partition) -> None:
        for lane, (_, its) in self._due.items():
            if its == partition:
                self._due[lane] = time.monotonic(), its
        # A turn under way may have looked before, and end with a long wait.
        self._anew.update(lane for lane, place in self._running.items() if place.partition == partition)

    def _take_due(self) -> None:
        """Give a turn to every lane that is due; to one of them alone where it is to find out about the warehouse."""
        now = time.monotonic()
        state = self._desk.breaker.state
        if state == "open" or self._probes():
            self._take_purged()
            return
        if self._quiet():
            return
        if (suspect := self._due_suspect()) is not None:
            quiet_s = self._suspects.pop(suspect)
            # Where the others did not end in time it runs beside them: a death then counts less.
            self._quiet_until = 0.0 if self._running else now + quiet_s
            self._alone = self._probe = suspect
            self._submit(suspect, self._due.pop(suspect)[1])
            return
        for lane, (at, partition) in list(self._due.items()):
            if at <= now and lane not in self._running:
                del self._due[lane]
                if state == "half_open":
                    self._probe = lane  # before its turn begins, which looks whether it is the one
                self._submit(lane, partition)
                if state == "half_open":
                    return

    def _take_purged(self) -> None:
        """What is to be thrown away needs no warehouse. Lanes that are purged have a turn after each look at all."""
        for lane in self._purged & self._due.keys() - self._running.keys():
            self._purged.discard(lane)
            self._discarding.add(lane)
            self._submit(lane, self._due.pop(lane)[1])

    def _submit(self, lane: Lane, partition: Partition) -> None:
        lease = self._leases.owned.get(partition)
        if lease is not None:
            place = Place(partition, lane, lease)
            self._running[lane] = place
            turn = self._turns[lane] = self._pools[lane.startswith("r:")].submit(self._turn, place)
            turn.add_done_callback(self._ended)

    def _ended(self, _: Future[None]) -> None:
        if self._stopping.is_set():
            self._leases.hurry()  # its partition may go

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
            if not turn.settled:
                self._let_go(place)
            self._inbox.put(_Done(place, turn))

    def _let_go(self, place: Place) -> None:
        with suppress(redis.RedisError, OSError):  # then this worker takes the lane in hand again, which counts nothing
            self._store.let_go(place)

    def _take(self, place: Place) -> Turn:
        breaker = self._desk.breaker
        away = breaker.state != "closed" and place.lane != self._probe
        if away and place.lane not in self._discarding:
            # It opened while this turn waited for a thread: nothing could be sent, so nothing is tried.
            return Turn.after(max(breaker.wait_s(), PROBE_S))
        reads = place.lane.startswith("r:")
        most = AT_ONCE if reads else self._desk.settings.max_batch_jobs
        head = self._store.take(place, CHUNK - 1, most=most)
        if head.instead == "purge":
            return self._desk.discard(place)
        if away:
            return Turn.after(max(breaker.wait_s(), PROBE_S))
        if head.instead == "paused":
            return Turn.after(PAUSED_S)
        if head.frozen is None:
            if not head.messages:
                return Turn(None, settled=True)
            if head.waiting is not None and (left := head.waiting.until - time.time()) > 0:
                return Turn.after(left)
            if is_killer(head) and not reads:
                return self._desk.bury_killer(place, head)
        if head.suspect and place.lane != self._alone:
            return Turn(0.0, quiet_s=min(QUIET_LONGEST_S, QUIET_FIRST_S * 2.0 ** (head.suspect - 1)))
        return self._lanes[reads].run(place, head)

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
