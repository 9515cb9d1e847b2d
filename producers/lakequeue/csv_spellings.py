"""What the values of a column can be, told from their text: types that keep it, and reasons why none does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from lakequeue import scalars
from lakequeue.columns import Kind
from lakequeue.csv_types import COMMA_NUMBER
from lakequeue.problems import ValueProblem
from lakequeue.scalars import Encode

Fits = Callable[[str], bool]

MOST_FRACTION_DIGITS = 17

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_FLOAT = re.compile(r"-?(?=\.?[0-9])(?:0|[1-9][0-9]*)?(?:\.[0-9]+)?(?:e[+-][0-9]{2,3})?")
_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]++)?|\.[0-9]++)")
_WITH_EXPONENT = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3})?")
_LEADING_ZEROS = re.compile(r"[+-]?[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?")
_MAYBE_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")
_OTHER_DATE = re.compile(r"[0-9]{1,4}([./-])[0-9]{1,2}\1[0-9]{2,4}(?:[ T][0-9]{1,2}:[0-9]{2}.*)?")
_LIKE_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}.*)?")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a column is text: what all of its values are, though no type keeps them."""

    fits: Fits
    note: str
    """NAME stands for the column's name as a shell takes it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What all values of a column may be, and the reasons that hold for every such value."""

    type: Kind
    fits: Fits
    note: str = ""
    implies: tuple[Reason, ...] = ()


def _is_bigint(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _whole_with_point(text: str) -> bool:
    return text.endswith(".0") and bool(_WHOLE.fullmatch(text, 0, len(text) - 2)) and repr(float(text)) == text


@lru_cache(maxsize=2048)
def _written(text: str) -> str:
    """The number that a DOUBLE stores for the text, as Python writes it; empty if the text is no number."""
    return repr(float(text)) if _FLOAT.fullmatch(text) else ""


def _spelt(spell: Callable[[str], str]) -> Fits:
    """Whether the number that a DOUBLE stores gives the text back in this spelling."""

    def fits(text: str) -> bool:
        written = _written(text)
        return bool(written) and spell(written) == text

    return fits


def _fixed(digits: int, *, bare: bool) -> Fits:
    """So many digits after the point in every value, as in amounts of money."""

    def fits(text: str) -> bool:
        if text[-digits - 1 : -digits] != "." or not _FLOAT.fullmatch(text):
            return False
        spelt = f"{float(text):.{digits}f}"
        return (_without_zero(spelt) if bare else spelt) == text

    return fits


def _short(written: str) -> str:
    return written.removesuffix(".0")


def _positional(written: str) -> str:
    text = _short(format(Decimal(written), "f") if "e" in written else written)
    # A whole number of more digits may be any of several that a DOUBLE does not tell apart.
    return text if "." in text or len(text) <= 16 else ""


def _without_zero(text: str) -> str:
    """`.5` for `0.5`, as SAS and Oracle write it."""
    return text[1:] if text.startswith("0.") else "-" + text[2:] if text.startswith("-0.") else text


def _encodes(encode: Encode) -> Fits:
    def fits(text: str) -> bool:
        try:
            encode(text)
        except ValueProblem:
            return False
        return True

    return fits


_is_timestamp = lru_cache(maxsize=2048)(_encodes(scalars.encode_timestamp))
_is_timestamp_ntz = _encodes(scalars.encode_timestamp_ntz)
_is_date = _encodes(scalars.encode_date)


def _is_utc(text: str) -> bool:
    return text.rstrip().endswith(("Z", "UTC", "+00:00")) and _is_timestamp(text)


def _is_any_time(text: str) -> bool:
    return _is_date(text) or _is_timestamp(text) or _is_timestamp_ntz(text)


def _padded(fits: Fits) -> Fits:
    return lambda text: fits(text.strip())


def _finer(text: str) -> bool:
    """A time but for digits past its microseconds."""
    return bool(re.search(r"\.[0-9]{7,}", text)) and _is_any_time(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))


def _matches(pattern: re.Pattern[str]) -> Fits:
    return lambda text: bool(pattern.fullmatch(text))


_ZEROS = Reason(_matches(_LEADING_ZEROS), "")
_PLAIN = Reason(
    _matches(_PLAIN_NUMBER),
    "numbers whose text no number type gives back, as 1.10 beside 1.1; if it does not matter: "
    "--columns NAME:DOUBLE or 'NAME:DECIMAL(p,s)'",
)
_EXPONENT = Reason(
    _matches(_WITH_EXPONENT),
    "like numbers with an exponent, but as numbers codes such as 1E5 and 10E4 would be equal; if they are numbers: "
    "--columns NAME:DOUBLE",
)
_COMMA = Reason(
    lambda text: bool(_THOUSANDS.fullmatch(text) and COMMA_NUMBER.fullmatch(text)),
    "numbers with a comma; if it is a decimal comma: --decimal ,",
)
_COMMA_FRACTION = Reason(_matches(COMMA_NUMBER), "numbers with a decimal comma: --decimal , reads them")
_COMMA_THOUSANDS = Reason(_matches(_THOUSANDS), "numbers with a comma between thousands, kept as text")
_PADDED_NUMBER = Reason(_padded(_matches(_WITH_EXPONENT)), "numbers with blanks around them, kept as text")
_PADDED_TIME = Reason(
    _padded(_is_any_time), "dates or times with blanks around them or of more than one form, kept as text"
)
_FINE_TIME = Reason(_finer, "times finer than the microseconds of a TIMESTAMP, kept as text")
_LIKE_TIME = Reason(_matches(_LIKE_ISO_TIME), "dates or times in a form that is not read, kept as text")
_FORMULA = Reason(_matches(re.compile('="[^"]*"')), 'text as Excel writes it, ="007", kept with its = and quotes')
_DATE = Reason(_matches(_OTHER_DATE), "dates that are not ISO 8601 (2024-12-31), kept as text")

REASONS = (
    _ZEROS, _PLAIN, _EXPONENT, _COMMA, _COMMA_FRACTION, _COMMA_THOUSANDS, _PADDED_NUMBER, _PADDED_TIME, _FINE_TIME,
    _LIKE_TIME, _DATE, _FORMULA,
)  # fmt: skip
"""The first that holds is told."""

_OF_WHOLE = (_ZEROS, _PLAIN, _EXPONENT, _COMMA_FRACTION, _PADDED_NUMBER)
_OF_PLAIN = (_PLAIN, _EXPONENT, _PADDED_NUMBER)
_OF_FLOAT = (_EXPONENT, _PADDED_NUMBER)
_OF_TIME = (_PADDED_TIME, _LIKE_TIME)

_FIXED = tuple(
    Candidate("DOUBLE", _fixed(digits, bare=bare), implies=_OF_PLAIN)
    for bare in (False, True)
    for digits in range(1, MOST_FRACTION_DIGITS + 1)
)

CANDIDATES = (
    Candidate("BIGINT", _is_bigint, implies=_OF_WHOLE),
    Candidate(
        "DOUBLE",
        _whole_with_point,
        "every value is a whole number; if they always are: --columns NAME:BIGINT",
        implies=_OF_PLAIN,
    ),
    Candidate(
        "DOUBLE",
        lambda text: bool(_MAYBE_THOUSANDS.fullmatch(text)) and _FIXED[2].fits(text),
        "if 1.234 means 1234 here: --decimal ,",
        implies=_OF_PLAIN,
    ),
    # As Python, Java and R write a float, as JavaScript does, without an exponent, and with a fixed number of digits.
    Candidate("DOUBLE", _spelt(str), implies=_OF_FLOAT),
    Candidate("DOUBLE", _spelt(_short), implies=_OF_FLOAT),
    Candidate("DOUBLE", _spelt(_positional), implies=_OF_PLAIN),
    *_FIXED,
    Candidate("DOUBLE", _spelt(lambda written: _without_zero(_positional(written))), implies=_OF_PLAIN),
    Candidate("BOOLEAN", lambda text: text in ("true", "false")),
    Candidate("BOOLEAN", lambda text: text in ("TRUE", "FALSE")),
    Candidate("BOOLEAN", lambda text: text in ("True", "False")),
    Candidate("BOOLEAN", lambda text: text.lower() in ("true", "false"), "in more than one spelling"),
    Candidate("DATE", _is_date, implies=_OF_TIME),
    Candidate("TIMESTAMP", _is_utc, implies=_OF_TIME),
    Candidate("TIMESTAMP", _is_timestamp, "stored as moments in UTC, without their offsets", implies=_OF_TIME),
    Candidate("TIMESTAMP_NTZ", _is_timestamp_ntz, implies=_OF_TIME),
)
"""In the order of preference: whole numbers are doubles too."""

WITH_DECIMAL_COMMA = tuple(each for each in CANDIDATES if "--decimal" not in each.note)
