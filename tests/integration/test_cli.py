"""The commands `enqueue`, `status` and `wait`, and what goes wrong around any."""

from pathlib import Path

import pytest
import redis
from celery import Celery
from lakequeue import JobFailed, Queue, keys

from tests.fix_cli import Run, Start, Stored, jsonl, lines
from tests.support import until

JOB = {"kind": "write", "table": "main.s.t", "data": [{"id": 1}]}


# enqueue


def test_enqueue_prints_an_id_for_each_line_in_order(run: Run, stored: Stored) -> None:
    done = run("enqueue", "-", given=jsonl({**JOB, "id": "a"}, "", JOB, "  ", {**JOB, "id": "b"}))
    printed = done.stdout.split()
    assert (done.returncode, done.stderr) == (0, "")
    assert (printed[0], len(printed), printed[2]) == ("a", 3, "b")
    assert [each.id for each in stored("main.s.t")] == printed


def test_enqueue_reads_a_file_and_a_last_line_without_newline(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(jsonl({**JOB, "id": "a"}, {**JOB, "id": "b"}).rstrip("\n"))
    assert run("enqueue", str(path)).stdout.split() == ["a", "b"]


def test_enqueue_sends_a_line_before_the_next_one_is_written(start: Start) -> None:
    process = start("enqueue", "-")
    assert process.stdin
    assert process.stdout
    for job_id in ("a", "b"):
        process.stdin.write(jsonl({**JOB, "id": job_id}))
        process.stdin.flush()
        assert process.stdout.readline() == f"{job_id}\n"
    process.stdin.close()
    assert process.wait(timeout=30) == 0


BAD_LINES = {
    "no json": ('{"kind": "write"', "no JSON"),
    "repeated name": ('{"kind": "write", "kind": "read"}', "same name twice"),
    "no utf-8": ("\udcff", "no UTF-8"),
    "unknown field": (jsonl({**JOB, "dat": 1}).strip(), "no such field"),
    "too large": (jsonl({**JOB, "data": [{"x": "y" * 2_000}]}).strip(), "split its rows"),
    "known otherwise": (jsonl({**JOB, "id": "a", "data": [{"id": 2}]}).strip(), "another payload"),
}


@pytest.mark.parametrize(("bad", "says"), BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("keep_going", [False, True], ids=["stops", "keeps going"])
def test_enqueue_reports_a_bad_line_by_its_number(
    start: Start, stored: Stored, bad: str, says: str, keep_going: bool
) -> None:
    given = jsonl("", {**JOB, "id": "a"}, bad, {**JOB, "id": "b"})
    process = start("enqueue", "-", *(["--keep-going"] if keep_going else []), LAKEQUEUE_MAX_JOB_BYTES="1000")
    assert process.stdin
    process.stdin.buffer.write(given.encode("utf-8", "surrogateescape"))  # type: ignore[attr-defined]
    out, err = process.communicate(timeout=60)
    (error,) = lines(err)
    assert (error["error"], error["line"], process.returncode) == (True, 3, 1)
    assert says in str(error["message"])
    sent = ["a", "b"] if keep_going else ["a"]
    assert out.split() == sent == [each.id for each in stored("main.s.t")]


def test_enqueue_of_the_same_file_again_adds_nothing(run: Run, stored: Stored) -> None:
    given = jsonl({**JOB, "id": "a"}, {**JOB, "id": "b"})
    assert run("enqueue", "-", given=given).stdout == run("enqueue", "-", given=given).stdout
    assert len(stored("main.s.t")) == 2


def test_enqueue_into_a_full_queue_says_where_it_stopped(run: Run) -> None:
    given = jsonl(*({**JOB, "id": str(n)} for n in range(5)))
    done = run("enqueue", "-", given=given, LAKEQUEUE_MAX_QUEUE_LENGTH="3")
    assert (done.returncode, done.stdout.split()) == (2, ["0", "1", "2"])
    assert "main.s.t is full" in done.stderr
    assert "line 4 and after were not sent" in done.stderr


def test_a_reader_that_stops_reading_ends_it_quietly(start: Start) -> None:
    process = start("enqueue", "-")
    assert process.stdin
    assert process.stdout
    process.stdin.write(jsonl(JOB))
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    process.stdin.write(jsonl(JOB))
    process.stdin.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr
    assert process.stderr.read() == ""


# status and wait


def test_status_prints_each_state_and_fails_for_an_unknown_id(run: Run, queue: Queue) -> None:
    queue.enqueue({**JOB, "id": "known"})
    done = run("status", "known", "nobody", "no id!")
    known, nobody, bad = lines(done.stdout)
    assert (known["id"], known["state"], known["table"], known["rows"]) == ("known", "QUEUED", "main.s.t", 1)
    assert (nobody["id"], nobody["state"], nobody["error"]) == ("nobody", "UNKNOWN", True)
    assert bad["state"] == "UNKNOWN"
    assert "a job id is 1 to 255 visible characters" in str(bad["message"])
    assert (done.returncode, done.stderr) == (1, "")
    assert run("status", "known").returncode == 0


def test_wait_prints_outcomes_in_the_order_given(run: Run, queue: Queue, backend: Celery) -> None:
    for job_id in ("a", "b"):
        queue.enqueue({**JOB, "id": job_id})
    for job_id in ("b", "a"):
        backend.backend.store_result(job_id, {"message": "1 row", "count": 1, "receipt": {}}, "SUCCESS")
    done = run("wait", "a", "-", given="b\n\n")
    assert done.returncode == 0
    assert [(each["id"], each["state"], each["count"]) for each in lines(done.stdout)] == [
        ("a", "SUCCESS", 1), ("b", "SUCCESS", 1),
    ]  # fmt: skip


def test_wait_returns_when_the_outcome_comes(start: Start, queue: Queue, backend: Celery, redis_url: str) -> None:
    queue.enqueue({**JOB, "id": "a"})
    process = start("wait", "a")
    with redis.Redis.from_url(redis_url) as client:
        until(lambda: client.pubsub_numsub(keys.record("a"))[0][1] == 1, "it waits")
    backend.backend.store_result("a", {"message": "1 row", "count": 1, "receipt": {}}, "SUCCESS")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err, lines(out)[0]["state"]) == (0, "", "SUCCESS")


def test_wait_fails_for_a_job_that_failed_was_cancelled_or_is_unknown(run: Run, queue: Queue, backend: Celery) -> None:
    for job_id in ("failed", "cancelled"):
        queue.enqueue({**JOB, "id": job_id})
    backend.backend.store_result("failed", JobFailed("no such column", {"code": "42703"}), "FAILURE")
    backend.backend.store_result("cancelled", None, "REVOKED")
    done = run("wait", "failed")
    (failed,) = lines(done.stdout)
    assert done.returncode == 1
    assert (failed["state"], failed["message"], failed["details"]) == ("FAILURE", "no such column", {"code": "42703"})
    assert run("wait", "cancelled").returncode == run("wait", "nobody").returncode == 1


def test_wait_gives_up_after_its_timeout_and_shows_where_jobs_are(run: Run, queue: Queue) -> None:
    for job_id in ("a", "b"):
        queue.enqueue({**JOB, "id": job_id})
    done = run("wait", "a", "b", "--timeout", "0.2")
    assert (done.returncode, done.stderr) == (3, "")
    assert [(each["id"], each["state"]) for each in lines(done.stdout)] == [("a", "QUEUED"), ("b", "QUEUED")]


# What goes wrong around a command


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["status", "a", "--redis", "redis://127.0.0.1:1/0"], "Redis did not answer", id="nobody there"),
        pytest.param(["--redis", "redis://u:pa/ss@h/0", "status", "a"], "Redis URL cannot be used", id="bad url"),
        pytest.param(["status", "a", "--redis", "redis://h/0?pass=ss"], "Redis URL cannot be used", id="bad option"),
        pytest.param(["enqueue", "/no/file"], "/no/file: No such file", id="no file"),
        pytest.param(["load", "/no/file", "--table", "a.b.c"], "/no/file: No such file", id="no csv"),
        pytest.param(["load", "x", "--table", "a.b"], "catalog.schema.table", id="bad table"),
        pytest.param(["load", "x", "--table", "a.b.c", "--columns", "a"], "has no type", id="bad columns"),
        pytest.param(["wait", "a", "--timeout", "soon"], "number of seconds", id="bad timeout"),
        pytest.param([], "COMMAND", id="no command"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr.splitlines()[-1]
    assert "pa/ss" not in done.stderr.replace(" ".join(arguments), "")


def test_a_setting_that_cannot_be_used_is_named(run: Run, planes: str) -> None:
    for arguments in (["status", "a"], ["load", planes, "--table", "a.b.c"]):
        done = run(*arguments, LAKEQUEUE_MAX_JOB_BYTES="many")
        assert (done.returncode, "LAKEQUEUE_MAX_JOB_BYTES" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["enqueue", "status", "wait", "load"])
def test_every_command_has_help(run: Run, name: str) -> None:
    assert f"usage: lakequeue {name}" in run(name, "--help").stdout
