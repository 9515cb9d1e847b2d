"""The intake: finds the lanes of the partitions this worker owns that want a turn, and gives them theirs."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import redis
from lakequeue import keys
from lakequeue.keys import Lane, Partition

from worker.entries import is_killer
from worker.heads import CHUNK_BYTES
from worker.lane import Desk, Turn
from worker.leases import LeaseKeeper
from worker.lookout import Lookout
from worker.reads import AT_ONCE, ReadLane
from worker.recent import Recent
from worker.store import Lease, LeaseLost, Place
from worker.turns import Turns
from worker.unread import Unread
from worker.wakes import Wake, Wakes
from worker.writes import WriteLane

log = logging.getLogger(__name__)

SCAN_S = 1.0
"""How often each partition is looked at: a wake may have been missed, or not published, many lanes waiting already."""

PAGE = 16
"""Lanes of each sort that a look at a partition finds, beside those that have a turn now."""

QUIET_FIRST_S, QUIET_LONGEST_S = 1.0, 60.0
"""So long other tables are held back for a suspect: a job with which workers died. It doubles with every death."""

PAUSED_S = 10.0
"""How soon a lane looks again whether its table is still paused; resuming it is told at once."""

PROBE_S = 0.1
"""How soon a lane looks again whether a probe was answered."""

FAULT_S = 2.0
"""How long a lane rests after an error that is ours."""

MOST_FAULTS = 3
"""After so many in a row, what is at the lane's head becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class _Done:
    place: Place
    turn: Turn


def kind_of(lane: Lane) -> keys.Kind:
    return "r" if lane.startswith("r:") else "w"


class Intake:
    """One thread decides, another listens for wakes, a pool takes the turns. A lane has one turn at a time."""

    def __init__(self, desk: Desk, *, writes: WriteLane, reads: ReadLane, threads: int, lease_ttl_s: float) -> None:
        self._desk = desk
        self._store = desk.store
        self._lookout = Lookout(desk.store.client)
        self._lanes: dict[keys.Kind, WriteLane | ReadLane] = {"w": writes, "r": reads}
        # Reads do not wait behind writes, not even for a thread.
        self._pools: dict[keys.Kind, ThreadPoolExecutor] = {
            "w": ThreadPoolExecutor(threads, thread_name_prefix="write"),
            "r": ThreadPoolExecutor(threads, thread_name_prefix="read"),
        }
        self._inbox: queue.SimpleQueue[Wake | _Done | None] = queue.SimpleQueue()
        self._running: dict[Lane, Place] = {}
        self._turns: dict[Lane, Future[None]] = {}
        self._wanted: dict[keys.Kind, Turns] = {kind: Turns() for kind in keys.KINDS}
        self._at_once = 2 * threads  # as many wait for a thread, so that none waits for them
        self._taken: Counter[keys.Kind] = Counter()
        self._more: set[tuple[Partition, keys.Kind, bool]] = set()
        self._mine: Mapping[Partition, Lease] = {}
        self._probe: Lane | None = None
        self._suspects: dict[Lane, float] = {}
        self._alone: Lane | None = None
        self._quiet_until = 0.0
        self._faults: Recent[Lane, int] = Recent()
        self._missed: set[Partition] = set()
        self._anew: set[Lane] = set()
        self._purged: set[Lane] = set()
        self._discarding: set[Lane] = set()
        self._stopping = threading.Event()
        self._leases = LeaseKeeper(self._store, ttl_s=lease_ttl_s, busy=self._busy, changed=self._owned_changed)
        self._decider = threading.Thread(target=self._decide, name="intake", daemon=True)
        self._wakes = Wakes(desk.store.client, self._inbox.put, self._leases.hurry)

    def start(self) -> None:
        self._leases.start()
        self._decider.start()
        self._wakes.start()

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
        self._wakes.stop()

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
            self._inbox.put(Wake(partition))

    def _decide(self) -> None:
        next_scan = 0.0
        while not self._stopping.is_set():
            try:
                drained = self._drained()
                until = 0.0 if drained else min(self._next_due(), next_scan)
                wakes = drained | self._collect(max(0.0, until - time.monotonic()))
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
        free = (kind for kind in keys.KINDS if self._taken[kind] < self._at_once)
        due = min((self._wanted[kind].due() for kind in free), default=math.inf)
        suspect = min((self._lanes_at(lane) for lane in self._suspects), default=math.inf)
        return max(min(due, suspect), time.monotonic() + self._desk.breaker.wait_s())

    def _lanes_at(self, lane: Lane) -> float:
        return self._wanted[kind_of(lane)].at(lane)

    def _probes(self) -> bool:
        """Whether a lane is finding out if the warehouse is back: the others wait for what it says."""
        return self._probe in self._running and self._desk.breaker.state != "closed"

    def _quiet(self) -> bool:
        """Whether nothing is to begin: a suspect runs alone, or waits for the others to end. Never for long."""
        return time.monotonic() < self._quiet_until and bool(self._running)

    def _due_suspect(self) -> Lane | None:
        now = time.monotonic()
        return next((lane for lane in self._suspects if self._lanes_at(lane) <= now), None)

    def _collect(self, timeout_s: float) -> set[Partition]:
        """Wait for news; returns the partitions to look at."""
        wakes: set[Partition] = set()
        try:
            item = self._inbox.get(timeout=timeout_s)
            while True:
                if isinstance(item, Wake):
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
        if self._running.pop(lane, None) is not None:
            self._taken[kind_of(lane)] -= 1
        self._turns.pop(lane, None)
        self._discarding.discard(lane)
        if lane == self._alone:
            self._alone, self._quiet_until = None, 0.0
        if done.turn.quiet_s:
            self._suspects[lane] = done.turn.quiet_s
            self._quiet_until = max(self._quiet_until, time.monotonic() + done.turn.quiet_s)
        if done.turn.due_in_s is not None:
            in_s = 0.0 if lane in self._anew else done.turn.due_in_s
            self._wanted[kind_of(lane)].want(lane, partition, time.monotonic() + in_s)
        self._anew.discard(lane)
        if partition not in self._leases.owned:
            self._leases.hurry()  # it is to go to another worker, who may have it now
        if partition in self._missed:
            # A job may have come after the lane was found empty, and its wake before this.
            self._missed.discard(partition)
            wakes.add(partition)

    def _wake(self, partitions: set[Partition]) -> None:
        """Look which lanes of partitions want a turn."""
        owned = self._leases.owned
        if owned != self._mine:
            self._mine = owned
            for wanted in self._wanted.values():
                wanted.keep(owned)
            self._more = {which for which in self._more if which[0] in owned}
        asked = sorted(partitions & owned.keys())
        if not asked:
            return
        running = Counter(place.partition for place in self._running.values())
        now = time.monotonic()
        for found in self._lookout.look({partition: PAGE + running[partition] for partition in asked}):
            wanted = self._wanted[found.kind]
            for lanes, first, more in ((found.first, True, found.more_first), (found.again, False, found.more_again)):
                for lane, in_s in lanes.items():
                    if lane in self._running:
                        self._missed.add(found.partition)
                    else:
                        wanted.want(lane, found.partition, now + in_s, first=first)
                which = found.partition, found.kind, first
                (self._more.add if more else self._more.discard)(which)

    def _drained(self) -> set[Partition]:
        """Partitions of which all lanes that were found have had their turns, and that hold more."""
        owned = self._leases.owned
        return {
            partition
            for partition, kind, first in self._more
            if partition in owned
            and self._taken[kind] < self._at_once
            and not self._wanted[kind].known(partition, first=first)
        }

    def _look_anew(self, partition: Partition) -> None:
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
            if (partition := self._wanted[kind_of(suspect)].remove(suspect)) is not None:
                self._submit(suspect, partition)
            return
        for kind, wanted in self._wanted.items():
            while self._taken[kind] < self._at_once and (found := wanted.take(now)) is not None:
                lane, partition = found
                if state == "half_open":
                    self._probe = lane  # before its turn begins, which looks whether it is the one
                self._submit(lane, partition)
                if state == "half_open":
                    return

    def _take_purged(self) -> None:
        """What is to be thrown away needs no warehouse. Lanes that are purged have a turn after each look at all."""
        for lane in self._purged - self._running.keys():
            self._purged.discard(lane)
            partition = keys.partition_of(keys.table_of(lane))
            if partition in self._leases.owned:
                self._wanted[kind_of(lane)].remove(lane)
                self._discarding.add(lane)
                self._submit(lane, partition)

    def _submit(self, lane: Lane, partition: Partition) -> None:
        lease = self._leases.owned.get(partition)
        if lease is not None:
            place = Place(partition, lane, lease)
            self._running[lane] = place
            self._taken[kind_of(lane)] += 1
            turn = self._turns[lane] = self._pools[kind_of(lane)].submit(self._turn, place)
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
                self._let_go(place, turn.due_in_s)
            self._desk.heads.let_go(place)
            self._inbox.put(_Done(place, turn))

    def _let_go(self, place: Place, due_in_s: float | None = None) -> None:
        with suppress(redis.RedisError, OSError):  # then this worker takes the lane in hand again, which counts nothing
            self._store.let_go(place, due_in_s=due_in_s)

    def _take(self, place: Place) -> Turn:
        breaker = self._desk.breaker
        away = breaker.state != "closed" and place.lane != self._probe
        if away and place.lane not in self._discarding:
            # It opened while this turn waited for a thread: nothing could be sent, so nothing is tried.
            return Turn.after(max(breaker.wait_s(), PROBE_S))
        kind = kind_of(place.lane)
        most = AT_ONCE if kind == "r" else self._desk.settings.max_batch_jobs
        head = self._desk.heads.take(place, most=most)
        if head.instead == "purge":
            return self._desk.discard(place)
        if away:
            return Turn.after(max(breaker.wait_s(), PROBE_S))
        if head.instead == "paused":
            return Turn.after(PAUSED_S)
        if head.frozen is None:
            if head.large is not None:
                return self._desk.put_aside(place, Unread(*head.large, deaths=0))
            if not head.messages:
                return Turn(None, settled=True)
            if head.waiting is not None and (left := head.waiting.until - time.time()) > 0:
                return Turn.after(left)
            if is_killer(head) and kind == "w":
                return self._desk.bury_killer(place, head)
        if head.suspect and place.lane != self._alone:
            return Turn(0.0, quiet_s=min(QUIET_LONGEST_S, QUIET_FIRST_S * 2.0 ** (head.suspect - 1)))
        return self._lanes[kind].run(place, head)

    def _after_fault(self, place: Place) -> Turn:
        """An error of ours, again and again: its cause is taken out of the way, or the table would stand for ever."""
        faults = self._faults[place.lane] = self._faults.get(place.lane, 0) + 1
        if faults < MOST_FAULTS:
            return Turn.after(FAULT_S)
        try:
            self._desk.bury(place, self._store.look(place, most_bytes=CHUNK_BYTES))
            self._faults.pop(place.lane, None)
        except Exception:
            log.exception("table=%s the cause could not be taken to the dead letters", place.lane)
            return Turn.after(FAULT_S)
        return Turn.after(0.0)
