"""Which lists belong to the queue, and what the sender of the others has to change."""

from __future__ import annotations

import pytest
from lakequeue.celery_lists import STANDARD, UnreadList, remedy_of, shown, urgency

OF_THE_QUEUE = {
    "the queue": b"records",
    "a priority": b"records\x06\x163",
    "a priority beyond kombu's own": b"records\x06\x16200",
    "another separator": b"records::4",
    "a separator with digits in it": b"records-v2-4",
}


@pytest.mark.parametrize("name", OF_THE_QUEUE.values(), ids=OF_THE_QUEUE)
def test_a_list_of_the_queue_is_drained_whatever_separator_and_priorities_its_sender_has(name: bytes) -> None:
    assert remedy_of(name, of_queue=True) == ""


@pytest.mark.parametrize("name", [b"shop:records", b"shop:records\x06\x163", b"shop:records:3"])
def test_a_prefix_is_named(name: bytes) -> None:
    assert remedy_of(name, of_queue=True).startswith("remove global_keyprefix 'shop:' from broker_transport_options")


@pytest.mark.parametrize("name", [b"celery", b"records-2", b"medical_records"])
def test_jobs_in_another_queue_are_to_be_sent_to_ours(name: bytes) -> None:
    assert remedy_of(name, of_queue=False).startswith('send to queue="records"')


def test_lists_are_drained_by_urgency() -> None:
    assert sorted([b"records:12", b"records:3", *reversed(STANDARD)], key=urgency) == [
        *STANDARD[:3],
        STANDARD[3],
        b"records:3",
        *STANDARD[4:],
        b"records:12",
    ]


def test_an_unread_list_is_told_in_one_printable_line() -> None:
    told = str(UnreadList(shown(b"a\x06\n\xff"), 1200, "do it"))
    assert told == r"1,200 messages wait in the list 'a\x06\n\xff', which no worker reads: do it"
