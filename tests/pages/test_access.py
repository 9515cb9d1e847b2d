"""Who may see what of Flower: nothing without the password, whatever is asked for, and no command that does harm."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flower import urls

from tests.fix_flower import Flower
from worker.embedded import embedded_redis
from worker.pages import access

OPEN = {
    "/healthcheck": "an orchestrator asks it without a password; it says OK and nothing else",
    "/static/(.*)": "Flower's own style sheets and scripts, the same everywhere",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def flower(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    started = Flower({"LAKEQUEUE_REDIS_URL": redis_url}, tmp_path_factory.mktemp("flower"))
    yield started
    started.stop()


def patterns() -> list[str]:
    """The paths of all that Flower answers, as it declares them."""
    found = [rule[0] if isinstance(rule, tuple) else rule.regex.pattern for rule in urls.handlers]
    return [pattern.rstrip("$") for pattern in found]


def a_path(pattern: str) -> str:
    path = re.sub(r"\(\.[+*]\)", "some-name", pattern).replace("/?", "").replace(".*", "/no/such/page")
    assert not set(path) & set(".*+?()[]"), f"a path for {pattern}"
    return path


def test_without_the_password_every_path_is_closed(flower: Flower) -> None:
    assert len(patterns()) > 30
    for pattern in patterns():
        if pattern in OPEN:
            continue
        for path in (a_path(pattern), a_path(pattern) + "?json=1"):
            for method in METHODS:
                assert flower.status(path, method=method, open_=True) == 401, f"{method} {path}"
        assert flower.status(a_path(pattern), login="ann:wrong") == 401, pattern
    assert flower.status("/tasks", login="ann:wröng") == 401


def test_what_is_open_says_nothing_of_jobs(flower: Flower) -> None:
    assert OPEN.keys() <= set(patterns())
    assert flower.request("/healthcheck", open_=True) == (200, "OK")
    assert flower.status("/static/css/flower.css", open_=True) == 200
    assert flower.status("/static/../urls.py", open_=True) in (403, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/pool/restart/w1@test",
        "/api/worker/pool/grow/w1@test",
        "/api/worker/pool/shrink/w1@test",
        "/api/worker/pool/autoscale/w1@test",
        "/api/worker/queue/add-consumer/w1@test",
        "/api/worker/queue/cancel-consumer/w1@test",
        "/api/task/timeout/records.write",
        "/api/task/rate-limit/records.write",
        "/api/task/abort/some-job",
        "/api/task/apply/records.read",
    ],
)
def test_a_command_that_means_nothing_here_is_refused_with_a_reason(flower: Flower, path: str) -> None:
    code, told = flower.request(path, method="POST")
    assert code == 403
    assert told.startswith(("These workers have no pool", "Use /api/task/revoke", "Results hold values of rows"))


def test_pages_that_are_not_there_are_not_found_with_the_password(flower: Flower) -> None:
    for path in ("/task/no-such-job", "/worker/no-such-worker", "/login", "/no/such/page", "/task/%20"):
        assert flower.status(path) == 404, path


def test_without_a_password_it_makes_one_up_and_says_so(redis_url: str, tmp_path: Path) -> None:
    flower = Flower({"LAKEQUEUE_REDIS_URL": redis_url}, tmp_path, login=None)
    try:
        told = re.search(r"FLOWER_BASIC_AUTH is not set; for this run it is (lakequeue:\S{16})\n", flower.text())
        assert told is not None, flower.text()
        assert flower.status("/tasks", open_=True) == 401
        assert flower.status("/tasks", login="lakequeue:") == 401
        assert flower.status("/tasks", login=told[1]) == 200
        assert listening(flower.process.pid) == {"127.0.0.1"}
    finally:
        flower.stop()


OWN = """
max_tasks = 7
natural_time = True
"""


@pytest.mark.parametrize("by", ["--conf", "FLOWER_CONF"])
def test_an_own_configuration_file_does_not_open_the_pages(redis_url: str, tmp_path: Path, by: str) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN, encoding="utf-8")
    environ = {"LAKEQUEUE_REDIS_URL": redis_url, **({"FLOWER_CONF": str(own)} if by == "FLOWER_CONF" else {})}
    options = [f"--conf={own}"] if by == "--conf" else []
    flower = Flower(environ, tmp_path / "flower", login=None, options=options)
    try:
        told = re.search(r"FLOWER_BASIC_AUTH is not set; for this run it is (lakequeue:\S{16})\n", flower.text())
        assert told is not None, flower.text()
        for path in ("/tasks", "/api/tasks", "/no/such/page"):
            assert flower.status(path, open_=True) == 401
        assert flower.status("/tasks", login=told[1]) == 200
        assert "natural-time" in flower.request("/tasks", login=told[1])[1]
        assert "Results hold values" in flower.request("/api/task/result/x", login=told[1])[1]
        assert listening(flower.process.pid) == {"127.0.0.1"}
    finally:
        flower.stop()


def test_a_login_of_an_own_configuration_file_is_taken(redis_url: str, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("basic_auth = ['bob:her-password']", encoding="utf-8")
    environ = {"LAKEQUEUE_REDIS_URL": redis_url}
    flower = Flower(environ, tmp_path / "flower", login=None, options=[f"--conf={own}"])
    try:
        assert "for this run it is" not in flower.text()
        assert flower.status("/tasks", open_=True) == 401
        assert flower.status("/tasks", login="bob:her-password") == 200
    finally:
        flower.stop()


@pytest.mark.parametrize(
    ("logins", "wrong"),
    [("admin", [1]), ("admin:", [1]), (":hush", [1]), ("admin: ", [1]), ("a:hush,admin", [2]), ("a:hush:more", [])],
)
def test_a_login_without_user_or_password_is_found(logins: str, wrong: list[int]) -> None:
    assert access.wrong_logins(logins.split(",")) == wrong


@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        ([], {"FLOWER_BASIC_AUTH": "ann:hush,admin:"}, "the user or the password of FLOWER_BASIC_AUTH"),
        ([], {"FLOWER_BASIC_AUTH": "ann:hush,zoë:hush"}, "are in ASCII"),
        (["--basic-auth=hush"], {}, "wrong is number 1 of 1"),
        (["--conf=/no/such/conf.py"], {}, "there is no configuration file /no/such/conf.py"),
    ],
    ids=["environment", "not ASCII", "option", "no file"],
)
def test_a_login_that_is_none_ends_it_with_one_line(
    redis_url: str, options: list[str], environ: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "flower", "--port=1", *options],
        env={**os.environ, "LAKEQUEUE_REDIS_URL": redis_url, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "hush" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def listening(pid: int) -> set[str]:
    """The addresses on which a process takes connections, by the kernel's word."""
    sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = line.split()[1], line.split()[3], line.split()[9]
            if state == "0A" and inode in inodes:
                raw = bytes.fromhex(local.split(":")[0])
                found.add(".".join(str(byte) for byte in reversed(raw)) if table == "tcp" else raw.hex())
    return found


def test_its_history_needs_no_home(redis_url: str, tmp_path: Path) -> None:
    """As in a container: it starts, and says that its history will not outlive it."""
    (tmp_path / "file").write_text("")
    environ = {"LAKEQUEUE_REDIS_URL": redis_url, "FLOWER_DB": "", "XDG_STATE_HOME": str(tmp_path / "file")}
    flower = Flower(environ, tmp_path / "flower")
    try:
        assert flower.status("/tasks") == 200
        assert "its history will not outlive it" in flower.text()
    finally:
        flower.stop()
