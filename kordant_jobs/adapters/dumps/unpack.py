"""Reads packed streams piece by piece, and reports damage in them. The caller knows the kind of compression."""

import bz2
import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import zstandard

from kordant_jobs.errors import DumpUnreadable, TransientError

_DAMAGE = (
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)

_PASSING = {
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
}  # fmt: skip
"""Errors of a disk, a mount or this machine, which say nothing about the dump."""


class Reader(Protocol):
    """Reads bytes in order; b'' at the end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, and at least one before the end."""


@contextmanager
def reading(what: str = "The dump") -> Iterator[None]:
    """Convert any exception that a damaged file causes in the libraries to DumpUnreadable.

    Raises:
        DumpUnreadable: the file is damaged, gone, or may not be opened.
        TransientError: its disk, its mount or this machine fails just now.
    """
    try:
        yield
    except zstandard.ZstdError as error:
        raise DumpUnreadable(_damaged(what, error)) from None
    except (*_DAMAGE, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise TransientError(f"{what} cannot be read just now: {error.strerror}. The run is tried again.") from None
        if isinstance(error, OSError) and error.strerror:  # of the file system; the text would hold the path
            raise DumpUnreadable(f"{what} cannot be read: {error.strerror}. Check the file and its rights.") from None
        raise DumpUnreadable(_damaged(what, error)) from None


def _damaged(what: str, error: BaseException) -> str:
    return f"{what} is damaged ({type(error).__name__}). Copy or download it again."


class Decompressor(Protocol):
    """The interface that the standard library and zstandard share."""

    @property
    def eof(self) -> bool:
        """True at the end of the stream."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end."""

    def decompress(self, data: bytes, /) -> bytes:
        """The next piece of text; it may be empty."""


class Unpacked:
    """A file of one or more packed streams, one after the other. Each call returns at least one byte until the end."""

    def __init__(
        self, file: Reader, count: Callable[[int], None], start: Callable[[], Decompressor], *, chunk: int
    ) -> None:
        self._file, self._count, self._start, self._chunk = file, count, start, chunk
        self._stream: Decompressor | None = start()
        self._waiting = b""

    def read(self, size: int, /) -> bytes:
        """About `size` bytes of text. Raises DumpUnreadable at damage or a limit."""
        with reading():
            while self._stream is not None:
                data = self._step(self._stream, size)
                if data:
                    self._count(len(data))
                    return data
        return b""

    def _step(self, stream: Decompressor, size: int) -> bytes:
        if stream.eof:
            self._next_stream(stream.unused_data + self._waiting)
            return b""
        if isinstance(stream, (lzma.LZMADecompressor, bz2.BZ2Decompressor)) and not stream.needs_input:
            return stream.decompress(b"", size)
        packed = self._waiting or self._more()
        self._waiting = b""
        if not packed:  # what zlib still holds comes out before the end is judged
            data = stream.decompress(b"", size) if isinstance(stream, Gzip) else b""
            if not data:
                raise EOFError
            return data
        if isinstance(stream, (lzma.LZMADecompressor, bz2.BZ2Decompressor)):
            return stream.decompress(packed, size)
        if isinstance(stream, Gzip):
            data = stream.decompress(packed, size)
            self._waiting = stream.unconsumed_tail
            return data
        return stream.decompress(packed)

    def _more(self) -> bytes:
        return self._file.read(self._chunk)

    def _next_stream(self, rest: bytes) -> None:
        """Go to the next stream: after the end of one comes another, padding with zeros, or nothing."""
        while not rest.lstrip(b"\x00"):
            rest = self._more()
            if not rest:
                self._stream = None
                return
        rest = rest.lstrip(b"\x00")
        rest += self._more() if len(rest) < 8 else b""
        self._stream, self._waiting = self._start(), rest


class Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """True at the end of the member."""
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end."""
        return self._zlib.unused_data

    @property
    def unconsumed_tail(self) -> bytes:
        """The input that has not been used yet."""
        return self._zlib.unconsumed_tail

    def decompress(self, data: bytes, size: int = 0, /) -> bytes:
        """At most `size` bytes of text; 0: no limit."""
        return self._zlib.decompress(data, size)
