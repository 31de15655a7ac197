"""Joins lines that writers of LDIF, vCard and mail have folded, so that an address across the fold is complete.

Each joined line is replaced by a line '#' after it, so that line numbers stay the same and no line is blank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kordant_jobs.adapters.dumps.unpack import Reader

JOINED = b"#"
_HEAD_BYTES = 1 << 16
_HELD_MAX = 1 << 16
_BY_BLANK = re.compile(rb"(?im)^(?:dn:: ?\S|dn: ?[\w.-]+=|begin:v(?:card|calendar)\s*$)")
_QUOTED = re.compile(rb"(?im)^content-transfer-encoding:\s*quoted-printable|;encoding=quoted-printable")
_SOFT_BREAK = re.compile(rb"(?m)^([^\n]{1,77}[^=\n])=\r?\n")
_WHOLE_ADDRESS = re.compile(rb"[\w.+-]@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_LAST_WORD = re.compile(rb"[A-Za-z0-9+/]+$")
_PROSE_MIN = 0.8


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A way to fold lines. `marks` matches what separates two pieces, `lines` a line of 2 to 1,001 pieces (a regular
    expression needs memory for each)."""

    marks: tuple[bytes, ...]
    lines: re.Pattern[bytes]
    ends: re.Pattern[bytes]
    """An end of a line that no further piece can follow."""


BLANK = Fold(
    marks=(b"\r\n ", b"\r\n\t", b"\n ", b"\n\t"),
    lines=re.compile(rb"(?m)^[^\n]+(?:\n[ \t][^\n]*){1,1000}\n?"),
    ends=re.compile(rb"\n(?=[^ \t])"),
)
"""A line that begins with one blank continues the one before (RFC 2849 LDIF, RFC 6350 vCard)."""
QUOTED = Fold(
    marks=(b"=\r\n", b"=\n"),
    lines=re.compile(rb"(?m)^(?:[^\n]{0,77}=\r?\n){1,1000}[^\n]*\n?"),
    ends=re.compile(rb"(?<!=)(?<!=\r)\n"),
)
"""A '=' at the end of a line of at most 76 characters, 78 with its end, continues on the next line (RFC 2045)."""


def folds_of(head: bytes) -> tuple[Fold, ...]:
    """The folds used in a document, judged from its beginning."""
    head = head[:_HEAD_BYTES]
    found = [BLANK] if _BY_BLANK.search(head) else []
    if _QUOTED.search(head) or (not found and _looks_quoted(head)):
        found.append(QUOTED)
    return tuple(found)


def _looks_quoted(head: bytes) -> bool:
    """True when most lines that end in '=' are prose: without a complete address or base64."""
    broken = [match[1] for match in _SOFT_BREAK.finditer(head)]
    prose = sum(b" " in line and not _WHOLE_ADDRESS.search(line) and not _is_base64(line) for line in broken)
    return len(broken) > 1 and prose >= _PROSE_MIN * len(broken)


def _is_base64(line: bytes) -> bool:
    """True when a line's last word may be base64, with the '=' after it as padding."""
    word = _LAST_WORD.search(line)
    return word is not None and len(word[0]) % 4 == 3 and len(word[0]) > 3


def unfolded(text: bytes, fold: Fold) -> bytes:
    """The text with its folded lines joined.

    >>> unfolded(b"mail: ann@\\n mail.example\\nuid: a\\n", BLANK)
    b'mail: ann@mail.example\\n#\\nuid: a\\n'
    """

    def joined(match: re.Match[bytes]) -> bytes:
        line, count = match[0], 0
        for mark in fold.marks:
            count += line.count(mark)
            line = line.replace(mark, b"")
        return line + b"\n" * (not line.endswith(b"\n")) + (JOINED + b"\n") * count

    return fold.lines.sub(joined, text)


class Unfolded:
    """A text read with its folded lines joined; those of more than 64 KiB stay folded."""

    def __init__(self, reader: Reader, fold: Fold) -> None:
        self._reader, self._fold = reader, fold
        self._held = b""

    def read(self, size: int, /) -> bytes:
        """Some text, of any size; empty at its end."""
        while data := self._reader.read(size):
            data = self._held + data
            end = max(
                (match.end() for match in self._fold.ends.finditer(data, max(0, len(data) - _HELD_MAX))), default=0
            )
            if not end and len(data) < _HELD_MAX:
                self._held = data
                continue
            end = end or len(data)
            self._held = data[end:]
            return unfolded(data[:end], self._fold)
        data, self._held = self._held, b""
        return unfolded(data, self._fold)
