"""An exposure, which is a watched identifier found in a breach; and the verdict of a source on a subscription."""

from enum import StrEnum


class SecretKind(StrEnum):
    """The kind of password beside an identifier in a dump, if any. The password itself is never stored."""

    MENTIONED = "mentioned"
    """The identifier was found in the text; the text beside it was not understood."""
    NONE = "none"
    CLEAR = "clear"
    HASHED = "hashed"


class Verdict(StrEnum):
    """The answer of one source on one subscription. A source that could not be asked is unknown, never clean."""

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
    """The reason why a source's answer is unknown. A source's own text is never stored, since it may quote the
    identifier."""

    KEY_REFUSED = "key_refused"
    """401: the key is missing, malformed or no longer valid."""
    FORBIDDEN = "forbidden"
    """403: the plan does not include it, the domain is not verified, or the user agent was refused."""
    BAD_REQUEST = "bad_request"
    """400 or 422: the source does not accept such an identifier."""
    RATE_LIMITED = "rate_limited"
    """429, or no request was left within this scan's time."""
    UNAVAILABLE = "unavailable"
    """5xx: a failure of the server."""
    TIMED_OUT = "timed_out"
    """No complete answer in time."""
    UNREACHABLE = "unreachable"
    """No connection, or a lost one."""
    REDIRECTED = "redirected"
    """3xx: never followed, since it would carry the identifier elsewhere."""
    UNREADABLE = "unreadable"
    """An answer that violates the source's contract."""
    TOO_LARGE = "too_large"
    """An answer larger than the contract allows."""
    CIRCUIT_OPEN = "circuit_open"
    """It failed so often that it is not asked for a while."""
    NOT_ASKED = "not_asked"
    """The source is enabled, but this identifier has not been asked about yet."""


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
"""Reasons that may be gone at the next attempt; for the others an operator or the subscriber has to change
something."""


class Judgement(StrEnum):
    """The decision whether an exposure is alerted to the subscriber, and the reason if not."""

    ALERT = "alert"
    WITHHELD_SENSITIVE = "withheld_sensitive"
    """A sensitive breach is alerted only to the verified owner of the identifier."""
    WITHHELD_UNVERIFIED = "withheld_unverified"
    """No source could verify the breach, and we do not hold its data. It is judged again when that changes."""
    NOT_A_BREACH = "not_a_breach"
    """The breach was fabricated or retired, or is a list of addresses for spam."""
    NOT_ME = "not_me"
    """The subscriber said that it is not theirs; they are never alerted to it again."""


class JudgementReason(StrEnum):
    """The rule that decided on an exposure."""

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
    """In the corpus as far as it was understood. Its file stays, and the rest of its content is unknown."""
    QUARANTINED = "quarantined"
    """It cannot be read. While the file is there, its content is unknown."""
    SUPERSEDED = "superseded"
    """A repaired file replaced a quarantined one."""
    DISMISSED = "dismissed"
    """An operator decided that it does not count."""
