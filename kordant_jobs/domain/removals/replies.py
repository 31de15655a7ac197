"""Messages to a broker, classes of its replies with the move that each causes, and verdicts of our own checks. The
job's rules classify replies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kordant_jobs.domain.removals.states import RemovalState


class ReplyClass(StrEnum):
    """The kinds of replies."""

    RECEIVED = "received"
    IN_PROGRESS = "in_progress"
    EXTENDED = "extended"
    FORM_REQUIRED = "form_required"
    CONFIRMATION_LINK = "confirmation_link"
    IDENTITY_ASKED = "identity_asked"
    DONE = "done"
    NO_MATCH = "no_match"
    REJECTED = "rejected"
    EXEMPT = "exempt"
    AUTO_REPLY = "auto_reply"
    """An automatic answer such as out of office: it says nothing about the request."""
    CONTACT_MOVED = "contact_moved"
    BOUNCED = "bounced"
    UNKNOWN = "unknown"
    """No rule applies, or two disagree: a person reads it."""


REPLY_MOVES: Mapping[ReplyClass, RemovalState | None] = {
    ReplyClass.RECEIVED: RemovalState.ACKNOWLEDGED,
    ReplyClass.IN_PROGRESS: RemovalState.IN_PROGRESS,
    ReplyClass.EXTENDED: RemovalState.EXTENDED,
    ReplyClass.FORM_REQUIRED: RemovalState.NEEDS_USER_ACTION,
    ReplyClass.CONFIRMATION_LINK: RemovalState.NEEDS_USER_ACTION,
    ReplyClass.IDENTITY_ASKED: RemovalState.NEEDS_IDENTITY,
    ReplyClass.DONE: RemovalState.COMPLETED,
    ReplyClass.NO_MATCH: RemovalState.NO_MATCH,
    ReplyClass.REJECTED: RemovalState.DENIED,
    ReplyClass.EXEMPT: RemovalState.EXEMPT,
    ReplyClass.AUTO_REPLY: None,
    ReplyClass.CONTACT_MOVED: RemovalState.CONTACT_MOVED,
    ReplyClass.BOUNCED: RemovalState.BOUNCED,
    ReplyClass.UNKNOWN: None,
}
"""The state that a reply leads to, where that move is allowed. A confirmation link that we may follow ourselves leads
to *acknowledged* instead."""


_NO_NEWS = frozenset(
    {ReplyClass.RECEIVED, ReplyClass.AUTO_REPLY, ReplyClass.CONTACT_MOVED, ReplyClass.BOUNCED, ReplyClass.UNKNOWN}
)


def is_news(state: RemovalState, said: ReplyClass) -> bool:
    """True when a reply that moves a request nowhere says something else than the state does.

    >>> is_news(RemovalState.QUEUED, ReplyClass.DONE), is_news(RemovalState.COMPLETED, ReplyClass.NO_MATCH)
    (True, False)
    """
    is_removed = state in {RemovalState.COMPLETED, RemovalState.VERIFIED_REMOVED}
    if state is RemovalState.CANCELLED or said in _NO_NEWS or REPLY_MOVES[said] is state:
        return False
    return not (is_removed and said in {ReplyClass.DONE, ReplyClass.NO_MATCH})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The result of the rules for one reply; `sentence` is the one that decided (personal: it may repeat an
    identifier)."""

    reply_class: ReplyClass
    rule: str
    detail: str | None = None
    sentence: str = field(default="", repr=False)
    case_numbers: tuple[str, ...] = field(default=(), repr=False)
    links: tuple[str, ...] = field(default=(), repr=False)


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
