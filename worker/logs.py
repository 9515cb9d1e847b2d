"""How the worker's log lines look: text for people, or JSON, one object a line.

Messages are written as `key=value` pairs, and what stands for a value in their template is a field of the JSON object.
They name jobs, tables and classes of errors; of an exception that nobody expected only the class and the place are
told, since its text may hold values of rows.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from copy import copy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import redis
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

TEXT = "[%(asctime)s: %(levelname)s/%(threadName)s] %(message)s"

_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*\d*(?:\.\d+)?[a-z]|(\w+)=([^\s%]+)")

_HARMLESS = (redis.ConnectionError, redis.TimeoutError, OperationalError, OSError)
"""What these say is of connections, and Celery's lines about them are of no use without it."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def line(logger: logging.Logger, level: int, **pairs: Any) -> None:
    """Log a line of pairs; those that are None are left out."""
    given = {name: value for name, value in pairs.items() if value is not None}
    logger.log(level, " ".join(f"{name}=%s" for name in given), *given.values(), stacklevel=2)


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(TEXT)

    def format(self, record: logging.LogRecord) -> str:
        told = copy(record)
        told.msg, told.args, told.exc_text = message(record), None, None
        return super().format(told).encode(errors="backslashreplace").decode()

    def formatException(self, ei: ExcInfo) -> str:
        return told(ei)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": message(record),
            **fields(record),
        }
        if record.exc_info:
            line["exception"] = told(record.exc_info)
        return json.dumps(line, default=str)  # in ASCII: no text can fail to be written then


def message(record: logging.LogRecord) -> str:
    """The message of a record. Of exceptions that others put into theirs only the class is told."""
    args = record.args
    if isinstance(args, tuple) and any(isinstance(each, BaseException) for each in args):
        record = copy(record)
        record.args = tuple(_Named(each) if _is_telling(each) else each for each in args)
    return record.getMessage()


def _is_telling(arg: object) -> bool:
    return isinstance(arg, BaseException) and not isinstance(arg, _HARMLESS)


class _Named:
    """An exception of which no more than the class is said."""

    def __init__(self, exc: object) -> None:
        self._name = type(exc).__name__

    def __repr__(self) -> str:
        return self._name


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The pairs of a message of ours, values as they were given: `batch=%s rows=%d`, `verdict=transient`."""
    if not record.name.startswith("worker."):
        return {}
    args = list(record.args) if isinstance(record.args, tuple) else []
    found: dict[str, Any] = {}
    for name, literal_name, literal in _FIELD.findall(str(record.msg)):
        if literal_name:
            found[literal_name] = literal
            continue
        value = args.pop(0) if args else None
        if name:
            found[name] = value if isinstance(value, int | float | bool | None) else str(value)
    return found


def told(ei: ExcInfo) -> str:
    """Where an exception came from, and of what class it and its causes are; never what they say."""
    lines: list[str] = []
    _, exc, _ = ei
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        frames = traceback.extract_tb(exc.__traceback__)
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        lines.append(f"{type(exc).__module__}.{type(exc).__qualname__}")
        exc = exc.__cause__ or exc.__context__
    return "\n".join(lines)


def formatter(log_format: str) -> logging.Formatter:
    """`text` or `json`."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


def install(logger: logging.Logger, log_format: str) -> None:
    """Give all handlers of a logger our formatter."""
    for handler in logger.handlers:
        handler.setFormatter(formatter(log_format))


def install_early(celery_worker: Any, log_format: str) -> None:
    """What a worker prints beside its log, from before Celery sets that up: errors of threads, warnings, and what
    Celery writes to the terminal itself (celery 5.7: `celery/apps/worker.py`, `emit_banner`, `safe_say`)."""
    threading.excepthook = _thread_ended
    if log_format != "json":
        return
    early = logging.StreamHandler(sys.__stderr__)
    early.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [early]  # Celery puts its own in the place of it
    logging.captureWarnings(True)
    warnings.simplefilter("default", append=True)
    celery_worker.quiet = True
    sys.modules["celery.apps.worker"].safe_say = _say  # type: ignore[attr-defined]


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else ""
        log.error("thread=%s ended", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))


def _say(said: str, stream: TextIO | None = None) -> None:
    """Said from handlers of signals, which may have interrupted the log itself: so it goes past it, in one write."""
    record = logging.LogRecord("celery.apps.worker", logging.WARNING, "", 0, said, None, None)
    to = stream or sys.__stderr__
    if to is not None:
        os.write(to.fileno(), (JsonFormatter().format(record) + "\n").encode())
