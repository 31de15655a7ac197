"""Legal holds: data that must not be deleted, whatever its term."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold on the rows of one owner, of one kind, or of a range of time; with several of them given, on the rows that
    match all. `owner_id` is a subscriber's or an entity's. `since` and `before` limit the kind's time, `before`
    excluded."""

    id: UUID
    reason: str
    placed_by: str
    owner_id: UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    until: datetime | None = None
    """The time at which the hold ends by itself; None: when it is released."""
