"""Subscription tiers, in the order of what they pay for. What runs how often by tier is `catalog`'s."""

from enum import StrEnum


class Tier(StrEnum):
    """A subscription's tier."""

    BASIC = "basic"
    PLUS = "plus"
    PREMIUM = "premium"
