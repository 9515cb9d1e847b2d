"""A process forks while its threads use a `Queue`: parent and child go on, each with connections of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis

from tests.integration.client.finishing import finish
from tests.support import until

FORKS = 50

QUIET = ("-W", "ignore::DeprecationWarning")
"""Python 3.12 and newer warn of a fork beside threads."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def test_fifty_children_forked_under_use_enqueue_and_wait(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, *QUIET, "-m", "tests.integration.client.forking", redis_url, str(FORKS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


POOL = """
import multiprocessing, sys
from lakequeue import Queue
from tests.integration.client.finishing import job
queue = Queue(sys.argv[1])  # at import, as an application does that a server forks

def work(number):
    return queue.enqueue(job(f"pool-{number}")).result(timeout=30).count

if __name__ == "__main__":
    queue.enqueue(job("before"))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        print(sum(pool.map(work, range(20), chunksize=1)))
"""


def test_a_queue_made_before_a_pool_of_processes_is_used_in_each(redis_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, *QUIET, "-c", POOL, redis_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with redis.Redis.from_url(redis_url) as client:
        finished: set[bytes] = set()

        def finish_all() -> bool:
            new = set(client.keys("celery-task-meta-pool-*")) - finished
            finish(client, *(key.decode().removeprefix("celery-task-meta-") for key in new))
            finished.update(new)
            return process.poll() is not None

        until(finish_all, "the pool is done", timeout_s=60)
    out, told = process.communicate(timeout=30)
    assert (out, told, process.returncode) == ("20\n", "", 0)
