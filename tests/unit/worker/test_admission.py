"""Messages at Celery's own door: none can stop it, and a job is the same through either door."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakequeue import wire
from lakequeue.bodies import MAX_BODY_BYTES
from lakequeue.identifiers import check_job_id
from lakequeue.jobs import parse_job

from worker.admission import Admission, admission, conflict
from worker.door import CHUNK_BYTES, admitted
from worker.signatures import with_ids

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def message(body: Any, **headers: Any) -> bytes:
    """As kombu puts it into Redis."""
    sent = {"id": "a-1", "task": "records.write", "lang": "py", **headers}
    encoded = b64encode(json.dumps(body).encode()).decode()
    properties = {"body_encoding": "base64", "delivery_tag": "t", "priority": 0}
    return json.dumps({"body": encoded, "headers": sent, "properties": properties}).encode()


def job(*args: Any, **kwargs: Any) -> list[Any]:
    fields = {"table": "a.b.c", "data": [{"id": 1}], **kwargs}
    return [list(args), fields, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def ends(found: Admission) -> bool:
    return found.verdict in ("job", "late", "empty", "bad", "letter") and len(found.args()) == 12


@given(st.binary())
def test_no_bytes_stop_the_door(raw: bytes) -> None:
    assert ends(admission(raw, NOW))
    assert admission(raw, NOW).letter_id.startswith("unreadable-")


@given(
    VALUES, st.dictionaries(st.sampled_from(["id", "task", "eta", "expires", "root_id", "parent_id", "group"]), VALUES)
)
def test_no_message_stops_the_door(body: Any, headers: dict[str, Any]) -> None:
    assert ends(admission(message(body, **headers), NOW))


@given(VALUES, VALUES, VALUES)
def test_no_arguments_stop_the_door(first: Any, data: Any, embed: Any) -> None:
    found = admission(message([[first], {"table": "a.b.c", "data": data}, embed]), NOW)
    assert ends(found)
    assert ends(conflict(found, NOW))


def test_a_job_is_the_same_through_either_door() -> None:
    fast = wire.encode(
        parse_job('{"kind": "write", "catalog": "A", "schema": "b", "table": "C", "data": {"id": 1}}'),
        job_id="a-1",
        now=NOW,
    )
    slow = admission(message(job(table="a.b.c")), NOW)
    assert (slow.verdict, slow.id, slow.digest, slow.lane, slow.partition) == (
        *("job", fast.id, fast.digest, fast.lane, fast.partition),
    )
    assert wire.decode(slow.message.encode()) == wire.decode(fast.message.encode())
    assert json.loads(slow.record) == json.loads(fast.record)


def test_a_job_is_delayed_by_an_eta_in_the_future_alone() -> None:
    assert admission(message(job(), eta="2030-01-31T12:00:05+00:00"), NOW).due == NOW.timestamp() + 5
    assert admission(message(job(), eta="2030-01-31T13:00:05+01:00"), NOW).due == NOW.timestamp() + 5
    assert admission(message(job(), eta="2030-01-31T11:59:59+00:00"), NOW).due is None
    assert admission(message(job(), expires="2030-01-31T11:59:59+00:00"), NOW).verdict == "late"
    assert admission(message(job(), eta=5), NOW).verdict == "bad"


@pytest.mark.parametrize("header", ["eta", "expires"])
def test_a_time_without_an_offset_is_refused_since_nobody_can_know_which_was_meant(header: str) -> None:
    found = admission(message(job(), **{header: "2030-01-31T12:00:05"}), NOW)
    assert failure(found) == (
        "a-1",
        f"a job: {header}: a time without an offset: give an aware datetime, such as "
        "datetime.now(UTC) + timedelta(hours=1)",
    )


def failure(found: Admission) -> tuple[Any, str]:
    """Whose failure a message is, and how its text begins."""
    record = json.loads(found.record)
    assert (found.verdict, record["status"], record["result"]["exc_type"]) == ("bad", "FAILURE", "JobFailed")
    return record["task_id"], record["result"]["exc_message"][0]


TAKEN_IDS = ["orders/2024/17", "größe@shop", "x" * 255, "a,b=c"]


@pytest.mark.parametrize("job_id", TAKEN_IDS)
def test_an_id_of_visible_characters_is_a_jobs_own(job_id: str) -> None:
    found = admission(message(job(), id=job_id), NOW)
    assert (found.verdict, found.id) == ("job", job_id)
    assert json.loads(found.record)["task_id"] == wire.decode(found.message.encode()).id == job_id
    assert f'"id": "{job_id}"' in found.message  # as the scripts look for it


REFUSED_IDS = ["a b", "a\nb", 'say "a"', "back\\slash", "x" * 256, "x" * 100_000, "<b>"]


@pytest.mark.parametrize("job_id", REFUSED_IDS)
def test_an_id_that_is_not_taken_fails_under_itself(job_id: str) -> None:
    errback = {"task": "shop.alarm", "args": [], "kwargs": {}}
    body = [[], {"table": "a.b.c", "data": [{"id": 1}]}, {"errbacks": [errback], "chord": {"task": "shop.done"}}]
    found = admission(message(body, id=job_id), NOW)
    told_to, text = failure(found)
    assert found.id == told_to == job_id
    assert "a job id is 1 to 255 visible characters" in text
    assert "give another task_id" in text
    callbacks = json.loads(found.callbacks)
    assert (callbacks["id"], callbacks["errbacks"], callbacks["chord"]) == (job_id, [errback], {"task": "shop.done"})
    check_job_id(found.letter_id)
    assert json.loads(found.letter)["id"] == found.letter_id


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/gzip": gzip.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
    "application/zstd": lambda body: pyarrow.compress(body, codec="zstd", asbytes=True),
    "application/x-brotli": lambda body: pyarrow.compress(body, codec="brotli", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_compressed_body_is_read(compression: str) -> None:
    plain = admission(message(job()), NOW)
    found = admission(compressed(compression, job()), NOW)
    assert (found.verdict, found.digest, found.message) == ("job", plain.digest, plain.message)


@pytest.mark.parametrize("compression", ["application/x-gzip", "application/zstd"])
def test_a_body_that_grows_beyond_the_bound_fails_and_is_not_read(compression: str) -> None:
    found = admission(compressed(compression, job(data=[{"id": "x" * MAX_BODY_BYTES}])), NOW)
    assert failure(found)[1].startswith("the arguments are larger than 8,000,000 bytes: send the rows in several jobs")


@pytest.mark.parametrize("compression", [*COMPRESSIONS, "application/x-new"])
def test_a_body_that_is_not_compressed_as_it_says_fails_under_its_senders_id(compression: str) -> None:
    assert failure(admission(message(job(), compression=compression), NOW))[0] == "a-1"


def compressed(compression: str, body: Any) -> bytes:
    encoded = b64encode(COMPRESSIONS[compression](json.dumps(body).encode())).decode()
    sent = {"id": "a-1", "task": "records.write", "lang": "py", "compression": compression}
    return json.dumps({"body": encoded, "headers": sent, "properties": {"body_encoding": "base64"}}).encode()


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
@pytest.mark.parametrize("protocol", [2, 1])
def test_arguments_in_another_form_than_json_fail_and_are_not_read(serializer: str, protocol: int) -> None:
    types = {"pickle": "python-serialize", "yaml": "yaml", "msgpack": "msgpack"}
    headers = {"id": "a-1", "task": "records.write"} if protocol == 2 else {}
    properties = {"body_encoding": "base64", "correlation_id": "a-1"}
    envelope = {"body": b64encode(b"\x80\x04").decode(), "content-type": f"application/x-{types[serializer]}"}
    found = admission(json.dumps({**envelope, "headers": headers, "properties": properties}).encode(), NOW)
    expected = f'the arguments are in {serializer}, and only JSON is read: set task_serializer = "json"'
    assert failure(found) == ("a-1", expected)


def test_what_follows_a_job_is_known_though_its_arguments_are_no_json() -> None:
    errback = {"task": "shop.alarm", "args": [], "kwargs": {}}
    body = [[], {"table": "a.b.c", "data": [{"id": float("inf")}]}, {"errbacks": [errback]}]
    assert json.loads(admission(message(body), NOW).callbacks)["errbacks"] == [errback]


def test_a_message_of_protocol_1_is_the_same_job() -> None:
    args, kwargs, _ = job()
    fields = {"id": "a-1", "task": "records.write", "args": args, "kwargs": kwargs, "retries": 0, "utc": True}
    link = {"task": "shop.done", "args": [], "kwargs": {}}
    follows = {"callbacks": [link], "errbacks": None, "chord": None, "taskset": "g", "expires": None}
    body = {**fields, **follows, "eta": "2030-01-31T12:00:05"}
    envelope = {"body": json.dumps(body), "headers": {}, "properties": {"correlation_id": "a-1"}}
    found = admission(json.dumps(envelope).encode(), NOW)
    assert (found.verdict, found.id, found.due) == ("job", "a-1", NOW.timestamp() + 5)
    assert found.digest == admission(message(job()), NOW).digest
    assert json.loads(found.callbacks)["callbacks"] == [link]
    assert json.loads(found.callbacks)["group"] == "g"
    envelope["body"] = json.dumps({**body, "utc": False})
    assert "eta: a time without an offset" in failure(admission(json.dumps(envelope).encode(), NOW))[1]


def test_every_task_of_a_callback_gets_an_id_that_follows_from_its_place() -> None:
    task: dict[str, Any] = {"task": "records.write", "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
    named = {**task, "options": {"task_id": "mine"}}
    group = {"task": "celery.group", "kwargs": {"tasks": [task, named]}, "options": {}, "subtask_type": "group"}
    chord = {"task": "celery.chord", "kwargs": {"header": group, "body": task}, "options": {}, "subtask_type": "chord"}
    found, again = with_ids(chord, "p/link/0"), with_ids(chord, "p/link/0")
    assert found == again != with_ids(chord, "p/link/1")
    header, body = found["kwargs"]["header"], found["kwargs"]["body"]
    given_ids = [each["options"]["task_id"] for each in (header, *header["kwargs"]["tasks"], body)]
    assert len(set(given_ids)) == 4
    assert given_ids[2] == "mine"
    assert task["options"] == {}


def page(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"data": list(rows), "count": len(rows), "total": 9, "receipt": {"rows": len(rows)}}


AUDIT = {"created_at": "2026-01-01T00:00:00Z", "Created_By": "ann", "updated_at": None, "_job_id": "j"}
HANDED_ON: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "a row": ({"id": 1}, [{"id": 1}]),
    "rows": ([{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 2}]),
    "a page": (page({"id": 1, **AUDIT}), [{"id": 1}]),
    "pages of a chord's parts": ([page({"id": 1, **AUDIT}), page(), page({"id": 2})], [{"id": 1}, {"id": 2}]),
    "rows of a chord's parts": ([[{"id": 1}], [], [{"id": 2}]], [{"id": 1}, {"id": 2}]),
    "a row like a result": ({"id": 1, "receipt": {"no": 7}}, [{"id": 1, "receipt": {"no": 7}}]),
}


@pytest.mark.parametrize(("handed_on", "rows"), HANDED_ON.values(), ids=HANDED_ON)
def test_what_is_handed_on_to_a_write_is_its_rows(handed_on: Any, rows: list[dict[str, Any]]) -> None:
    found = admission(message([[handed_on], {"table": "a.b.c"}, {}]), NOW)
    assert found.verdict == "job"
    assert wire.decode(found.message.encode()).kwargs["data"] == rows


@pytest.mark.parametrize("nothing", [[], page(), [page(), page()], [[], []]], ids=["rows", "page", "pages", "lists"])
def test_a_write_to_which_no_rows_are_handed_on_succeeds_and_writes_nothing(nothing: Any) -> None:
    link = {"task": "records.read", "args": [], "kwargs": {}}
    body = [[nothing], {"table": "A.b.c", "mode": "upsert", "key_columns": "id"}, {"chain": [link]}]
    found = admission(message(body), NOW)
    record = json.loads(found.record)
    assert (found.verdict, record["status"], record["result"]["count"]) == ("empty", "SUCCESS", 0)
    assert record["result"]["message"] == "0 rows written to a.b.c"
    assert record["result"]["receipt"]["notes"] == ["no rows were handed on"]
    assert json.loads(found.callbacks)["chain"] == [link]
    assert admission(message(body, expires="2030-01-31T11:59:59+00:00"), NOW).verdict == "late"


@pytest.mark.parametrize("wrong", [{"table": "a.b"}, {"table": "a.b.c", "nope": 1}, {"table": "a.b.c", "mode": "x"}])
def test_a_write_to_which_no_rows_are_handed_on_is_checked_nevertheless(wrong: dict[str, Any]) -> None:
    assert admission(message([[[]], wrong, {}]), NOW).verdict == "bad"


@pytest.mark.parametrize("given", [None, 1, "rows", [1], {"message": "m", "count": 1, "receipt": {}}, {"data": 1}])
def test_what_is_handed_on_and_is_no_row_fails(given: Any) -> None:
    given = {**page(), **given} if given == {"data": 1} else given
    assert "is no row and no list of rows" in failure(admission(message([[given], {"table": "a.b.c"}, {}]), NOW))[1]


def test_rows_are_empty_only_where_they_were_handed_on() -> None:
    assert "takes at least one row" in failure(admission(message(job(data=[])), NOW))[1]


def test_an_id_that_is_a_uuid_fails_under_itself_as_it_came() -> None:
    given = {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000007"}}
    found = admission(message(job(), id=given), NOW)
    told_to, text = failure(found)
    assert (found.id, told_to) == ("00000000-0000-0000-0000-000000000007", given)
    assert text == "a task id is text: give task_id=str(…), such as str(uuid4())"


@pytest.mark.parametrize("header", ["eta", "expires"])
def test_times_in_headers_may_be_typed(header: str) -> None:
    typed = {"__type__": "datetime", "__value__": "2030-01-31T13:00:05+01:00"}
    plain = admission(message(job(), **{header: typed["__value__"]}), NOW)
    found = admission(message(job(), **{header: typed}), NOW)
    assert (found.verdict, found.due, found.message) == ("job", plain.due, plain.message)


@pytest.mark.parametrize("inside", [True, False], ids=["in the body", "in the envelope"])
def test_the_sender_of_a_message_with_too_many_objects_is_told_so(inside: bool) -> None:
    many = b"[" + b"{}," * 1_000_001 + b"{}]"
    body = b64encode(many).decode() if inside else ""
    told = {"headers": {"id": "a-1", "task": "records.write"}, "properties": {"body_encoding": "base64"}}
    rest = json.dumps({"body": body, **told})[1:].encode()
    found = admission(b"{" + (b"" if inside else b'"x": ' + many + b", ") + rest, NOW)
    assert (found.verdict, found.id, found.letter_id) == ("bad", "a-1", "a-1")
    assert "objects and lists" in found.record


def test_compressed_messages_are_taken_in_few_at_a_time() -> None:
    raw = compressed("application/x-gzip", job(data=[{"id": "x" * 500_000}]))
    found = admitted([raw] * 200, NOW, most_job_bytes=900_000)
    assert {each.verdict for each in found} == {"job"}
    assert CHUNK_BYTES <= sum(each.size for each in found) < CHUNK_BYTES + 1_000_000
