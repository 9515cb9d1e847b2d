"""`python -m worker demo`: the whole system on servers of its own, a real file through it, and proof it arrived."""

from __future__ import annotations

import csv
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from lakequeue import LakequeueError, Queue, ReadResult
from lakequeue.keys import OWNERS
from lakequeue.outcomes import to_json

from worker.embedded import EmbeddedRedis, NoServer, free_port
from worker.processes import stop

TABLE = "demo.nycflights13.planes"
KEY = "tailnum"
NULL = "NA"
PAGE = 1000
TOLD = ("LAKEQUEUE_REDIS_URL", "DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_WAREHOUSE_ID", "NO_PROXY")
"""What a shell needs for the commands of operators; the token is that of a local warehouse, and no secret."""
START_S = 60.0
STOP_S = 30.0


class DemoFailed(Exception):
    """Something did not start, or the table is not the file."""


class Interrupts:
    """Ctrl-C and SIGTERM end the demo, but not while it starts something, which nobody would stop then."""

    def __init__(self) -> None:
        self._holding = False
        self._came = False

    def _handle(self, *_: object) -> None:
        if not self._holding:
            raise KeyboardInterrupt
        self._came = True

    @contextmanager
    def heard(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What comes meanwhile is raised at the end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._came:
            raise KeyboardInterrupt

    def no_more(self) -> None:
        """From here on they are ignored."""
        self._holding = True


class Demo:
    """The servers of one run; those started last are stopped first."""

    def __init__(self, folder: Path, interrupts: Interrupts) -> None:
        self.folder = folder
        self._interrupts = interrupts
        self.pids: list[int] = []
        self.environ: dict[str, str] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        self._stack.close()

    def release(self) -> None:
        """Leave everything running."""
        self._stack.pop_all()

    def redis(self) -> EmbeddedRedis:
        server = EmbeddedRedis(self.folder / "redis")
        with self._interrupts.held():
            server.start()
            self._stack.callback(server.stop)
        self.pids.append(server.pid)
        return server

    def process(
        self, name: str, args: Sequence[str], environ: Mapping[str, str], *, piped: bool = False
    ) -> subprocess.Popen[str]:
        """Start `python -m …` in a session of its own, so that Ctrl-C here does not reach it; its log is a file."""
        with open(self.folder / f"{name}.log", "a", encoding="utf-8") as log, self._interrupts.held():
            process = subprocess.Popen(
                [sys.executable, "-m", *args],
                env={**os.environ, **environ},
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            self._stack.callback(_stop, process)
        self.pids.append(process.pid)
        return process

    def wait_for(self, name: str, process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                raise DemoFailed(f"{name} did not start:\n{log[-2000:]}")
            time.sleep(0.05)


def run(*, keep: bool, commit_ms: int, file: str) -> int:
    """Run the demo. Returns the exit code: 0 only if the table equals the file."""
    source = Path(file)
    if not source.is_file():
        print(f"demo: there is no file {source}; run it where the project is, or give --file", file=sys.stderr)
        return 2
    folder = Path(".demo") if keep else Path(tempfile.mkdtemp(prefix="lakequeue-demo-"))
    if keep:
        if pids := _left_running(folder):
            print(f"demo: one is left running, with its data in {folder}/; first: kill {pids}", file=sys.stderr)
            return 2
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    interrupts = Interrupts()
    demo = Demo(folder, interrupts)
    with interrupts.heard():
        try:
            equal = _show(demo, source, commit_ms)
            if keep and equal:
                print(f"\nIt is left running, its data and logs in {folder}/. For the commands of operators:")
                print("  export " + " ".join(f"{name}={demo.environ[name]}" for name in TOLD))
                pids = " ".join(map(str, demo.pids))
                (folder / "pids").write_text(pids, encoding="ascii")
                print(f"To stop it: kill {pids}")
                demo.release()
            return 0 if equal else 1
        except KeyboardInterrupt:
            print("\ndemo: interrupted; everything it started is being stopped", file=sys.stderr)
            return 130
        except (DemoFailed, NoServer, LakequeueError) as exc:
            print(f"demo: {exc}", file=sys.stderr)
            return 1
        finally:
            interrupts.no_more()
            demo.close()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _left_running(folder: Path) -> str:
    """What an earlier demo started in this folder and still runs; empty if nothing does."""
    try:
        pids = (folder / "pids").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return ""
    return " ".join(pid for pid in pids if _is_alive(int(pid)))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # nobody's, or another user's by now
        return False
    return True


def _show(demo: Demo, source: Path, commit_ms: int) -> bool:
    print("Starting Redis, the local warehouse, a worker and Flower …", flush=True)
    server = demo.redis()
    port = _start_warehouse(demo, commit_ms)
    password = secrets.token_urlsafe(9)
    flower_port = free_port()
    environ = {
        "LAKEQUEUE_REDIS_URL": server.url,
        "DATABRICKS_HOST": f"http://127.0.0.1:{port}",
        "DATABRICKS_TOKEN": "local",
        "DATABRICKS_WAREHOUSE_ID": "local",
        "DATABRICKS_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "FLOWER_BASIC_AUTH": f"demo:{password}",
        "FLOWER_DB": str(demo.folder.resolve() / "flower"),
    }
    demo.environ = environ
    worker = demo.process("worker", ["celery", "-A", "worker", "worker", "-l", "info"], environ)
    flower = demo.process(
        "flower", ["celery", "-A", "worker", "flower", f"--port={flower_port}", "--address=127.0.0.1"], environ
    )
    with redis.Redis.from_url(server.url) as client:
        demo.wait_for("worker", worker, lambda: bool(client.hlen(OWNERS)))
    demo.wait_for("flower", flower, lambda: _answers(f"http://127.0.0.1:{flower_port}/healthcheck"))

    load = [sys.executable, "-m", "lakequeue", "load", str(source), "--table", TABLE, "--null", NULL]
    done = subprocess.run([*load, "--rows-per-job", "1", "--wait"], env={**os.environ, **environ}, check=False)
    if done.returncode:
        raise DemoFailed(f"load ended with {done.returncode}; the worker's log: {_tail(demo.folder / 'worker.log')}")
    counts = _counts(port)
    with Queue(server.url) as queue:
        print("\nReading it back through read jobs and comparing it with the file …", flush=True)
        rows = list(_read_all(queue, columns="*", order_by=KEY))
        differences = _differences(source, rows)
        _report(queue, counts, commit_ms)
    print(f"Flower              http://127.0.0.1:{flower_port}/tasks  (user demo, password {password})")
    for difference in differences[:5]:
        print(f"different           {difference}")
    print(f"table equals file   {'no' if differences else 'yes'}: {len(rows):,} rows")
    return not differences


def _start_warehouse(demo: Demo, commit_ms: int) -> int:
    """Start the local warehouse. Returns its port."""
    process = demo.process(
        "warehouse",
        ["localwarehouse", "--data", str(demo.folder / "warehouse"), "--commit-ms", str(commit_ms)],
        {},
        piped=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "listening on" not in line:
        raise DemoFailed(f"the local warehouse did not start: {_tail(demo.folder / 'warehouse.log')}")
    return int(line.split("127.0.0.1:")[1].split("/")[0])


def _read_all(queue: Queue, *, columns: str, order_by: str) -> Iterator[dict[str, Any]]:
    """All rows of the table, a page a job."""
    offset = 0
    while True:
        handle = queue.read(TABLE, columns=columns, order_by=order_by, limit=PAGE, offset=offset)
        page: ReadResult = handle.result(timeout=60)
        yield from page.data
        offset += len(page.data)
        if offset >= page.total or not page.data:
            return


def _differences(source: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the file and the table, by key; values are compared as the file spells them."""
    with open(source, newline="", encoding="utf-8") as opened:
        wanted = {line[KEY]: line for line in csv.DictReader(opened)}
    found = {str(row[KEY]): row for row in rows}
    told = [f"{key} is not in the table" for key in wanted.keys() - found.keys()]
    told += [f"{key} is not in the file" for key in found.keys() - wanted.keys()]
    if len(rows) != len(found):
        told.append(f"{len(rows) - len(found)} rows are in the table twice")
    for key in wanted.keys() & found.keys():
        for name, text in wanted[key].items():
            value = found[key][name]
            if (NULL if value is None else str(value)) != text:
                told.append(f"{key}.{name} is {value!r}, not {text!r}")
    return told


def _report(queue: Queue, counts: Mapping[str, int], commit_ms: int) -> None:
    ids = [str(row["_job_id"]) for row in _read_all(queue, columns="_job_id", order_by="_job_id")]
    records = [queue.record(job_id) for job_id in ids]
    receipts = [record["result"]["receipt"] for record in records]
    batches = {receipt["batch"] for receipt in receipts}
    began = min(receipt["enqueued_at"] for receipt in receipts)
    ended = max(receipt["finished_at"] for receipt in receipts)
    seconds = _seconds(began, ended)
    print(f"\njobs                {len(records):,}, one row each, all {' and '.join({r['status'] for r in records})}")
    print(f"batches             {len(batches)}")
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    print(f"statements          {sum(counts.values())} in all, at {commit_ms} ms a commit: {told}")
    rate = len(ids) / seconds
    print(f"time                {seconds:.2f} s from the first enqueue to the last outcome, {rate:,.0f} jobs/s")
    alone = len(ids) * commit_ms / 1000
    print(f"                    one statement a job would have taken {alone:,.0f} s in commits alone")
    print("a receipt")
    print(json.dumps(to_json(ids[0], records[0]), indent=2, ensure_ascii=False))


def _seconds(began: str, ended: str) -> float:
    return max((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds(), 1e-6)


def _counts(port: int) -> dict[str, int]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/control/counts", headers={"Authorization": "Bearer local"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _stop(process: subprocess.Popen[str]) -> None:
    stop(process, within_s=STOP_S)
    if process.stdout is not None:
        process.stdout.close()
