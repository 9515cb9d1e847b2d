"""A chord's body runs once, whatever dies between its last part and it, and whoever returns the parts."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.app.task import Context
from celery.exceptions import ChordError
from lakequeue import JobFailed, keys

from tests.fix_celery_app import celery_app, close, fields, write
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_proxy import Proxy, StartProxy
from tests.fix_system import System
from tests.fix_worker import StartWorker
from tests.support import ids, until

TABLE = "shop.sales.t"
COUNTED = b".j\r\n"
"""What every request about a chord's counted parts has in it: the end of their key."""


@pytest.fixture
def alone(redis_url: str) -> Iterator[Celery]:
    """An application on a Redis of the test's own."""
    made = celery_app(redis_url)
    yield made
    close(made)


@pytest.fixture
def proxy(start_proxy: StartProxy, redis_url: str) -> Proxy:
    return start_proxy(int(redis_url.split(":")[2].split("/")[0]))


def part(app: Celery, table: str, row: int) -> Any:
    return app.signature("records.write", kwargs=fields(table, row), immutable=True)


def bad(app: Celery, table: str) -> Any:
    return app.signature("records.write", kwargs={"table": table, "data": "no rows"}, immutable=True)


def warm(app: Celery) -> None:
    """Run a chord, so that the server has the scripts of chords."""
    assert chord([part(app, TABLE, 0)], part(app, TABLE, 1), app=app).apply_async().get(timeout=60)["count"] == 1


def test_the_body_runs_once_though_the_worker_is_killed_after_the_last_part_was_counted(
    alone: Celery, start_worker: StartWorker, proxy: Proxy, warehouse: LocalWarehouse
) -> None:
    worker = start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url)
    warm(alone)
    counted = proxy.hold_replies(COUNTED)
    result = chord([part(alone, TABLE, 2)], part(alone, TABLE, 3), app=alone).apply_async()
    assert counted.held.wait(30)
    worker.kill()
    start_worker()
    assert result.get(timeout=60)["count"] == 1
    assert ids(warehouse, TABLE) == [0, 1, 2, 3]


def test_the_body_runs_once_though_the_worker_is_killed_after_the_body_was_published(
    alone: Celery, start_worker: StartWorker, proxy: Proxy, warehouse: LocalWarehouse
) -> None:
    worker = start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url)
    warm(alone)
    published = proxy.hold_replies(b"LPUSH\r\n$7\r\nrecords")
    result = chord([part(alone, TABLE, 2)], part(alone, TABLE, 3), app=alone).apply_async()
    assert published.held.wait(30)
    worker.kill()
    start_worker()
    assert result.get(timeout=60)["count"] == 1
    with redis.Redis.from_url(alone.conf.broker_url) as client:
        until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
        until(lambda: client.llen("records") == 0, "the door is empty")
        assert not client.keys("celery-taskset-meta-*.[jtsd]")
    assert write(alone, TABLE, 4).get(timeout=30)["count"] == 1
    assert ids(warehouse, TABLE) == [0, 1, 2, 3, 4]


def test_the_body_runs_though_redis_is_away_after_the_last_part_was_counted(
    alone: Celery, start_worker: StartWorker, proxy: Proxy, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url)
    warm(alone)
    counted = proxy.hold_replies(COUNTED)
    result = chord([part(alone, TABLE, 2)], part(alone, TABLE, 3), app=alone).apply_async()
    assert counted.held.wait(30)
    proxy.refuse()
    proxy.cut()
    until(lambda: proxy.connections == 0, "every connection is gone")
    proxy.accept()
    assert result.get(timeout=60)["count"] == 1
    assert ids(warehouse, TABLE) == [0, 1, 2, 3]


def test_a_join_whose_connection_is_cut_is_joined_later(
    alone: Celery, start_worker: StartWorker, proxy: Proxy, warehouse: LocalWarehouse
) -> None:
    start_worker(LAKEQUEUE_REDIS_URL=proxy.redis_url)
    warm(alone)
    cut = proxy.drop_reply(b"\r\nZRANGE\r\n", times=6)
    result = chord([part(alone, TABLE, 2), part(alone, TABLE, 3)], part(alone, TABLE, 4), app=alone).apply_async()
    assert result.get(timeout=60)["count"] == 1
    assert cut.count == 6
    assert ids(warehouse, TABLE) == [0, 1, 2, 3, 4]


def test_a_part_that_is_returned_again_counts_once(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    """As after a worker that died between counting it and taking it out of the outbox."""
    size, body_id = 2, uuid4().hex
    group_id = uuid4().hex
    app.backend.set_chord_size(group_id, size)
    body = part(app, table, 1).set(task_id=body_id)
    after: dict[str, Any] = dict.fromkeys(("root_id", "parent_id", "callbacks", "errbacks", "chain"))
    after |= {"task": "records.write", "group": group_id, "chord": body}
    items = [
        json.dumps({"after": {**after, "id": job_id, "group_index": i}, "record": {"status": "SUCCESS", "result": i}})
        for i, job_id in enumerate((uuid4().hex, uuid4().hex))
    ]
    client.rpush(keys.OUTBOX, items[0], items[0])
    until(lambda: client.llen(keys.OUTBOX) == 0, "the part was counted twice")
    assert client.zcard(f"celery-taskset-meta-{group_id}.j") == 1
    client.rpush(keys.OUTBOX, items[1], items[1], items[0])
    assert app.AsyncResult(body_id).get(timeout=30)["count"] == 1
    until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
    assert write(app, table, 2).get(timeout=30)["count"] == 1
    assert ids(system.warehouse, table) == [1, 2]


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's own
@pytest.mark.parametrize(
    ("ours_last", "ordered"),
    [
        pytest.param(True, True, id="ours last"),
        pytest.param(False, True, id="theirs last"),
        pytest.param(True, False, id="ours last, by an application that does not order results"),
    ],
)
def test_parts_of_another_celery_worker_count_in_the_same_keys(
    system: System, app: Celery, client: redis.Redis, table: str, ours_last: bool, ordered: bool
) -> None:
    app.conf.result_backend_transport_options = {"result_chord_ordered": ordered}
    foreign, bodies = f"queue-{uuid4().hex}", f"queue-{uuid4().hex}"
    theirs = app.signature("shop.price", options={"queue": foreign})
    ours = part(app, table, 1).set(countdown=2 if ours_last else 0)
    chord([ours, theirs], app.signature("shop.sum", options={"queue": bodies}), app=app).apply_async()
    message = received_by(client, foreign)
    counted = f"celery-taskset-meta-{message['headers']['group']}.j"
    if not ours_last:
        until(lambda: client.exists(counted) == 1, "our part is counted")
    _, _, embed = json.loads(b64decode(message["body"]))
    request = Context({**message["headers"], "chord": app.signature(embed["chord"])})
    app.backend.mark_as_done(request.id, 42, request=request)  # what a worker of theirs does after the task
    args, _, _ = json.loads(b64decode(received_by(client, bodies)["body"]))
    results = args[0] if ordered else args[0][::-1]  # else in the order in which they were counted
    assert results[0]["count"] == 1
    assert results[1:] == [42]
    assert client.llen(bodies) == 0


def received_by(client: redis.Redis, queue: str) -> dict[str, Any]:
    """The message that a worker of another application would get."""
    found = client.brpop([queue], timeout=30)
    assert found is not None, f"nothing came to {queue}"
    message: dict[str, Any] = json.loads(found[1])
    return message


def test_groups_and_chords_nested_in_a_header_hand_on_their_results(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    write(app, table, 0).get(timeout=30)
    bodies = f"queue-{uuid4().hex}"
    header = [
        group([part(app, table, 1), part(app, table, 2)], app=app),
        chain(part(app, table, 3), group([part(app, table, 4), part(app, table, 5)], app=app), app=app),
        chord([part(app, table, 6), part(app, table, 7)], part(app, table, 8), app=app),
    ]
    chord(header, app.signature("shop.sum", options={"queue": bodies}), app=app).apply_async()
    args, _, _ = json.loads(b64decode(received_by(client, bodies)["body"]))
    assert counts(args[0]) == [1, 1, [1, 1], 1]
    assert ids(system.warehouse, table) == list(range(9))


def counts(results: Any) -> Any:
    return [counts(each) for each in results] if isinstance(results, list) else results["count"]


def test_a_body_may_be_a_chain_a_group_or_a_chord(system: System, app: Celery, table: str) -> None:
    write(app, table, 0).get(timeout=30)
    read = app.signature("records.read", kwargs={"table": table}, immutable=True)
    bodies = [
        chain(part(app, table, 1), read, app=app),
        chord([part(app, table, 2), part(app, table, 3)], read, app=app),
    ]
    for body in bodies:
        assert chord([part(app, table, 4)], body, app=app).apply_async().get(timeout=30)["count"] > 2
    several = group([part(app, table, 5), part(app, table, 6)], app=app)
    assert counts(chord([part(app, table, 7)], several, app=app).apply_async().get(timeout=30)) == [1, 1]


def test_whoever_waits_for_any_body_of_a_failed_chord_is_told(
    system: System, app: Celery, client: redis.Redis, table: str
) -> None:
    write(app, table, 0).get(timeout=30)
    alarms = f"queue-{uuid4().hex}"
    alarm = app.signature("shop.alarm", options={"queue": alarms})
    inner = chord([bad(app, table)], part(app, table, 1), app=app)
    of_nested = chord([inner, part(app, table, 2)], part(app, table, 3).on_error(alarm), app=app).apply_async()
    of_chord = chord(
        [bad(app, table)], chord([part(app, table, 4)], part(app, table, 5), app=app), app=app
    ).apply_async()
    of_chain = chord([bad(app, table)], chain(part(app, table, 6), part(app, table, 7), app=app), app=app).apply_async()
    of_group = chord([bad(app, table)], group([part(app, table, 8), part(app, table, 9)], app=app), app=app)
    for body in (of_nested, of_chord, of_chain, *of_group.apply_async().results):
        until(lambda body=body: app.AsyncResult(body.id).state == "FAILURE", "the body failed")  # type: ignore[misc]
    with pytest.raises(ChordError):
        app.AsyncResult(of_nested.id).get(timeout=30)
    assert json.loads(b64decode(received_by(client, alarms)["body"]))[0] == [of_nested.id]
    until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
    assert client.llen(alarms) == 0
    assert write(app, table, 10).get(timeout=30)["count"] == 1
    assert ids(system.warehouse, table) == [0, 2, 10]


@pytest.fixture
def small(start_worker: StartWorker, alone: Celery) -> Celery:
    """An application whose workers hand on no more than 10 kB; there is a table of 1,000 rows."""
    start_worker(LAKEQUEUE_MAX_MESSAGE_BYTES="10000")
    for first in range(0, 1000, 100):
        write(alone, TABLE, *range(first, first + 100)).get(timeout=60)
    return alone


def page(app: Celery, limit: int) -> Any:
    kwargs = {"table": TABLE, "columns": "id", "order_by": "id", "limit": limit}
    return app.signature("records.read", kwargs=kwargs, immutable=True)


def test_a_result_that_is_too_large_to_be_handed_on_fails_what_takes_it_and_nothing_else(
    small: Celery, warehouse: LocalWarehouse
) -> None:
    given = {name: value for name, value in fields("shop.sales.copy").items() if name != "data"}
    takes = small.signature("records.write", kwargs=given)
    with pytest.raises(JobFailed, match=r"to hand on is .* a message holds 10,000"):
        small.AsyncResult(chain(page(small, 1000), takes, app=small).apply_async().id).get(timeout=30)
    assert chain(page(small, 1000), part(small, TABLE, 5000), app=small).apply_async().get(timeout=30)["count"] == 1
    assert chain(page(small, 10), takes, app=small).apply_async().get(timeout=30)["count"] == 10
    linked = page(small, 1000)
    linked.link(part(small, TABLE, 5001))
    assert linked.apply_async().get(timeout=30)["count"] == 1000
    until(lambda: 5001 in ids(warehouse, TABLE), "the link has run")


def test_results_of_a_header_that_are_too_large_together_fail_a_body_that_takes_them(
    small: Celery, warehouse: LocalWarehouse
) -> None:
    takes = small.signature("shop.sum", options={"queue": "elsewhere"})
    for header in ([page(small, 1000), page(small, 10)], [page(small, 300) for _ in range(6)]):
        result = chord(header, takes.clone(), app=small).apply_async()
        until(lambda result=result: small.AsyncResult(result.id).state == "FAILURE", "the body failed")  # type: ignore[misc]
        body = part(small, TABLE, 6000 + len(header))
        assert chord(header, body, app=small).apply_async().get(timeout=30)["count"] == 1
        failing = [*header, bad(small, TABLE)]
        result = chord(failing, part(small, TABLE, 7000), app=small).apply_async()
        until(lambda result=result: small.AsyncResult(result.id).state == "FAILURE", "the body failed")  # type: ignore[misc]
    with redis.Redis.from_url(small.conf.broker_url) as client:
        until(lambda: client.llen(keys.OUTBOX) == 0, "the outbox is empty")
        assert not client.keys("celery-taskset-meta-*.[jtsd]")
        assert not client.exists("elsewhere", keys.OUTBOX_FAILED)
    assert {6002, 6006} <= set(ids(warehouse, TABLE))
    assert 7000 not in ids(warehouse, TABLE)
