"""Every type with its edge values, as the product casts them: the same value or the same error on both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from lakequeue.columns import parse_type

from tasks.expressions import from_text
from tasks.sql import Sql
from tests.conformance.known import KNOWN
from tests.conformance.sides import Side

_WHOLE = ("0", "-0", "+7", " 7 ", "", "x", "1.5", "1e3", "NaN", "9" * 40)
EDGES: Mapping[str, Sequence[str]] = {
    "TINYINT": ("127", "-128", "128", "-129", *_WHOLE),
    "SMALLINT": ("32767", "-32768", "32768", "-32769", *_WHOLE),
    "INT": ("2147483647", "-2147483648", "2147483648", "-2147483649", *_WHOLE),
    "BIGINT": ("9223372036854775807", "-9223372036854775808", "9223372036854775808", *_WHOLE),
    "DECIMAL(38,0)": ("9" * 38, "-" + "9" * 38, "9" * 39, "1" + "0" * 38, "0", "x", ""),
    "DECIMAL(38,38)": ("0." + "9" * 38, "-0." + "0" * 37 + "1", "1", "0"),
    "DECIMAL(5,2)": ("999.99", "-999.99", "1000", "1000.00", "1e2", "0.01", ".5", "5.", "NaN", "1,5"),
    "DOUBLE": ("1.7976931348623157e308", "5e-324", "-0.0", "NaN", "Infinity", "-Infinity", "0.1", "x", "", "1e400"),
    "FLOAT": ("3.4028235e38", "1e-45", "-0.0", "NaN", "Infinity", "0.1", "16777217", "x", "1e39"),
    "STRING": ("", "\x00", "🦆", "e\u0301", "\u2028", "'", "\\"),
    "BOOLEAN": ("true", "false", "TRUE", "1", "0", "yes", "t", "2", "", "ja"),
    "DATE": ("0001-01-01", "9999-12-31", "2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "1582-10-10",
             "2024-13-01", "2024-02-30", "", "x", "2024-2-9"),
    "TIMESTAMP": ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "2016-12-31T23:59:60Z",
                  "2016-12-31T23:59:59.999999+00:00", "2024-02-29T00:00:00+14:00", "2024-02-29T00:00:00-12:00",
                  "1883-11-18T12:03:58Z", "1969-12-31T23:59:59.999999Z", "2024-01-01T24:00:00Z",
                  "2023-02-29T00:00:00Z", "2024-01-01T00:00:00+25:00", "", "x"),
    "TIMESTAMP_NTZ": ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "2016-12-31T23:59:60",
                      "2024-03-31T02:30:00", "1582-10-10T00:00:00.000001", "2024-01-01T24:00:00", "x"),
    "BINARY": ("", "AA==", "/+8=", "AA", "A", "!!", "AA=", "AAA=\n"),
    "ARRAY<INT>": ("[]", "[null]", '["1","-2147483648"]', '["x"]', '["2147483648"]', "null", "["),
    "ARRAY<ARRAY<STRING>>": ("[]", "[[]]", "[null,[null]]", '[["","🦆"],[]]'),
    "MAP<STRING, DECIMAL(38,10)>": ("[]", '[{"key":"","value":null}]', '[{"key":"a","value":"1.0000000001"}]',
                                    '[{"key":"a","value":"1"},{"key":"a","value":"2"}]',
                                    '[{"key":null,"value":"1"}]', '[{"key":"a","value":"x"}]'),
    "STRUCT<`x`: INT, `y-z`: STRUCT<`d`: DATE>>": (
        '{"x":null,"y-z":null}', '{"x":"1","y-z":{"d":"2024-02-29"}}', '{"x":"1","y-z":{"d":null}}',
        '{"x":"1","y-z":{"d":"2023-02-29"}}', '{"x":"y","y-z":null}', "null",
    ),
}  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", EDGES)
def test_a_text_is_cast_alike(duck: Side, real: Side, kind: str) -> None:
    differ = []
    text = f"SELECT {from_text(parse_type(kind), Sql(':v'))} AS v"
    for value in (None, *EDGES[kind]):
        one, other = (side.run(text, {"v": value}) for side in (duck, real))
        expected = None if real.name != "spark" and other == one else KNOWN.get(f"{kind}: {value}")
        if (one, other) != (expected or (one, one)):
            differ.append(f"\n{kind} {value!r}\n  {duck.name} {one}\n  {real.name} {other}")
    print(f"\n{kind}: {len(EDGES[kind]) + 1} cases")
    assert not differ, "".join(differ)
