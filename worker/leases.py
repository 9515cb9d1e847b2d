"""Which partitions this worker owns: a thread of its own renews the leases, takes free ones and gives back too many."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

import redis
from lakequeue.keys import Partition

from worker.store import Share, Store

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Keeps a fair share of the partitions. A lease saves work; that nothing is doubled rests on proofs, not on it."""

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: float,
        busy: Callable[[], Iterable[Partition]],
        changed: Callable[[frozenset[Partition]], None],
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._busy = busy
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self._owned: frozenset[Partition] = frozenset()
        self._until = 0.0
        self._others_wait_until = 0.0

    @property
    def owned(self) -> frozenset[Partition]:
        """The partitions that are surely ours now; none once Redis has been silent for a lease's life."""
        return self._owned if time.monotonic() < self._until else frozenset()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing and give everything back."""
        self._stop.set()
        self._thread.join()
        try:
            self._store.release(self._owned, leaving=True)
        except redis.RedisError as exc:
            log.warning("leases not given back, they run out by themselves: %s", type(exc).__name__)
        self._owned = frozenset()

    def _keep(self) -> None:
        reachable = True
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                # After an outage every lease may have run out. Its last owner, who may have a statement under way, goes
                # first; the others wait for one lease's life.
                share = self._store.lease(ttl_s=self._ttl_s, only_mine=began < self._others_wait_until)
            except redis.RedisError as exc:
                if reachable:
                    log.warning("redis does not answer: %s", type(exc).__name__)
                reachable = False
                self._others_wait_until = time.monotonic() + self._ttl_s
                self._stop.wait(min(0.5, self._ttl_s / 10))
                continue
            if not reachable:
                log.warning("redis answers again")
                reachable = True
            owned = self._give_back(share)
            self._until = began + self._ttl_s * 0.9
            if owned != self._owned:
                log.info("partitions=%d workers=%d", len(owned), share.alive)
                self._owned = owned
                self._changed(owned)
            self._stop.wait(self._ttl_s / 5)

    def _give_back(self, share: Share) -> frozenset[Partition]:
        """Release idle partitions beyond the fair share; those with a statement under way stay for now."""
        surplus = len(share.owned) - share.fair
        if surplus <= 0:
            return share.owned
        # Nothing new may start on a partition that is about to go, so it leaves `owned` before it is looked at.
        busy = set(self._busy())
        going = sorted(share.owned - busy, reverse=True)[:surplus]
        self._owned = share.owned.difference(going)
        going = [partition for partition in going if partition not in set(self._busy())]
        if going:
            self._store.release(going, leaving=False)
        return share.owned.difference(going)
