"""Files that are compressed, in another encoding, or no CSV at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from backports import zstd
from lakequeue.csv_dialect import Dialect
from lakequeue.csv_file import CsvFile
from lakequeue.csv_problem import CsvProblem

from tests.csv_loading import dry_run, read

PLAIN = b"id,name\n" + b"".join(b"%d,Name %d\n" % (n, n) for n in range(1, 3_001))
ROWS = [{"id": n, "name": f"Name {n}"} for n in range(1, 3_001)]


def written(folder: Path, content: bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


COMPRESSED = {
    "gzip": gzip.compress(PLAIN),
    "gzip of two members": gzip.compress(PLAIN[:1_000]) + gzip.compress(PLAIN[1_000:]),
    "zstd": zstd.compress(PLAIN),
    "zstd of two frames": zstd.compress(PLAIN[:1_000]) + zstd.compress(PLAIN[1_000:]),
}


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
@pytest.mark.parametrize("content", COMPRESSED.values(), ids=COMPRESSED)
def test_a_compressed_file_is_read_whatever_its_name(tmp_path: Path, content: bytes, name: str) -> None:
    path = written(tmp_path, content, name)
    assert read(path).rows == ROWS


def test_a_name_alone_compresses_nothing(tmp_path: Path) -> None:
    assert read(written(tmp_path, PLAIN, "rows.csv.gz")).rows == ROWS


def test_progress_counts_the_bytes_of_the_file_itself(tmp_path: Path) -> None:
    file = CsvFile(written(tmp_path, COMPRESSED["gzip"]), Dialect(), max_field_chars=100)
    assert [block.offset for block in file.blocks(500)][-1] == file.size == len(COMPRESSED["gzip"])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_that_is_cut_or_damaged_is_refused(tmp_path: Path, kind: str) -> None:
    whole = COMPRESSED[kind]
    with pytest.raises(CsvProblem, match=f"compressed with {kind} and ends in the middle"):
        read(written(tmp_path, whole[:-20]))
    # What is read of a damaged file may be garbage before its checksum shows it; nothing is sent before that.
    with pytest.raises(CsvProblem):
        read(written(tmp_path, whole[:60] + bytes(40) + whole[100:]))


def test_zstd_without_its_library_names_what_to_install(tmp_path: Path) -> None:
    path = written(tmp_path, COMPRESSED["zstd"])
    program = (
        "import sys; sys.modules['backports.zstd'] = None; sys.modules['compression.zstd'] = None; "
        f"from lakequeue.cli import main; sys.exit(main(['load', {str(path)!r}, '--table', 'a.b.c', '--dry-run']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is compressed with zstd, which needs pip install 'lakequeue[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def zipped(**parts: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": [1]}), stream)
    return stream.getvalue()


XLSX = zipped(**{"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"})
OTHER_KINDS = {
    "xlsx": (XLSX, "is an Excel workbook (.xlsx), not CSV: save its sheet as CSV UTF-8"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "an old Excel workbook (.xls), not CSV"),
    "zip": (zipped(**{"rows.csv": PLAIN}), "is a zip archive, not CSV: unpack it first"),
    "parquet": (parquet(), "is a Parquet file, not CSV"),
    "xz": (lzma.compress(PLAIN), "is compressed with xz"),
    "bzip2": (bz2.compress(PLAIN), "is compressed with bzip2"),
    "html": (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "is a web page, not CSV"),
    "json": (b'{"id": 1}\n{"id": 2}\n', "is JSON, not CSV"),
    "utf-16": ("id,name\n1,é\n".encode("utf-16"), "starts with the mark of UTF-16: give --encoding utf-16"),
    "utf-16-le": ("id,name\n1,é\n".encode("utf-16-le"), "UTF-16 without a mark: give --encoding utf-16-le"),
    "utf-16-be": ("id,name\n1,é\n".encode("utf-16-be"), "UTF-16 without a mark: give --encoding utf-16-be"),
    "utf-32": ("id,name\n1,é\n".encode("utf-32"), "starts with the mark of UTF-32: give --encoding utf-32"),
}


@pytest.mark.parametrize(("content", "says"), OTHER_KINDS.values(), ids=OTHER_KINDS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["as it is", "in gzip"])
def test_what_is_no_csv_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, says: str, pack: type[bytes]
) -> None:
    code, told = dry_run(written(tmp_path, pack(content)), capsys)
    assert (code, says in told, "nothing was sent" in told) == (1, True, True), told


@pytest.mark.parametrize("header", ["PAR1,x", "ORC,x", "BZh,x", "Rar,x"])
def test_text_that_begins_like_another_kind_is_text(tmp_path: Path, header: str) -> None:
    assert list(read(written(tmp_path, f"{header}\n1,2\n".encode())).types) == header.split(",")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        pytest.param("id,name\n1,é\n".encode("utf-16"), "utf-16", id="utf-16"),
        pytest.param("\ufeffid,name\n1,é\n".encode("utf-16-le"), "utf-16-le", id="utf-16-le with a mark"),
        pytest.param("id,name\n1,é\n".encode("utf-16-be"), "utf-16-be", id="utf-16-be without one"),
        pytest.param(b"id,name\n1,\xe9\n", "cp1252", id="cp1252"),
        pytest.param(b"\xef\xbb\xbfid,name\n1,\xc3\xa9\n", "utf-8", id="utf-8 with a mark"),
    ],
)
def test_a_file_in_its_encoding_is_read(tmp_path: Path, content: bytes, encoding: str) -> None:
    for packed in (content, gzip.compress(content)):
        assert read(written(tmp_path, packed), "--encoding", encoding).rows == [{"id": 1, "name": "é"}]


def test_a_mark_of_utf_16_contradicts_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(CsvProblem, match="give --encoding utf-16"):
        read(written(tmp_path, "id\n1\n".encode("utf-16")), "--encoding", "latin-1")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["as it is", "in gzip"])
@pytest.mark.parametrize("before", [1, 3, 2_000, 20_000])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_bad_byte_is_told_with_its_line(tmp_path: Path, before: int, end: str, pack: type[bytes]) -> None:
    lines = ["id,name", *(f"{n},Zoë" for n in range(before - 1))]
    content = end.join(lines).encode() + end.encode() + b"1,Zo\xeb" + end.encode() + b"2,x"
    with pytest.raises(CsvProblem) as refused:
        read(written(tmp_path, pack(content)))
    assert str(refused.value).startswith(f"line {before + 1}: is not in utf-8: name its --encoding")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp1250", "mac_roman"])
def test_utf_8_that_is_read_as_another_encoding_gets_a_note(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "id,name\n1,José\n2,Zoë\n3,Ann\n".encode())
    assert "column 'name' has text such as Ã© for é" in read(path, "--encoding", encoding).said
    assert read(path).said == ""


def test_text_that_was_broken_before_gets_a_note_too(tmp_path: Path) -> None:
    assert "its writer read UTF-8 as another encoding" in read(written(tmp_path, "n\nJosÃ©\nZoÃ«\n".encode())).said
    assert read(written(tmp_path, "n\nÃ\nÃO\nSÃO\n日本\n".encode())).said == ""
