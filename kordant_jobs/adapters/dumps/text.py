"""Converts the bytes of one document to numbered lines of text, block by block, in bounded memory."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import polars as pl

from kordant_jobs.adapters.dumps.archives import Document
from kordant_jobs.adapters.dumps.folds import Unfolded, folds_of
from kordant_jobs.adapters.dumps.model import DumpLimits
from kordant_jobs.adapters.dumps.unpack import Reader

_BOMS = MappingProxyType(
    {
        b"\xef\xbb\xbf": "utf-8-sig",
        b"\xff\xfe\x00\x00": "utf-32-le",
        b"\x00\x00\xfe\xff": "utf-32-be",
        b"\xff\xfe": "utf-16-le",
        b"\xfe\xff": "utf-16-be",
    }
)
_HIGH = r"[\x{80}-\x{ff}]"
# Well-formed UTF-8 (Unicode table 3-7), spelled in the characters that Latin-1 makes of its bytes.
_UTF8_AS_LATIN1 = (
    r"^(?:[\x00-\x7f]|[\x{c2}-\x{df}][\x{80}-\x{bf}]|\x{e0}[\x{a0}-\x{bf}][\x{80}-\x{bf}]"
    r"|[\x{e1}-\x{ec}\x{ee}\x{ef}][\x{80}-\x{bf}]{2}|\x{ed}[\x{80}-\x{9f}][\x{80}-\x{bf}]"
    r"|\x{f0}[\x{90}-\x{bf}][\x{80}-\x{bf}]{2}|[\x{f1}-\x{f3}][\x{80}-\x{bf}]{3}|\x{f4}[\x{80}-\x{8f}][\x{80}-\x{bf}]{2})*$"
)
# What Windows-1252 has where Latin-1 has control characters; its five gaps stay control characters.
_CP1252 = MappingProxyType(
    {byte: bytes([byte]).decode("cp1252") for byte in range(0x80, 0xA0) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
)

_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\r\x0b\x0c\x1a\x1b\x01\x1e\x1f"})  # some separate fields


@dataclass(frozen=True, kw_only=True)
class Block:
    """About `block_bytes` of text, which ends at a line's end if possible. `first` is the number of lines before it.
    `starts_inside`: its first line continues the one before."""

    data: bytes
    first: int
    starts_inside: bool = False


def encoding_of(head: bytes) -> str:
    """The encoding: by byte order mark, by zeros (UTF-16, UTF-32), else 'utf-8', or 'cp1252' when no line is UTF-8."""
    for bom, name in _BOMS.items():
        if head.startswith(bom):
            return name
    zeros = [head[at::4].count(0) * 8 > len(head) for at in range(4)]
    if sum(zeros) == 3 and not (zeros[1] and zeros[2] and zeros[0] and zeros[3]):
        return "utf-32-be" if zeros[0] else "utf-32-le"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 5 >= len(head) * 2 > 0 and min(even, odd) * 20 < max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    if head.isascii() or _is_utf8(head[: head.rfind(b"\n") + 1] or head):
        return "utf-8"
    lines = [line for line in head.split(b"\n")[:-1] or [head] if not line.isascii()]
    broken = sum(not _is_utf8(line) for line in lines)
    return "cp1252" if broken and broken == len(lines) else "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def looks_binary(start: bytes) -> bool:
    """True for data that is no text in a supported encoding: at least one control character in twenty."""
    if encoding_of(start).startswith(("utf-16", "utf-32")):
        return False
    start = tidy(start)  # stretches of UTF-16 are text
    return (len(start) - len(start.translate(None, _CONTROLS))) * 20 > len(start)


_NARROW = re.compile(rb"[\t\r\n\x20-\x7e]{8,}")
_NARROW_TAIL = re.compile(rb"[\t\r\n\x20-\x7e]{1,4096}\Z")
_ADDRESS = re.compile(rb"(?i)[\w.%+-](?:@|%40|&#64;|&#x40;|\\u0040)[a-z0-9-]{1,63}\.[a-z0-9]")


class _Transcoded:
    """UTF-16 and UTF-32 as UTF-8. Stretches of bytes with an address stay unchanged: text of another encoding was
    inserted there, and after it the wide characters may be shifted by one byte."""

    def __init__(self, reader: Reader, encoding: str) -> None:
        self._reader = reader
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._held = b""

    def read(self, size: int, /) -> bytes:
        while data := self._reader.read(size):
            data = self._held + data
            tail = _NARROW_TAIL.search(data, max(0, len(data) - 4_096))
            self._held = tail[0] if tail and len(tail[0]) < len(data) else b""
            if text := self._text(data[: len(data) - len(self._held)]):
                return text
        data, self._held = self._held, b""
        return self._text(data) + self._decoder.decode(b"", final=True).encode("utf-8", "replace")

    def _text(self, data: bytes) -> bytes:
        parts, start = [], 0
        for narrow in _NARROW.finditer(data):
            if _ADDRESS.search(narrow[0]):
                parts += [self._decoded(data[start : narrow.start()], final=True), b"\n", narrow[0], b"\n"]
                start = narrow.end()
                start += self._ahead(data[start : start + 64])
        parts.append(self._decoded(data[start:]))
        return b"".join(parts)

    def _decoded(self, data: bytes, *, final: bool = False) -> bytes:
        text = self._decoder.decode(data, final=final)
        if final:
            self._decoder.reset()
        return text.encode("utf-8", "replace")

    def _ahead(self, data: bytes) -> int:
        """The number of bytes of a character that began in an unchanged stretch, judged by the position of the
        zeros."""
        width = 4 if "32" in self._encoding else 2
        low = 0 if self._encoding.endswith("le") else width - 1
        zeros = [data[at + low :: width].count(0) for at in range(width)]
        return zeros.index(min(zeros))


class _Tidied:
    """Text with uniform line ends, and with stretches of UTF-16 and UTF-32 in it converted to UTF-8."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held = b""

    def read(self, size: int, /) -> bytes:
        while data := self._reader.read(size):
            data = self._held + data
            self._held = b"\r" if data.endswith(b"\r") else b""
            if tidied := tidy(data[: len(data) - len(self._held)]):
                return tidied
        data, self._held = self._held, b""
        return data.replace(b"\r", b"\n")


_WIDE = (
    (re.compile(rb"(?:[\x01-\xff]\x00\x00\x00){6,}"), "utf-32-le"),
    (re.compile(rb"(?:\x00\x00\x00[\x01-\xff]){6,}"), "utf-32-be"),
    (re.compile(rb"(?:[\x01-\xff]\x00){6,}"), "utf-16-le"),
    (re.compile(rb"(?:\x00[\x01-\xff]){6,}"), "utf-16-be"),
)
_PADDING = re.compile(rb"\x00{64,}")


def _narrow(encoding: str, match: re.Match[bytes]) -> bytes:
    return match[0].decode(encoding, "replace").encode()


def tidy(data: bytes) -> bytes:
    """A piece of text in which single carriage returns are line ends, and runs of wide characters are UTF-8.

    >>> tidy(b"a\\rb\\r\\n" + "ann@x.example".encode("utf-16-le"))
    b'a\\nb\\nann@x.example'
    """
    if b"\0" in data:
        data = _PADDING.sub(b"\0", data)
        for pattern, encoding in _WIDE:
            data = pattern.sub(partial(_narrow, encoding), data)
    if b"\r" in data and data.count(b"\r") > data.count(b"\r\n"):
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # a regular expression takes 100 bytes a match
    return data


def utf8_reader(document: Document, encoding: str) -> Reader:
    """The document as UTF-8 (invalid lines unchanged), with line ends that contain a newline."""
    wide = encoding.startswith(("utf-16", "utf-32"))
    reader: Reader = _Tidied(_Transcoded(document.reader, encoding) if wide else document.reader)
    for fold in folds_of(head_of(document, encoding)):
        reader = Unfolded(reader, fold)
    return reader


def head_of(document: Document, encoding: str) -> bytes:
    """The beginning of a document as UTF-8, with folded lines unchanged."""
    wide = encoding.startswith("utf-")
    text = tidy(document.head.decode(encoding, "replace").encode() if wide else document.head)
    return text.removeprefix(codecs.BOM_UTF8)


def blocks(reader: Reader, limits: DumpLimits, *, first: int) -> Iterator[Block]:
    """Blocks of about `block_bytes` that end at line ends; a very long line is cut between two words."""
    tail, inside, start = b"", False, True
    while data := _fill(reader, limits.block_bytes):
        if start:
            data, start = data.removeprefix(codecs.BOM_UTF8), False
        data = tail + data
        cut = data.rfind(b"\n") + 1
        next_inside = inside and not cut
        if len(data) - cut > limits.max_line_bytes:
            cut = _between_words(data)
            next_inside = True
        if cut:
            yield Block(data=data[:cut], first=first, starts_inside=inside)
            first += _line_ends(data[:cut])
        tail, inside = data[cut:], next_inside
    if tail:
        yield Block(data=tail, first=first, starts_inside=inside)


_BETWEEN = re.compile(rb"[\s,;|)}\]>]")


def _between_words(data: bytes) -> int:
    """A place near the end where the text may be cut: after a character that is part of no identifier."""
    found = [match.end() for match in _BETWEEN.finditer(data, max(0, len(data) - 4_096))]
    return found[-1] if found else len(data)


def _fill(reader: Reader, size: int) -> bytes:
    data = reader.read(size)
    if not data or len(data) >= size // 2:
        return data
    parts, total = [data], len(data)
    while total < size and (data := reader.read(size - total)):
        parts.append(data)
        total += len(data)
    return b"".join(parts)


def _line_ends(data: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))  # 5 times as fast as bytes.count


def lines_in(block: Block) -> int:
    """The number of lines of a block. A continued line counts in the block where it began."""
    return _line_ends(block.data) + bool(block.data and not block.data.endswith(b"\n")) - block.starts_inside


def lines_as_series(data: bytes, count: int) -> pl.Series:
    """Lines as a column of `count` texts; lines that are not UTF-8 are decoded as Windows-1252."""
    try:
        frame = _scan(data, 0)
    except pl.exceptions.ComputeError:
        frame = _scan(_mended(data), 0)
    return frame["text"].head(count)


def _scan(data: bytes, first: int) -> pl.DataFrame:
    if not data:
        return pl.DataFrame(schema={"line": pl.UInt64, "text": pl.String})
    lines = pl.scan_lines(io.BytesIO(data), name="text", row_index_name="line")
    return lines.with_columns(pl.col("line").cast(pl.UInt64) + (first + 1)).collect()


def _mended(data: bytes) -> bytes:
    """The data with each line that is not UTF-8 decoded as Windows-1252; the others stay unchanged."""
    frame = _scan(data.decode("latin-1").encode(), 0)
    text = pl.col("text")
    high = frame.with_columns(high=text.str.contains(_HIGH), broken=~text.str.contains(_UTF8_AS_LATIN1))
    good = high.filter(pl.col("high") & ~pl.col("broken"))["text"].to_list()
    broken = high.filter("broken")["text"].to_list()
    texts = "\n".join(good).encode("latin-1").decode().split("\n") if good else []
    texts_broken = "\n".join(broken).translate(_CP1252).split("\n") if broken else []
    fixed = pl.concat(
        [
            high.filter(~pl.col("high")).select("line", "text"),
            high.filter(pl.col("high") & ~pl.col("broken")).select("line", text=pl.Series(texts, dtype=pl.String)),
            high.filter("broken").select("line", text=pl.Series(texts_broken, dtype=pl.String)),
        ]
    ).sort("line")
    return "\n".join([*fixed["text"].to_list(), ""]).encode()
