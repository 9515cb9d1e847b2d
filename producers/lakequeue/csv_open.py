"""A file's bytes: recognised by how they begin, decompressed, and always those of the same file."""

from __future__ import annotations

import codecs
import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BufferedReader, FileIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

from lakequeue.csv_problem import CsvProblem

HEAD_BYTES = 4_096
BUFFER_BYTES = 131_072

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_KINDS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls): save its sheet as CSV UTF-8"),
    (b"PAR1", "a Parquet file: write its rows as CSV first"),
    (b"ARROW1", "an Arrow file: write its rows as CSV first"),
    (b"ORC", "an ORC file: write its rows as CSV first"),
    (b"Obj\x01", "an Avro file: write its rows as CSV first"),
    (b"SQLite format 3\x00", "an SQLite database: write the rows of its table as CSV first"),
    (b"\xfd7zXZ\x00", "compressed with xz: decompress it with xz -d, or compress it with gzip or zstd"),
    (b"BZh", "compressed with bzip2: decompress it with bunzip2, or compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4: decompress it with lz4 -d, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (b"%PDF-", "a PDF: export its table as CSV first"),
)
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b")
_JSON = re.compile(rb'\s*(?:\{\s*"|\[\s*\{)')
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that is being read, decompressed."""

    stream: BufferedReader
    raw: FileIO
    closing: ExitStack

    def text(self, encoding: str) -> TextIOWrapper:
        return self.closing.enter_context(TextIOWrapper(self.stream, encoding=encoding, newline=""))

    def position(self) -> int:
        """How many decompressed bytes are read: a small file can hold many."""
        return self.stream.tell()

    def offset(self) -> int:
        """How many bytes of the file itself are read."""
        return os.lseek(self.raw.fileno(), 0, os.SEEK_CUR)


class Source:
    """A regular file of text, perhaps compressed with gzip or zstd.

    Attributes:
        encoding: that of its text: the one given, but for what a byte order mark says.
        notes: what its reader should know.

    Raises:
        OSError: it cannot be opened.
        CsvProblem: it is no such file; from any method, if it changed since, or is damaged.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self.path = path
        self.notes: list[str] = []
        if str(path) == "-" or not stat.S_ISREG((found := os.stat(path)).st_mode):
            raise CsvProblem("is no regular file; it is read more than once, so a pipe will not do")
        self._version = _version(found)
        self.size = found.st_size
        with open(path, "rb") as stream:
            start = stream.read(HEAD_BYTES)
        self._zstd: Any = None
        self._compression = "gzip" if start.startswith(_GZIP) else "zstd" if start.startswith(_ZSTD) else ""
        if self._compression == "zstd":
            self._zstd = _zstd_module()
        with self.opened() as opened:
            head = opened.stream.read(HEAD_BYTES)
        _refuse_other_kinds(head, codecs.lookup(encoding).name)
        self.encoding = self._encoding(head, encoding)

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        with open(self.path, "rb", buffering=0) as raw, ExitStack() as closing:
            self._check(raw)
            stream: BufferedReader
            try:
                if self._compression == "gzip":
                    stream = BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER_BYTES)
                elif self._compression == "zstd":
                    stream = BufferedReader(self._zstd.ZstdFile(raw), BUFFER_BYTES)
                else:
                    stream = BufferedReader(raw, BUFFER_BYTES)
                yield Opened(stream, raw, closing)
            except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
                raise self._damaged(exc) from None
            except Exception as exc:
                if self._zstd is not None and isinstance(exc, self._zstd.ZstdError):
                    raise self._damaged(exc) from None
                raise

    def check_unchanged(self, opened: Opened) -> None:
        self._check(opened.raw)

    def text(self, opened: Opened) -> TextIOWrapper:
        return opened.text(self.encoding)

    def bad_line(self) -> int:
        """The line with the first byte that is not in the file's encoding."""
        line, decoder = 1, codecs.getincrementaldecoder(self.encoding)()
        after_cr = False
        with self.opened() as opened:
            while chunk := opened.stream.read(BUFFER_BYTES):
                state = decoder.getstate()
                try:
                    text = decoder.decode(chunk)
                except UnicodeError:
                    decoder.setstate(state)
                    text = _decoded_before_error(decoder, chunk)
                    return line + _line_ends(text, after_cr)
                line += _line_ends(text, after_cr)
                after_cr = text.endswith("\r")
        return line

    def _check(self, raw: IO[bytes] | FileIO) -> None:
        if _version(os.fstat(raw.fileno())) != self._version:
            raise CsvProblem("changed while it was read")

    def _damaged(self, exc: Exception) -> CsvProblem:
        what = "ends in the middle" if isinstance(exc, EOFError) else "is damaged"
        return CsvProblem(f"is compressed with {self._compression} and {what}: get the file again")

    def _encoding(self, head: bytes, given: str) -> str:
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        name = codecs.lookup(given).name
        if marked is None or name == marked:
            return given
        if marked == "utf-8-sig":
            if name != "utf-8":
                self.notes.append(f"it starts with the mark of UTF-8, so it is read as UTF-8 and not as {given}")
            return marked
        if name.startswith(marked):
            return marked
        raise CsvProblem(f"starts with the mark of {marked.upper()}: give --encoding {marked}")


def _zstd_module() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # the former from Python 3.14 on
        try:
            return import_module(name)
        except ImportError:
            continue
    raise CsvProblem("is compressed with zstd, which needs pip install 'lakequeue[cli]'; or decompress it with zstd -d")


def _refuse_other_kinds(head: bytes, encoding: str) -> None:
    if head.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in head or b"xl/" in head:
            raise CsvProblem("is an Excel workbook (.xlsx), not CSV: save its sheet as CSV UTF-8")
        raise CsvProblem("is a zip archive, not CSV: unpack it first, as with unzip")
    for mark, kind in _KINDS:
        # Text may begin with these letters too.
        if head.startswith(mark) and (mark == b"%PDF-" or _CONTROL.search(head)):
            raise CsvProblem(f"is {kind}" if kind.startswith("comp") else f"is {kind}".replace(":", ", not CSV:", 1))
    if head[257:262] == b"ustar":
        raise CsvProblem("is a tar archive, not CSV: unpack it first, as with tar -x")
    if _WEB_PAGE.match(head):
        raise CsvProblem("is a web page, not CSV; perhaps it is the answer of a site that wanted a login")
    if _XML.match(head):
        raise CsvProblem("is XML, not CSV: write its rows as CSV first")
    if _JSON.match(head):
        raise CsvProblem("is JSON, not CSV: lakequeue enqueue sends jobs of JSON lines")
    if not encoding.startswith(("utf-16", "utf-32")) and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00")):
        for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            if len(head) >= 4 and head[start::2].count(0) > 0.6 * len(head[start::2]):
                raise CsvProblem(f"looks like UTF-16 without a mark: give --encoding {name}")


def _decoded_before_error(decoder: codecs.IncrementalDecoder, chunk: bytes) -> str:
    text = []
    try:
        for at in range(len(chunk)):
            text.append(decoder.decode(chunk[at : at + 1]))
    except UnicodeError:
        pass
    return "".join(text)


def _line_ends(text: str, after_cr: bool) -> int:
    """How many lines end in `text`, as an editor counts; after a CR, a LF at its start ends no other one."""
    ends = text.count("\n") + text.count("\r") - text.count("\r\n")
    return ends - (after_cr and text.startswith("\n"))


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
