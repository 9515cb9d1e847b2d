"""Finding, replaying and dropping dead letters, on a real Redis; what workers make of replays is tested elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from lakequeue import (
    InvalidJob,
    JobFailed,
    Queue,
    QueueFull,
    ReplayRefused,
    Settings,
    UnknownLetter,
    keys,
    outcomes,
    parse_job,
    wire,
)
from lakequeue.dead_store import LOOKED_AT

from tasks.records import Member
from tests.fix_dead_letters import Bury, letter, store_letters

TABLE = "main.s.t"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(job_id: str, table: str = TABLE, **fields: Any) -> dict[str, Any]:
    return {"kind": "write", "table": table, "data": [{"id": 1}], "id": job_id, **fields}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def lane(client: redis.Redis, table: str = TABLE) -> list[wire.Received]:
    found = client.lrange(keys.jobs(keys.lane_of("write", table)), 0, -1)
    return [wire.decode(each) for each in found if isinstance(each, bytes)]


def listed(queue: Queue, **choice: Any) -> list[str]:
    return [each.id for each in queue.dead_letters.list(**choice).letters]


def test_a_letter_says_what_failed_why_and_what_was_before(queue: Queue, bury: Bury) -> None:
    bury(job("a"), error="CAST_INVALID_INPUT", text="the value 'planted'")
    found = queue.dead_letters.get("a")
    assert (found.id, found.table, found.op, found.rows) == ("a", TABLE, "write", 1)
    assert (found.error, found.error_class, found.committed) == (
        "CAST_INVALID_INPUT", "CAST_INVALID_INPUT.SUB", "not_committed",
    )  # fmt: skip
    assert found.reason == "it failed by CAST_INVALID_INPUT"
    assert (found.attempts, found.batch, found.history[0]["error"]) == (2, "b0", "HTTP_429")
    assert found.at is not None
    assert found.enqueued_at is not None
    assert found.enqueued_at <= found.at
    assert found.payload is not None
    assert wire.decode(found.payload).kwargs["data"] == [{"id": 1}]
    assert "planted" not in json.dumps(found.to_json()) + repr(found)
    with pytest.raises(UnknownLetter, match="no dead letter 'b'"):
        queue.dead_letters.get("b")


def test_letters_are_found_by_id_table_error_and_age_and_by_all_of_them_together(queue: Queue, bury: Bury) -> None:
    bury(job("old"), age_s=7200)
    bury(job("new"))
    bury(job("other", "main.s.other"), error="DELTA_NOT_NULL_CONSTRAINT_VIOLATED")
    assert listed(queue) == ["old", "new", "other"]
    assert listed(queue, ids=["new", "nobody", "old", "new"]) == ["new", "old"]
    assert listed(queue, table="MAIN.S.T") == ["old", "new"]
    assert listed(queue, error="delta_not_null_constraint_violated") == ["other"]
    assert listed(queue, error="INVALID_JOB.SUB") == ["old", "new"]
    assert listed(queue, older_than_s=3600) == ["old"]
    assert listed(queue, newer_than_s=3600) == ["new", "other"]
    assert listed(queue, newer_than_s=3600, table=TABLE) == ["new"]
    assert listed(queue, ids=["old", "new"], older_than_s=3600) == ["old"]
    with pytest.raises(ValueError, match=r"catalog\.schema\.table"):
        queue.dead_letters.select(table="a.b")


def test_pages_meet_each_letter_once_though_some_leave_meanwhile(queue: Queue, bury: Bury) -> None:
    ids = [bury(job(f"j{i}", TABLE if i % 2 else "main.s.other")) for i in range(9)]
    page = queue.dead_letters.list(limit=4)
    assert [each.id for each in page.letters] == ids[:4]
    for letter_id in ids[2:5]:  # the one the cursor stands on among them
        queue.dead_letters.drop(letter_id)
    rest = queue.dead_letters.list(limit=100, cursor=page.cursor)
    assert ([each.id for each in rest.letters], rest.cursor) == (ids[5:], None)
    some = queue.dead_letters.list(ids=ids, limit=2)
    more = queue.dead_letters.list(ids=ids, limit=100, cursor=some.cursor)
    assert [each.id for each in (*some.letters, *more.letters)] == [*ids[:2], *ids[5:]]
    odd = [each for each in (*ids[:2], *ids[5:]) if int(each[1:]) % 2]
    assert [each.id for each in queue.dead_letters.select(table=TABLE)] == odd


def test_a_payload_does_not_pass_for_what_a_letter_says(queue: Queue, bury: Bury) -> None:
    """What lists cut off is the payload, whatever text is in it."""
    bury(job("a", data=[{"id": '","message":"x', "n": {"message": ',"message_base64":"', "table": "main.s.evil"}}]))
    (found,) = queue.dead_letters.list(table=TABLE).letters
    assert (found.id, found.payload, found.batch) == ("a", None, "b0")
    assert listed(queue, table="main.s.evil") == []


def test_a_replay_is_a_new_job_that_points_back_and_its_letter_is_gone(
    queue: Queue, bury: Bury, client: redis.Redis
) -> None:
    bury(job("a", actor="ann"))
    handle = queue.dead_letters.replay("a")
    assert (handle.id, handle.known) == ("a.replay1", False)
    (message,) = lane(client)
    assert (message.id, message.replay_of, message.kwargs["actor"]) == ("a.replay1", ("a",), "ann")
    assert handle.status().replay_of == ("a",)
    assert listed(queue) == []
    assert client.zrange(keys.first_turns("w", keys.partition_of(TABLE)), 0, -1) == [b"w:" + TABLE.encode()]
    old = queue.job("a")
    assert (old.status().state, old.status().replayed_as) == ("FAILURE", "a.replay1")
    assert outcomes.to_json("a", queue.record("a"))["replayed_as"] == "a.replay1"
    assert 86_000 < int(client.ttl(keys.record("a"))) <= 86_400
    with pytest.raises(JobFailed, match="no"):
        old.result(timeout=0)


def test_replaying_twice_is_one_job(queue: Queue, bury: Bury, client: redis.Redis) -> None:
    bury(job("a"))
    first = queue.dead_letters.replay("a")
    again = queue.dead_letters.replay("a")
    assert (again.id, again.known) == (first.id, True)
    client.delete(keys.record("a"))  # as when it has expired
    assert queue.dead_letters.replay("a").id == first.id
    assert len(lane(client)) == 1


def test_the_replay_of_a_replay_carries_all_ids_before_it(queue: Queue, bury: Bury, client: redis.Redis) -> None:
    bury(job("a"))
    for number in range(1, 4):
        new = queue.dead_letters.replay("a" if number == 1 else f"a.replay{number - 1}")
        assert new.id == f"a.replay{number}"
        if number < 3:
            fail(client, new.id)
    (message,) = lane(client)
    assert message.replay_of == ("a", "a.replay1", "a.replay2")
    assert queue.dead_letters.replay("a.replay2").known


def fail(client: redis.Redis, job_id: str) -> None:
    """Have the one queued job fail."""
    message = client.rpop(keys.jobs(keys.lane_of("write", TABLE)))
    assert isinstance(message, bytes)
    got = wire.decode(message)
    assert got.id == job_id
    told = Member(got.id, got.task, TABLE, got.rows, got.digest, got.enqueued_at, got.root_id, replay_of=got.replay_of)
    store_letters(client, [(job_id, letter(told, message), 2e9)])


def test_ids_that_are_too_long_are_shortened_and_stay_one_to_one(queue: Queue, bury: Bury) -> None:
    ids = [bury(job("x" * 127 + last)) for last in "ab"]
    new = [queue.dead_letters.replay(each).id for each in ids]
    assert len({*new}) == 2
    assert all(len(each) <= 128 and each.endswith(".replay1") for each in new)
    assert [queue.dead_letters.replay(each).id for each in ids] == new


def test_a_job_that_may_have_been_committed_is_replayed_by_force_only(queue: Queue, bury: Bury) -> None:
    bury(job("a"), committed="unknown")
    with pytest.raises(ReplayRefused, match=r"may have been committed.*--force"):
        queue.dead_letters.replay("a")
    assert listed(queue) == ["a"]
    assert queue.dead_letters.replay("a", force=True).id == "a.replay1"
    assert listed(queue) == []


def test_what_is_no_job_stays_with_a_clear_error_and_the_others_go_on(
    queue: Queue, bury: Bury, client: redis.Redis
) -> None:
    bury(job("a"))
    bare = Member("bad", "records.write", TABLE, 0, "", "", "bad")
    message = wire.encode(parse_job(job("bad")), job_id="bad", now=NOW)
    broken = message.message.replace('\\"data\\":[{\\"id\\":1}]', '\\"data\\":7').encode()
    store_letters(client, [("bad", letter(bare, broken), 2e9)])
    store_letters(client, [("unreadable-1", letter(bare, b"\xff\x00"), 2e9 + 1)])
    bury(job("b"), age_s=-1e9)
    done = list(queue.dead_letters.select().replay())
    assert [each.of for each in done] == ["a", "bad", "unreadable-1", "b"]
    assert [each.handle.id if each.handle else None for each in done] == ["a.replay1", None, None, "b.replay1"]
    assert all(isinstance(each.error, InvalidJob) for each in done[1:3])
    assert done[1].error is not None
    assert done[1].error.details["errors"][0]["loc"] == ["data"]
    assert "no job: not a Celery message in JSON" in str(done[2].error)
    assert listed(queue) == ["bad", "unreadable-1"]


def test_a_message_of_celerys_own_door_can_be_replayed(queue: Queue, client: redis.Redis) -> None:
    """It has no digest, may have rows as a positional argument, and what is to follow it."""
    sent = {
        "body": json.dumps([[[{"id": 1}]], {"table": TABLE}, {"callbacks": [{"task": "x"}]}]),
        "headers": {"id": "c", "task": "records.write", "eta": "2030-01-01T00:00:00"},
        "properties": {},
    }
    member = Member("c", "records.write", "", 0, "", "", "c")
    store_letters(client, [("c", letter(member, json.dumps(sent).encode()), 2e9)])
    assert queue.dead_letters.replay("c").id == "c.replay1"
    (message,) = lane(client)
    assert (message.kwargs["data"], message.eta, message.embed.get("callbacks")) == ([{"id": 1}], None, None)


def test_ids_that_other_jobs_have_taken_are_passed_over_in_order(queue: Queue, bury: Bury, client: redis.Redis) -> None:
    for letter_id in ("a", "b", "c"):
        bury(job(letter_id))
    queue.enqueue(job("b.replay1", "main.s.other"))
    queue.enqueue(job("b.replay2", "main.s.other", actor="x"))
    done = [each.handle.id if each.handle else None for each in queue.dead_letters.select().replay()]
    assert done == ["a.replay1", "b.replay3", "c.replay1"]
    assert [message.id for message in lane(client)] == done


def test_a_job_that_reuses_an_expired_id_gets_a_replay_of_its_own(
    queue: Queue, bury: Bury, client: redis.Redis
) -> None:
    """The replay of the first job of this id is no replay of the second."""
    bury(job("a"))
    queue.dead_letters.replay("a")
    client.delete(keys.record("a"))  # as when it has expired
    bury(job("a"))
    handle = queue.dead_letters.replay("a")
    assert (handle.id, handle.known) == ("a.replay2", False)
    assert lane(client)[-1].replay_of == ("a",)


def test_a_full_queue_replays_what_fits_and_keeps_the_rest(bury: Bury, redis_url: str) -> None:
    for letter_id in ("a", "b", "c"):
        bury(job(letter_id))
    with Queue(redis_url, settings=Settings(redis_url=redis_url, max_queue_length=2)) as queue:
        replays = queue.dead_letters.select().replay()
        assert [next(replays).of, next(replays).of] == ["a", "b"]
        with pytest.raises(QueueFull, match=r"main\.s\.t is full"):
            next(replays)
        assert listed(queue) == ["c"]


def test_while_memory_is_full_letters_can_be_listed_and_dropped_and_stay_when_replayed(
    queue: Queue, bury: Bury, client: redis.Redis
) -> None:
    for letter_id in ("a", "b"):
        bury(job(letter_id))
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueFull, match="maxmemory"):
            queue.dead_letters.replay("a")
        assert listed(queue) == ["a", "b"]
        assert queue.dead_letters.get("a").payload
        queue.dead_letters.drop("b")
    finally:
        client.config_set("maxmemory", 0)
    assert (listed(queue), lane(client)) == (["a"], [])
    assert queue.dead_letters.replay("a").known is False


def test_a_job_too_large_for_todays_settings_stays(bury: Bury, redis_url: str) -> None:
    bury(job("a"))
    with Queue(redis_url, settings=Settings(redis_url=redis_url, max_job_bytes=10)) as queue:
        with pytest.raises(InvalidJob):
            queue.dead_letters.replay("a")
        assert listed(queue) == ["a"]


def test_later_letters_do_not_belong_to_a_selection(queue: Queue, bury: Bury) -> None:
    bury(job("a"))
    selection = queue.dead_letters.select()
    bury(job("b"))
    assert (selection.count(), [each.id for each in selection]) == (1, ["a"])
    assert selection.drop() == 1
    assert listed(queue) == ["b"]


def test_a_letter_dropped_between_look_and_replay_is_not_replayed(
    queue: Queue, bury: Bury, client: redis.Redis
) -> None:
    bury(job("a"))
    bury(job("b", data=[{"id": "x" * 899_000}]))
    bury(job("c", data=[{"id": "x" * 899_000}]))
    bury(job("d"))
    replays = queue.dead_letters.select().replay()
    assert next(replays).of == "a"  # of the first page, which the large ones end
    queue.dead_letters.drop("d")
    assert [each.of for each in replays] == ["b", "c"]
    assert len(lane(client)) == 3
    with pytest.raises(UnknownLetter):
        queue.dead_letters.replay("d")
    with pytest.raises(UnknownLetter):
        queue.dead_letters.drop("d")


_RACER = """
import sys
from lakequeue import Queue
with Queue(sys.argv[1]) as queue:
    letters = queue.dead_letters
    print("ready", flush=True)
    sys.stdin.readline()
    what = sys.argv[2]
    if what == "drop":
        print(letters.select().drop())
    else:
        done = list(letters.select().replay())
        print(sum(1 for each in done if each.handle and not each.handle.known))
"""


def race(redis_url: str, *verbs: str) -> list[int]:
    """Run processes that wait for one start; the count each prints."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, redis_url, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for verb in verbs
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(verbs)
    return counts


def many(client: redis.Redis, number: int, *, table: str = TABLE) -> list[str]:
    """So many letters, stored as workers store them."""
    message = wire.encode(parse_job(job("x")), job_id="x", now=NOW).message.encode()
    ids = [f"m{i:06}" for i in range(number)]
    for start in range(0, number, 1000):
        letters = []
        for i, letter_id in enumerate(ids[start : start + 1000], start):
            member = Member(letter_id, "records.write", table, 1, "d", "2026-01-01T00:00:00.000000Z", letter_id)
            letters.append((letter_id, letter(member, message), 1.7e9 + i * 2e-6))
        store_letters(client, letters)
    return ids


def test_two_processes_that_replay_at_once_enqueue_each_job_once(client: redis.Redis, redis_url: str) -> None:
    ids = many(client, 3000)
    counts = race(redis_url, "replay", "replay")
    assert sum(counts) == len(ids)
    queued = [message.id for message in lane(client)]
    assert sorted(queued) == [f"{each}.replay1" for each in ids]


def test_dropping_while_replaying_leaves_each_letter_to_one_of_them(client: redis.Redis, redis_url: str) -> None:
    ids = many(client, 3000)
    replayed, dropped = race(redis_url, "replay", "drop")
    assert replayed + dropped == len(ids)
    assert len(lane(client)) == replayed
    assert client.hlen(keys.DEAD) == client.zcard(keys.DEAD_INDEX) == 0


def test_twenty_thousand_letters_are_listed_in_bounded_memory_and_calls(queue: Queue, client: redis.Redis) -> None:
    ids = many(client, 20_000)
    list(queue.dead_letters.select(ids=["nobody"]))  # the script is loaded
    client.config_resetstat()
    tracemalloc.start()
    try:
        seen = sum(1 for _ in queue.dead_letters.select())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == len(ids)
    assert peak < 10_000_000
    calls = client.info("commandstats")
    looks = calls["cmdstat_evalsha"]["calls"]
    assert looks <= 20_000 / LOOKED_AT + 1
    assert calls["cmdstat_evalsha"]["usec_per_call"] < 50_000  # that long, on average, nobody else is answered
    assert queue.dead_letters.select().count() == len(ids)
    assert queue.dead_letters.select(error="INVALID_JOB").count() == len(ids)
    assert queue.dead_letters.select(error="OTHER").count() == 0
