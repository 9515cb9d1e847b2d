"""What becomes of a log record: its pairs are fields, exceptions are named and not quoted, any text can be written."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import pytest

from worker.logs import JsonFormatter, TextFormatter, line

SECRET = "planted-6f1d"


def record(msg: str, *args: Any, name: str = "worker.lane", **more: Any) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "lane.py", 1, msg, args, more.get("exc_info"))


def as_json(msg: str, *args: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonFormatter().format(record(msg, *args, **more)))
    return {name: value for name, value in found.items() if name not in ("at", "level", "logger", "thread", "message")}


@pytest.mark.parametrize(
    ("msg", "args", "fields"),
    [
        ("batch=%s rows=%d ms=%.0f", ("b", 3, 12.7), {"batch": "b", "rows": 3, "ms": 12.7}),
        ("batch=%s rows=%s", ("b", None), {"batch": "b", "rows": None}),
        ("warehouse=away error=%s", ("HTTP_503",), {"warehouse": "away", "error": "HTTP_503"}),
        ("%s: %d of table=%s", ("x", 1, "c.s.t"), {"table": "c.s.t"}),
        ("nothing at all", (), {}),
    ],
    ids=["values as given", "none", "literals", "values without a name", "none at all"],
)
def test_the_pairs_of_a_message_are_fields(msg: str, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    assert as_json(msg, *args) == fields
    assert as_json(msg, *args, name="celery.worker") == {}


def test_a_line_leaves_out_what_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        line(logging.getLogger("worker.x"), logging.INFO, job="j", batch=None, attempt=0)
    (told,) = caplog.records
    assert (told.getMessage(), told.funcName) == ("job=j attempt=0", test_a_line_leaves_out_what_is_none.__name__)
    assert as_json(told.msg, *(told.args or ())) == {"job": "j", "attempt": 0}


def raised() -> Any:
    try:
        try:
            int(SECRET)
        except ValueError as exc:
            raise KeyError(SECRET) from exc
    except KeyError:
        return sys.exc_info()


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_an_exception_is_named_with_its_cause_and_place_and_never_quoted(formatter: logging.Formatter) -> None:
    exc_info = raised()
    text = formatter.format(record("a turn failed: %r, %s", exc_info[1], exc_info[1], exc_info=exc_info))
    assert SECRET not in text
    assert "a turn failed: KeyError, KeyError" in text
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in text
    assert "in raised" in text


def test_what_an_outage_says_is_quoted() -> None:
    text = TextFormatter().format(record("cannot connect: %s", ConnectionRefusedError(111, "Connection refused")))
    assert "cannot connect: [Errno 111] Connection refused" in text


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_any_text_can_be_written(formatter: logging.Formatter) -> None:
    text = formatter.format(record("table=%s", "c.s.\ud800\n"))
    assert text.encode()
    if isinstance(formatter, JsonFormatter):
        assert "\n" not in text


def test_a_warning_is_one_line(recwarn: pytest.WarningsRecorder) -> None:
    text = warnings.formatwarning("two\nlines", UserWarning, "x.py", 1)
    assert "\n" not in JsonFormatter().format(record("%s", text, name="py.warnings"))
