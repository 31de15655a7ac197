"""The bytes of a dump, unpacked as they are read, within limits. What the text means is not known here.

Compression is told by magic numbers, never by the file's name. Nothing is written to disk. Every way in
which a
file can be damaged ends in `DumpUnreadable`, at the point of damage.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import zstandard

from kordant_jobs.adapters.dumps.model import DumpLimits
from kordant_jobs.adapters.dumps.unpack import Decompressor, Gzip, Reader, Unpacked, reading
from kordant_jobs.errors import DumpUnreadable

RATIO_FROM_BYTES = 64 << 20  # below this much text a high ratio harms nobody
XZ_MEMORY_BYTES = 256 << 20  # xz -9 needs 65 MiB, a forged header could ask for 4 GiB
ZSTD_WINDOW_BYTES = 1 << 27  # what `zstd --long` writes
HEAD_BYTES = 1 << 20  # what the layout is judged by
HEAD_LINES, HEAD_BYTES_AT_MOST = 100, 16 << 20  # more is read where a giant line leaves too few others
_PACKED_CHUNK = 256 << 10
_ZSTD_CHUNK = 1 << 10  # its decompressor gives all it can at once: 32 MiB from each KiB at the worst


class Compression(StrEnum):
    """How the file is packed."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    ZIP = "zip"


_MAGIC = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\x00", Compression.XZ),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"PK\x03\x04", Compression.ZIP),
    (b"PK\x05\x06", Compression.ZIP),
)
_OTHER_FORMATS = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"PGDMP", "a pg_dump archive"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
)
_SKIPPED_MEMBERS = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
_ZSTD_SKIPPABLE = frozenset(struct.pack("<I", 0x184D2A50 + low) for low in range(16))


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text of a dump: the file itself, or a member of a zip. `head` is its start, read again by
    `reader`."""

    head: bytes
    reader: Reader


@dataclass(kw_only=True)
class Meter:
    """How much was read and unpacked so far, held against the limits."""

    limits: DumpLimits
    packed_total: int
    packed: int = 0
    unpacked: int = 0

    def count(self, amount: int) -> None:
        """Add unpacked bytes. Raises DumpUnreadable over a limit."""
        self.unpacked += amount
        if self.unpacked > self.limits.max_bytes:
            raise DumpUnreadable(
                f"The dump unpacks to more than {self.limits.max_bytes} bytes. Split it, or raise "
                f"KORDANT_DUMP_MAX_BYTES."
            )
        if self.unpacked > RATIO_FROM_BYTES and self.unpacked > self.limits.max_ratio * max(1, self.packed_total):
            raise DumpUnreadable(
                f"The dump unpacks to more than {self.limits.max_ratio} times its size, as zip bombs do. "
                "If it is genuine, unpack it by hand or raise KORDANT_DUMP_MAX_RATIO."
            )


def content_sha256(path: Path) -> str:
    """The SHA-256 of the file's own bytes, hex. Raises DumpUnreadable when it cannot be read."""
    with reading(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sniff(start: bytes) -> Compression:
    """The compression by the first bytes.

    Raises:
        DumpUnreadable: a known format that holds no text that we could read.
    """
    for magic, name in _OTHER_FORMATS:
        if start.startswith(magic):
            raise DumpUnreadable(f"The dump is {name}, which is not read here. Unpack or export it to text.")
    if start[257:262] == b"ustar":
        raise DumpUnreadable("The dump is a tar archive, which is not read here. Unpack it and drop its files.")
    if start[:4] in _ZSTD_SKIPPABLE:
        return Compression.ZSTD
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), Compression.NONE)


class _Plain:
    """Bytes as they are, counted."""

    def __init__(self, file: Reader, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int, /) -> bytes:
        with reading():
            data = self._file.read(size)
        self._meter.count(len(data))
        return data


class _FromDisk:
    """The file itself, with what was read of it counted for progress."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._meter.packed += len(data)
        return data


class _Again:
    """A reader whose first bytes were looked at already."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._rest.read(size)


def documents(file: BinaryIO, compression: Compression, meter: Meter) -> Iterator[Document]:
    """Each text of the dump in turn; read one to its end before taking the next. Damage raises
    DumpUnreadable."""
    if compression is Compression.ZIP:
        yield from _members(file, meter)
        return
    raw = _FromDisk(file, meter)
    if compression is Compression.NONE:
        yield _document(_Plain(raw, meter))
        return
    start, chunk = _STREAMS[compression]
    document = _document(Unpacked(raw, meter.count, start, chunk=chunk))
    _refuse_nested(document.head, f"The {compression} file")
    yield document


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


def _zstd() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()


_STREAMS: Mapping[Compression, tuple[Callable[[], Decompressor], int]] = MappingProxyType(
    {
        Compression.GZIP: (Gzip, _PACKED_CHUNK),
        Compression.BZIP2: (bz2.BZ2Decompressor, _PACKED_CHUNK),
        Compression.XZ: (_xz, _PACKED_CHUNK),
        Compression.ZSTD: (_zstd, _ZSTD_CHUNK),
    }
)


def _document(reader: Reader) -> Document:
    parts, size, lines = [], 0, 0
    while size < HEAD_BYTES or (size < HEAD_BYTES_AT_MOST and lines < HEAD_LINES):
        part = reader.read(HEAD_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
        lines += part.count(b"\n")
    head = b"".join(parts)
    return Document(head=head, reader=_Again(head, reader))


def _refuse_nested(head: bytes, what: str) -> None:
    if sniff(head) is not Compression.NONE:
        raise DumpUnreadable(f"{what} holds another archive. Unpack it once and drop what is inside.")


def _members(file: BinaryIO, meter: Meter) -> Iterator[Document]:
    """The texts of a zip in the order of its directory. Damage raises DumpUnreadable."""
    with reading("The zip file"), zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = member.filename
            if member.is_dir() or name.endswith(_SKIPPED_MEMBERS) or name.startswith(_SKIPPED_MEMBERS):
                continue
            if member.flag_bits & 0x1:
                raise DumpUnreadable("The zip file is encrypted. Unpack it with its password and drop what is inside.")
            with archive.open(member) as opened:
                document = _document(_Plain(opened, meter))
                _refuse_nested(document.head, "The zip file")
                yield document
            meter.packed += member.compress_size
