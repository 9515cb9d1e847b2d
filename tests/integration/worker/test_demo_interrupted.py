"""Ctrl-C at the very moment at which the demo starts a process: it is stopped, too."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from worker.demo import Demo, Interrupts

SERVER = ["http.server", "0", "--bind", "127.0.0.1"]


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split())


def interrupt_at_the_next_child(known: set[str]) -> None:
    deadline = time.monotonic() + 10
    while children() <= known and time.monotonic() < deadline:
        pass
    os.kill(os.getpid(), signal.SIGINT)


def start_and_wait(demo: Demo) -> None:
    demo.process("server", SERVER, {})
    time.sleep(10)


def test_what_is_being_started_when_the_interrupt_comes_is_stopped(tmp_path: Path) -> None:
    before = children()
    for _ in range(10):
        interrupts = Interrupts()
        demo = Demo(tmp_path, interrupts)
        waiting = threading.Thread(target=interrupt_at_the_next_child, args=[before])
        with interrupts.heard():
            waiting.start()
            with pytest.raises(KeyboardInterrupt):
                start_and_wait(demo)
            waiting.join()
            demo.close()
        assert children() == before
