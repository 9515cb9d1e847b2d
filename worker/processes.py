"""How a process that we started is ended."""

from __future__ import annotations

import subprocess
from typing import Any


def stop(process: subprocess.Popen[Any], *, within_s: float) -> None:
    """SIGTERM, and SIGKILL to one that has not ended by then."""
    process.terminate()
    try:
        process.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
