"""The values of command line options, read from their text, and the help that names them."""

from __future__ import annotations

import argparse
import codecs
import textwrap
from collections.abc import Callable
from typing import TypeVar

from lakequeue.load_names import check_name

T = TypeVar("T")

HELP_COLUMNS = 120


class Help(argparse.RawDescriptionHelpFormatter):
    """Paragraphs are as wide as the terminal lets them be; those with an indented line stand as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for paragraph in text.strip("\n").split("\n\n"):
            if not any(line.startswith(" ") for line in paragraph.splitlines()):
                paragraph = textwrap.fill(paragraph, min(width, HELP_COLUMNS), break_on_hyphens=False)
            filled.append(textwrap.indent(paragraph, indent))
        return "\n\n".join(filled)


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """argparse shows the message of this error alone."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return read


def count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise ValueError(f"takes a whole number from 1, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1e9:  # NaN is not
        raise ValueError(f"takes a number of seconds, not {text!r}")
    return number


LONGEST_S = 1e9
"""Longer than anything is kept, and no longer than a date can be before today."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration(text: str) -> float:
    """Seconds from `90`, `90s`, `15m`, `2h`, `7d` or `1w`."""
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    try:
        return min(seconds(number) * unit, LONGEST_S)
    except ValueError:
        raise ValueError(f"takes a duration such as 90s, 15m, 2h, 7d or 1w, not {text!r}") from None


def delimiter(text: str) -> str:
    text = "\t" if text in ("\\t", "tab") else text
    if len(text) != 1 or text in '"\r\n':
        raise ValueError(f"takes one character other than a quote, not {text!r}")
    return text


def comment(text: str) -> str:
    if not text or text[0] in ' "\r\n':
        raise ValueError(f"takes the text that comments begin with, such as #, not {text!r}")
    return text


def encoding(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise ValueError(f"unknown text encoding {text!r}; known are utf-8, utf-16, cp1252, latin-1 and more") from None
    # A byte order mark, as Excel writes it, is no part of the first column's name.
    return "utf-8-sig" if codecs.lookup(text).name == "utf-8" else text


def actor(text: str) -> str:
    if not 1 <= len(text) <= 255:
        raise ValueError("takes 1 to 255 characters")
    return text


def load_id(text: str) -> str:
    return check_name(text)
