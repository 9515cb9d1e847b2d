"""Flower's configuration: on loopback and behind a password, unless told otherwise; its history outlives it."""

import logging as _logging  # a name of one of its options would be taken for the option
import os
import secrets
from pathlib import Path

from worker.pages import columns, views

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
basic_auth = [each for each in os.environ.get("FLOWER_BASIC_AUTH", "").split(",") if each]
if not basic_auth:
    basic_auth = ["lakequeue:" + secrets.token_urlsafe(12)]
    _logging.getLogger("flower").warning("FLOWER_BASIC_AUTH is not set; for this run it is %s", basic_auth[0])

# More than this it shows slowly, and saves slowly.
max_tasks = int(os.environ.get("FLOWER_MAX_TASKS", "20000"))
persistent = os.environ.get("FLOWER_PERSISTENT", "true").lower() in ("true", "1", "yes")
state_save_interval = int(os.environ.get("FLOWER_STATE_SAVE_INTERVAL", "5000"))
db = os.environ.get("FLOWER_DB", "")
if persistent and not db:
    _state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lakequeue"
    _state.mkdir(parents=True, exist_ok=True)
    db = str(_state / "flower")
# A worker that is gone for so many seconds is not shown any more.
purge_offline_workers = int(os.environ.get("FLOWER_PURGE_OFFLINE_WORKERS", "60"))

tasks_columns = columns.SHOWN
format_task = columns.format_task
columns.install()
views.install()
