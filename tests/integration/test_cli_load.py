"""The command `load` as a process of its own: every row once, or a located error and none."""

import gzip
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from celery import Celery
from lakequeue import JobFailed, Queue, keys, wire

from tests.fix_cli import PLANES, Run, Start, Stored, lines, read_until, write_csv


def test_load_sends_every_row_once_however_often_it_is_run(run: Run, stored: Stored, planes: str) -> None:
    for new, known in ((3, 0), (0, 3)):
        done = run("load", planes, "--table", "main.nyc.planes", "--null", "NA", "--no-check")
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
    [["--columns", "price:DECIMAL(10,2)"], ["--actor", "me"], ["--no-create"], ["--null", ""]],
    ids=["types", "actor", "no create", "nulls"],
)
def test_load_with_other_options_is_refused_before_a_row_is_doubled(
    run: Run, stored: Stored, planes: str, options: list[str]
) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--no-check"]
    assert run(*load, "--null", "NA").returncode == 0
    done = run(*load, *([] if "--null" in options else ["--null", "NA"]), *options)
    assert done.returncode == 1
    assert "was made with other options on" in done.stderr
    assert f"({options[0]}); nothing was sent now" in done.stderr
    assert len(stored("main.nyc.planes")) == 3


@pytest.mark.parametrize("size", ["100", "1000"])
def test_a_load_that_is_known_stays_cut_as_it_was(run: Run, stored: Stored, planes: str, size: str) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--no-check"]
    assert run(*load).returncode == 0
    assert "0 new, 3 known already" in run(*load, "--rows-per-job", size).stderr
    assert len(stored("main.nyc.planes")) == 3


def test_a_load_that_only_its_jobs_remember_is_not_sent_with_other_options(
    run: Run, stored: Stored, planes: str, redis_url: str
) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--no-check"]
    assert run(*load).returncode == 0
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*client.scan_iter("lakequeue:loaded:*"))
    done = run(*load, "--actor", "me")
    assert done.returncode == 1
    assert "made with other options, as row 1 shows; nothing was sent now" in done.stderr
    assert len(stored("main.nyc.planes")) == 3


def test_load_again_sends_a_second_copy_that_can_be_resumed_by_name(run: Run, stored: Stored, planes: str) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--no-check"]
    run(*load)
    done = run(*load, "--again")
    assert "3 new, 0 known already" in done.stderr
    name = re.search(r"--load-id (planes\.csv\.[0-9a-f]{8}\.again-[0-9a-f]{8}) in place of --again", done.stderr)
    assert name
    assert "0 new, 3 known already" in run(*load, "--load-id", name[1]).stderr
    assert len(stored("main.nyc.planes")) == 6


def test_load_waits_for_room_and_goes_on_after_an_interrupt(
    start: Start, run: Run, stored: Stored, planes: str
) -> None:
    load = ["load", planes, "--table", "main.nyc.planes", "--rows-per-job", "100", "--no-check"]
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
        *("load", planes, "--table", "main.nyc.planes", "--rows-per-job", "100", "--no-check"),
        LAKEQUEUE_MAX_QUEUE_LENGTH="5",
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


def test_a_compressed_export_of_another_form_is_sent_once(run: Run, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "export.csv.gz"
    path.write_bytes(gzip.compress(b"# exported\nid;created_at;amount\n1;2024-05-01;2,50\n2;;1.000,25\n"))
    load = ["load", str(path), "--table", "main.web.orders", "--no-check", "--comment", "#", "--decimal", ","]
    for new, known in ((1, 0), (0, 1)):
        done = run(*load, "--rename", "created_at=ordered_on")
        assert done.returncode == 0, done.stderr
        assert f"2 rows in 1 job for main.web.orders: {new} new, {known} known already" in done.stderr
        assert "its fields are divided by ';'" in done.stderr
    (message,) = stored("main.web.orders")
    assert message.kwargs["data"] == [
        {"id": 1, "ordered_on": "2024-05-01", "amount": "2.50"},
        {"id": 2, "ordered_on": None, "amount": "1000.25"},
    ]
    assert [each["data_type"] for each in message.kwargs["schema_definition"]] == ["BIGINT", "DATE", "DOUBLE"]


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
    process = start("load", planes, "--table", "main.nyc.planes", "--wait", "--no-check")
    assert process.stderr
    told = read_until(process.stderr, "lakequeue status load:")
    name = re.search(r"load:planes\.csv\.\w+:\w+", told)
    assert name
    for first in (1001, 1):
        backend.backend.store_result(f"{name[0]}:{first:012}", {"message": "", "count": 1, "receipt": {}}, "SUCCESS")
    backend.backend.store_result(f"{name[0]}:{501:012}", JobFailed("no such column", {"code": "42703"}), "FAILURE")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "2 jobs succeeded, 1 failed" in err
    assert "with --wait" not in told + err  # it does
    (failed,) = lines(out)
    assert (failed["id"], failed["state"], failed["message"]) == (f"{name[0]}:{501:012}", "FAILURE", "no such column")


def test_load_with_no_redis_says_what_was_sent(run: Run, planes: str) -> None:
    done = run("load", planes, "--table", "a.b.c", "--redis", "redis://127.0.0.1:1/0")
    assert done.returncode == 2
    assert "(connection refused); nothing was sent" in done.stderr


def test_the_library_does_without_rich_and_so_does_the_command(
    run: Run, planes: str, environment: dict[str, str]
) -> None:
    program = (
        "import sys, lakequeue; assert 'rich' not in sys.modules; sys.modules['rich'] = None; "
        "from lakequeue.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "load", planes, "--table", "a.b.c", "--no-check"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "1,301 rows" in done.stderr) == (0, True)
