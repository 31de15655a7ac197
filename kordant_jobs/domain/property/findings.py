"""A finding of a scan: an event on a watched parcel, its severity, and its reasons. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.instruments import Event


class Reason(StrEnum):
    """A reason for an event's severity. The wording has a sentence for each."""

    STRANGER = "stranger"
    GRANTOR_NOT_OWNER = "grantor_not_owner"
    BORROWER_NOT_OWNER = "borrower_not_owner"
    NOMINAL = "nominal"
    QUITCLAIM = "quitclaim"
    AFTER_POWER = "after_power"
    POWER_BEFORE = "power_before"
    RAPID_RESALE = "rapid_resale"
    LONG_HELD = "long_held"
    GRANTOR_DEAD = "grantor_dead"
    SAID_TO_BE_DEAD = "said_to_be_dead"
    """The deed is given for the estate of an owner whom the subscriber named."""
    FREE_AND_CLEAR = "free_and_clear"
    CHEAP = "cheap"
    FORCED_SALE = "forced_sale"
    OWNER_UNKNOWN = "owner_unknown"
    SELF = "self"
    CO_OWNER = "co_owner"
    OWN_BODY = "own_body"
    FAMILY = "family"
    ESTATE = "estate"
    UNKNOWN = "unknown"
    YOU_BOUGHT = "you_bought"
    SAME_LENDER = "same_lender"
    CLOSES = "closes"
    CORRECTS = "corrects"
    RECORDED_AGAIN = "recorded_again"
    REDIRECTED = "redirected"
    """Tax bills and notices go elsewhere now."""
    NO_DOCUMENT = "no_document"
    """No recorded document explains it."""
    NAME_AGREES = "name_agrees"
    """For an owner watch: the name is likely the watched one."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One event. `before` is the key of the deed by which the previous owners held the parcel. `case` is the key of the
    instrument that this one belongs to: the power of attorney before the deed, the deed that is corrected, the mortgage
    that is released. Not every finding `raises_alert`: a refinancing with the same lender, a lease or a correction is
    only listed."""

    key: str
    event: Event
    severity: Severity
    raises_alert: bool
    reasons: tuple[Reason, ...] = ()
    case: str | None = None
    before: str | None = None
    probability: float | None = None


class Verdict(StrEnum):
    """The result of a scan for one subscription and county."""

    CLEAN = "clean"
    FOUND = "found"
    UNKNOWN = "unknown"


class UnknownReason(StrEnum):
    """The reason why a county's result is unknown."""

    NEVER_READ = "never_read"
    STALE = "stale"
    """The source's newest record is older than its latency."""
    SOURCE_FAILED = "source_failed"
    NOT_COVERED = "not_covered"
    """The county has no such records (Cook County publishes no liens)."""
    ROWS_NOT_UNDERSTOOD = "rows_not_understood"
    ROLL_NOT_READ = "roll_not_read"
    """The county's owner roll could not be read, or does not list a watched parcel."""
