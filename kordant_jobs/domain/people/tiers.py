"""Subscription tiers, in ascending order. `catalog` has what runs how often for each."""

from enum import StrEnum


class Tier(StrEnum):
    """A subscription's tier."""

    BASIC = "basic"
    PLUS = "plus"
    PREMIUM = "premium"
