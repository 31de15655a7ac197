"""A subscriber's subscription: its status, and which statuses are served."""

from __future__ import annotations

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
