"""Legal holds: what must not be deleted, whatever its term says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Keeps rows of one owner, of one kind, or of a range of time, or of what all given ones share.

    `owner_id` is a subscriber's or an entity's. `since` and `before` bound the kind's clock, `before` excluded.
    """

    id: UUID
    reason: str
    placed_by: str
    owner_id: UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    until: datetime | None = None
    """The moment at which the hold ends by itself; None: when it is released."""
