"""What is not confirmed of a live warehouse: asked here, told, and held against what the product assumes."""

from __future__ import annotations

import time
from contextlib import closing

from databricks.sql.exc import Error

from tests.conformance.sides import Side

_PARAMETER_BYTES = (900_000, 1_000_000, 1_048_576, 2_000_000, 4_000_000)
_TEXT_MIB = (1, 8, 15, 17)


def _told(what: str, answer: object) -> None:
    print(f"\nprobe: {what}: {answer}")


def test_the_bound_on_all_parameters_together(real: Side) -> None:
    taken = 0
    for size in _PARAMETER_BYTES:
        seen = real.run("SELECT length(:a) + length(:b) AS n", {"a": "x" * (size // 2), "b": "x" * (size - size // 2)})
        _told(f"parameters of {size:,} bytes", "taken" if seen[0] == "rows" else seen)
        taken = size if seen[0] == "rows" else taken
    assert taken >= _PARAMETER_BYTES[0], "the product sends up to 900,000 bytes"


def test_the_size_of_a_statement(real: Side) -> None:
    for size in _TEXT_MIB:
        # Length is made of a comment: no literal is to be the limit.
        seen = real.run(f"SELECT 1 AS n /* {'x' * (size * 1024 * 1024)} */", {})
        _told(f"a text of {size} MiB", "taken" if seen[0] == "rows" else seen)


def test_the_time_limit_of_a_statement(real: Side) -> None:
    with closing(real.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_timestamp() AS now")
        _told("the warehouse's clock is ahead by", f"{(cursor.fetchall()[0][0].timestamp() - time.time()):.3f} s")
    started = time.monotonic()
    # A billion pairs: no warehouse is done within the second that it is given.
    limited = Side(real.name, real.connect_with({"STATEMENT_TIMEOUT": "1"}), real.catalog, real.schema)
    with closing(limited.connection):
        seen = limited.run(
            "SELECT count(*) AS n FROM (SELECT explode(sequence(1, 300000)) AS a) JOIN "
            "(SELECT explode(sequence(1, 300000)) AS b) ON a * 7 % 1000003 = b * 11 % 1000003 + 1",
            {},
        )
    _told("STATEMENT_TIMEOUT of 1 s", f"{seen} after {time.monotonic() - started:.1f} s")


def test_query_tags(real: Side) -> None:
    with real.connection.cursor() as cursor:
        try:
            cursor.execute("SELECT 1", query_tags={"lakequeue": "probe"})
            _told("query tags", "taken")
        except (Error, TypeError) as exc:
            _told("query tags", f"refused: {type(exc).__name__}")


def test_what_describe_says_of_identity(real: Side) -> None:
    assert real.see("identity", "CREATE TABLE {t} (id INT)") == ("done",)
    _told("a table's identity", real.describe("identity").identity)
