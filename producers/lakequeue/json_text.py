"""JSON text as the contract reads it: nothing is lost without a word."""

import json
from math import isinf
from typing import Any

from pydantic import JsonValue

from lakequeue.errors import InvalidJob
from lakequeue.problems import Problems
from lakequeue.typed_values import TYPE, typed_or_plain

MOST_BRACKETS = 1_000_000
"""So many objects and lists a message may begin; a job of 900,000 bytes cannot have as many."""


def read_json(text: str | bytes | bytearray) -> JsonValue:
    """JSON as the contract reads it; InvalidJob where json.loads would lose something without a word.

    That is: a name given twice in one object, and a number past a double's range, such as 1e400. Bare NaN and Infinity
    are floats; an object of `__type__` and `__value__` is `Typed`.
    """
    try:
        value: JsonValue = json.loads(text, parse_float=_finite, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as exc:
        raise _bad_json(why_not_read(exc)) from None
    return value


def why_not_read(exc: ValueError | RecursionError) -> str:
    """What is wrong with JSON that a decoder refused; never a value of it."""
    match exc:
        case json.JSONDecodeError():
            return f"no JSON: {exc.msg} at character {exc.pos + 1}"
        case _Refused():
            return str(exc)
        case UnicodeDecodeError():
            return "no JSON: the bytes are no UTF-8"
        case RecursionError():
            return "nested too deep"
    return "a whole number of thousands of digits"  # sys.get_int_max_str_digits


def read_message(text: str | bytes) -> Any:
    """The JSON of a message, which its sender checked or a worker will; by one decoder, in whatever encoding of JSON.

    Raises:
        ValueError: it is none, or holds what could not be stored again: NaN, Infinity, numbers beyond a double; or it
            would take too much memory.
    """
    return _decode(_unicode(text))


def read_arguments(text: str | bytes) -> Any:
    """The JSON of a message's arguments, with values as `read_json` gives them: Celery's senders write a bare NaN.

    Raises:
        ValueError: it is none, or holds numbers beyond a double; or it would take too much memory.
    """
    text = _unicode(text)
    # Most bodies have no such object, and a hook costs a call for each row.
    return _decode_typed(text) if TYPE in text else _decode_values(text)


def _unicode(text: str | bytes) -> str:
    check_brackets(text)
    return text if isinstance(text, str) else text.decode(json.detect_encoding(text), "surrogatepass")


class TooManyParts(ValueError):
    """JSON that would take too much memory; the text says what its sender can change."""


def check_brackets(text: str | bytes) -> None:
    """Refuse JSON that is small as text and large in memory: an empty object of two bytes takes 64.

    Raises:
        TooManyParts: it holds more objects and lists than any job has bytes.
    """
    found = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if found > MOST_BRACKETS:
        told = f"it holds {found:,} objects and lists, and a job has {MOST_BRACKETS:,} at most"
        raise TooManyParts(f"{told}: send the rows in several jobs")


class _Refused(ValueError):
    pass


def _bounded(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Refused("a number is larger than any DOUBLE")
    return number


def _no_constant(text: str) -> None:
    raise _Refused(f"{text} is no JSON")


_decode = json.JSONDecoder(parse_float=_bounded, parse_constant=_no_constant).decode
_decode_values = json.JSONDecoder(parse_float=_bounded).decode
_decode_typed = json.JSONDecoder(parse_float=_bounded, object_hook=typed_or_plain).decode


def _finite(text: str) -> float:
    number = _bounded(text)
    if number == 0.0 and text.lower().partition("e")[0].strip("-0."):
        raise _Refused("a number is nearer to zero than any DOUBLE")
    return number


def _without_repeats(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _Refused("an object gives the same name twice")
    return typed_or_plain(fields)


def _bad_json(msg: str) -> InvalidJob:
    problems = Problems()
    problems.add("bad_json", (), msg)
    return problems.as_invalid_job("a job")
