"""An exposure: a watched identifier found in a breach. And the verdict of a source over a subscription."""

from __future__ import annotations

from enum import StrEnum


class SecretKind(StrEnum):
    """Whether a password stood beside an identifier in a dump. The password itself is never kept."""

    NONE = "none"
    CLEAR = "clear"
    HASHED = "hashed"


class Verdict(StrEnum):
    """What one source says of one subscription. A source that could not be asked is unknown, never clean."""

    CLEAN = "clean"
    EXPOSED = "exposed"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Where exposures are looked for."""

    DUMPS = "dumps"
    """Our own corpus of ingested breach dumps."""


class Judgement(StrEnum):
    """Whether an exposure is told to the subscriber, and if not, why not."""

    ALERT = "alert"
    WITHHELD_SENSITIVE = "withheld_sensitive"
    """A sensitive breach is told only to the verified owner of the identifier."""
    NOT_A_BREACH = "not_a_breach"
    """The breach was fabricated or retired, or is a list of addresses for spam."""


class DumpStatus(StrEnum):
    """Where a breach dump stands between the drop folder and the corpus."""

    REGISTERED = "registered"
    INGESTED = "ingested"
    QUARANTINED = "quarantined"
    """It cannot be read. While it lies there, what it may hold is unknown."""
    SUPERSEDED = "superseded"
    """A repaired file took the place of a quarantined one."""
    DISMISSED = "dismissed"
    """An operator decided that it does not count."""
