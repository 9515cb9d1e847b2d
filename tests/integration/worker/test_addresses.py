"""Worker, Flower, doctor and command line take any URL that the client takes: a socket, or TLS with its own CA."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from lakequeue import Queue

from tests.fix_flower import Flower
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_tls import StartTls
from tests.fix_worker import StartWorker, worker_environ
from tests.support import TABLE, job, until
from worker.embedded import EmbeddedRedis, embedded_redis

SECRET = "hush/@1"
QUOTED = "hush%2F%401"


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """One with a password that listens on a socket, too. A socket's path has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="lakequeue-"))
    with embedded_redis(folder, "--unixsocket", str(folder / "r.sock")) as started:
        with redis.Redis(port=started.port) as admin:
            admin.config_set("requirepass", SECRET)
        yield started
    shutil.rmtree(folder)


@pytest.fixture(params=["unix", "redis+socket", "rediss"])
def redis_url(request: pytest.FixtureRequest, server: EmbeddedRedis, start_tls: StartTls) -> str:
    if request.param == "rediss":
        front = start_tls(server.port)
        return f"rediss://:{QUOTED}@localhost:{front.port}/1?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={front.cert}"
    with redis.Redis(port=server.port, password=SECRET) as admin:
        path = admin.config_get("unixsocket")["unixsocket"]
    database = "db" if request.param == "unix" else "virtual_host"
    return f"{request.param}://:{QUOTED}@{path}?{database}=1"


def test_every_program_takes_the_url(
    redis_url: str, server: EmbeddedRedis, start_worker: StartWorker, warehouse: LocalWarehouse, tmp_path: Path
) -> None:
    worker = start_worker()
    flower = Flower({"LAKEQUEUE_REDIS_URL": redis_url}, tmp_path / "flower")
    environ = {**os.environ, **worker_environ(redis_url, warehouse)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    try:
        with Queue(redis_url) as queue:
            assert queue.enqueue(job(1)).result(timeout=30).count == 1

            def shown() -> bool:  # what ended before Flower listened is not
                queue.read(TABLE).result(timeout=30)
                return "SUCCESS" in flower.states().values()

            until(shown, "Flower shows a job")
        sent = (
            "from worker.celery import app; import sys\n"
            "app.send_task('records.read', kwargs={'table': sys.argv[1]}, task_id='by-celery')\n"
            "print(app.AsyncResult('by-celery').get(timeout=30)['count'])"
        )
        told = subprocess.run(
            [sys.executable, "-c", sent, TABLE], env=environ, capture_output=True, text=True, check=False
        )
        assert (told.stdout, told.returncode) == ("1\n", 0), told
        assert worker.hostname in flower.get("/workers")
        assert "SUCCESS" in run("lakequeue", "status", "by-celery")
        assert (
            "ok   redis"
            in subprocess.run(
                [sys.executable, "-m", "worker", "doctor"], env=environ, capture_output=True, text=True, check=False
            ).stdout
        )
        with redis.Redis(port=server.port, password=SECRET, db=1) as admin:
            assert admin.exists("celery-task-meta-by-celery")
    finally:
        flower.stop()
    assert worker.stop() == 0
    for text in (worker.text(), flower.text()):
        assert "hush" not in text
        assert "Traceback" not in text
