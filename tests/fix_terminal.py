"""Commands on a terminal of their own, as a person runs them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence


def on_terminal(command: Sequence[str], environ: Mapping[str, str], *, typed: str = "") -> tuple[int, str]:
    """Run a command with a terminal for everything, and type `typed` once it asks. Its exit code and what it wrote."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        command,
        env={**os.environ, "COLUMNS": "400", "TERM": "dumb", **environ},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    seen, deadline, asked = b"", time.monotonic() + 60, False
    while time.monotonic() < deadline:
        if select.select([mine], [], [], 0.2)[0]:
            try:
                read = os.read(mine, 65536)
            except OSError:  # its end is closed
                break
            if not read:
                break
            seen += read
        if b"(y/N)" in seen and not asked:
            asked = True
            os.write(mine, typed.encode() + b"\n")
    os.close(mine)
    return process.wait(timeout=30), seen.decode().replace("\r\n", "\n")
