"""Chooses the county that is asked next for new data. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

ASK_EVERY = timedelta(minutes=15)
"""A county is asked no more often. The sources publish once a day at most, at hours of their own."""


def next_to_ask(counties: Collection[str], asked_at: Mapping[str, datetime], now: datetime) -> str | None:
    """The county that was asked longest ago, or never; None while every answer is recent. One a call, so that a county
    that does not answer holds up the sensor only once.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    >>> next_to_ask(["nyc", "cook-il"], {"nyc": noon}, noon)
    'cook-il'
    >>> next_to_ask(["nyc"], {"nyc": noon}, noon + timedelta(minutes=14)) is None
    True
    """
    never = datetime.min.replace(tzinfo=now.tzinfo)
    due = [one for one in counties if asked_at.get(one, never) <= now - ASK_EVERY] if counties else []
    return min(due, key=lambda one: (asked_at.get(one, never), one), default=None)
