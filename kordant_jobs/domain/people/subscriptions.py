"""Subscribers: tiers in ascending order (`catalog` has what runs how often for each), the status of a subscription and
which statuses are served, and the purposes of a consent.
"""

from enum import StrEnum


class SubscriptionStatus(StrEnum):
    """The state of a subscription. Only an active one is scanned, alerted and reported to."""

    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"


SUBSCRIPTION_MOVES: dict[SubscriptionStatus, frozenset[SubscriptionStatus]] = {
    SubscriptionStatus.ACTIVE: frozenset({SubscriptionStatus.PAUSED, SubscriptionStatus.CANCELLED}),
    SubscriptionStatus.PAUSED: frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.CANCELLED}),
    SubscriptionStatus.CANCELLED: frozenset({SubscriptionStatus.ACTIVE}),
}


class Locale(StrEnum):
    """The languages of messages to subscribers (BCP 47)."""

    EN = "en"
    PT_BR = "pt-BR"


class Tier(StrEnum):
    """A subscription's tier."""

    BASIC = "basic"
    PLUS = "plus"
    PREMIUM = "premium"


class Purpose(StrEnum):
    """The purpose of a consent."""

    WATCH = "watch"
    """To search for their identifiers in stolen data."""
    OUTSIDE_SOURCES = "outside_sources"
    """To query other companies about them."""
    MESSAGES = "messages"
    """To send them messages other than alerts."""
