"""Loads of files on a whole system: no row twice and none left out, whatever became of file, jobs and table."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from lakequeue import keys

from tests.fix_cli import command, lines, read_until
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_system import System
from tests.fix_worker import StartWorker

Load = Callable[..., "subprocess.CompletedProcess[str]"]

HEADER = ["id", "code"]


def rows(first: int, last: int) -> list[list[str]]:
    return [[str(n), f"c{n}"] for n in range(first, last + 1)]


def write(path: Path, given: Sequence[Sequence[str]], *, end: str = "\n", header: Sequence[str] = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as stream:
        csv.writer(stream, lineterminator=end).writerows([header, *given])
    return path


def loading(environ: dict[str, str], table: str) -> Load:
    def load(path: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        arguments = command("load", str(path), "--table", table, "--rows-per-job", "10", *options)
        done = subprocess.run(arguments, env=os.environ | environ, capture_output=True, text=True, timeout=90)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done

    return load


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_process() -> Start:
    def start(arguments: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, env=os.environ | environ, stdout=pipe, stderr=pipe, text=True)

    return start


@pytest.fixture
def load(system: System, table: str) -> Load:
    return loading(system.environ, table)


def sql(warehouse: LocalWarehouse, text: str) -> list[Any]:
    with warehouse.connect() as connection, connection.cursor() as cursor:
        cursor.execute(text)
        return list(cursor.fetchall()) if cursor.description else []


def ids(system: System, table: str) -> Counter[int]:
    return Counter(int(row[0]) for row in sql(system.warehouse, f"SELECT id FROM {table}"))


def once(*spans: tuple[int, int]) -> Counter[int]:
    return Counter(n for first, last in spans for n in range(first, last + 1))


def forget_results(system: System, table: str) -> None:
    """What a day does: the records of finished jobs are gone."""
    with redis.Redis.from_url(system.redis.url) as client:
        for key in client.scan_iter("celery-task-meta-*", count=1000):
            if f'"table":"{table}"'.encode() in (client.get(key) or b""):
                client.delete(key)


def forget_load(system: System, file: str) -> None:
    with redis.Redis.from_url(system.redis.url) as client:
        client.delete(*client.scan_iter(keys.loaded(file) + "*"))


def test_a_file_that_is_loaded_again_adds_nothing_today_or_when_its_jobs_are_forgotten(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 95))
    assert "95 rows in 10 jobs" in load(path, "--wait").stderr
    again = load(path, "--wait")
    assert "0 new, 10 known already" in again.stderr
    assert "10 jobs succeeded, 0 failed" in again.stderr
    forget_results(system, table)
    later = load(path, "--wait")
    assert "0 new, 10 known already" in later.stderr
    assert "10 jobs succeeded, 0 failed" in later.stderr
    assert ids(system, table) == once((1, 95))


def test_a_bad_row_that_is_mended_is_loaded_with_its_job_and_no_other_row_is_twice(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    sql(system.warehouse, "CREATE CATALOG IF NOT EXISTS shop")
    sql(system.warehouse, "CREATE SCHEMA IF NOT EXISTS shop.sales")
    sql(system.warehouse, f"CREATE TABLE {table} (id BIGINT, code VARCHAR(5), created_at TIMESTAMP, _job_id STRING)")
    given = rows(1, 95)
    given[34][1] = "too long"
    path = write(tmp_path / "orders.csv", given)
    failed = load(path, "--wait", "--no-create", code=1)
    assert "9 jobs succeeded, 1 failed" in failed.stderr
    assert "lakequeue dead list" in failed.stderr
    given[34][1] = "c35"
    write(path, given)
    mended = load(path, "--wait", "--no-create")
    assert "85 rows are the same and left out, 10 rows are new, in the place of 1 job that failed" in mended.stderr
    assert "10 jobs succeeded, 0 failed" in mended.stderr
    assert ids(system, table) == once((1, 95))
    assert not list(system.queue.dead_letters.list(table=table).letters)
    assert "0 new, 10 known already" in load(path, "--wait", "--no-create").stderr


def test_a_bad_row_that_is_taken_out_moves_the_others_and_doubles_none(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    sql(system.warehouse, "CREATE CATALOG IF NOT EXISTS shop")
    sql(system.warehouse, "CREATE SCHEMA IF NOT EXISTS shop.sales")
    sql(system.warehouse, f"CREATE TABLE {table} (id BIGINT, code VARCHAR(5), created_at TIMESTAMP, _job_id STRING)")
    given = rows(1, 95)
    given[34][1] = "too long"
    path = write(tmp_path / "orders.csv", given)
    load(path, "--wait", "--no-create", code=1)
    del given[34]
    write(path, given)
    forget_results(system, table)
    load(path, "--wait", "--no-create")
    assert ids(system, table) == once((1, 34), (36, 95))


def test_a_table_that_was_dropped_is_said_to_be_gone_and_loaded_again(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 95))
    load(path, "--wait")
    for _ in range(2):
        sql(system.warehouse, f"DROP TABLE {table}")
        again = load(path, "--wait")
        assert f"{table} does not exist any more" in again.stderr
        assert "10 jobs succeeded, 0 failed" in again.stderr
        assert ids(system, table) == once((1, 95))
    assert "0 new, 10 known already" in load(path).stderr
    assert not list(system.queue.dead_letters.list(table=table).letters)


def test_rows_that_were_deleted_are_not_loaded_again_unless_asked_for(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 25))
    load(path, "--wait")
    sql(system.warehouse, f"DELETE FROM {table} WHERE id <= 15")
    known = load(path).stderr
    assert "0 new, 3 known already" in known
    assert "15 rows of this load are not in" in known
    forget_results(system, table)
    forgotten = load(path, "--wait").stderr
    assert "0 new, 3 known already" in forgotten
    assert "15 rows of this load are not in" in forgotten
    assert ids(system, table) == once((16, 25))
    sql(system.warehouse, f"DELETE FROM {table} WHERE id > 15")
    refused = load(path, code=1)
    assert "none of its rows are in" in refused.stderr
    load(path, "--again", "--wait")
    assert ids(system, table) == once((1, 25))


def test_rows_of_jobs_whose_outcome_nobody_waited_for_are_sent_again_with_a_line_that_says_so(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 25))
    for job in re.findall(r"lakequeue status (\S+)1$", load(path).stderr, re.MULTILINE):
        for first in ("01", "11", "21"):
            system.queue.job(job[:-1] + first).result(timeout=30)
    sql(system.warehouse, f"DELETE FROM {table} WHERE id <= 10")
    forget_results(system, table)
    again = load(path, "--wait").stderr
    assert "10 rows of this load are not in" in again
    assert "they are sent again" in again
    assert ids(system, table) == once((1, 25))


def test_files_of_other_names_with_the_same_rows_are_both_loaded(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    for hour in ("10", "11"):
        assert "1 new" in load(write(tmp_path / f"hour-{hour}.csv", rows(1, 5)), "--wait").stderr
    assert ids(system, table) == once((1, 5)) + once((1, 5))
    other = load(write(tmp_path / "hour=12" / "hour-11.csv", rows(1, 5)), code=1)
    assert "from another folder" in other.stderr
    assert re.search(r"--load-id (\S+);", other.stderr)


def test_a_file_with_other_line_ends_is_the_same_load(system: System, load: Load, table: str, tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 25))
    load(path, "--wait")
    write(path, rows(1, 25), end="\r\n")
    assert "0 new, 3 known already" in load(path, "--wait").stderr
    assert ids(system, table) == once((1, 25))


def test_of_a_file_that_has_grown_the_new_rows_are_loaded(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 25))
    load(path, "--wait")
    for last in (26, 44):
        write(path, rows(1, last))
        grown = load(path, "--wait")
        assert "are the same and left out" in grown.stderr
        assert ids(system, table) == once((1, last))
    forget_results(system, table)
    assert "0 new" in load(path).stderr
    shorter = load(write(path, rows(1, 26)))
    assert "with 18 rows more" in shorter.stderr
    assert ids(system, table) == once((1, 44))


def test_a_file_whose_loaded_rows_have_changed_is_refused_before_anything_is_sent(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    given = rows(1, 25)
    path = write(tmp_path / "orders.csv", given)
    load(path, "--wait")
    given[3][1] = "other"
    refused = load(write(path, given), code=1)
    assert "orders.csv was loaded into" in refused.stderr
    assert "10 rows of that time, from row 1 on" in refused.stderr
    assert "Nothing was sent" in refused.stderr
    assert ids(system, table) == once((1, 25))
    write(path, rows(101, 125))
    assert "--all-rows" in load(path, code=1).stderr
    for new in ("3 new", "0 new"):
        assert new in load(path, "--all-rows", "--wait").stderr
    assert ids(system, table) == once((1, 25), (101, 125))


def test_a_load_that_redis_forgot_altogether_is_found_in_the_table(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "orders.csv", rows(1, 95))
    load(path, "--wait")
    forget_results(system, table)
    sql(system.warehouse, f"DELETE FROM {table} WHERE id BETWEEN 31 AND 60")
    forget_load(system, "orders.csv")
    assert "3 new, 7 known already" in load(path, "--wait").stderr
    assert ids(system, table) == once((1, 95))
    forget_load(system, "orders.csv")
    assert "95 rows of another orders.csv" in load(write(path, rows(1, 96)), code=1).stderr


def test_columns_that_do_not_fit_are_named_once_with_the_option_to_give(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    load(write(tmp_path / "may.csv", [["1", "007"], ["2", "x"]]), "--wait")
    path = write(tmp_path / "june.csv", [["3", "17"], ["4", "18"]])
    refused = load(path, code=1)
    assert "column 'code' is STRING in" in refused.stderr
    option = re.search(r"--columns (\S+)", refused.stderr)
    assert option
    assert option[1] == "code:STRING"
    load(path, "--columns", option[1], "--wait")
    assert ids(system, table) == once((1, 4))
    other = write(tmp_path / "july.csv", [["5", "x", "y"]], header=["id", "code", "coat"])
    for more in ((), ("--no-create",)):
        assert "column 'coat' of the file is not in" in load(other, *more, code=1).stderr
    assert not list(system.queue.dead_letters.list(table=table).letters)


def test_a_column_that_the_table_needs_and_the_file_lacks_is_named(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    load(write(tmp_path / "a.csv", rows(1, 3)), "--columns", "id:BIGINT NOT NULL", "--wait")
    other = write(tmp_path / "b.csv", [["x"]], header=["code"])
    assert "column 'id' of" in load(other, code=1).stderr


def test_a_table_without_job_ids_is_said_to_be_beyond_checking(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    sql(system.warehouse, "CREATE CATALOG IF NOT EXISTS shop")
    sql(system.warehouse, "CREATE SCHEMA IF NOT EXISTS shop.sales")
    sql(system.warehouse, f"CREATE TABLE {table} (id BIGINT, code STRING)")
    path = write(tmp_path / "orders.csv", rows(1, 25))
    assert "has no _job_id" in load(path).stderr
    assert "3 jobs succeeded" in load(path, "--wait").stderr
    forget_results(system, table)
    assert "0 new, 3 known already" in load(path).stderr  # a load that was waited for is known to have succeeded
    other = write(tmp_path / "others.csv", rows(26, 30))
    load(other)
    system.queue.job(job_ids(system, "others.csv")[0]).result(timeout=30)
    forget_results(system, table)
    assert "has no _job_id, so its rows cannot be looked up" in load(other, code=1).stderr
    assert ids(system, table) == once((1, 30))


def job_ids(system: System, file: str) -> list[str]:
    with redis.Redis.from_url(system.redis.url) as client:
        found = client.scan_iter(keys.record(f"load:{file}*"), count=1000)
        return sorted(key.decode().removeprefix(keys.record("")) for key in found)


def test_a_waiting_load_tells_the_outcome_of_a_replay_in_the_place_of_the_failed_job(
    system: System, load: Load, table: str, tmp_path: Path, start_process: Start
) -> None:
    insert = {"on": "ExecuteStatement", "match": f"^INSERT.*{table.rpartition('.')[2]}"}
    denied = {"action": "error", "error_class": "PERMISSION_DENIED", "sqlstate": "42501", "message": "denied"}
    system.warehouse.fault({**insert, **denied})
    path = write(tmp_path / "replayed.csv", rows(1, 25))
    failed = [str(each["id"]) for each in lines(load(path, "--wait", code=1).stdout)]
    assert len(failed) == 3
    system.warehouse.clear_faults()
    system.warehouse.fault({**insert, "action": "hold", "times": 1})
    first = system.queue.dead_letters.replay(failed[0])
    arguments = command("load", str(path), "--table", table, "--rows-per-job", "10", "--wait")
    with start_process(arguments, system.environ) as process:
        assert process.stderr
        read_until(process.stderr, "0 new, 3 known already")
        for each in failed[1:]:
            system.queue.dead_letters.replay(each)
        system.warehouse.release()
        out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert "3 jobs succeeded, 0 failed" in told
    assert first.result(timeout=30).count == 10
    assert "3 jobs succeeded, 0 failed" in load(path, "--wait").stderr
    forget_results(system, table)
    assert "0 new, 3 known already" in load(path, "--wait").stderr
    assert ids(system, table) == once((1, 25))


def test_a_replay_that_fails_again_is_what_a_waiting_load_tells(
    system: System, load: Load, table: str, tmp_path: Path
) -> None:
    insert = {"on": "ExecuteStatement", "match": f"^INSERT.*{table.rpartition('.')[2]}"}
    denied = {"action": "error", "error_class": "PERMISSION_DENIED", "sqlstate": "42501", "message": "denied"}
    system.warehouse.fault({**insert, **denied})
    path = write(tmp_path / "replayed.csv", rows(1, 5))
    (failed,) = lines(load(path, "--wait", code=1).stdout)
    system.queue.dead_letters.replay(str(failed["id"]))
    (again,) = lines(load(path, "--wait", code=1).stdout)
    assert again["id"] == f"{failed['id']}.replay1"
    forget_results(system, table)  # the letter stays
    (later,) = lines(load(path, "--wait", code=1).stdout)
    assert later["id"] == again["id"]
    system.warehouse.clear_faults()


def test_a_load_that_outlives_its_results_ends_right(
    start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, tmp_path: Path
) -> None:
    start_worker(LAKEQUEUE_RESULT_EXPIRES_S="1")
    load = loading({"LAKEQUEUE_REDIS_URL": redis_url, "LAKEQUEUE_MAX_QUEUE_LENGTH": "3"}, "shop.sales.slow")
    warehouse.fault({"on": "ExecuteStatement", "match": "^INSERT", "action": "delay", "seconds": 1.5, "times": 3})
    done = load(write(tmp_path / "orders.csv", rows(1, 95)), "--wait")
    assert "10 jobs succeeded, 0 failed" in done.stderr
    time.sleep(1.2)
    assert "0 new, 10 known already" in load(tmp_path / "orders.csv", "--wait").stderr
    assert sql(warehouse, "SELECT count(*) FROM shop.sales.slow")[0][0] == 95


def test_without_a_worker_a_load_says_so_and_can_go_on_unchecked(redis_url: str, tmp_path: Path) -> None:
    load = loading({"LAKEQUEUE_REDIS_URL": redis_url}, "shop.sales.alone")
    path = write(tmp_path / "orders.csv", rows(1, 25))
    refused = load(path, code=2)
    assert "no worker is alive to look into shop.sales.alone" in refused.stderr
    assert "--no-check" in refused.stderr
    for new in ("3 new", "0 new"):
        assert new in load(path, "--no-check").stderr


def test_a_load_that_was_killed_goes_on_where_it_was(
    start_process: Start, start_worker: StartWorker, warehouse: LocalWarehouse, redis_url: str, tmp_path: Path
) -> None:
    environ = {"LAKEQUEUE_REDIS_URL": redis_url}
    path = write(tmp_path / "orders.csv", rows(1, 95))
    arguments = command("load", str(path), "--table", "shop.sales.killed", "--rows-per-job", "10", "--no-check")
    with start_process(arguments, environ | {"LAKEQUEUE_MAX_QUEUE_LENGTH": "4"}) as process:
        assert process.stderr
        read_until(process.stderr, "waiting until workers make room")
        process.kill()
    load = loading(environ, "shop.sales.killed")
    assert "6 new, 4 known already" in load(path, "--no-check").stderr
    start_worker()
    assert "10 jobs succeeded, 0 failed" in load(path, "--wait").stderr
    assert sql(warehouse, "SELECT count(*), count(DISTINCT id) FROM shop.sales.killed")[0][:2] == (95, 95)
