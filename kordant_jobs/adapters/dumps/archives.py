"""The bytes of a dump, unpacked as they are read, within limits. It does not interpret the text.

Compression is detected by magic numbers, never by the file's name. Nothing is written to disk. Any damage of a file
raises `DumpUnreadable` at the point of damage.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import io
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import zstandard

from kordant_jobs.adapters.dumps.limits import LimitExceeded, Meter
from kordant_jobs.adapters.dumps.packed import DEFLATE64, Deflate64, Lz4, seven_zip_members
from kordant_jobs.adapters.dumps.unpack import Decompressor, Gzip, Reader, Unpacked, reading
from kordant_jobs.errors import DumpUnreadable

XZ_MEMORY_BYTES = 256 << 20  # xz -9 needs 65 MiB, a forged header could ask for 4 GiB
ZSTD_WINDOW_BYTES = 1 << 27  # what `zstd --long` writes
HEAD_BYTES = 1 << 20  # what the layout is judged by
HEAD_LINES, HEAD_BYTES_AT_MOST = 100, 16 << 20  # more is read where a giant line leaves too few others
_PACKED_CHUNK = 256 << 10
_LZ4_CHUNK = 32 << 10  # gives at most 255 times as much
_ZSTD_CHUNK = 1 << 10  # its decompressor gives all it can at once: 32 MiB from each KiB at the worst


class Compression(StrEnum):
    """The compression of a file."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    ZIP = "zip"
    SEVEN_ZIP = "7z"
    TAR = "tar"
    LZ4 = "lz4"


_MAGIC = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\x00", Compression.XZ),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"PK\x03\x04", Compression.ZIP),
    (b"PK\x05\x06", Compression.ZIP),
    (b"7z\xbc\xaf\x27\x1c", Compression.SEVEN_ZIP),
    (b"\x04\x22\x4d\x18", Compression.LZ4),
)
_OTHER_FORMATS = (
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"PGDMP", "a pg_dump archive"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
)
_NO_TEXT = (
    b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"OggS", b"ID3", b"\x00\x00\x01\x00", b"\x1aE\xdf\xa3",
    b"\x7fELF", b"MZ",
)  # fmt: skip
"""Pictures, sound and programs. They hold no text, so skipping them leaves nothing unknown."""
_SKIPPED_MEMBERS = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
_ZSTD_SKIPPABLE = frozenset(struct.pack("<I", 0x184D2A50 + low) for low in range(16))


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text of a dump: the file itself, or a member of an archive. `head` is its start, which `reader` returns
    again. Members are numbered from 1, skipped ones included; the file itself is 0. `logged_on` is the day in the name
    of a member or of its folder: stealers name the folder of a device's log by it."""

    head: bytes
    reader: Reader
    member: int = 0
    logged_on: date | None = None


_DAY = re.compile(r"(?<!\d)(20\d\d)([-_.])(\d\d)\2(\d\d)(?!\d)")


def day_in(name: str) -> date | None:
    """The last day in the name of a member, written from the year on.

    >>> day_in("BR[9F1C] [2022-06-05T15_34_51-07_00]/Passwords.txt"), day_in("logs/12-13-2022/all.txt")
    (datetime.date(2022, 6, 5), None)
    """
    for year, _, month, day in reversed(_DAY.findall(name)):
        with contextlib.suppress(ValueError):
            return date(int(year), int(month), int(day))
    return None


def content_sha256(path: Path) -> str:
    """The SHA-256 of the file's own bytes, hex. Raises DumpUnreadable when it cannot be read."""
    with reading(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sniff(start: bytes) -> Compression:
    """The compression, from the first bytes.

    Raises:
        DumpUnreadable: a known format that holds no text that we could read.
    """
    for magic, name in _OTHER_FORMATS:
        if start.startswith(magic):
            raise DumpUnreadable(f"The dump is {name}, which is not read here. Unpack or export it to text.")
    if start[257:262] == b"ustar":
        return Compression.TAR
    if start[:4] in _ZSTD_SKIPPABLE:
        return Compression.ZSTD
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), Compression.NONE)


class _Plain:
    """Bytes without compression, counted."""

    def __init__(self, file: Reader, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int, /) -> bytes:
        with reading():
            data = self._file.read(size)
        self._meter.count(len(data))
        return data


class _FromDisk:
    """The file itself; the bytes read are counted for progress."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._meter.packed += len(data)
        return data


class _Again:
    """A reader that returns its first bytes, which were read already, again."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._rest.read(size)


def has_no_text(start: bytes) -> bool:
    """True for a picture, sound or a program."""
    return start.startswith(_NO_TEXT) or start[4:8] == b"ftyp"


Skip = Callable[[int, str], None]
"""The function called for each member that is not read, with the reason."""


def documents(file: BinaryIO, compression: Compression, meter: Meter, skip: Skip) -> Iterator[Document]:
    """Each text of the dump in turn; read one to its end before taking the next. Nested archives are read to a depth of
    DEPTH_MAX. Damage of the file itself raises DumpUnreadable; a member that cannot be read is skipped."""
    if compression in _ARCHIVES:
        yield from Members(meter, skip).of(file, compression, depth=0)
        return
    raw = _FromDisk(file, meter)
    if compression is Compression.NONE:
        yield _document(_Plain(raw, meter), 0)
        return
    start, chunk = _STREAMS[compression]
    unpacked = Unpacked(raw, meter.count, start, chunk=chunk)
    document = _document(unpacked, 0)
    inner = sniff(document.head)
    if inner is Compression.NONE:
        yield document
    else:
        yield from Members(meter, skip).inside(document.reader, inner, 0, depth=1)


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
        Compression.LZ4: (Lz4, _LZ4_CHUNK),
    }
)


def _document(reader: Reader, member: int) -> Document:
    parts, size, lines = [], 0, 0
    while size < HEAD_BYTES or (size < HEAD_BYTES_AT_MOST and lines < HEAD_LINES):
        part = reader.read(HEAD_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
        lines += part.count(b"\n")
    head = b"".join(parts)
    return Document(head=head, reader=_Again(head, reader), member=member)


_ARCHIVES = frozenset((Compression.ZIP, Compression.SEVEN_ZIP, Compression.TAR))
DEPTH_MAX = 4
"""The most levels of nested archives."""
NESTED_BYTES = 64 << 20
"""The most bytes of a nested archive that must be held in memory completely (zip, 7z)."""
MEMBERS_MAX = 100_000


class Members:
    """Iterates over the members of archives and counts them."""

    def __init__(self, meter: Meter, skip: Skip) -> None:
        self._meter, self._skip = meter, skip
        self._count = 0
        self._logged_on: date | None = None

    def of(self, file: BinaryIO, compression: Compression, *, depth: int) -> Iterator[Document]:
        """The texts of an archive with random access."""
        found = {
            Compression.ZIP: _zip_members,
            Compression.SEVEN_ZIP: seven_zip_members,
            Compression.TAR: _tar_members,
        }[compression]
        around = self._logged_on
        for name, opened in found(file, self._meter):
            self._logged_on = day_in(name) or around
            if name.endswith(_SKIPPED_MEMBERS) or name.startswith(_SKIPPED_MEMBERS):
                continue
            self._count += 1
            if self._count > MEMBERS_MAX:
                raise DumpUnreadable(f"The archive has more than {MEMBERS_MAX} members. Split it.")
            yield from self._member(self._count, opened, depth)

    def inside(self, reader: Reader, compression: Compression, member: int, *, depth: int) -> Iterator[Document]:
        """The texts in a packed member."""
        if depth > DEPTH_MAX:
            raise DumpUnreadable("archives are nested too deeply")
        if compression in _STREAMS:
            start, chunk = _STREAMS[compression]
            yield from self._text(member, Unpacked(reader, self._meter.count, start, chunk=chunk), depth + 1)
            return
        held = io.BytesIO()
        while data := reader.read(1 << 20):
            held.write(data)
            if held.tell() > NESTED_BYTES:
                raise DumpUnreadable(f"an archive within it has more than {NESTED_BYTES >> 20} MB")
        held.seek(0)
        yield from self.of(held, compression, depth=depth + 1)

    def _member(self, member: int, opened: Callable[[], Reader], depth: int) -> Iterator[Document]:
        try:
            yield from self._text(member, opened(), depth)
        except LimitExceeded:
            raise
        except DumpUnreadable as error:
            self._skip(member, reason_of(error))

    def _text(self, member: int, reader: Reader, depth: int) -> Iterator[Document]:
        document = _document(reader, member)
        if not document.head or has_no_text(document.head):
            return
        inner = sniff(document.head)
        if inner is Compression.NONE:
            yield replace(document, logged_on=self._logged_on)
        else:
            yield from self.inside(document.reader, inner, member, depth=depth + 1)


def reason_of(error: DumpUnreadable) -> str:
    """The reason reported for a member, in a few words."""
    text = str(error).removeprefix("The dump is ").removeprefix("The zip file is ").removeprefix("The dump ")
    return text.partition(". ")[0].rstrip(".")


def _zip_members(file: BinaryIO, meter: Meter) -> Iterator[tuple[str, Callable[[], Reader]]]:
    """The members of a zip in the order of its directory. A damaged directory raises DumpUnreadable."""
    with reading("The zip file"), zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, partial(_open_zipped, file, archive, member, meter)
                meter.packed += member.compress_size


def _open_zipped(file: BinaryIO, archive: zipfile.ZipFile, member: zipfile.ZipInfo, meter: Meter) -> Reader:
    if member.flag_bits & 0x1:
        raise DumpUnreadable("The zip file is encrypted. Unpack it with its password and drop what is inside.")
    if member.compress_type == DEFLATE64:
        return Deflate64(file, member, meter.count)
    with reading("The zip file"):
        try:
            return _Plain(archive.open(member), meter)
        except NotImplementedError:
            raise DumpUnreadable(
                f"The zip file is packed by a method that is not read here ({member.compress_type}). Unpack it and "
                "drop what is inside."
            ) from None


def _tar_members(file: BinaryIO, meter: Meter) -> Iterator[tuple[str, Callable[[], Reader]]]:
    with reading("The tar archive"), tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() else None
            if opened is not None:
                yield member.name, partial(_Plain, opened, meter)
                meter.packed += member.size
