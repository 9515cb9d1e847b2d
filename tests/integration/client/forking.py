"""A program that forks while its other threads use one `Queue`: `python -m tests.integration.client.forking URL N`.

Every child enqueues a job, waits for its outcome, which the parent publishes, and exits with 0. Run as a process of its
own: Python 3.12 and newer warn of a fork beside threads.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from contextlib import suppress

import redis
from lakequeue import Queue, keys

from tests.integration.client.finishing import finish, job

CHILD_S = 30.0
THREADS = 8


def use(queue: Queue, name: str, stopped: threading.Event) -> None:
    number = 0
    while not stopped.is_set():
        number += 1
        queue.enqueue(job(f"{name}-{number}"))
        with suppress(TimeoutError):
            queue.job(f"{name}-{number}").result(timeout=0.01)


def child(queue: Queue, job_id: str) -> int:
    faulthandler.dump_traceback_later(CHILD_S, exit=True)
    handle = queue.enqueue(job(job_id))
    assert handle.result(timeout=CHILD_S / 2).count == 1
    assert [status.state for status in queue.statuses([job_id]) if status] == ["SUCCESS"]
    queue.operations.overview()
    assert not queue.dead_letters.list().letters
    queue.close()
    return 0


def main(url: str, forks: int) -> int:
    queue = Queue(url)
    stopped = threading.Event()
    users = [threading.Thread(target=use, args=(queue, f"parent-{i}", stopped)) for i in range(THREADS)]
    for each in users:
        each.start()
    failed = 0
    with redis.Redis.from_url(url) as client:
        for number in range(forks):
            job_id = f"child-{number}"
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(child(queue, job_id))
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            deadline = time.monotonic() + CHILD_S
            while client.get(keys.record(job_id)) is None and time.monotonic() < deadline:
                time.sleep(0.002)
            if client.get(keys.record(job_id)) is not None:
                finish(client, job_id)
            failed += os.waitpid(pid, 0)[1] != 0
        stopped.set()
        for each in users:
            each.join()
        finish(client, queue.enqueue(job("parent-last")).id)
        assert queue.job("parent-last").result(timeout=10).count == 1
    queue.close()
    return 1 if failed or threading.active_count() > 1 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
