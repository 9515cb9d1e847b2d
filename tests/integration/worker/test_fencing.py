"""A worker that is stopped past its lease and goes on later neither settles nor doubles, wherever it was stopped.

Each test does so with an append, an upsert, an update and a hard delete side by side, lets the next owner finish them,
and a later job of each table change the same rows: what the first owner still had in hand must not undo that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys
from lakequeue.client import Handle

from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import StartProxy
from tests.fix_worker import StartWorker, Worker
from tests.support import QUICK, script_sha, sql, until

COLUMNS = [{"name": "id", "data_type": "BIGINT"}, {"name": "v", "data_type": "STRING"}]
SHORT_LEASE = {**QUICK, "LAKEQUEUE_LEASE_TTL_S": "2"}
LONGER_FENCE = {**SHORT_LEASE, "LAKEQUEUE_START_WITHIN_S": "5"}
"""The second has the time to take over and look for each statement before it may not start any more."""
SENT = "^(INSERT|MERGE)"

Rows = list[tuple[int, str]]


@dataclass(frozen=True)
class Verb:
    """A job on a table with the rows (1, old) and (2, old); a later job on the same rows; what both come to."""

    job: dict[str, Any]
    count: int
    later: dict[str, Any]
    rows: Rows


def _write(v: str, *ids: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "write", "data": [{"id": i, "v": v} for i in ids], **fields}


def _update(v: str) -> dict[str, Any]:
    return {"kind": "update", "key": {"id": 1}, "updates": {"v": v}}


_UPSERT = {"mode": "upsert", "key_columns": ["id"]}
VERBS = {
    "append": Verb(_write("first", 3), 1, _write("later", 4), [(1, "old"), (2, "old"), (3, "first"), (4, "later")]),
    "upsert": Verb(
        _write("first", 1, 3, **_UPSERT), 2, _write("later", 1, 3, **_UPSERT), [(1, "later"), (2, "old"), (3, "later")]
    ),
    "update": Verb(_update("first"), 1, _update("later"), [(1, "later"), (2, "old")]),
    "delete": Verb(
        {"kind": "delete", "key": {"id": 1}, "soft": False}, 1, _write("later", 1), [(1, "later"), (2, "old")]
    ),
}


class Takeover:
    """Two workers, and a table for each verb in a partition of the first. `start` takes the first one's settings."""

    def __init__(
        self, queue: Queue, warehouse: LocalWarehouse, client: redis.Redis, first: Worker, second: Worker
    ) -> None:
        self.queue = queue
        self.warehouse = warehouse
        self.client = client
        self.first = first
        self.second = second
        until(lambda: len(first.partitions()) == len(second.partitions()) == keys.PARTITIONS // 2, "an even share")
        self.tables = dict(zip(VERBS, self.tables_of_first("t"), strict=False))
        self.handles: dict[str, Handle] = {}
        self.settled: dict[str, object] = {}

    def tables_of_first(self, prefix: str) -> Iterator[str]:
        """Names of tables that the first worker owns."""
        owned = self.first.partitions()
        names = (f"shop.sales.{prefix}{i}" for i in count())
        return (name for name in names if keys.partition_of(name) in owned)

    def seed(self) -> None:
        created = {"auto_create": True, "schema_definition": COLUMNS}
        jobs = [{"table": table, **_write("old", 1, 2, **created)} for table in self.tables.values()]
        assert [handle.result(timeout=30).count for handle in [self.queue.enqueue(job) for job in jobs]] == [2] * 4

    def send(self) -> None:
        """Enqueue the job of each verb."""
        self.handles = {
            verb: self.queue.enqueue({"table": table, **VERBS[verb].job}) for verb, table in self.tables.items()
        }

    def stop_first(self) -> None:
        self.first.freeze()

    def continue_first(self) -> None:
        self.first.go_on()

    def wait_taken_over(self) -> None:
        """Until the second worker has looked for each batch in vain, and waits."""
        until(lambda: self.second.text().count("proved=not_yet") >= len(VERBS), "the second waits for proof")

    def wait_settled(self) -> None:
        """Each job has its outcome, by the second worker; then the later jobs are run, too."""
        for verb, handle in self.handles.items():
            assert handle.result(timeout=30).count == VERBS[verb].count, verb
        later = {v: self.queue.enqueue({"table": self.tables[v], **VERBS[v].later}) for v in VERBS}
        for handle in later.values():
            handle.result(timeout=30)
        handles = [*self.handles.values(), *later.values()]
        self.settled = {handle.id: self.client.get(keys.record(handle.id)) for handle in handles}

    def wait_first_gave_up(self) -> None:
        """The first has come to the end of each turn it was in, and was told that the table is not its own."""
        until(lambda: self.first.text().count("lost its owner's lease") >= len(VERBS), "the first gives up")

    def start_by_passed(self) -> bool:
        """Whether none of the batches that are frozen may start any more."""
        lanes = [keys.lane_of("write", table) for table in self.tables.values()]
        return all(int(self.client.hget(keys.frozen(lane), "start_by") or 0) < time.time() * 1e6 for lane in lanes)

    def expired(self) -> int:
        """How many statements came too late, by the warehouse's word."""
        return sum(1 for each in self.warehouse.statements() if "expired" in (each["error"] or ""))

    def rows(self, verb: str) -> Rows:
        found = sql(self.warehouse, f"SELECT id, v FROM {self.tables[verb]} ORDER BY id, v")
        return [(row[0], row[1]) for row in found]

    def assert_untouched(self) -> None:
        """The tables hold what the jobs come to one after the other; no outcome has changed; nothing is left behind."""
        assert {verb: self.rows(verb) for verb in VERBS} == {verb: each.rows for verb, each in VERBS.items()}
        assert {job_id: self.client.get(keys.record(job_id)) for job_id in self.settled} == self.settled
        assert not self.client.exists(keys.DEAD)
        for table in self.tables.values():
            assert not self.client.exists(*(key(keys.lane_of("write", table)) for key in (keys.frozen, keys.waiting)))
        # And both are of use: the partitions are shared again, and every table goes on.
        until(lambda: len(self.first.partitions()) == keys.PARTITIONS // 2, "the first has a share again")
        handles = [self.queue.enqueue({"table": table, **_write("end", 9)}) for table in self.tables.values()]
        assert [handle.result(timeout=30).count for handle in handles] == [1] * len(VERBS)


StartTakeover = Callable[..., Takeover]


@pytest.fixture
def takeover(
    queue: Queue, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str
) -> Iterator[StartTakeover]:
    with redis.Redis.from_url(redis_url) as client:

        def start(settings: dict[str, str] = SHORT_LEASE, **of_first: str) -> Takeover:
            return Takeover(
                queue, warehouse, client, start_worker(**{**settings, **of_first}), start_worker(**settings)
            )

        yield start


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


def test_stopped_between_its_last_lease_check_and_the_send(
    takeover: StartTakeover, start_proxy: StartProxy, redis_url: str
) -> None:
    proxy = start_proxy(port_of(redis_url))
    case = takeover(LAKEQUEUE_REDIS_URL=proxy.redis_url)
    case.seed()
    # The freeze script is the last that checks the lease. It ran; its caller does not know yet.
    hold = proxy.hold_replies(script_sha("freeze"), times=len(VERBS))
    case.send()
    until(lambda: hold.count == len(VERBS), "the replies to all freezes are held")
    case.stop_first()
    proxy.release()
    case.wait_settled()
    before = case.expired()
    case.continue_first()
    case.wait_first_gave_up()
    assert case.expired() - before == len(VERBS)  # it did send them, each too late
    case.assert_untouched()


@pytest.mark.parametrize("late", ["before the fence's end", "after the fence's end"])
def test_stopped_while_its_statement_is_queued_and_starts_too_late(takeover: StartTakeover, late: str) -> None:
    case = takeover(LONGER_FENCE)
    case.seed()
    case.warehouse.fault({"match": SENT, "times": len(VERBS), "action": "hold"})
    case.send()
    until(lambda: case.warehouse.held() == len(VERBS), "the statements are in the queue")
    case.stop_first()
    case.wait_taken_over()
    if late == "before the fence's end":
        until(lambda: case.start_by_passed(), "they may not start any more")
        case.warehouse.release()
        until(lambda: case.expired() == len(VERBS), "they fail")
    case.wait_settled()
    if late == "after the fence's end":
        before = case.expired()
        case.warehouse.release()
        until(lambda: case.expired() - before == len(VERBS), "they fail")
    case.continue_first()
    case.wait_first_gave_up()
    case.assert_untouched()


def test_stopped_while_its_statement_is_queued_and_still_commits(takeover: StartTakeover) -> None:
    case = takeover(LONGER_FENCE)
    case.seed()
    case.warehouse.fault({"match": SENT, "times": len(VERBS), "action": "hold"})
    case.send()
    until(lambda: case.warehouse.held() == len(VERBS), "the statements are in the queue")
    case.stop_first()
    case.wait_taken_over()
    case.warehouse.release()  # after the second has looked for them, and before they expire
    case.wait_settled()
    assert case.expired() == 0
    for verb in ("append", "upsert", "update"):
        assert "found by its stamp" in case.handles[verb].result(timeout=5).receipt.notes[0]
    case.continue_first()
    case.wait_first_gave_up()
    case.assert_untouched()


def test_stopped_after_the_commit_before_settling(
    takeover: StartTakeover, start_proxy: StartProxy, warehouse: LocalWarehouse
) -> None:
    proxy = start_proxy(warehouse.port)
    case = takeover(LONGER_FENCE, DATABRICKS_HOST=proxy.http_url)
    case.seed()
    holds = [proxy.hold_replies(b"INSERT INTO"), proxy.hold_replies(b"MERGE INTO", times=len(VERBS) - 1)]
    case.send()
    until(lambda: sum(hold.count for hold in holds) == len(VERBS), "the answers are held")
    case.stop_first()
    proxy.release()
    case.wait_settled()
    for verb in ("append", "upsert", "update"):
        assert "found by its stamp" in case.handles[verb].result(timeout=5).receipt.notes[0]
    case.continue_first()
    case.wait_first_gave_up()
    case.assert_untouched()


def test_stopped_while_it_waits_for_a_proof(takeover: StartTakeover) -> None:
    case = takeover(LONGER_FENCE)
    case.seed()
    case.warehouse.fault({"match": SENT, "times": len(VERBS), "action": "drop_before"})
    case.send()
    until(lambda: case.first.text().count("proved=not_yet") >= len(VERBS), "the first waits")
    case.stop_first()
    case.wait_settled()
    case.continue_first()
    case.assert_untouched()


def test_stopped_while_a_proof_runs_that_is_answered_after_the_takeover(takeover: StartTakeover) -> None:
    case = takeover()
    case.seed()
    case.warehouse.fault(
        {"match": SENT, "times": len(VERBS), "action": "drop_before"},
        {"match": "^SELECT.*AS found", "times": len(VERBS), "action": "hold"},
    )
    case.send()
    until(lambda: case.warehouse.held() == len(VERBS), "the proofs are in the queue")
    case.stop_first()
    case.wait_settled()
    # What the proofs say now would be reason to settle, or for the delete, to send it again.
    case.warehouse.release()
    case.continue_first()
    case.wait_first_gave_up()
    case.assert_untouched()


def test_stopped_while_it_creates_a_table(takeover: StartTakeover) -> None:
    case = takeover()
    case.seed()
    table = next(case.tables_of_first("n"))
    case.warehouse.fault({"match": "^CREATE TABLE", "times": 1, "action": "hold"})
    created = {"auto_create": True, "schema_definition": COLUMNS}
    handle = case.queue.enqueue({"table": table, **_write("first", 1, **created)})
    until(lambda: case.warehouse.held() == 1, "the definition is in the queue")
    case.stop_first()
    assert handle.result(timeout=30).count == 1
    record = case.client.get(keys.record(handle.id))
    case.warehouse.release()
    case.continue_first()
    until(lambda: "lost its owner's lease" in case.first.text(), "the first gives up")
    assert [tuple(row) for row in sql(case.warehouse, f"SELECT id, v FROM {table}")] == [(1, "first")]
    assert case.client.get(keys.record(handle.id)) == record
