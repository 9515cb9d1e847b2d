"""The real command as a process of its own, against a real Redis, and what it is given and leaves there."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from celery import Celery
from lakequeue import keys, wire

PLANES = [["tailnum", "year", "seats", "price"]] + [
    [f"N{n}", "NA" if n % 7 == 0 else str(1950 + n % 70), str(n), f"{n}.50"] for n in range(1, 1_302)
]

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]
Stored = Callable[[str], list[wire.Received]]


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
def stored(redis_url: str) -> Iterator[Stored]:
    """The messages in the write lane of a table."""
    with redis.Redis.from_url(redis_url) as client:
        yield lambda table: [
            wire.decode(message) for message in client.lrange(keys.jobs(keys.lane_of("write", table)), 0, -1)
        ]


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
