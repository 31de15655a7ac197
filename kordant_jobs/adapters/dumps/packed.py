"""Formats that the standard library cannot read: 7z, LZ4, and Deflate64 within zip."""

import queue
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from kordant_jobs.adapters.dumps.limits import Meter
from kordant_jobs.adapters.dumps.unpack import Reader, reading
from kordant_jobs.errors import DumpUnreadable

DEFLATE64 = 9
"""The method code of Deflate64 in a zip, which Windows writes for files over 2 GB."""
_LOCAL_HEADER = 30
_CHUNK = 64 << 10
_PIECES = 16
"""The most pieces of text that 7z's reader may be ahead."""


class Lz4:
    """LZ4's decompressor for one frame, with the interface of the standard library's."""

    def __init__(self) -> None:
        import lz4.frame

        self._frame = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        """True when the frame has ended."""
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        """The bytes after its end."""
        return bytes(self._frame.unused_data or b"")

    def decompress(self, data: bytes, /) -> bytes:
        """The next piece of text; it may be empty."""
        return bytes(self._frame.decompress(data))


class Deflate64:
    """A member of a zip, unpacked piece by piece."""

    def __init__(self, file: BinaryIO, member: zipfile.ZipInfo, count: Callable[[int], None]) -> None:
        import inflate64

        self._file, self._count = file, count
        self._left = member.compress_size
        self._inflater = inflate64.Inflater()
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER:
            raise DumpUnreadable("The zip file is damaged. Copy or download it again.")
        name, extra = struct.unpack("<HH", header[26:30])
        self._at = member.header_offset + _LOCAL_HEADER + name + extra

    def read(self, size: int, /) -> bytes:
        """Some text; b'' at the end."""
        with reading("The zip file"):
            while self._left > 0 and not self._inflater.eof:
                self._file.seek(self._at)
                packed = self._file.read(min(self._left, _CHUNK))
                if not packed:
                    raise EOFError
                self._at += len(packed)
                self._left -= len(packed)
                if data := self._inflater.inflate(packed):
                    self._count(len(data))
                    return bytes(data)
        return b""


class _Piped:
    """A member of a 7z archive, read from the pieces in the pipe."""

    def __init__(
        self, pipe: queue.Queue[tuple[str, bytes] | BaseException | None], count: Callable[[int], None]
    ) -> None:
        self._pipe, self._count = pipe, count
        self.name = ""
        self.following: tuple[str, bytes] | None = None
        self.ended = False
        self._held = b""

    def read(self, size: int, /) -> bytes:
        """Some text; b'' at the member's end."""
        if self._held:
            data, self._held = self._held, b""
            return data
        if self.following is not None or self.ended:
            return b""
        found = self._take()
        if found is None:
            return b""
        name, data = found
        if name != self.name:
            self.following = found
            return b""
        self._count(len(data))
        return data

    def next_member(self) -> bool:
        """Go to the next member, skipping the rest of this one."""
        while self.following is None and not self.ended:
            self.read(_CHUNK)
        if self.following is None:
            return False
        (self.name, self._held), self.following = self.following, None
        self._count(len(self._held))
        return True

    def _take(self) -> tuple[str, bytes] | None:
        found = self._pipe.get()
        if found is None:
            self.ended = True
            return None
        if isinstance(found, BaseException):
            self.ended = True
            raise DumpUnreadable(f"The 7z archive is damaged ({type(found).__name__}). Copy or download it again.")
        return found


def seven_zip_members(file: BinaryIO, meter: Meter) -> Iterator[tuple[str, Callable[[], Reader]]]:
    """The members of a 7z archive, unpacked in a separate thread, a few pieces ahead of the reader."""
    import py7zr
    import py7zr.exceptions
    from py7zr.io import Py7zIO, WriterFactory

    pipe: queue.Queue[tuple[str, bytes] | BaseException | None] = queue.Queue(_PIECES)
    stopped = threading.Event()

    class Writer(Py7zIO):
        def __init__(self, name: str) -> None:
            self._name, self._size = name, 0

        def write(self, data: bytes | bytearray) -> int:
            if stopped.is_set():
                raise InterruptedError
            pipe.put((self._name, bytes(data)))
            self._size += len(data)
            return len(data)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            """Nothing is held."""

        def size(self) -> int:
            return self._size

    class Factory(WriterFactory):
        def create(self, filename: str) -> Py7zIO:
            return Writer(filename)

    try:
        archive = py7zr.SevenZipFile(file, "r")
    except Exception as error:  # noqa: BLE001 - a damaged header makes it raise whatever its decoders do
        raise DumpUnreadable(
            f"The 7z archive is damaged ({type(error).__name__}). Copy or download it again."
        ) from None
    if archive.needs_password():
        raise DumpUnreadable("The 7z archive is encrypted. Unpack it with its password and drop what is inside.")

    def unpack() -> None:
        try:
            archive.extractall(factory=Factory())
            pipe.put(None)
        except InterruptedError:
            return
        except BaseException as error:  # noqa: BLE001 - carried to who reads
            if not stopped.is_set():
                pipe.put(error)

    thread = threading.Thread(target=unpack, name="7z", daemon=True)
    thread.start()
    piped = _Piped(pipe, meter.count)
    try:
        while piped.next_member():
            yield piped.name, lambda: piped
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                pipe.get(timeout=0.05)
            except queue.Empty:
                continue
        archive.close()
