"""An exposure: a watched identifier found in a breach. And the verdict of a source over a subscription."""

from __future__ import annotations

from enum import StrEnum


class SecretKind(StrEnum):
    """The kind of password that stood beside an identifier in a dump, if any. The password itself is never kept."""

    MENTIONED = "mentioned"
    """The identifier stands in the text; what stood beside it is not known."""
    NONE = "none"
    CLEAR = "clear"
    HASHED = "hashed"


class Verdict(StrEnum):
    """The answer of one source about one subscription. A source that could not be asked is unknown, never clean."""

    CLEAN = "clean"
    EXPOSED = "exposed"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """A place where exposures are searched."""

    DUMPS = "dumps"
    """Our own corpus of ingested breach dumps."""
    HIBP = "hibp"
    """Have I Been Pwned, API v3."""
    XPOSEDORNOT = "xposedornot"
    """XposedOrNot, API v1."""
    LEAKCHECK = "leakcheck"
    """LeakCheck: its public API, or Pro v2 where there is a key."""


class UnknownReason(StrEnum):
    """Why a source's answer is unknown. What a source said in words is never kept: it may quote what was asked."""

    KEY_REFUSED = "key_refused"
    """401: the key is missing, malformed or no more valid."""
    FORBIDDEN = "forbidden"
    """403: the plan does not include it, the domain is not verified, or the user agent was refused."""
    BAD_REQUEST = "bad_request"
    """400 or 422: the source takes no such identifier."""
    RATE_LIMITED = "rate_limited"
    """429, or no request was left within the time of this scan."""
    UNAVAILABLE = "unavailable"
    """5xx."""
    TIMED_OUT = "timed_out"
    """No whole answer in time."""
    UNREACHABLE = "unreachable"
    """No connection, or it broke off."""
    REDIRECTED = "redirected"
    """3xx: never followed, since it would carry the identifier elsewhere."""
    UNREADABLE = "unreadable"
    """An answer that is not what the source's contract promises."""
    TOO_LARGE = "too_large"
    """An answer beyond any that the contract allows for."""
    CIRCUIT_OPEN = "circuit_open"
    """It failed so often that it is left alone for a while."""
    NOT_ASKED = "not_asked"
    """It is on, and this identifier's turn has not come yet."""


RETRYABLE = frozenset(
    {
        UnknownReason.RATE_LIMITED,
        UnknownReason.UNAVAILABLE,
        UnknownReason.TIMED_OUT,
        UnknownReason.UNREACHABLE,
        UnknownReason.UNREADABLE,
        UnknownReason.CIRCUIT_OPEN,
        UnknownReason.NOT_ASKED,
    }
)
"""Reasons that may be gone when it is asked again; the others need an operator or the subscriber to change something.
"""


class Judgement(StrEnum):
    """The decision whether an exposure is alerted to the subscriber, and the reason if not."""

    ALERT = "alert"
    WITHHELD_SENSITIVE = "withheld_sensitive"
    """A sensitive breach is alerted only to the verified owner of the identifier."""
    WITHHELD_UNVERIFIED = "withheld_unverified"
    """No source could verify the breach, and we do not hold its data ourselves. Judged again when that changes."""
    NOT_A_BREACH = "not_a_breach"
    """The breach was fabricated or retired, or is a list of addresses for spam."""
    NOT_ME = "not_me"
    """The subscriber said that it is not theirs; they never hear of it again."""


class JudgementReason(StrEnum):
    """By which rule an exposure was judged."""

    BREACH = "breach"
    STEALER_LOG = "stealer_log"
    MALWARE = "malware"
    SENSITIVE_TO_ITS_OWNER = "sensitive_to_its_owner"
    SENSITIVE_AND_NOT_VERIFIED = "sensitive_and_not_verified"
    UNVERIFIED = "unverified"
    FABRICATED = "fabricated"
    RETIRED = "retired"
    SPAM_LIST = "spam_list"
    NOT_ME = "not_me"


class DumpStatus(StrEnum):
    """The state of a breach dump between the drop folder and the corpus."""

    REGISTERED = "registered"
    INGESTED = "ingested"
    PARTIAL = "partial"
    """In the corpus as far as it was understood; its file stays, and what else it may hold is unknown."""
    QUARANTINED = "quarantined"
    """It cannot be read. While it lies there, what it may hold is unknown."""
    SUPERSEDED = "superseded"
    """A repaired file took the place of a quarantined one."""
    DISMISSED = "dismissed"
    """An operator decided that it does not count."""
