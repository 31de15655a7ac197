"""The states of a removal request, and the only table of allowed moves between them. Pure.

The database has the same table (`kordant.removal_moves`, filled by the migration), and a trigger refuses any other
move; a test compares the two.
"""

from enum import StrEnum


class RemovalState(StrEnum):
    """The state of one removal request."""

    DRAFT = "draft"
    """Requested by the subscriber; no channel is chosen yet."""
    QUEUED = "queued"
    """A message to the broker is ready and waits for the broker's daily cap."""
    SENT = "sent"
    """The broker has received it; the legal term runs."""
    ACKNOWLEDGED = "acknowledged"
    """The broker confirmed receipt."""
    NEEDS_USER_ACTION = "needs_user_action"
    """The subscriber must act: fill in a form, answer a question, or read a reply that no rule understood."""
    NEEDS_IDENTITY = "needs_identity"
    """The broker asked for more proof of identity, which is never sent automatically."""
    IN_PROGRESS = "in_progress"
    EXTENDED = "extended"
    """The broker took the extension that the law allows."""
    COMPLETED = "completed"
    """The broker says that it removed the data. Our own check has not confirmed that."""
    NO_MATCH = "no_match"
    """The broker says that it has no data on this person."""
    DENIED = "denied"
    EXEMPT = "exempt"
    """The broker holds the data under a law that needs no removal (in the US the FCRA, for example)."""
    CONTACT_MOVED = "contact_moved"
    """The broker's contact in our catalogue is wrong: the catalogue is at fault; it is not a refusal."""
    BOUNCED = "bounced"
    OVERDUE = "overdue"
    """The legal deadline has passed without an answer; a reminder is sent."""
    ESCALATED = "escalated"
    """A complaint to the regulator has been drafted."""
    VERIFIED_REMOVED = "verified_removed"
    """Our own check found no listing, after the broker had received the request."""
    RELISTED = "relisted"
    """Our own check found the listing although the broker had finished."""
    CANCELLED = "cancelled"
    """Withdrawn by the subscriber."""


S = RemovalState

ANSWERS = frozenset(
    {
        S.ACKNOWLEDGED, S.NEEDS_USER_ACTION, S.NEEDS_IDENTITY, S.IN_PROGRESS, S.EXTENDED, S.COMPLETED, S.NO_MATCH,
        S.DENIED, S.EXEMPT, S.CONTACT_MOVED,
    }
)  # fmt: skip
"""States that an answer of the broker leads to."""

LATE = frozenset({S.OVERDUE, S.CANCELLED})

CORRECTIONS = frozenset({S.NEEDS_USER_ACTION, S.NEEDS_IDENTITY, S.IN_PROGRESS, S.DENIED, S.EXEMPT})
"""States that a broker's later answer leads to, after one that ended the request."""

REMOVAL_MOVES: dict[RemovalState, frozenset[RemovalState]] = {
    S.DRAFT: frozenset({S.QUEUED, S.NEEDS_USER_ACTION, S.CONTACT_MOVED, S.CANCELLED}),
    S.QUEUED: frozenset({S.SENT, S.BOUNCED, S.NEEDS_USER_ACTION, S.CONTACT_MOVED, S.DENIED, S.CANCELLED}),
    S.SENT: ANSWERS | LATE | {S.BOUNCED, S.VERIFIED_REMOVED},
    S.ACKNOWLEDGED: (ANSWERS - {S.ACKNOWLEDGED}) | LATE | {S.VERIFIED_REMOVED},
    S.NEEDS_USER_ACTION: (ANSWERS - {S.NEEDS_USER_ACTION}) | LATE | {S.QUEUED, S.SENT, S.VERIFIED_REMOVED},
    S.NEEDS_IDENTITY: (ANSWERS - {S.NEEDS_IDENTITY}) | LATE | {S.VERIFIED_REMOVED},
    S.IN_PROGRESS: (ANSWERS - {S.IN_PROGRESS, S.ACKNOWLEDGED}) | LATE | {S.VERIFIED_REMOVED},
    S.EXTENDED: (ANSWERS - {S.EXTENDED, S.ACKNOWLEDGED}) | LATE | {S.VERIFIED_REMOVED},
    S.COMPLETED: CORRECTIONS | {S.VERIFIED_REMOVED, S.RELISTED, S.CANCELLED},
    S.NO_MATCH: CORRECTIONS | {S.COMPLETED, S.RELISTED, S.CANCELLED},
    S.DENIED: (CORRECTIONS - {S.DENIED}) | {S.QUEUED, S.ESCALATED, S.COMPLETED, S.NO_MATCH, S.CANCELLED},
    S.EXEMPT: (CORRECTIONS - {S.EXEMPT}) | {S.ESCALATED, S.COMPLETED, S.NO_MATCH, S.CANCELLED},
    S.CONTACT_MOVED: frozenset({S.QUEUED, S.NEEDS_USER_ACTION, S.COMPLETED, S.NO_MATCH, S.CANCELLED}),
    S.BOUNCED: frozenset({S.QUEUED, S.NEEDS_USER_ACTION, S.CONTACT_MOVED, S.CANCELLED}),
    S.OVERDUE: ANSWERS | {S.ESCALATED, S.BOUNCED, S.VERIFIED_REMOVED, S.CANCELLED},
    S.ESCALATED: ANSWERS | {S.BOUNCED, S.VERIFIED_REMOVED, S.CANCELLED},
    S.VERIFIED_REMOVED: frozenset({S.RELISTED, S.CANCELLED}),
    S.RELISTED: frozenset({S.QUEUED, S.NEEDS_USER_ACTION, S.CONTACT_MOVED, S.ESCALATED, S.COMPLETED, S.CANCELLED}),
    S.CANCELLED: frozenset(),
}
"""The allowed moves. A broker may answer twice: its last answer counts, except *no match* after *completed*, which does
not contradict it. *Verified removed* follows only from our own check, after the broker had the request (see `rules`).
"""

BEFORE_THE_BROKER = frozenset({S.DRAFT, S.QUEUED, S.BOUNCED, S.CONTACT_MOVED, S.RELISTED})
"""The states in which a request is about to be sent, or sent again: a reply does not move it."""

DONE = frozenset({S.VERIFIED_REMOVED, S.NO_MATCH, S.EXEMPT, S.DENIED, S.CANCELLED})
"""No party has to act any more."""


class Turn(StrEnum):
    """The party that acts next."""

    US = "us"
    BROKER = "broker"
    SUBSCRIBER = "subscriber"
    OPERATOR = "operator"
    NOBODY = "nobody"


_BY_TURN: dict[Turn, tuple[RemovalState, ...]] = {
    Turn.US: (S.DRAFT, S.QUEUED, S.COMPLETED, S.BOUNCED, S.RELISTED),
    Turn.BROKER: (S.SENT, S.ACKNOWLEDGED, S.IN_PROGRESS, S.EXTENDED, S.OVERDUE),
    Turn.SUBSCRIBER: (S.NEEDS_USER_ACTION, S.NEEDS_IDENTITY, S.ESCALATED),
    Turn.OPERATOR: (S.CONTACT_MOVED,),
    Turn.NOBODY: (S.NO_MATCH, S.DENIED, S.EXEMPT, S.VERIFIED_REMOVED, S.CANCELLED),
}
TURNS: dict[RemovalState, Turn] = {state: turn for turn, states in _BY_TURN.items() for state in states}


def turn_of(state: RemovalState, *, is_unread: bool = False, can_check: bool = True) -> Turn:
    """The party that acts next: the operator while a reply waits for a person; no party where the broker says that it
    is done and we cannot check it.

    >>> turn_of(RemovalState.SENT, is_unread=True).value, turn_of(RemovalState.COMPLETED, can_check=False).value
    ('operator', 'nobody')
    """
    if is_unread:
        return Turn.OPERATOR
    return Turn.NOBODY if state is RemovalState.COMPLETED and not can_check else TURNS[state]


class Denial(StrEnum):
    """The reason for a broker's refusal. The first seven are the Data Rights Protocol's."""

    SUSPECTED_FRAUD = "suspected_fraud"
    INSUFFICIENT_VERIFICATION = "insuf_verification"
    NO_MATCH = "no_match"
    CLAIM_NOT_COVERED = "claim_not_covered"
    OUTSIDE_JURISDICTION = "outside_jurisdiction"
    TOO_MANY_REQUESTS = "too_many_requests"
    OTHER = "other"
    AGENT_NOT_ACCEPTED = "agent_not_accepted"


def may_move(before: RemovalState, after: RemovalState) -> bool:
    """True when a request may go from one state to the other.

    >>> may_move(RemovalState.SENT, RemovalState.COMPLETED), may_move(RemovalState.DRAFT, RemovalState.VERIFIED_REMOVED)
    (True, False)
    """
    return after in REMOVAL_MOVES[before]
