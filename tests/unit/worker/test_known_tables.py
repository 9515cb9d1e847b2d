"""What a worker knows of tables is bounded, however many it writes to."""

from __future__ import annotations

import json
from collections import Counter

from lakequeue.identifiers import TableName

from tasks.sql import Statement
from worker.recent import Recent
from worker.tables import Tables
from worker.warehouse import Answer


class Warehouse:
    """Describes any table as one of ten columns."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def execute(self, statement: Statement) -> Answer:
        self.asked[statement.table] += 1
        columns = [{"name": f"c{i}", "type": {"name": "bigint"}} for i in range(10)]
        return Answer("s", None, ("json",), [(json.dumps({"columns": columns, "table_id": statement.table}),)], 0.0)


def name(i: int) -> TableName:
    return TableName.parse(f"main.s.t{i}")


def test_the_tables_used_last_are_known_and_others_are_described_again() -> None:
    warehouse = Warehouse()
    tables = Tables(warehouse.execute, properties={}, most_columns=100)
    for i in range(20):
        tables.get(name(0))
        tables.get(name(i))
    assert warehouse.asked == Counter({str(name(i)): 1 for i in range(20)})
    tables.get(name(19))
    tables.get(name(0))
    assert warehouse.asked[str(name(19))] == warehouse.asked[str(name(0))] == 1
    tables.get(name(5))
    assert warehouse.asked[str(name(5))] == 2


def test_a_table_that_is_forgotten_makes_room() -> None:
    warehouse = Warehouse()
    tables = Tables(warehouse.execute, properties={}, most_columns=100)
    for i in range(10):
        tables.get(name(i))
    for _ in range(5):
        tables.forget(name(9))
        tables.get(name(9))
    tables.get(name(0))
    assert warehouse.asked[str(name(0))] == 1


def test_of_many_keys_the_ones_set_last_are_kept() -> None:
    recent: Recent[int, str] = Recent(most=3)
    for i in (1, 2, 3, 1, 4):
        recent[i] = "x"
    assert list(recent) == [3, 1, 4]
