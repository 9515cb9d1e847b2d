"""How the worker's log lines look: text for people, or JSON, one object a line.

Messages are written as `key=value` pairs, and what stands for a value in their template is a field of the JSON object.
They name jobs, tables and classes of errors; of an exception that nobody expected only the class and the place are
told, since its text may hold values of rows.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

TEXT = "[%(asctime)s: %(levelname)s/%(threadName)s] %(message)s"

_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*\d*(?:\.\d+)?[a-z]|(\w+)=([^\s%]+)")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatException(self, ei: ExcInfo) -> str:
        return told(ei)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            line["exception"] = told(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The pairs of a message of ours, values as they were given: `batch=%s rows=%d`, `verdict=transient`."""
    if not record.name.startswith("worker"):
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


def install(logger: logging.Logger, log_format: str) -> None:
    """Give all handlers of a logger our formatter.

    Raises:
        ValueError: there is no such format.
    """
    formatters = {"text": TextFormatter, "json": JsonFormatter}
    if log_format not in formatters:
        raise ValueError(f"LAKEQUEUE_LOG_FORMAT is text or json, not {log_format!r}")
    for handler in logger.handlers:
        handler.setFormatter(formatters[log_format]())
