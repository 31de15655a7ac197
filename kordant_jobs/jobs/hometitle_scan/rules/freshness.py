"""Chooses the county that is checked next for new data. Pure."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

ASK_EVERY = timedelta(minutes=15)
"""The shortest time between two checks of a county. The sources publish at most once a day, at different hours."""


def next_to_ask(counties: Collection[str], asked_at: Mapping[str, datetime], now: datetime) -> str | None:
    """The county whose last check is the oldest, or that was never checked; None while all checks are recent. It is one
    for each call, so that a county that does not answer delays the sensor only once.

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
