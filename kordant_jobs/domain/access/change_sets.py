"""Change sets: changes that an agent proposes and a person decides on. Their states, moves and digest. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import rfc8785


class ChangeState(StrEnum):
    """The state of a change set. Without a decision it becomes EXPIRED, which is neither a consent nor a refusal."""

    PROPOSED = "proposed"
    APPLIED = "applied"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    CONFLICTED = "conflicted"


class ChangeKind(StrEnum):
    """The subject of a change set."""

    SCHEDULE = "schedule_change"
    WORKFLOW = "workflow"
    """A version of an agent's workflow."""
    GATE = "gate"
    """A step of a workflow that waits for a person."""
    FIRST_TRIGGER = "first_trigger"
    """An agent's first request of a job that it has a grant of."""
    GRANT = "grant_change"
    """Other limits of an agent's grant, or a grant for another job."""


OF_GRANTS = frozenset({ChangeKind.FIRST_TRIGGER, ChangeKind.GRANT})

MOVES: Mapping[ChangeState, frozenset[ChangeState]] = {
    ChangeState.PROPOSED: frozenset(set(ChangeState) - {ChangeState.PROPOSED}),
    **{state: frozenset() for state in ChangeState if state is not ChangeState.PROPOSED},
}
"""Every allowed move. A dry run is the draft; PROPOSED waits for a person. An approval is applied in the same
transaction, so there is no state APPROVED."""

WAITS = timedelta(hours=72)
"""The time that a proposal waits for a person."""


def digest_of(target: str, base_version: int, changes: Mapping[str, Any], expires_at: datetime) -> str:
    """The digest that an approval is bound to: any change of the proposal gives another digest.

    >>> from datetime import UTC
    >>> day = datetime(2026, 12, 1, tzinfo=UTC)
    >>> digest_of("a/all", 1, {"cron": "x"}, day) == digest_of("a/all", 1, {"cron": "y"}, day)
    False
    """
    values: dict[str, Any] = {
        "target": target,
        "base_version": base_version,
        "changes": dict(changes),
        "expires_at": expires_at.isoformat(),
    }
    return hashlib.sha256(rfc8785.dumps(values)).hexdigest()
