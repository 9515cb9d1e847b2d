"""The text that a statement casts, for each type that holds a single value."""

import base64
import binascii
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite, isnan

from pydantic import JsonValue

from lakequeue import columns
from lakequeue.problems import ValueProblem
from lakequeue.typed_values import NON_FINITE, Kind, Typed

Encode = Callable[[JsonValue], str | None]

# What Spark's JSON reader takes in one string (unconfirmed on a live warehouse).
MAX_STRING_CHARS = 20_000_000

_INT_RANGES = {"BIGINT": 63, "INT": 31, "SMALLINT": 15, "TINYINT": 7}
# As CSV files spell whole numbers too: 007, +5, and 1.0 where a column once held a null as a float.
_INTEGER = re.compile(r"([+-]?)([0-9]++)(?:\.0++)?")
_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# ` UTC` and ` -0500` are how BigQuery, Ruby and git write an offset; a CHAR column pads with blanks.
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.([0-9]+))?)?)"
    r"(Z| ?UTC| ?[+-][0-9]{2}(?::?[0-9]{2})?)? *"
)


def integer_encoder(kind: str) -> Encode:
    bits = _INT_RANGES[kind]
    low, high = -(2**bits), 2**bits - 1

    def encode(value: JsonValue) -> str | None:
        if type(value) is int:
            number = value
        elif value is None:
            return None
        elif (text := text_of(value, "decimal")) is not None:
            match = _INTEGER.fullmatch(text)
            if not match:
                what = "text" if text is value else "Decimal"
                raise ValueProblem("bad_format", f"{kind} takes a whole number, as in 42; the {what} is not one")
            digits = match[2].lstrip("0") or "0"
            number = int(match[1] + digits) if len(digits) <= 19 else high + 1
        else:
            raise wrong_type(kind, "a whole number", value)
        if low <= number <= high:
            return str(number)
        raise ValueProblem("out_of_range", f"{kind} holds {low} to {high}")

    return encode


def encode_double(value: JsonValue) -> str | None:
    if type(value) is float:
        number = value
    elif value is None:
        return None
    else:
        number = _real("DOUBLE", value)
        _refuse_changed("DOUBLE", value, number)
    return repr(number) if isfinite(number) else infinity(number)


def encode_float(value: JsonValue) -> str | None:
    if value is None:
        return None
    number = _real("FLOAT", value)
    if not isfinite(number):
        return infinity(number)
    try:
        narrow: float = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        raise ValueProblem("out_of_range", "FLOAT holds up to ±3.4028235e38") from None
    if narrow == 0.0 and number != 0.0:
        raise ValueProblem("out_of_range", "too near to zero: FLOAT holds down to ±1.4e-45")
    _refuse_changed("FLOAT", value, narrow)
    return repr(narrow)


def _real(kind: str, value: JsonValue) -> float:
    if isinstance(value, float):
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ValueProblem("out_of_range", f"larger than any {kind}") from None
    text = text_of(value, "decimal", "float")
    if text is None:
        raise wrong_type(kind, "a number", value)
    if text in NON_FINITE:
        return float(text)
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueProblem("bad_format", f"{kind} takes a number, NaN, Infinity or -Infinity; the text is no such")
    number = float(text)
    if not isfinite(number):
        raise ValueProblem("out_of_range", f"larger than any {kind}")
    if number == 0.0 and (match[2] + (match[3] or "")).strip("0"):
        raise ValueProblem("out_of_range", f"nearer to zero than any {kind}")
    return number


_EXACT_BELOW = {"DOUBLE": 2**53, "FLOAT": 2**24}


def _refuse_changed(kind: str, value: JsonValue, number: float) -> None:
    """A whole number and a Decimal are exact; a float, and text with a fraction or an exponent, may be rounded."""
    if isinstance(value, Typed):
        if value.kind == "decimal" and not _has_digits(number, Decimal(value.text)):
            msg = f"{kind} does not hold every digit of this Decimal: send float(value) if the nearest one will do"
            raise ValueProblem("not_exact", msg)
    elif not isinstance(value, float) and (whole := _whole(value)) is not None and abs(int(number)) != whole:
        msg = f"past {_EXACT_BELOW[kind]:,} {kind} does not hold every whole number, and not this one"
        raise ValueProblem("not_exact", f"{msg}: use BIGINT or DECIMAL, or send a float if the nearest one will do")


def _whole(value: JsonValue) -> int | None:
    """The size of a whole number, or of one in text of nothing but digits and a sign."""
    if isinstance(value, int):
        return abs(value)
    assert isinstance(value, str)
    digits = value.lstrip("+-").lstrip("0")
    return int(digits) if digits.isdigit() else None  # a DOUBLE has no more than 309 of them


def _has_digits(number: float, given: Decimal) -> bool:
    """Whether a number, printed with as many digits as are given, is what was given."""
    digits = len(given.as_tuple().digits)
    return Decimal(f"{number:.{digits - 1}e}") == given


def infinity(number: float) -> str:
    return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"


def decimal_encoder(column_type: columns.Decimal) -> Encode:
    sql, scale = column_type.sql, column_type.scale
    whole = column_type.precision - scale
    bound: int = 10**whole

    def encode(value: JsonValue) -> str | None:
        if value is None:
            return None
        if type(value) is int:
            if -bound < value < bound:
                return str(value)
            raise ValueProblem("out_of_range", f"{sql} holds at most {whole} digits before the point")
        if isinstance(value, float):
            raise ValueProblem("wrong_type", f'{sql} takes no float, which is seldom the decimal it shows: send "9.90"')
        text = text_of(value, "decimal")
        if text is None:
            raise wrong_type(sql, 'a whole number, a Decimal or text such as "9.90"', value)
        match = _NUMBER.fullmatch(text)
        if not match:
            raise ValueProblem("bad_format", f'{sql} takes a number such as "9.90"; the text is not one')
        sign, before, after, exponent = match.groups()
        point = len(before) + (int(exponent) if exponent else 0)
        digits = before + (after or "")
        significant = digits.lstrip("0")
        point -= len(digits) - len(significant)
        significant = significant.rstrip("0")
        if not significant:
            return "0"
        # Checked before any zero is written out: the exponent is the caller's.
        if point > whole:
            raise ValueProblem("out_of_range", f"{sql} holds at most {whole} digits before the point")
        if len(significant) - point > scale:
            raise ValueProblem("out_of_range", f"{sql} holds at most {scale} fraction digits")
        if point <= 0:
            text = "0." + "0" * -point + significant
        elif point >= len(significant):
            text = significant + "0" * (point - len(significant))
        else:
            text = f"{significant[:point]}.{significant[point:]}"
        return f"-{text}" if sign == "-" else text

    return encode


def encode_boolean(value: JsonValue) -> str | None:
    if value is True or value == "true":
        return "true"
    if value is False or value == "false":
        return "false"
    if value is None:
        return None
    if isinstance(value, str):
        if (lower := value.lower()) in ("true", "false"):
            return lower
        raise ValueProblem("bad_format", "BOOLEAN takes true or false; the text is neither")
    raise wrong_type("BOOLEAN", "true or false", value)


def encode_string(value: JsonValue) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type("STRING", "text", value)
    return _checked_text(value)


def _checked_text(value: str) -> str:
    if len(value) > MAX_STRING_CHARS:
        raise ValueProblem("too_long", f"text has at most {MAX_STRING_CHARS:,} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueProblem("bad_text", "text holds a lone surrogate, which is no Unicode") from None
    return value


def limited_text_encoder(column_type: columns.Varchar | columns.Char) -> Encode:
    sql, length = column_type.sql, column_type.length
    padded = isinstance(column_type, columns.Char)

    def encode(value: JsonValue) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(sql, "text", value)
        if len(value) > length:
            raise ValueProblem("too_long", f"{sql} holds {length} characters, this text has {len(value)}")
        # The warehouse pads a CHAR, so trailing spaces are no part of its value.
        return _checked_text(value.rstrip(" ") if padded else value)

    return encode


def encode_date(value: JsonValue) -> str | None:
    if value is None:
        return None
    text = text_of(value, "date")
    if text is None:
        raise wrong_type("DATE", "a date or text such as 2024-12-31", value)
    if not _DATE.fullmatch(text):
        raise ValueProblem("bad_format", "DATE takes an ISO date such as 2024-12-31")
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueProblem("out_of_range", "no such day; DATE holds 0001-01-01 to 9999-12-31") from None
    return text


def encode_timestamp(value: JsonValue) -> str | None:
    if value is None:
        return None
    moment = _moment("TIMESTAMP", "2024-12-31T23:59:59.123456Z", value)
    if moment.tzinfo is None:
        raise ValueProblem("bad_format", "TIMESTAMP needs an offset or Z, as in 2024-12-31T23:59:59Z, to name a moment")
    try:
        in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        return in_utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except OverflowError:
        raise ValueProblem("out_of_range", "TIMESTAMP holds the years 0001 to 9999 in UTC") from None


def encode_timestamp_ntz(value: JsonValue) -> str | None:
    if value is None:
        return None
    moment = _moment("TIMESTAMP_NTZ", "2024-12-31T23:59:59.123456", value)
    if moment.tzinfo is not None:
        raise ValueProblem("bad_format", "TIMESTAMP_NTZ has no time zone: leave out the offset or Z")
    return moment.isoformat(timespec="microseconds")


def _moment(kind: str, example: str, value: JsonValue) -> datetime:
    text = text_of(value, "datetime")
    if text is None:
        raise wrong_type(kind, f"a datetime or text such as {example}", value)
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise ValueProblem("bad_format", f"{kind} takes an ISO timestamp such as {example}")
    written, fraction, offset = match.groups()
    if fraction and len(fraction) > 6:
        if fraction[6:].strip("0"):
            raise ValueProblem("bad_format", f"{kind} keeps microseconds: only zeros may follow 6 fraction digits")
        written = written[: 6 - len(fraction)]
    try:
        return datetime.fromisoformat(written + (offset or "").lstrip().replace("UTC", "Z"))
    except ValueError:
        raise ValueProblem("out_of_range", f"no such moment; {kind} holds the years 0001 to 9999") from None


def encode_bytes(value: JsonValue) -> str | None:
    """BINARY as Python gives it: text would be decoded without a word."""
    if isinstance(value, str):
        msg = "BINARY takes bytes, not text: send text.encode(), or base64.b64decode(text) of base64 text"
        raise ValueProblem("wrong_type", msg)
    return encode_binary(value)


def encode_binary(value: JsonValue) -> str | None:
    """BINARY as JSON gives it, where text is base64."""
    if value is None:
        return None
    text = text_of(value, "base64")
    if text is None:
        raise wrong_type("BINARY", "bytes, in JSON base64 text", value)
    if len(text) > MAX_STRING_CHARS:
        raise ValueProblem("too_long", f"base64 text has at most {MAX_STRING_CHARS:,} characters")
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueProblem("bad_format", "BINARY takes base64 (A-Z a-z 0-9 + /, padded with =)") from None
    # Encoded again, since the last character's spare bits may differ for the same bytes.
    return base64.b64encode(raw).decode("ascii")


def unsupported_encoder(column_type: columns.Unsupported) -> Encode:
    def encode(value: JsonValue) -> str | None:
        if value is None:
            return None
        raise ValueProblem("unsupported", f"{column_type.sql} columns can be read but not written")

    return encode


def text_of(value: JsonValue, *kinds: Kind) -> str | None:
    """The text of a value that is text or of one of the kinds; None for any other."""
    if isinstance(value, str):
        return value
    return value.text if isinstance(value, Typed) and value.kind in kinds else None


_JSON_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a float",
    str: "text",
    list: "a list",
    dict: "an object",
}
_TYPED_KINDS = {"decimal": "a Decimal", "datetime": "a datetime", "date": "a date", "base64": "bytes"}
_TO_TEXT = {
    "a date": "value.isoformat()",
    "a datetime": "value.isoformat()",
    "bytes": "value.decode()",
    "a list": "json.dumps(value)",
    "an object": "json.dumps(value)",
}
_INSTEAD = {
    ("DATE", "a datetime"): ": send value.date()",
    ("BINARY", "a list"): ": send bytes(value)",
    **{(kind, "a float"): ": send int(value) of a whole one" for kind in _INT_RANGES},
}


def wrong_type(kind: str, wanted: str, value: JsonValue) -> ValueProblem:
    got = _named(value)
    if got == "NaN":
        instead = ", which pandas writes for a missing value: send None"
    elif wanted == "text":
        instead = f": send text, in Python {_TO_TEXT.get(got, 'str(value)')}"
    else:
        instead = _INSTEAD.get((kind, got), "")
    return ValueProblem("wrong_type", f"{kind} takes {wanted}, not {got}{instead}")


def _named(value: JsonValue) -> str:
    if isinstance(value, Typed):
        return value.text if value.kind == "float" else _TYPED_KINDS[str(value.kind)]
    if value != value:
        return "NaN"
    return _JSON_KINDS.get(type(value), f"a {type(value).__name__}")
