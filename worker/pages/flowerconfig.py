"""Flower's configuration: on loopback, unless told otherwise, with a history that outlives it; see `access` too."""

import logging as _logging  # a name of one of its options would be taken for the option
import os
from pathlib import Path

from worker.pages import api, columns, search, seen

_log = _logging.getLogger("flower")

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
# More than this it shows slowly, and saves slowly.
max_tasks = int(os.environ.get("FLOWER_MAX_TASKS", "20000"))
persistent = os.environ.get("FLOWER_PERSISTENT", "true").lower() in ("true", "1", "yes")
state_save_interval = int(os.environ.get("FLOWER_STATE_SAVE_INTERVAL", "15000"))
db = os.environ.get("FLOWER_DB", "")
if persistent and not db:
    try:
        _state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lakequeue"
        _state.mkdir(parents=True, exist_ok=True)
        db = str(_state / "flower")
    except (OSError, RuntimeError) as exc:
        persistent = False
        _log.warning("its history will not outlive it: %s; name a file in FLOWER_DB", type(exc).__name__)
# A worker that is gone for so many seconds is not shown any more.
purge_offline_workers = int(os.environ.get("FLOWER_PURGE_OFFLINE_WORKERS", "60"))

# Our workers always send events. Asking them to, every five seconds, hangs while Redis is away, and then SIGTERM ends
# nothing: Python waits for the threads that ask.
enable_events = False

tasks_columns = columns.SHOWN
format_task = columns.format_task
columns.install()
search.install()
seen.install()
api.install()
