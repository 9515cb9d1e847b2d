"""How the rows of a file are cut into jobs: the same rows are the same jobs, however often the file is read."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import overload

from lakequeue.load_names import check_name, job_id

ROW_BYTES = 8
_HEAD_BYTES = 4
_TAG_BYTES = 6
_STORED = struct.Struct("<HQLQ4s")
_SEPARATOR = "\x1f"


def row_digest(row: Sequence[str]) -> bytes:
    """The digest of a row's fields as text, whatever quotes and line ends the file has around them."""
    text = _SEPARATOR.join(row)
    if text.count(_SEPARATOR) != len(row) - 1:
        text = repr(list(row))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=ROW_BYTES).digest()


def digest_of(row_digests: bytes | bytearray | memoryview) -> int:
    """The digest of consecutive rows, from theirs one after the other."""
    return int.from_bytes(blake2b(row_digests, digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of a file that are one job: `first` is the number of its first row in the content `tag`, with
    which it was sent, `digest` is that of its rows and `head` the beginning of its first row's."""

    tag: str
    first: int
    rows: int
    digest: int
    head: bytes

    @classmethod
    def of(cls, tag: str, first: int, row_digests: bytes | bytearray | memoryview) -> Part:
        rows = len(row_digests) // ROW_BYTES
        return cls(tag, first, rows, digest_of(row_digests), bytes(row_digests[:_HEAD_BYTES]))

    def tagged(self, tag: str) -> Part:
        return Part(tag, self.first, self.rows, self.digest, self.head)


class Plan(Sequence[Part]):
    """The jobs of a file in the order of its rows: some 26 bytes a job. `rows` are those of all of them."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self.rows = 0
        self._tags: dict[str, int] = {}
        self._names: list[str] = []
        self._tag = array("H")
        self._first = array("Q")
        self._rows = array("L")
        self._digest = array("Q")
        self._head = bytearray()
        for part in parts:
            self.append(part)

    def append(self, part: Part) -> None:
        number = self._tags.setdefault(part.tag, len(self._names))
        if number == len(self._names):
            self._names.append(part.tag)
        self._tag.append(number)
        self._first.append(part.first)
        self._rows.append(part.rows)
        self._digest.append(part.digest)
        self._head += part.head
        self.rows += part.rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Part: ...

    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...

    def __getitem__(self, index: int | slice) -> Part | list[Part]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        return Part(
            self._names[self._tag[index]],
            self._first[index],
            self._rows[index],
            self._digest[index],
            bytes(self._head[index * _HEAD_BYTES : (index + 1) * _HEAD_BYTES]),
        )

    def __iter__(self) -> Iterator[Part]:
        return (self[index] for index in range(len(self)))

    def tagged(self, tag: str) -> Plan:
        """The same jobs as those of another content."""
        plan = Plan()
        plan.rows, plan._tags, plan._names = self.rows, {tag: 0}, [tag]
        plan._tag = array("H", bytes(self._tag.itemsize * len(self)))
        plan._first, plan._rows, plan._digest, plan._head = self._first, self._rows, self._digest, self._head
        return plan

    @property
    def is_mixed(self) -> bool:
        """Whether the jobs were sent with different contents, so that the file alone does not tell how it is cut."""
        return len(self._names) > 1

    def ids(self, name: str) -> list[str]:
        """The ids of the jobs of a load."""
        check_name(name)
        names = self._names
        return [job_id(name, names[tag], first) for tag, first in zip(self._tag, self._first, strict=True)]

    def rows_of(self, wanted: Sequence[int]) -> int:
        """The rows of those jobs for which `wanted` is 1."""
        return sum(rows for rows, is_wanted in zip(self._rows, wanted, strict=True) if is_wanted)

    def content_tag(self, content: str) -> str:
        """The tag of those jobs of a content that have none yet: with another cut it is another one."""
        digest = blake2b(content.encode(), digest_size=_TAG_BYTES)
        for tag, first, rows in zip(self._tag, self._first, self._rows, strict=True):
            digest.update(struct.pack("<QL", first, rows) + self._names[tag].encode())
        return digest.hexdigest()

    def stored(self) -> bytes:
        """What `Plan.load` reads: the tags, then each part."""
        names = _SEPARATOR.join(self._names).encode()
        parts = b"".join(
            _STORED.pack(self._tags[part.tag], part.first, part.rows, part.digest, part.head) for part in self
        )
        return zlib.compress(struct.pack("<L", len(names)) + names + parts, 1)

    @classmethod
    def load(cls, stored: bytes) -> Plan:
        """Raises ValueError for bytes that no plan was stored as."""
        try:
            data = zlib.decompress(stored)
            (length,) = struct.unpack_from("<L", data)
            names = data[4 : 4 + length].decode().split(_SEPARATOR)
            found = _STORED.iter_unpack(data[4 + length :])
            return cls(Part(names[number], first, rows, digest, head) for number, first, rows, digest, head in found)
        except (zlib.error, struct.error, UnicodeDecodeError, IndexError) as exc:
            raise ValueError("no plan of a load") from exc


class Cutter:
    """Cuts rows, shown to it one after the other, into jobs of so many rows and of so much weight at most."""

    def __init__(self, rows_per_job: int, room: int, *, first: int = 1) -> None:
        self._rows_per_job = rows_per_job
        self._room = room
        self._first = first
        self._rows = bytearray()
        self._weight = 0
        self._parts = Plan()

    def add(self, row: bytes, weight: int) -> None:
        if self._rows and (len(self._rows) == self._rows_per_job * ROW_BYTES or self._weight + weight > self._room):
            self._cut()
        self._rows += row
        self._weight += weight

    def _cut(self) -> None:
        part = Part.of("", self._first, self._rows)
        self._parts.append(part)
        self._first += part.rows
        self._rows.clear()
        self._weight = 0

    def parts(self) -> Plan:
        """The jobs, still without a tag; call it once, at the end."""
        if self._rows:
            self._cut()
        return self._parts
