"""A piece of a dump's text with a margin around it, for the compiled kernels."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

MARGIN = 128
"""Meaningless bytes on both sides that may be read; the same as `kernels.sweep.MARGIN`."""
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """`size` bytes of text from MARGIN on; spans count from the start of `bytes`. `first` is the number of lines before
    it."""

    bytes: Bytes
    raw: builtins.bytes
    size: int
    first: int
    final: bool = True
    """True when the document ends here."""
    starts_inside: bool = False
    """True when the first line continues the one before it."""

    @classmethod
    def of(cls, text: builtins.bytes, *, first: int = 0, final: bool = True, starts_inside: bool = False) -> Window:
        """A window on a copy of `text`."""
        margin = builtins.bytes(MARGIN)
        raw = b"".join((margin, text, margin))
        data = np.frombuffer(raw, np.uint8)
        return cls(bytes=data, raw=raw, size=len(text), first=first, final=final, starts_inside=starts_inside)

    def cut(self, stop: int) -> Window:
        """The window up to a place, as if the text ended there."""
        return replace(self, size=stop - MARGIN, final=True)

    @property
    def start(self) -> int:
        """The place where the text begins."""
        return MARGIN

    @property
    def stop(self) -> int:
        """The place where the text ends."""
        return MARGIN + self.size

    def slice(self, start: int, end: int) -> builtins.bytes:
        """The bytes of a span."""
        return self.raw[start:end]

    def text(self, start: int, end: int) -> str:
        """The text of a span: UTF-8, else Windows-1252."""
        return decoded(self.slice(start, end))


def decoded(data: bytes) -> str:
    """Text of unknown encoding, decoded as UTF-8 if valid, else as Windows-1252.

    >>> decoded("é".encode()), decoded("é".encode("cp1252"))
    ('é', 'é')
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
