"""Flower's configuration: on loopback and behind a password, unless told otherwise; its history outlives it."""

import logging as _logging  # a name of one of its options would be taken for the option
import os
import secrets
from pathlib import Path

from tornado.options import options as _given

from worker.pages import api, columns, search, seen

_log = _logging.getLogger("flower")

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
# Given by the environment or the command line. With a login (FLOWER_AUTH) it needs no password.
basic_auth = [each for each in _given.basic_auth or [] if each]
if not basic_auth and not _given.auth:
    basic_auth = ["lakequeue:" + secrets.token_urlsafe(12)]
    _log.warning("FLOWER_BASIC_AUTH is not set; for this run it is %s", basic_auth[0])

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
