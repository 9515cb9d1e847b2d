"""Two workers that both believe they own a partition: whoever has not its lease changes nothing, at no step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

import pytest
import redis
from lakequeue import Queue, keys, wire
from lakequeue.client import Handle
from lakequeue.connections import connect
from lakequeue.errors import InvalidJob

from tasks import records
from tasks.records import Member, Outcome
from tasks.verdicts import Failure
from worker.breaker import Breaker
from worker.entries import Refusal, invalid, read_entry
from worker.lane import Desk
from worker.settings import Settings
from worker.store import Frozen, Head, Lease, LeaseLost, Place, Store, Token
from worker.warehouse import Answer

TABLE = "shop.sales.disputed"
LANE = keys.lane_of("write", TABLE)
PARTITION = keys.partition_of(TABLE)
CONFLICT = Failure("transient", "conflict", "DELTA_CONCURRENT_APPEND", "2D521", "")
TTL_S = 600.0
JOBS = 4


def _no_statement(_: object) -> Answer:
    raise AssertionError("no statement is sent here")


class Owner:
    """A worker that takes the lease when told to and then believes in it."""

    def __init__(self, name: str, client: redis.Redis) -> None:
        self.name = name
        self.store = Store(client, Token(f"{name}/1@host/0"))
        self.desk = Desk(
            self.store,
            Settings(),
            Breaker(_no_statement, first_s=1, longest_s=1),
            worker=name,
            notify=lambda *_, **__: None,
        )
        self._place: Place | None = None
        self._seen: Head | None = None
        self._frozen: Frozen | None = None

    def take_lease(self) -> None:
        """All are free: the one before lost them, and is not counted any more."""
        leases = [keys.lease(keys.Partition(p)) for p in range(keys.PARTITIONS)]
        self.store.client.delete(keys.WORKERS, *leases)
        self._place = Place(PARTITION, LANE, self.store.lease(ttl_s=TTL_S, only_mine=False).owned[PARTITION])

    @property
    def place(self) -> Place:
        return self._place or Place(PARTITION, LANE, Lease(f"{self.store.token}#0"))

    @property
    def seen(self) -> Head:
        """What it saw of the lane last: that is what it goes by."""
        assert self._seen is not None
        return self._seen

    @property
    def frozen(self) -> Frozen:
        return self._frozen or Frozen("0" * 16, JOBS, "table", 1, 1, 1, tuple(m.id for m in self.members))

    @property
    def members(self) -> list[Member]:
        return [read_entry(message, self.place).member for message in self.seen.messages]

    def look(self) -> None:
        self._seen = self.store.look(self.place, most_bytes=100_000)
        self._frozen = self._seen.frozen

    def take(self) -> None:
        self._seen = self.store.take(self.place, most=100, most_bytes=100_000)

    def freeze(self) -> None:
        """Freeze all jobs, or repeat what was frozen."""
        if self.members:
            again = self._frozen
            attempt = 2 if again else 1
            self._frozen, _ = self.desk.freeze(
                self.place, self.members, span=JOBS, attempt=attempt, identity="table", again=again
            )

    def freeze_half(self) -> None:
        self.desk.freeze(self.place, self.members[:2], span=2, attempt=1, replaces=self.frozen.batch)

    def freeze_and_refuse(self) -> None:
        self.desk.freeze(self.place, self.members[1:], span=JOBS, attempt=1, refused=[self._refusal()])

    def settle(self) -> None:
        if self.members:
            members = self.members
            outcomes = self.outcomes()
            self.desk.settle(self.place, self.frozen, remove=JOBS, members=members, outcomes=outcomes)

    def refuse(self) -> None:
        self.desk.settle(self.place, self.frozen, remove=JOBS, refused=[self._refusal()])

    def postpone(self) -> None:
        self.desk.postpone(self.place, self.frozen, self.members, CONFLICT, attempts=1)

    def bury(self) -> None:
        self.desk.bury(self.place, self.seen)

    def bury_killer(self) -> None:
        self.desk.bury_killer(self.place, self.seen)

    def release(self) -> None:
        self.store.release([PARTITION], leaving=False)

    def let_go(self) -> None:
        self.store.let_go(self.place)

    def revoke(self) -> None:
        self.store.revoke([member.id for member in self.members], reason="expired", expires_s=60)

    def outcomes(self) -> list[Outcome]:
        at = wire.isoformat(datetime.now(UTC))
        receipt = self.desk.receipt(self.frozen, jobs=JOBS, rows=JOBS, answer=None, started_at=at)
        committed = records.Committed({**receipt, "notes": [f"settled by {self.name}"]}, finished_at=at)
        return [committed.outcome(member, 1) for member in self.members]

    def _refusal(self) -> Refusal:
        entry = read_entry(self.seen.messages[0], self.place)
        return invalid(entry, InvalidJob("refused", {"errors": []}))


@dataclass
class Dispute:
    client: redis.Redis
    first: Owner
    second: Owner
    handles: list[Handle]

    def everything(self) -> dict[object, object]:
        """All that Redis holds, as it would dump it."""
        return {key: self.client.dump(key) for key in sorted(self.client.keys("*"))}

    def refused(self, step: Callable[[], None]) -> None:
        """The step fails by the lease and changes nothing."""
        before = self.everything()
        with pytest.raises(LeaseLost):
            step()
        assert self.everything() == before

    def assert_settled_by(self, owner: Owner) -> None:
        assert self.client.llen(keys.jobs(LANE)) == 0
        assert not self.client.exists(keys.frozen(LANE), keys.waiting(LANE), keys.DEAD)
        notes = [handle.result(timeout=5).receipt.notes for handle in self.handles]
        assert [list(each) for each in notes] == [[f"settled by {owner.name}"]] * JOBS


@pytest.fixture
def dispute(queue: Queue, redis_url: str) -> Iterator[Dispute]:
    """Two workers, the first with the lease and the lane seen."""
    handles = [queue.write(TABLE, [{"id": i}], id=f"job-{i}") for i in range(JOBS)]
    with connect(redis_url, timeout_s=5) as client:
        case = Dispute(client, Owner("first", client), Owner("second", client), handles)
        case.first.take_lease()
        case.first.look()
        yield case


def _nothing(second: Owner) -> None:
    """It has the lease and has done nothing yet."""


def _repeated(second: Owner) -> None:
    second.freeze()


def _settled(second: Owner) -> None:
    second.freeze()
    second.settle()


def _postponed(second: Owner) -> None:
    second.freeze()
    second.postpone()


def _given_up(second: Owner) -> None:
    second.freeze()
    second.refuse()


BY_THE_SECOND = {
    "nothing": _nothing,
    "frozen": _repeated,
    "settled": _settled,
    "postponed": _postponed,
    "refused": _given_up,
}
STEPS: dict[str, Callable[[Owner], None]] = {
    "look": Owner.look,
    "take": Owner.take,
    "freeze": Owner.freeze,
    "freeze a half": Owner.freeze_half,
    "freeze and refuse": Owner.freeze_and_refuse,
    "settle": Owner.settle,
    "refuse": Owner.refuse,
    "postpone": Owner.postpone,
    "bury": Owner.bury,
    "bury a killer": Owner.bury_killer,
}


@pytest.mark.parametrize("froze", [False, True], ids=["after its look", "after its freeze"])
@pytest.mark.parametrize("meanwhile", BY_THE_SECOND.values(), ids=BY_THE_SECOND.keys())
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_a_step_without_the_lease_is_refused_and_changes_nothing(
    dispute: Dispute, step: Callable[[Owner], None], meanwhile: Callable[[Owner], None], froze: bool
) -> None:
    if froze:
        dispute.first.freeze()
    dispute.second.take_lease()
    dispute.second.take()
    dispute.second.look()
    meanwhile(dispute.second)
    dispute.refused(lambda: step(dispute.first))


@pytest.mark.parametrize("step", [Owner.release, Owner.let_go, Owner.revoke])
def test_what_needs_no_lease_leaves_another_ones_batch_alone(dispute: Dispute, step: Callable[[Owner], None]) -> None:
    dispute.first.freeze()
    dispute.second.take_lease()
    dispute.second.take()
    dispute.second.look()
    dispute.second.freeze()
    before = dispute.everything()
    step(dispute.first)
    own = keys.hand(dispute.first.store.token).encode()  # what the first itself has in hand is its own affair
    assert {**dispute.everything(), own: None} == {**before, own: None}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_an_earlier_lease_of_the_same_worker_is_no_lease(dispute: Dispute, step: Callable[[Owner], None]) -> None:
    """What a turn still has in hand that began before its worker lost the partition and got it again."""
    stale = dispute.first
    stale.freeze()
    dispute.second.take_lease()
    again = Owner("first", dispute.client)
    again.take_lease()
    assert again.store.token == stale.store.token
    again.look()
    again.freeze()
    dispute.refused(lambda: step(stale))
    again.settle()
    dispute.assert_settled_by(again)


ORDERS = [(before, chosen) for before in range(4) for chosen in combinations(range(3 - before + 3), 3 - before)]
"""How many of its three steps the first takes with the lease; at which places among the second's three it takes the
rest."""


@pytest.mark.parametrize(
    ("before", "places"), ORDERS, ids=[f"{b} before{''.join(f', {p}' for p in c)}" for b, c in ORDERS]
)
def test_in_whatever_order_two_owners_act_each_job_has_the_outcome_of_the_one_with_the_lease(
    dispute: Dispute, before: int, places: tuple[int, ...]
) -> None:
    firsts = [dispute.first.look, dispute.first.freeze, dispute.first.settle]
    for step in firsts[:before]:
        step()
    rest = firsts[before:]
    dispute.second.take_lease()
    seconds = [dispute.second.look, dispute.second.freeze, dispute.second.settle]
    for place in range(len(rest) + len(seconds)):
        if place in places:
            dispute.refused(rest.pop(0))
        else:
            seconds.pop(0)()
    dispute.assert_settled_by(dispute.first if before == 3 else dispute.second)
