"""The commands `lakequeue dead …` as processes of their own, against a real Redis, also on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from lakequeue import Queue, keys

from tests.fix_dead_letters import Bury
from tests.fix_terminal import on_terminal

TABLE = "main.s.t"
SECRET = "planted-value-77"

Run = Callable[..., subprocess.CompletedProcess[str]]


def job(job_id: str, table: str = TABLE) -> dict[str, Any]:
    return {"kind": "write", "table": table, "data": [{"id": SECRET}], "id": job_id}


@pytest.fixture
def environment(redis_url: str) -> dict[str, str]:
    return {**os.environ, "LAKEQUEUE_REDIS_URL": redis_url, "COLUMNS": "400", "TERM": "dumb"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def runs(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "lakequeue", "dead", *arguments],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done

    return runs


@pytest.fixture
def terminal(environment: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """Runs a command with a terminal for everything; types `typed` once it is asked."""
    return lambda *arguments, typed="": on_terminal(
        [sys.executable, "-m", "lakequeue", "dead", *arguments], environment, typed=typed
    )


@pytest.fixture
def letters(bury: Bury) -> list[str]:
    """Three letters: an old one, a new one, and one of another table and error that may have been committed."""
    return [
        bury(job("old"), age_s=7200, text=SECRET),
        bury(job("new"), text=SECRET),
        bury(job("lost", "main.s.other"), error="UNPROVABLE", committed="unknown", text=SECRET),
    ]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def left(queue: Queue) -> list[str]:
    return [each.id for each in queue.dead_letters.select()]


def test_list_prints_a_json_object_a_line_into_a_pipe(run: Run, letters: list[str]) -> None:
    done = run("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [each["id"] for each in lines(done.stdout)] == letters
    first = lines(done.stdout)[0]
    assert (first["table"], first["op"], first["error"], first["committed"], first["attempts"]) == (
        TABLE, "write", "INVALID_JOB", "not_committed", 2,
    )  # fmt: skip
    assert SECRET not in done.stdout


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        pytest.param(["old", "nobody"], ["old"], id="ids"),
        pytest.param(["--table", "Main.S.T"], ["old", "new"], id="table"),
        pytest.param(["--error", "unprovable"], ["lost"], id="error"),
        pytest.param(["--older-than", "1h"], ["old"], id="older"),
        pytest.param(["--newer-than", "90m"], ["new", "lost"], id="newer"),
        pytest.param(["--newer-than", "90m", "--table", TABLE], ["new"], id="newer of a table"),
        pytest.param(["--limit", "2"], ["old", "new"], id="limit"),
    ],
)
def test_letters_are_chosen_by_what_they_have_in_common(
    run: Run, letters: list[str], choice: list[str], found: list[str]
) -> None:
    assert [each["id"] for each in lines(run("list", *choice).stdout)] == found


def test_list_is_a_table_on_a_terminal(terminal: Callable[..., tuple[int, str]], letters: list[str]) -> None:
    code, told = terminal("list")
    heading, *rows = told.splitlines()
    assert code == 0
    assert heading.split() == ["FAILED", "AT", "ID", "TABLE", "OP", "ROWS", "ERROR", "COMMITTED", "REASON"]
    assert [row.split()[2] for row in rows] == letters
    assert all(row.index(TABLE[:6]) == heading.index("TABLE") for row in rows)
    assert SECRET not in told
    code, told = terminal("list", "--json")
    assert [each["id"] for each in lines(told)] == letters


def test_show_prints_values_of_rows_only_when_asked(run: Run, letters: list[str]) -> None:
    done = run("show", "old", "nobody", "-", given="lost\n")
    assert done.returncode == 1
    assert [each["id"] for each in lines(done.stdout)] == ["old", "lost"]
    assert lines(done.stderr)[0]["id"] == "nobody"
    assert lines(done.stdout)[0]["history"][0]["error"] == "HTTP_429"
    assert SECRET not in done.stdout + done.stderr
    (told,) = lines(run("show", "old", "--payload").stdout)
    assert told["payload"] == {
        "task": "records.write",
        "kwargs": {
            **told["payload"]["kwargs"],
            "catalog": "main",
            "schema": "s",
            "table": "t",
            "data": [{"id": SECRET}],
        },
    }
    assert told["details"]["text"] == SECRET


def test_replay_by_id_prints_the_new_ids_and_what_it_leaves(run: Run, letters: list[str], queue: Queue) -> None:
    done = run("replay", "new", "lost", "nobody", "old")
    assert (done.returncode, done.stdout.split()) == (1, ["old.replay1", "new.replay1"][::-1])
    *refused, told = done.stderr.splitlines()
    assert [json.loads(each)["id"] for each in refused] == ["lost", "nobody"]
    assert "--force" in refused[0]
    assert told == "lakequeue: 2 dead letters replayed; 2 not replayed"
    assert left(queue) == ["lost"]
    again = run("replay", "new")
    assert (again.returncode, again.stdout.split()) == (0, ["new.replay1"])
    assert "0 dead letters replayed, 1 before" in again.stderr
    assert run("replay", "lost", "--force").stdout.split() == ["lost.replay1"]


def test_a_choice_by_filter_needs_a_yes_where_nobody_can_be_asked(run: Run, letters: list[str], queue: Queue) -> None:
    for verb, done_so in (("replay", "replayed"), ("drop", "dropped")):
        done = run(verb, "--table", TABLE)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"2 dead letters would be {done_so}; nothing was: give --yes" in done.stderr
    assert left(queue) == letters
    assert run("replay", "--table", TABLE, "--yes").stdout.split() == ["old.replay1", "new.replay1"]
    done = run("drop", "--all", "--yes")
    assert (done.returncode, done.stderr) == (0, "lakequeue: 1 dead letter dropped\n")
    assert left(queue) == []


@pytest.mark.parametrize(("typed", "code", "remaining"), [("n", 2, 3), ("", 2, 3), ("y", 0, 0)])
def test_on_a_terminal_it_asks(
    terminal: Callable[..., tuple[int, str]], letters: list[str], queue: Queue, typed: str, code: int, remaining: int
) -> None:
    ended, told = terminal("drop", "--all", typed=typed)
    assert "drop 3 dead letters? (y/N)" in told
    assert ended == code
    assert len(left(queue)) == remaining


def test_a_dry_run_prints_which_and_changes_nothing(run: Run, letters: list[str], queue: Queue) -> None:
    for verb in ("replay", "drop"):
        done = run(verb, "--older-than", "1h", "--dry-run")
        assert (done.returncode, [each["id"] for each in lines(done.stdout)]) == (0, ["old"])
        assert "1 dead letter would be" in done.stderr
    assert left(queue) == letters


def test_drop_by_id_forgets_letter_and_payload(run: Run, letters: list[str], queue: Queue, redis_url: str) -> None:
    done = run("drop", "old", "nobody")
    assert (done.returncode, json.loads(done.stderr.splitlines()[0])["id"]) == (1, "nobody")
    assert left(queue) == ["new", "lost"]
    with redis.Redis.from_url(redis_url) as client:
        assert (client.hexists(keys.DEAD, "old"), client.zscore(keys.DEAD_INDEX, "old")) == (False, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["drop"], "say which letters to drop", id="none chosen"),
        pytest.param(["replay", "--all", "a"], "--all goes with no other choice", id="all and ids"),
        pytest.param(["drop", "--all", "--table", TABLE], "--all goes with no other choice", id="all and table"),
        pytest.param(["list", "--older-than", "soon"], "duration such as 90s", id="bad age"),
        pytest.param(["list", "--table", "a.b"], "catalog.schema.table", id="bad table"),
        pytest.param(["list", "--redis", "redis://127.0.0.1:1/0"], "Redis did not answer", id="nobody there"),
        pytest.param([], "COMMAND", id="no command"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["list", "show", "replay", "drop"])
def test_every_command_has_help(run: Run, name: str) -> None:
    assert f"usage: lakequeue dead {name}" in run(name, "--help").stdout


def test_status_shows_what_a_job_was_replayed_as_and_of_what_it_is_a_replay(
    run: Run, letters: list[str], environment: dict[str, str]
) -> None:
    run("replay", "new")
    done = subprocess.run(
        [sys.executable, "-m", "lakequeue", "status", "new", "new.replay1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    old, new = lines(done.stdout)
    assert (old["state"], old["replayed_as"]) == ("FAILURE", "new.replay1")
    assert (new["state"], new["replay_of"]) == ("QUEUED", ["new"])
