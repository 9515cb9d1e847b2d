"""Two sessions that change the same rows: the loser fails as a conflict, which the product tries again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tasks import verdicts
from tests.conformance.sides import Seen, Side

_ROUNDS = 40
_CLASSES = {"DELTA_CONCURRENT_APPEND", "DELTA_CONCURRENT_DELETE_READ", "DELTA_CONCURRENT_DELETE_DELETE",
            "DELTA_CONCURRENT_WRITE", "DELTA_METADATA_CHANGED"}  # fmt: skip


@pytest.fixture
def pair(real: Side) -> Iterator[tuple[Side, Side]]:
    made = [Side(real.name, real.connect, real.catalog, real.schema) for _ in range(2)]
    with closing(made[0].connection), closing(made[1].connection):
        yield made[0], made[1]


@pytest.mark.timeout(300)
def test_two_sessions_that_update_one_table_conflict(real: Side, pair: tuple[Side, Side]) -> None:
    assert real.see("conflicts", "CREATE TABLE {t} (id INT, n INT)") == ("done",)
    assert real.see("conflicts", "INSERT INTO {t} VALUES (1, 0)")[0] == "changed"
    failed: list[Seen] = []
    together = threading.Barrier(2)

    def write(side: Side) -> None:
        for _ in range(_ROUNDS):
            together.wait(60)
            if failed:
                return
            together.wait(60)
            seen = side.see("conflicts", "UPDATE {t} SET n = n + 1")
            if seen[0] == "error":
                failed.append(seen)

    threads = [threading.Thread(target=write, args=(side,)) for side in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if real.serial:
        assert failed == []
        assert real.see("conflicts", "SELECT n FROM {t}")[2] == ((("int", 2 * _ROUNDS),),)
        return
    assert failed, "none of the sessions lost"
    for _, error_class, sqlstate in failed:
        assert error_class in _CLASSES
        assert sqlstate == "2D521"
        failure = verdicts.of_statement(f"[{error_class}] … SQLSTATE: {sqlstate}")
        assert (failure.verdict, failure.cause) == ("transient", "conflict")
