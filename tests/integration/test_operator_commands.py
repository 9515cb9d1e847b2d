"""The commands of an operator as processes of their own: JSON into a pipe, tables on a terminal, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys

from tests.fix_cli import Run, lines
from tests.fix_dead_letters import Bury
from tests.fix_terminal import on_terminal

TABLE = "main.sales.orders"
SECRET = "planted-value-77"
NO_REDIS = {"LAKEQUEUE_REDIS_URL": "redis://:hush@127.0.0.1:1/0"}


def job(job_id: str, table: str = TABLE) -> dict[str, Any]:
    return {"kind": "write", "table": table, "data": [{"note": SECRET}], "id": job_id}


def terminal(redis_url: str, *arguments: str, typed: str = "") -> tuple[int, str]:
    environ = {"LAKEQUEUE_REDIS_URL": redis_url}
    return on_terminal([sys.executable, "-m", "lakequeue", *arguments], environ, typed=typed)


def test_into_a_pipe_each_command_prints_json_lines_without_values(queue: Queue, run: Run, bury: Bury) -> None:
    queue.enqueue(job("order-1"))
    bury(job("order-0"), text=SECRET)
    queue.operations.pause(TABLE)
    (table,) = lines(run("tables").stdout)
    assert {name: table[name] for name in ("table", "queued", "running", "retrying", "dead", "owner")} == {
        "table": TABLE, "queued": 1, "running": 0, "retrying": 0, "dead": 0, "owner": None,
    }  # fmt: skip
    assert isinstance(table["oldest_s"], float)
    assert str(table["paused_since"]).endswith("Z")
    assert [each["id"] for each in lines(run("jobs", "--table", TABLE, "--state", "queued").stdout)] == ["order-1"]
    (told,) = lines(run("status", "order-1").stdout)
    assert told["state"] == "QUEUED"
    for command in ("tables", "jobs", "errors", "costs", "workers"):
        assert SECRET not in run(command).stdout


def test_a_pipe_and_a_terminal_with_json_get_the_same(queue: Queue, run: Run, redis_url: str) -> None:
    queue.enqueue(job("order-1"))
    piped = run("jobs").stdout
    code, told = terminal(redis_url, "jobs", "--json")
    assert (code, told) == (0, piped)


def test_what_there_is_none_of_is_said(run: Run) -> None:
    assert run("jobs", "--table", TABLE).stderr == "lakequeue: no such jobs\n"
    assert run("dead", "list").stderr == "lakequeue: no such dead letters\n"
    assert run("errors").stderr == "lakequeue: no errors in this time\n"
    assert "0 tables, 0 workers" in run("tables").stderr
    workers = run("workers")
    assert workers.returncode == 1
    assert "celery -A worker worker" in workers.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("jobs", "--table", "orders"), "catalog.schema.table"),
        (("jobs", "--state", "lost"), "QUEUED"),
        (("errors", "--since", "soon"), "90s"),
        (("pause", "a.b"), "catalog.schema.table"),
        (("jobs", "--limit", "0"), "--limit"),
    ],
    ids=["a table of one part", "no such state", "no duration", "a table of two parts", "no number"],
)
def test_a_bad_argument_is_named(run: Run, arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize("arguments", [("tables",), ("purge", TABLE, "--yes")], ids=["tables", "purge"])
def test_without_redis_a_command_says_which_was_asked_and_no_password(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, **NO_REDIS)
    assert done.returncode == 2
    assert "did not answer" in done.stderr
    assert "127.0.0.1:1/0 (connection refused) (the address is from LAKEQUEUE_REDIS_URL)" in done.stderr
    assert "hush" not in done.stderr


def test_a_database_that_is_not_there_is_no_silence_of_redis(run: Run, redis_url: str) -> None:
    done = run("tables", "--redis", f"{redis_url.rpartition('/')[0]}/9999")
    assert done.returncode == 2
    assert "has no database of that number" in done.stderr


def test_an_age_longer_than_the_calendar_is_all_there_is(queue: Queue, run: Run) -> None:
    queue.enqueue(job("order-1"))
    done = run("jobs", "--since", "1e9w")
    assert [each["id"] for each in lines(done.stdout)] == ["order-1"]


def test_status_says_why_a_job_has_not_begun(queue: Queue, redis_url: str) -> None:
    queue.enqueue(job("order-1"))
    assert "no worker has its table: lakequeue workers" in terminal(redis_url, "status", "order-1")[1]
    queue.operations.pause(TABLE)
    told = terminal(redis_url, "status", "order-1")[1]
    assert re.search(rf"its table is paused since 20\S+ \S+: lakequeue resume {TABLE}", told)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(keys.ETA, {"order-1": 4_102_444_800.0})
    assert re.search(
        r"2100-01-01 .*due: it is a delayed job|2099-12-31 .*due", terminal(redis_url, "status", "order-1")[1]
    )


def test_status_says_why_a_job_failed(bury: Bury, redis_url: str) -> None:
    bury(job("order-0"), text=SECRET)
    _, told = terminal(redis_url, "status", "order-0")
    reason = json.loads(terminal(redis_url, "dead", "show", "order-0", "--json")[1])["reason"]
    assert reason in told
    assert SECRET not in told


def test_a_pause_of_a_table_that_nobody_knows_asks_for_its_name(queue: Queue, run: Run) -> None:
    queue.enqueue(job("order-1"))
    assert run("pause", TABLE).stderr == f"lakequeue: {TABLE} is paused\n"
    assert "is the name right?" in run("pause", "main.sales.odrers").stderr


@pytest.mark.parametrize("command", [(), ("enqueue",), ("jobs",), ("dead", "replay")], ids=" ".join)
def test_help_fits_a_narrow_terminal(run: Run, command: tuple[str, ...]) -> None:
    told = run(*command, "--help", COLUMNS="80").stdout.splitlines()
    assert [line for line in told if len(line) > 80 and not line.startswith("  ")] == []


def test_cancel_takes_ids_from_standard_input(queue: Queue, run: Run) -> None:
    queue.enqueue(job("order-1"))
    done = run("cancel", "-", "order-3", given="order-1\norder-2\n")
    assert done.returncode == 1
    assert re.findall(r"lakequeue: (.*)", done.stderr)[0] == "order-1 is cancelled"
    assert done.stderr.count("is known") == 2
    assert queue.job("order-1").status().state == "REVOKED"


@pytest.mark.parametrize(("typed", "code"), [("n", 2), ("", 2), ("y", 0)])
def test_a_purge_asks_first(queue: Queue, redis_url: str, typed: str, code: int) -> None:
    queue.enqueue(job("order-1"))
    ended, told = terminal(redis_url, "purge", TABLE, typed=typed)
    assert ended == code
    assert f"cancel 1 job of {TABLE} that wait" in told
    assert queue.operations.table(TABLE).discarding == (1 if typed == "y" else 0)


def test_a_purge_without_a_terminal_needs_yes(queue: Queue, run: Run) -> None:
    queue.enqueue(job("order-1"))
    done = run("purge", TABLE)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert queue.operations.table(TABLE).discarding == 0


def test_a_purge_that_no_worker_carries_out_is_late(queue: Queue, run: Run) -> None:
    queue.enqueue(job("order-1"))
    done = run("purge", TABLE, "--yes", "--wait", "--timeout", "0.2")
    assert done.returncode == 3
    assert "1 of 1 job still to go: is a worker alive?" in done.stderr


def test_tables_says_that_the_warehouse_is_away(queue: Queue, run: Run, redis_url: str) -> None:
    """Tables whose jobs were not tried yet have nothing else to say why they wait."""
    queue.enqueue(job("order-1"))
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(keys.WORKERS, {"w@one/1": time.time() + 60})
        client.set(keys.worker("w@one/1"), json.dumps({"lease_ttl_s": 10, "warehouse": "up"}))
        assert "away" not in run("tables").stderr
        client.set(keys.worker("w@one/1"), json.dumps({"lease_ttl_s": 10, "warehouse": "away"}))
    assert "1 table, 1 worker" in (told := run("tables").stderr)
    assert "the warehouse is away: ask python -m worker doctor" in told


def test_the_workers_program_knows_the_same_commands(queue: Queue, redis_url: str) -> None:
    queue.enqueue(job("order-1"))
    code, told = on_terminal([sys.executable, "-m", "worker", "tables", "--json"], {"LAKEQUEUE_REDIS_URL": redis_url})
    assert code == 0
    assert json.loads(told.splitlines()[0])["table"] == TABLE


def doctor_of_no_database(redis_url: str, stdout: int) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DATABRICKS_")}
    environ["LAKEQUEUE_REDIS_URL"] = f"{redis_url.rpartition('/')[0]}/9999"
    command = [sys.executable, "-m", "worker", "doctor"]
    return subprocess.run(command, env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)


def test_doctor_says_what_to_do_about_a_redis_that_refuses(redis_url: str) -> None:
    done = doctor_of_no_database(redis_url, subprocess.PIPE)
    assert done.returncode == 1
    assert "-> correct the user, password or database in LAKEQUEUE_REDIS_URL" in done.stdout


def test_the_workers_own_commands_end_quietly_when_nobody_reads(redis_url: str) -> None:
    """Nobody ever did: of a reader who leaves amid the output, it is not known whether anything was left to write."""
    reads, writes = os.pipe()
    os.close(reads)
    done = doctor_of_no_database(redis_url, writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_what_no_terminal_can_print_is_printed_as_question_marks(redis_url: str) -> None:
    """What stands in Redis may come from others."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.PAUSED, "main.sales.t\x1b[31m", "2026-01-01T00:00:00Z")
    _, told = terminal(redis_url, "tables")
    assert "main.sales.t?[31m" in told


def test_a_batch_that_is_under_way_for_long_is_told_of(queue: Queue, redis_url: str) -> None:
    """Its worker died: it is frozen, and nobody proves it yet."""
    queue.enqueue(job("order-1"))
    lane = keys.lane_of("write", TABLE)
    with redis.Redis.from_url(redis_url) as client:
        stamp_us = int((time.time() - 153) * 1e6)
        client.hset(keys.frozen(lane), mapping={"jobs": 1, "span": 1, "stamp": stamp_us})
    _, told = terminal(redis_url, "tables")
    assert re.search(rf"^{TABLE} .* NONE +under way for 2m3\ds$", told, re.MULTILINE)


def test_the_table_that_has_waited_longest_comes_first(queue: Queue, run: Run) -> None:
    for name in ("main.sales.zebras", "main.sales.apples"):
        queue.enqueue(job(name, name))
    queue.operations.pause("main.sales.ants")
    assert [each["table"] for each in lines(run("tables").stdout)] == [
        "main.sales.zebras",
        "main.sales.apples",
        "main.sales.ants",
    ]
