"""What a file says is what the table holds, whether the file's types are declared, inferred or the table's own."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
from pathlib import Path

import pytest

from tests.fix_cli import command
from tests.fix_system import System

TYPES = "flag:BOOLEAN,a:BIGINT,b:INT,c:BIGINT,d:DECIMAL(5,2),t:TIMESTAMP,n:TIMESTAMP_NTZ"
ROW = ["TRUE", "+5", "007", "1.0", "007.50", "2024-01-01 10:00:00 -0500", "2024-01-01 10:00:00.123456000 "]
STORED = [True, 5, 7, 1, "7.50", "2024-01-01 15:00:00", "2024-01-01 10:00:00.123456"]


def load(system: System, path: Path, table: str, *options: str) -> None:
    done = subprocess.run(
        command("load", str(path), "--table", table, "--wait", *options),
        env=os.environ | system.environ,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr


def rows(system: System, table: str, columns: str) -> list[list[object]]:
    with system.warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY _job_id")
        return [list(row) for row in cursor.fetchall()]


def test_text_is_stored_alike_with_declared_types_and_with_those_of_the_table(
    system: System, table: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([["flag", "a", "b", "c", "d", "t", "n"], ROW])
    load(system, path, table, "--columns", TYPES, "--load-id", "declared")
    load(system, path, table, "--no-create", "--load-id", "of-the-table")
    declared, of_the_table = rows(system, table, "flag, a, b, c, d, t, n")
    assert declared == of_the_table
    told = [str(value).removesuffix("+00:00") if index > 3 else value for index, value in enumerate(declared)]
    assert told == STORED


def test_a_compressed_file_of_codes_is_stored_as_it_is_written(system: System, table: str, tmp_path: Path) -> None:
    path = tmp_path / "codes.csv.gz"
    path.write_bytes(gzip.compress(b"sku|version|n\n1E5|1.10|1.0\n100000|1.1|\n10E4||2.0\n"))
    load(system, path, table, "--columns", "n:BIGINT")
    found = rows(system, table, "sku, version, n")
    assert sorted(found, key=lambda row: str(row[0])) == [
        ["100000", "1.1", None],
        ["10E4", None, 2],
        ["1E5", "1.10", 1],
    ]


pytestmark = pytest.mark.timeout(180)
