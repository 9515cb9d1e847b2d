"""Lines of jobs come in blocks, numbered as an editor numbers them."""

import io

import pytest
from lakequeue.job_commands import MAX_LINE_BYTES, Line, blocks


def lines_of(data: bytes) -> list[Line]:
    return [line for block in blocks(io.BufferedReader(io.BytesIO(data))) for line in block]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\n \n", [], id="blank"),
        pytest.param(b"a\n\nb", [(1, b"a"), (3, b"b")], id="no last newline"),
        pytest.param(b"a\r\nb\r\n", [(1, b"a\r"), (2, b"b\r")], id="crlf"),
        pytest.param("a\u2028b\n".encode(), [(1, "a\u2028b".encode())], id="a separator inside JSON text"),
    ],
)
def test_lines_are_numbered_and_blank_ones_skipped(data: bytes, lines: list[Line]) -> None:
    assert lines_of(data) == lines


def test_lines_are_whole_however_reads_fall() -> None:
    data = b"".join(b"%d\n" % n for n in range(200_000))
    assert lines_of(data) == [(n + 1, b"%d" % n) for n in range(200_000)]


def test_an_endless_line_is_cut_off_and_the_next_one_still_read() -> None:
    lines = lines_of(b"a\n" + b"x" * (2 * MAX_LINE_BYTES) + b"\nb\nc")
    assert [number for number, _ in lines] == [1, 2, 3, 4]
    assert MAX_LINE_BYTES < len(lines[1][1]) < MAX_LINE_BYTES * 1.1
    assert [text for _, text in lines[2:]] == [b"b", b"c"]
