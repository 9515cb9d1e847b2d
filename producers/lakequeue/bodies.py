"""The body of a Celery message: base64, compression and content type, read within a bound and never unpickled.

kombu 5.7: `kombu/compression.py`, `kombu/serialization.py`.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from lakequeue.json_text import read_arguments
from lakequeue.problems import quoted

MAX_BODY_BYTES = 8_000_000
"""Bytes that a compressed body may have once it is decompressed."""

_PLAIN = (None, "application/json")
_JSON = ("application/json", "application/vnd.api+json", "text/json")
_SERIALIZERS = {
    "application/x-python-serialize": "pickle",
    "application/x-yaml": "yaml",
    "application/x-msgpack": "msgpack",
}


class UnreadableBody(ValueError):
    """A body that is not read; the text says what its sender can change."""


def read_body(envelope: Mapping[str, Any]) -> Any:
    """The JSON value in the body of kombu's envelope.

    Raises:
        UnreadableBody: it is in another form than JSON, or its base64 or compression cannot be read here.
        ValueError: its JSON is broken.
    """
    return read_arguments(body_text(envelope))


def body_text(envelope: Mapping[str, Any]) -> str | bytes:
    """The JSON text of the body, as it was before compression and base64."""
    content_type = envelope.get("content-type")
    if content_type not in _PLAIN and str(content_type).partition(";")[0].strip().lower() not in _JSON:
        kind = _SERIALIZERS.get(str(content_type), quoted(content_type))
        raise UnreadableBody(f'the arguments are in {kind}, and only JSON is read: set task_serializer = "json"')
    body: str | bytes = envelope["body"]
    if (envelope.get("properties") or {}).get("body_encoding") == "base64":
        try:
            body = b64decode(body, validate=True)
        except ValueError as exc:
            raise UnreadableBody("the body of the message is no base64, though body_encoding says so") from exc
    compression = (envelope.get("headers") or {}).get("compression")
    if not compression:
        return body
    decompress = _DECOMPRESS.get(str(compression))
    if decompress is None or isinstance(body, str):
        raise UnreadableBody(
            f"the compression {quoted(compression)} is not known: use gzip or none in task_compression"
        )
    try:
        found = decompress(body, MAX_BODY_BYTES + 1)
    except ImportError as exc:
        raise UnreadableBody(f"{compression} takes the package {exc.name} here: use gzip in task_compression") from exc
    except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as exc:
        raise UnreadableBody(f"the body is not compressed as {compression}, or it is cut off") from exc
    if len(found) > MAX_BODY_BYTES:
        raise UnreadableBody(f"the arguments are larger than {MAX_BODY_BYTES:,} bytes: send the rows in several jobs")
    return found


def _zlib(body: bytes, most: int) -> bytes:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # kombu's "gzip" is zlib's form; others send gzip's
    return _whole(reader.decompress(body, most), reader.eof, most)


def _bz2(body: bytes, most: int) -> bytes:
    reader = bz2.BZ2Decompressor()
    return _whole(reader.decompress(body, most), reader.eof, most)


def _lzma(body: bytes, most: int) -> bytes:
    reader = lzma.LZMADecompressor(memlimit=128 * 2**20)
    return _whole(reader.decompress(body, most), reader.eof, most)


def _whole(found: bytes, ended: bool, most: int) -> bytes:
    if not ended and len(found) < most:
        raise EOFError
    return found


def _arrow(codec: str) -> Callable[[bytes, int], bytes]:
    """By pyarrow, which workers have; it is loaded when the first such body comes."""

    def decompress(body: bytes, most: int) -> bytes:
        pyarrow = import_module("pyarrow")
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(body), codec) as stream:
            found: bytes = stream.read(most)
        return found

    return decompress


_DECOMPRESS: dict[str, Callable[[bytes, int], bytes]] = {
    **dict.fromkeys(("application/x-gzip", "application/gzip", "gzip", "zlib"), _zlib),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), _bz2),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _lzma),
    **dict.fromkeys(("application/zstd", "zstd", "zstandard"), _arrow("zstd")),
    **dict.fromkeys(("application/x-brotli", "brotli"), _arrow("brotli")),
}
