"""Messages to a broker, and verdicts of our own checks. Pure."""

from __future__ import annotations

from enum import StrEnum


class MessageKind(StrEnum):
    """The kind of one message to a broker."""

    REQUEST = "request"
    REMINDER = "reminder"


class MessageStatus(StrEnum):
    """The state of one message."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    """It will never arrive: the contact is dead, or it was refused."""
    UNCERTAIN = "uncertain"
    """Its sender was interrupted, and a second copy would show, so it is not sent again."""
    WITHDRAWN = "withdrawn"
    """Its request moved on before it was sent."""


class CheckVerdict(StrEnum):
    """The verdict of our own check of a broker's site. An answer that was not read is *unknown*, never *not listed*."""

    LISTED = "listed"
    NOT_LISTED = "not_listed"
    UNKNOWN = "unknown"
