"""The purposes that a subscriber may be asked to consent to."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """The purpose of a consent."""

    WATCH = "watch"
    """To search for their identifiers in stolen data."""
    OUTSIDE_SOURCES = "outside_sources"
    """To query other companies about them."""
    MESSAGES = "messages"
    """To send them messages other than alerts."""
