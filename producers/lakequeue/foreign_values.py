"""Scalars and arrays of numpy and pandas as Python values, without an import of either."""

from datetime import date
from typing import Any

from lakequeue.problems import ValueProblem

_EXACT = frozenset("biufSU")
"""numpy's kinds of dtype of which `item()` is the same value: bool, integers, floats, bytes and text."""


def python_equivalent(value: object) -> object:
    """The value as a type of Python's own, a list for an array.

    Raises:
        ValueProblem: there is none that holds the same.
    """
    given = type(value)
    if given.__name__ == "NAType" and given.__module__.startswith("pandas."):
        raise ValueProblem("wrong_type", "pandas.NA cannot be sent: send None for a missing value")
    if any(each.__module__.partition(".")[0] == "numpy" for each in given.__mro__) and hasattr(value, "dtype"):
        return _of_numpy(value)
    raise _unknown(value)


def _of_numpy(value: Any) -> object:
    if value.shape:
        return list(value)
    kind = value.dtype.kind
    if kind == "M":
        return _moment(value)
    found: object = value.item()
    # The item of a longdouble is the longdouble itself.
    if (kind in _EXACT or kind == "O") and type(found) is not type(value):
        return found
    raise _unknown(value)


def _moment(value: Any) -> date:
    found: object
    if value != value:
        raise ValueProblem("no_moment", "NaT is no moment: send None for a missing value")
    found = value.item()
    if isinstance(found, int):  # it is finer than microseconds, or far away
        in_microseconds = value.astype("datetime64[us]")
        if in_microseconds != value:
            raise ValueProblem("bad_format", "a timestamp keeps microseconds, this one has nanoseconds")
        found = in_microseconds.item()
    if isinstance(found, int):  # numpy's years go further than Python's
        raise ValueProblem("out_of_range", "a date or timestamp lies in the years 0001 to 9999")
    assert isinstance(found, date)
    return found


def _unknown(value: object) -> ValueProblem:
    return ValueProblem(
        "wrong_type",
        f"{type(value).__name__} cannot be sent; accepted are None, bool, int, float, str, Decimal, "
        "datetime, date, bytes, UUID, list, tuple, dict, and scalars and arrays of numpy",
    )
