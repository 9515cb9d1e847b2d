"""The real command as a process of its own, against a real Redis."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from celery import Celery
from lakequeue import InvalidJob, JobConflict, JobFailed, Queue, keys, parse_job, wire
from lakequeue.client import Handle

from tests.support import until

PLANES = [["tailnum", "year", "seats", "price"]] + [
    [f"N{n}", "NA" if n % 7 == 0 else str(1950 + n % 70), str(n), f"{n}.50"] for n in range(1, 1_302)
]
JOB = {"kind": "write", "table": "main.s.t", "data": [{"id": 1}]}

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lakequeue", *arguments]


@pytest.fixture
def environment(redis_url: str) -> dict[str, str]:
    return {**os.environ, "LAKEQUEUE_REDIS_URL": redis_url}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def runs(*arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*arguments), input=given, env=environment | more, capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done

    return runs


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def starts(*arguments: str, **more: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command(*arguments), env=environment | more, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield starts
    for process in started:
        with process:  # closes its pipes
            if process.poll() is None:
                process.kill()


@pytest.fixture
def planes(tmp_path: Path) -> str:
    return write_csv(tmp_path / "planes.csv", PLANES)


@pytest.fixture
def stored(redis_url: str) -> Iterator[Callable[[str], list[wire.Received]]]:
    """The messages in the write lane of a table."""
    with redis.Redis.from_url(redis_url) as client:
        yield lambda table: [
            wire.decode(message) for message in client.lrange(keys.jobs(keys.lane_of("write", table)), 0, -1)
        ]


Stored = Callable[[str], list[wire.Received]]


@pytest.fixture
def backend(redis_url: str) -> Iterator[Celery]:
    """Stores outcomes as a worker's result backend does: SET and PUBLISH."""
    app = Celery("outcomes", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.result_expires = None  # with one, Celery calls a deprecated method of redis-py
    yield app
    app.close()


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> str:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def jsonl(*jobs: object) -> str:
    return "".join((job if isinstance(job, str) else json.dumps(job)) + "\n" for job in jobs)


def read_until(stream: Iterator[str], found: str) -> str:
    """Lines up to one that holds `found`; the test's own timeout is the deadline."""
    seen = ""
    for line in stream:
        seen += line
        if found in line:
            return seen
    raise AssertionError(f"{found!r} never came:\n{seen}")


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
    assert (bad["state"], bad["message"]) == ("UNKNOWN", "a job id is 1 to 128 of A-Z a-z 0-9 . _ : -")
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


# load


def test_load_sends_every_row_once_however_often_it_is_run(run: Run, stored: Stored, planes: str) -> None:
    for new, known in ((3, 0), (0, 3)):
        done = run("load", planes, "--table", "main.nyc.planes", "--null", "NA")
        assert done.returncode == 0, done.stderr
        assert f"1,301 rows in 3 jobs for main.nyc.planes: {new} new, {known} known already" in done.stderr
        assert done.stdout == ""
    messages = stored("main.nyc.planes")
    assert [each.rows for each in messages] == [500, 500, 301]
    assert [(each["name"], each["data_type"]) for each in messages[0].kwargs["schema_definition"]] == [
        ("tailnum", "STRING"), ("year", "BIGINT"), ("seats", "BIGINT"), ("price", "DOUBLE"),
    ]  # fmt: skip
    rows = [row for message in messages for row in message.kwargs["data"]]
    assert [[row["tailnum"], row["year"] or "NA", row["seats"], row["price"]] for row in rows] == [
        [tail, year if year == "NA" else int(year), int(seats), price] for tail, year, seats, price in PLANES[1:]
    ]
    assert all(wire.to_job(message).row_count for message in messages)


@pytest.mark.parametrize(
    "options",
    [["--rows-per-job", "100"], ["--rows-per-job", "1000"], ["--columns", "price:DECIMAL(10,2)"], ["--actor", "me"],
     ["--no-create"], ["--null", ""]],
    ids=["fewer rows", "more rows", "types", "actor", "no create", "nulls"],
)  # fmt: skip
def test_load_with_other_options_is_refused_before_a_row_is_doubled(
    run: Run, stored: Stored, planes: str, options: list[str]
) -> None:
    load = ["load", planes, "--table", "main.nyc.planes"]
    assert run(*load, "--null", "NA").returncode == 0
    done = run(*load, *([] if "--null" in options else ["--null", "NA"]), *options)
    assert done.returncode == 1
    assert "made with other options, as row 1 shows; nothing was sent now" in done.stderr
    assert len(stored("main.nyc.planes")) == 3


def test_load_again_sends_a_second_copy_that_can_be_resumed_by_name(run: Run, stored: Stored, planes: str) -> None:
    load = ["load", planes, "--table", "main.nyc.planes"]
    run(*load)
    done = run(*load, "--again")
    assert "3 new, 0 known already" in done.stderr
    name = re.search(r"--load-id (load:[0-9a-f]{16}\.[0-9a-f]{8}) in place of --again", done.stderr)
    assert name
    assert "0 new, 3 known already" in run(*load, "--load-id", name[1]).stderr
    assert len(stored("main.nyc.planes")) == 6


def test_load_waits_for_room_and_goes_on_after_an_interrupt(
    start: Start, run: Run, stored: Stored, planes: str
) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--rows-per-job", "100"]
    process = start(*load, LAKEQUEUE_MAX_QUEUE_LENGTH="5")
    assert process.stderr
    told = read_until(process.stderr, "waiting until workers make room")
    assert "the queue of main.nyc.planes is full" in told
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "500 of 1,301 rows are sent, perhaps a few more; the same command goes on from there" in rest
    assert len(stored("main.nyc.planes")) == 5
    assert "9 new, 5 known already" in run(*load).stderr
    assert [each.rows for each in stored("main.nyc.planes")] == [100] * 13 + [1]


def test_load_goes_on_when_workers_make_room(start: Start, stored: Stored, planes: str, redis_url: str) -> None:
    process = start(
        "load", planes, "--table", "main.nyc.planes", "--rows-per-job", "100", LAKEQUEUE_MAX_QUEUE_LENGTH="5"
    )
    assert process.stderr
    read_until(process.stderr, "waiting until workers make room")
    with redis.Redis.from_url(redis_url) as client:
        taken: list[bytes] = []
        lane = keys.jobs(keys.lane_of("write", "main.nyc.planes"))
        while process.poll() is None:
            if message := client.lpop(lane):
                taken.append(message)
    assert process.returncode == 0
    assert "1,301 rows in 14 jobs" in process.stderr.read()
    left = stored("main.nyc.planes")
    assert [wire.decode(each).rows for each in taken] + [each.rows for each in left] == [100] * 13 + [1]


def test_a_bad_value_late_in_the_file_sends_nothing(run: Run, stored: Stored, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [*PLANES, ["N1", "soon", "1", "1"]])
    done = run("load", path, "--table", "main.nyc.planes", "--columns", "year:INT", "--null", "NA")
    assert done.returncode == 1
    assert f"{path}: line 1303, column 'year': INT takes a whole number" in done.stderr
    assert "nothing was sent" in done.stderr
    assert "soon" not in done.stderr
    assert stored("main.nyc.planes") == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "line 1: is empty", id="empty"),
        pytest.param("a,a\n1,2\n", "line 1: column 2: column 'a' is declared twice", id="repeated name"),
        pytest.param("a,created_at\n1,2\n", "'created_at' is stamped by the worker", id="audit column"),
        pytest.param("a,b\n1\n", "line 2: 1 fields, but the header names 2 columns", id="ragged"),
    ],
)
def test_a_bad_file_sends_nothing(run: Run, tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    done = run("load", str(path), "--table", "main.nyc.planes")
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "nothing was sent" in done.stderr


def test_a_dry_run_needs_no_redis(run: Run, planes: str) -> None:
    done = run("load", planes, "--table", "main.nyc.planes", "--dry-run", LAKEQUEUE_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 0
    assert re.search(r"year +STRING +\(BIGINT but for 'NA'; if that means null: --null NA\)", done.stdout)
    assert done.stdout.endswith("1,301 rows would be sent in 3 jobs; nothing was sent\n")


def test_load_can_wait_for_all_outcomes_and_shows_those_that_failed(
    start: Start, planes: str, backend: Celery, queue: Queue
) -> None:
    process = start("load", planes, "--table", "main.nyc.planes", "--wait")
    assert process.stderr
    told = read_until(process.stderr, "lakequeue status load:")
    name = re.search(r"load:[0-9a-f]{16}", told)
    assert name
    for first in (1001, 1):
        backend.backend.store_result(f"{name[0]}:{first}", {"message": "", "count": 1, "receipt": {}}, "SUCCESS")
    backend.backend.store_result(f"{name[0]}:501", JobFailed("no such column", {"code": "42703"}), "FAILURE")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "2 jobs succeeded, 1 failed" in err
    (failed,) = lines(out)
    assert (failed["id"], failed["state"], failed["message"]) == (f"{name[0]}:501", "FAILURE", "no such column")


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


def test_load_with_no_redis_says_what_was_sent(run: Run, planes: str) -> None:
    done = run("load", planes, "--table", "a.b.c", "--redis", "redis://127.0.0.1:1/0")
    assert done.returncode == 2
    assert "Redis did not answer: ConnectionError; 0 of 1,301 rows are sent" in done.stderr


@pytest.mark.parametrize("name", ["enqueue", "status", "wait", "load"])
def test_every_command_has_help(run: Run, name: str) -> None:
    assert f"usage: lakequeue {name}" in run(name, "--help").stdout


def test_the_library_does_without_rich_and_so_does_the_command(
    run: Run, planes: str, environment: dict[str, str]
) -> None:
    program = (
        "import sys, lakequeue; assert 'rich' not in sys.modules; sys.modules['rich'] = None; "
        "from lakequeue.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "load", planes, "--table", "a.b.c"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "1,301 rows" in done.stderr) == (0, True)


# What the command relies on in the client


def test_nothing_after_a_conflict_is_sent(queue: Queue, stored: Stored) -> None:
    queue.enqueue({**JOB, "id": "b"})
    given = [{**JOB, "id": job_id, "actor": "me"} for job_id in ("a", "b", "c")]
    sent = queue.enqueue_many(given)
    assert next(sent).id == "a"
    with pytest.raises(JobConflict, match="job b is known"):
        next(sent)
    assert [each.id for each in stored("main.s.t")] == ["b", "a"]


def test_after_a_conflict_the_rest_is_sent_when_errors_are_collected(queue: Queue, stored: Stored) -> None:
    queue.enqueue({**JOB, "id": "b"})
    given = [{**JOB, "id": job_id, "actor": "me"} for job_id in ("a", "b", "c")]
    answers = list(queue.enqueue_many(given, on_error="collect"))
    assert [type(each) for each in answers] == [Handle, JobConflict, Handle]
    assert [each.id for each in stored("main.s.t")] == ["b", "a", "c"]


def test_an_iterator_that_fails_is_not_taken_for_a_bad_job(queue: Queue, stored: Stored) -> None:
    jobs = (parse_job(text) for text in [json.dumps({**JOB, "id": "a"}), "{", json.dumps({**JOB, "id": "b"})])
    answers = queue.enqueue_many(jobs, on_error="collect")
    assert isinstance(next(answers), Handle)
    with pytest.raises(InvalidJob):
        next(answers)
    assert [each.id for each in stored("main.s.t")] == ["a"]


def test_a_handle_says_whether_its_job_was_known(queue: Queue) -> None:
    job = {**JOB, "id": "a"}
    assert [each.known for each in (queue.enqueue(job), queue.enqueue(job), *queue.enqueue_many([job]))] == [
        False, True, True,
    ]  # fmt: skip
