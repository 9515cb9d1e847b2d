"""Which partitions this worker owns: a thread of its own renews the leases, takes free ones and gives back too many."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import redis
from lakequeue import keys
from lakequeue.keys import Partition

from worker.store import Lease, Share, Store

log = logging.getLogger(__name__)


POLL_S = 0.5
"""So often at least it is looked whether a lease has run out: a dead worker's tables wait no longer than that."""


class LeaseKeeper:
    """Keeps a fair share of the partitions. A lease saves work; that nothing is doubled rests on proofs, not on it."""

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: float,
        busy: Callable[[], Iterable[Partition]],
        changed: Callable[[Mapping[Partition, Lease]], None],
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._busy = busy
        self._changed = changed
        self._stop = threading.Event()
        self._news = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)
        self._owned: Mapping[Partition, Lease] = {}
        self._until = 0.0
        self._others_wait_until = 0.0

    @property
    def owned(self) -> Mapping[Partition, Lease]:
        """The partitions that are surely ours now; none once Redis has been silent for a lease's life."""
        return self._owned if time.monotonic() < self._until else {}

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """Look at once: a lease was given back, or one that is to go can be now."""
        self._news.set()

    def leave(self) -> None:
        """Take nothing more, and give every partition back as soon as nothing runs there."""
        self._leaving = True
        self._news.set()

    def stop(self) -> None:
        """Stop renewing and give everything back."""
        self._stop.set()
        self._news.set()
        self._thread.join()
        try:
            # All that is ours, also what is to go and was busy until now.
            self._store.release((Partition(p) for p in range(keys.PARTITIONS)), leaving=True)
        except redis.RedisError as exc:
            log.warning("leases not given back, they run out by themselves: %s", type(exc).__name__)
        self._owned = {}

    def _keep(self) -> None:
        reachable = True
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                # After an outage every lease may have run out. Its last owner, who may have a statement under way, goes
                # first; the others wait for one lease's life.
                only_mine = began < self._others_wait_until
                share = self._store.lease(ttl_s=self._ttl_s, only_mine=only_mine, leaving=self._leaving)
            except Exception as exc:  # whatever it is, the leases have to be renewed
                if reachable:
                    log.warning("leases not renewed: %s", type(exc).__name__)
                reachable = False
                self._others_wait_until = time.monotonic() + self._ttl_s
                self._stop.wait(min(0.5, self._ttl_s / 10))
                continue
            if not reachable:
                log.warning("leases renewed again")
                reachable = True
            before = self._owned
            owned = self._give_back(share)
            self._until = began + self._ttl_s * 0.9
            if owned != before:
                log.info("partitions=%d workers=%d", len(owned), share.alive)
                self._owned = owned
                self._changed(owned)
            self._news.wait(min(POLL_S, self._ttl_s / 5))
            self._news.clear()

    def _give_back(self, share: Share) -> Mapping[Partition, Lease]:
        """Give up what is beyond the fair share: at once where nothing runs, else when what runs has ended.

        Nothing new starts on a partition that is to go, or a busy one would never be given up.
        """
        surplus = len(share.owned) - (0 if self._leaving else share.fair)
        if surplus <= 0:
            return share.owned
        busy = set(self._busy())
        going = sorted(share.owned, key=lambda partition: (partition in busy, -partition))[:surplus]
        self._owned = {p: lease for p, lease in share.owned.items() if p not in going}
        busy = set(self._busy())
        if idle := [partition for partition in going if partition not in busy]:
            self._store.release(idle, leaving=False)
        return self._owned
