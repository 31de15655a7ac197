"""The purposes that a subscriber may be asked to consent to."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """For what a consent is."""

    WATCH = "watch"
    """To look for their identifiers in stolen data."""
    OUTSIDE_SOURCES = "outside_sources"
    """To ask other companies about them."""
    MESSAGES = "messages"
    """To be written to beyond alerts."""
