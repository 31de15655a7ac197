"""An insight: its kinds, its state for its reader, and when it is news again. Pure."""

from __future__ import annotations

from enum import StrEnum

ALGORITHM = 2
"""Counted up when rules change: every entity is refreshed then."""


class Kind(StrEnum):
    """The kind of an insight."""

    CASH_FLOW = "cash_flow"
    """Of one month: what came in and went out, by category."""
    INCOME = "income"
    RECURRING = "recurring"
    PRICE_RISE = "price_rise"
    DUPLICATE = "duplicate"
    UNUSUAL = "unusual"
    FEES = "fees"
    """Of one month."""
    FORECAST = "forecast"
    RUNWAY = "runway"
    CARD_USE = "card_use"


class Status(StrEnum):
    """The state of an insight. It is open while new, seen or dismissed."""

    NEW = "new"
    SEEN = "seen"
    DISMISSED = "dismissed"
    """Its reader does not want it; it comes back when it has changed materially."""
    RESOLVED = "resolved"
    """It does not hold any more."""


OPEN = (Status.NEW, Status.SEEN, Status.DISMISSED)
STATUS_MOVES: dict[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.SEEN, Status.DISMISSED, Status.RESOLVED}),
    Status.SEEN: frozenset({Status.NEW, Status.DISMISSED, Status.RESOLVED}),
    Status.DISMISSED: frozenset({Status.NEW, Status.RESOLVED}),
    Status.RESOLVED: frozenset(),
}
"""From seen and dismissed a material change, or its reader, leads back to new; a resolved one that holds again is
another row."""


class Unknown(StrEnum):
    """Why something cannot be said."""

    SHORT_HISTORY = "short_history"
    NO_BALANCE = "no_balance"
    OLD_BALANCE = "old_balance"
    NO_LIMIT = "no_limit"
    NO_BILLS = "no_bills"
    """A card was used whose bills no bank gave: when they take the money is not known."""


ALERTED = frozenset({Kind.PRICE_RISE, Kind.DUPLICATE, Kind.UNUSUAL, Kind.FORECAST})
"""Kinds that alert the owner when they are about the last `ALERT_DAYS` or a day to come; of forecasts only the one that
a balance may fall below zero is about a day."""
BELOW_ZERO_SAID, BELOW_ZERO_ALERTED = 0.2, 0.5
"""Probabilities that a balance falls below zero, from which a forecast says so, and from which its owner is alerted."""
ALERT_DAYS = 14
"""A first connection brings a year of history: what is older is shown, without an alert."""
