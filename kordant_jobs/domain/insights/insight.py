"""An insight: its kinds, its states, and when it is news again. Pure."""

from enum import StrEnum

ALGORITHM = 2
"""The version of the rules. Increase it when they change: every entity is then refreshed."""


class Kind(StrEnum):
    """The kind of an insight."""

    CASH_FLOW = "cash_flow"
    """Income and spending of one month, by category."""
    INCOME = "income"
    RECURRING = "recurring"
    PRICE_RISE = "price_rise"
    DUPLICATE = "duplicate"
    UNUSUAL = "unusual"
    FEES = "fees"
    """Fees and interest of one month."""
    FORECAST = "forecast"
    RUNWAY = "runway"
    CARD_USE = "card_use"


class Status(StrEnum):
    """The state of an insight. It is open while new, seen or dismissed."""

    NEW = "new"
    SEEN = "seen"
    DISMISSED = "dismissed"
    """The reader dismissed it; it comes back when it changes materially."""
    RESOLVED = "resolved"
    """It no longer holds."""


OPEN = (Status.NEW, Status.SEEN, Status.DISMISSED)
STATUS_MOVES: dict[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.SEEN, Status.DISMISSED, Status.RESOLVED}),
    Status.SEEN: frozenset({Status.NEW, Status.DISMISSED, Status.RESOLVED}),
    Status.DISMISSED: frozenset({Status.NEW, Status.RESOLVED}),
    Status.RESOLVED: frozenset(),
}
"""A material change, or the reader, moves seen and dismissed back to new. A resolved insight that holds again is a new
row."""


class Unknown(StrEnum):
    """The reason why an insight has no answer."""

    SHORT_HISTORY = "short_history"
    NO_BALANCE = "no_balance"
    OLD_BALANCE = "old_balance"
    NO_LIMIT = "no_limit"
    NO_BILLS = "no_bills"
    """A card was used whose bills the bank did not give, so it is unknown when they take the money."""


ALERTED = frozenset({Kind.PRICE_RISE, Kind.DUPLICATE, Kind.UNUSUAL, Kind.FORECAST})
"""Kinds that alert the owner, if their day is in the last `ALERT_DAYS` or the future. Only the forecast of a balance
below zero has a day."""
BELOW_ZERO_SAID, BELOW_ZERO_ALERTED = 0.2, 0.5
"""The probabilities of a balance below zero from which a forecast says so, and from which its owner is alerted."""
ALERT_DAYS = 14
"""The days for which an insight alerts. A first connection brings a year of history: older insights are shown without
an alert."""
