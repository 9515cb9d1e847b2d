"""`make compose-test`: compose.yaml as it is, on a real engine: built, started, killed, stopped, started again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lakequeue import LakequeueError, Queue

from tests.compose import confinement, images, jobs
from tests.compose.engines import PROJECT, SERVICES, Engine, Failed, NoEngine, find
from worker.embedded import NoServer, free_port

HEALTHY_S = 60.0
BACK_S = 20.0
AT_ONCE_S = 20
EARLY = range(1, 101)
LATE = range(101, 161)


@contextmanager
def step(name: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{name:<62}", end="", flush=True)
    try:
        yield
    except BaseException:
        print("FAILED", flush=True)
        raise
    print(f"{time.monotonic() - began:5.1f} s", flush=True)


class Project:
    """The services with passwords and ports of their own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.password = secrets.token_hex(16)
        self._flower_password = secrets.token_hex(16)
        self._flower_port = free_port()
        self._settings = {
            "REDIS_PASSWORD": self.password,
            "FLOWER_BASIC_AUTH": f"admin:{self._flower_password}",
            "REDIS_PORT": str(port := free_port()),
            "FLOWER_PORT": str(self._flower_port),
            "WORKER_IMAGE": f"localhost/{engine.project}-worker",
        }
        self.url = f"redis://:{self.password}@127.0.0.1:{port}/0"
        self.write_settings()

    def write_settings(self, **more: str) -> None:
        """.env.example, filled in."""
        self._settings |= more
        lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.partition("=")[0].lstrip("#") not in self._settings]
        lines = [*kept, *(f"{name}={value}" for name, value in self._settings.items())]
        self.engine.env_file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def up(self) -> None:
        self.engine.compose("up", "--detach", "--no-build")
        deadline = time.monotonic() + HEALTHY_S
        waiting = list(SERVICES)
        while waiting := [service for service in waiting if not self.engine.healthy(service)]:
            if time.monotonic() > deadline:
                raise Failed(f"not healthy after {HEALTHY_S:.0f} s: {', '.join(waiting)}")
            time.sleep(0.2)

    def flower(self, path: str) -> int:
        """The status of one of Flower's pages."""
        credentials = b64encode(f"admin:{self._flower_password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._flower_port}{path}", headers={"Authorization": f"Basic {credentials}"}
        )
        without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with without_proxy.open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code


def validate(engine: Engine) -> None:
    """The engine's own reading of the files, also for a real warehouse, which leaves the local one out."""
    engine.compose("config")
    told = engine.compose("config", more=[PROJECT / "compose.databricks.yaml"], check=False)
    if told.returncode == 0 or "DATABRICKS_HOST" not in told.stderr + told.stdout:
        raise Failed(f"a real warehouse without its host is taken: {told.stdout}{told.stderr}")
    engine.environ |= {"DATABRICKS_HOST": "https://dbc.invalid", "DATABRICKS_WAREHOUSE_ID": "1"}
    told = engine.compose("config", more=[PROJECT / "compose.databricks.yaml"])
    del engine.environ["DATABRICKS_HOST"], engine.environ["DATABRICKS_WAREHOUSE_ID"]
    if "service:localwarehouse" in told.stdout:
        raise Failed("on a real warehouse the worker is still in the local one's network")


def killed(engine: Engine, queue: Queue) -> None:
    """The worker's process is killed while statements are under way."""
    handles = jobs.send(queue, EARLY)
    waiting = jobs.wait_until_running(queue)
    before = engine.inspect("worker")["State"]["Pid"]
    engine.kill("worker")
    deadline = time.monotonic() + BACK_S
    while (state := engine.inspect("worker")["State"])["Pid"] in (before, 0) or not state["Running"]:
        if time.monotonic() > deadline:
            raise Failed(f"the worker was killed and did not come back: {state}")
        time.sleep(0.05)
    if not waiting:
        raise Failed("the jobs were through before the worker was killed")
    jobs.wait_for(handles)


def stopped(engine: Engine, queue: Queue) -> None:
    """The worker is stopped while statements are under way: it lets them end and leaves the rest."""
    jobs.send(queue, LATE)
    jobs.wait_until_running(queue)
    engine.compose("stop", "worker")
    code = engine.inspect("worker")["State"]["ExitCode"]
    if code:
        raise Failed(f"the worker was stopped and ended with {code}")
    if any(table.running for table in queue.operations.overview().tables):
        raise Failed("the worker was stopped and left a statement under way")


def stopped_at_once(engine: Engine) -> None:
    """SIGTERM comes while Python still starts, before Celery listens for it."""
    worker = engine.container("worker")
    engine.run("restart", worker)
    engine.run("stop", "-t", str(AT_ONCE_S), worker)
    if (code := engine.inspect("worker")["State"]["ExitCode"]) not in (0, 128 + signal.SIGTERM):
        raise Failed(f"the worker was stopped as it started, and ended with {code}")


def story(engine: Engine) -> None:
    project = Project(engine)
    with step("a base image"):
        base = images.base_image(engine)
    with step("the files are valid"):
        validate(engine)
    with step("the images are built"), ThreadPoolExecutor() as beside:
        valkey = None if base is None else beside.submit(images.valkey_image, engine, base)
        engine.compose("build", "worker", more=[images.build_settings(engine.folder, base)])
        if valkey is not None:
            project.write_settings(VALKEY_IMAGE=valkey.result())
    size = int(engine.run("image", "inspect", "--format", "{{.Size}}", f"localhost/{engine.project}-worker").stdout)
    below = int(engine.run("image", "inspect", "--format", "{{.Size}}", base or images.PUBLIC_BASE).stdout)
    print(f"  {size / 1e6:.0f} MB, {(size - below) / 1e6:.0f} MB of them above its base", flush=True)
    with step("all services start and are healthy"):
        project.up()
    with step("they run without root, rights, or a place to write"):
        confinement.check(engine, secret=project.password)
    with Queue(project.url) as queue:
        with step("jobs of this machine's command line reach their tables"):
            jobs.by_command(project.url)
            jobs.compare(queue, range(1))
        with step(f"kill -9 of the worker: back by itself, {len(EARLY) * len(jobs.TABLES)} jobs done once"):
            killed(engine, queue)
            jobs.compare(queue, range(EARLY.stop))
        with step("the worker stops clean amid jobs"):
            stopped(engine, queue)
    with step("down: no container is left"):
        engine.compose("down")
        if left := engine.containers():
            raise Failed(f"containers are left: {left}")
    with step("up again: healthy"):
        project.up()
    with Queue(project.url) as queue, step("jobs, rows and Flower's history are still there, the rest is done"):
        handles = [queue.job(f"{table}-{number}") for table in jobs.TABLES for number in (0, *LATE)]
        jobs.wait_for(handles)
        jobs.compare(queue, range(LATE.stop))
        if (status := project.flower(f"/api/task/info/{jobs.TABLES[0]}-0")) != 200:
            raise Failed(f"Flower does not know a job of before: HTTP {status}")
    with step("a worker that is stopped as it starts ends at once"):
        stopped_at_once(engine)


def main() -> int:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="lakequeue-compose-"))
    try:
        try:
            engine = find(folder, f"lakequeue-test-{secrets.token_hex(3)}")
        except NoEngine as exc:
            print(f"compose-test: {exc}", file=sys.stderr)
            return 1 if os.environ.get("CI") else 0
        print(f"compose.yaml on {engine.name}, as {engine.project}", flush=True)
        try:
            story(engine)
            passed = True
        except (Failed, NoServer, LakequeueError, OSError, subprocess.TimeoutExpired) as exc:
            print(f"\n{exc}\n\n{engine.logs()}", file=sys.stderr)
            passed = False
        finally:
            with step("everything is removed"):
                left = engine.remove()
                if left:
                    print("\n".join(["", *left]), file=sys.stderr)
        print(f"{'passed' if passed and not left else 'FAILED'} in {time.monotonic() - began:.0f} s")
        return 0 if passed and not left else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
