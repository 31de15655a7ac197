"""From the bytes of one document to numbered lines of text, block by block, in bounded memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl

from kordant_jobs.adapters.dumps.archives import Document
from kordant_jobs.adapters.dumps.model import DumpLimits
from kordant_jobs.adapters.dumps.unpack import Reader

_BOMS = MappingProxyType({b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"})
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

_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\r\x0b\x0c\x1a\x1b"})


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines. `first` lines went before it, then `lost` over-long ones that were dropped.

    `starts_inside`: the first line goes on with the one before (only where cuts within a line are allowed).
    """

    data: bytes
    first: int
    lost: int = 0
    starts_inside: bool = False


def encoding_of(head: bytes) -> str:
    """The encoding: by byte order mark, by zeros (UTF-16), else 'utf-8', or 'cp1252' when no line were
    UTF-8."""
    for bom, name in _BOMS.items():
        if head.startswith(bom):
            return name
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 5 >= len(head) * 2 > 0 and min(even, odd) * 20 < max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
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
    """Whether this is no text in any encoding that is read: one control character in twenty."""
    if encoding_of(start).startswith("utf-16"):
        return False
    return (len(start) - len(start.translate(None, _CONTROLS))) * 20 > len(start)


class _Transcoded:
    """UTF-16 as UTF-8."""

    def __init__(self, reader: Reader, encoding: str) -> None:
        self._reader = reader
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def read(self, size: int, /) -> bytes:
        while data := self._reader.read(size):
            if text := self._decoder.decode(data):
                return text.encode("utf-8", "replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", "replace")


class _OldMac:
    """Lines that end with a bare carriage return."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        return self._reader.read(size).replace(b"\r", b"\n")


def utf8_reader(document: Document, encoding: str) -> Reader:
    """The document as UTF-8 (broken lines as they are) with line ends that hold a newline."""
    reader: Reader = document.reader
    head = document.head
    if encoding.startswith("utf-16"):
        reader = _Transcoded(reader, encoding)
        head = head.decode(encoding, "replace").encode("utf-8", "replace")
    return _OldMac(reader) if b"\r" in head and b"\n" not in head else reader


def blocks(reader: Reader, limits: DumpLimits, *, first: int, cut_inside: bool = False) -> Iterator[Block]:
    """Blocks of about `block_bytes` that end at line ends.

    A line without an end in sight is dropped after `max_line_bytes`. With `cut_inside` (SQL) it is cut
    between two tuples instead, with `),(` becoming `)` and, in the next block, `(`.
    """
    tail, lost, dropping, inside, start = b"", 0, False, False, True
    while data := _fill(reader, limits.block_bytes):
        if start:
            data, start = data.removeprefix(codecs.BOM_UTF8), False
        if dropping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, dropping, lost, inside = data[end + 1 :], False, lost + 1, False
        data = tail + data
        cut, skip = data.rfind(b"\n") + 1, 0
        next_inside = inside and not cut
        if len(data) - cut > limits.max_line_bytes:
            between = _between_tuples(data, cut) if cut_inside else -1
            if between > 0:
                cut, skip, next_inside = between + 1, 1, True
        if cut:
            block = Block(data=data[:cut], first=first, lost=lost, starts_inside=inside)
            yield block
            first += lost + _line_ends(block.data)
            lost = 0
        tail, inside = data[cut + skip :], next_inside
        if len(tail) > limits.max_line_bytes:
            tail, dropping = b"", True
    if dropping:
        lost += 1
    if tail or lost:
        yield Block(data=tail, first=first, lost=lost, starts_inside=inside)


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
    """How many lines a block holds, with those that were dropped before it."""
    return _line_ends(block.data) + bool(block.data and not block.data.endswith(b"\n")) + block.lost


def _between_tuples(data: bytes, line_start: int) -> int:
    """Where in the last line of `data` a ')' ends a tuple and ',(' follows, outside any string; -1 if
    nowhere."""
    end = len(data)
    for _ in range(64):  # a string full of '),(' is the exception
        at = data.rfind(b"),(", line_start, end)
        if at < 0:
            return -1
        before = data[line_start:at].replace(b"\\\\", b"").replace(b"\\'", b"")
        if before.count(b"'") % 2 == 0:
            return at
        end = at + 2
    return -1


def lines_of(block: Block, max_line_bytes: int) -> tuple[pl.DataFrame, int, int]:
    """The lines of a block that are not empty as `line` (UInt64) and `text`; how many lines in all; how
    many too long."""
    first = block.first + block.lost
    try:
        frame = _scan(block.data, first)
    except pl.exceptions.ComputeError:
        frame = _scan(_mended(block.data), first)
    total = frame.height + block.lost - block.starts_inside
    size = pl.col("text").str.len_bytes()
    frame = frame.filter(size > 0)
    if len(block.data) <= max_line_bytes:
        return frame, total, block.lost
    kept = frame.filter(size <= max_line_bytes)
    return kept, total, block.lost + frame.height - kept.height


def _scan(data: bytes, first: int) -> pl.DataFrame:
    if not data:
        return pl.DataFrame(schema={"line": pl.UInt64, "text": pl.String})
    lines = pl.scan_lines(io.BytesIO(data), name="text", row_index_name="line")
    return lines.with_columns(pl.col("line").cast(pl.UInt64) + (first + 1)).collect()


def _mended(data: bytes) -> bytes:
    """Each line that is not UTF-8 read as Windows-1252, the others left alone."""
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
