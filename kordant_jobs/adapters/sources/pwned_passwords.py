"""Pwned Passwords: how often a password was seen in breaches, by k-anonymous range or in the downloaded corpus.

It answers about passwords, never about people. A password goes nowhere: the range is asked for by the first five
digits of its hash, and with padding, so that the size of the answer tells nothing either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from kordant_jobs.adapters.sources.http import HttpLimits, HttpSource, Session, SourceFailed
from kordant_jobs.domain.darkwatch.exposures import UnknownReason
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.errors import PermanentError, SourceUnavailable
from kordant_jobs.ports import Finding, Question

PWNED_PASSWORDS_URL = "https://api.pwnedpasswords.com"
PREFIX_DIGITS = 5
PADDED_ROWS_LEAST = 800
"""A padded answer has 800 to 1,000 rows ('Introducing padding'): one with fewer was cut off."""

_ROW = re.compile(r"([0-9A-F]{35}):(\d{1,12})")
_HASH = re.compile(rb"([0-9A-Fa-f]{40}):(\d+)")


def password_hash(password: str) -> str:
    """Upper case hex of its SHA-1.

    >>> password_hash("password")
    '5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8'
    """
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def _count_in(lines: Iterable[str], suffix: str) -> int:
    """How often `suffix` was seen; rows that count 0 are padding.

    Raises:
        SourceFailed: a line is no `SUFFIX:COUNT`.
    """
    seen = 0
    for line in lines:
        row = _ROW.fullmatch(line.upper())
        if row is None:
            raise SourceFailed(UnknownReason.UNREADABLE)
        if row[1] == suffix:
            seen = int(row[2])
    return seen


class PwnedPasswordsRange(HttpSource):
    """The range API; needs no key and has no limit."""

    name_of_service = "Pwned Passwords"

    def __init__(self, base_url: str = PWNED_PASSWORDS_URL, *, limits: HttpLimits | None = None) -> None:
        super().__init__(base_url, limits=limits)

    def _headers(self) -> Mapping[str, str]:
        return {"add-padding": "true"}

    def requests_for(self, kind: IdentifierKind) -> int:
        """0: it is not asked about identifiers."""
        return 0

    async def _findings(self, session: Session, question: Question) -> list[Finding]:
        raise SourceFailed(UnknownReason.BAD_REQUEST)

    def times_seen(self, password: str) -> int:
        """How often the password was seen in breaches; 0 for never.

        Raises:
            SourceUnavailable: it could not be known.
        """
        digest = password_hash(password)
        reply = self.fetch(f"/range/{digest[:PREFIX_DIGITS]}")
        try:
            lines = reply.body.decode("ascii").split()
            if reply.status != 200 or len(lines) < PADDED_ROWS_LEAST:
                raise SourceFailed(UnknownReason.UNREADABLE)
            return _count_in(lines, digest[PREFIX_DIGITS:])
        except (SourceFailed, UnicodeDecodeError):
            raise SourceUnavailable("Pwned Passwords gave an answer that is no range; nothing is known.") from None


class PwnedPasswordsCorpus:
    """The corpus as the official downloader writes it: one file `HASH:COUNT` in the order of the hashes, or a folder
    of files `<5 digits>.txt` with `SUFFIX:COUNT`. Looked up by bisection; nothing is read into memory."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise PermanentError("there is no corpus of Pwned Passwords. Check KORDANT_PWNED_PASSWORDS_CORPUS.")
        self._path = path

    def times_seen(self, password: str) -> int:
        """How often the password was seen in breaches; 0 for never.

        Raises:
            SourceUnavailable: the corpus is damaged or not whole there; nothing is known.
        """
        digest = password_hash(password)
        try:
            return self._in_folder(digest) if self._path.is_dir() else self._in_file(digest.encode())
        except (OSError, SourceFailed, UnicodeDecodeError):
            raise SourceUnavailable(
                "the corpus of Pwned Passwords cannot be read at one place. Download it again."
            ) from None

    def _in_folder(self, digest: str) -> int:
        lines = (self._path / f"{digest[:PREFIX_DIGITS]}.txt").read_text("ascii").split()
        if not lines:  # every prefix has hashes
            raise SourceFailed(UnknownReason.UNREADABLE)
        return _count_in(lines, digest[PREFIX_DIGITS:])

    def _in_file(self, digest: bytes) -> int:
        """Bisect by byte: what lies at a place is the first whole line that begins at or after it."""
        low, high = 0, self._path.stat().st_size
        with self._path.open("rb") as file:
            while low < high:
                middle = (low + high) // 2
                file.seek(max(0, middle - 1))
                if middle:
                    file.readline()
                line = file.readline(80).strip()
                if line and _parsed(line)[0] < digest:
                    low = middle + 1
                else:
                    high = middle
            file.seek(max(0, low - 1))
            if low:
                file.readline()
            line = file.readline(80).strip()
        if not line:
            return 0
        found, seen = _parsed(line)
        return seen if found == digest else 0


def _parsed(line: bytes) -> tuple[bytes, int]:
    row = _HASH.fullmatch(line)
    if row is None:
        raise SourceFailed(UnknownReason.UNREADABLE)
    return row[1].upper(), int(row[2])
