"""Single subscriptions, and their moves between tiers and statuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.identifiers import IdentifierKind, mask
from kordant_jobs.domain.people.subscriptions import SUBSCRIPTION_MOVES, SubscriptionStatus, Tier
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions, watchlist_items

MASKS_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription, without personal data."""

    id: UUID
    subscriber_id: UUID
    tier: Tier
    status: SubscriptionStatus
    started_at: datetime
    ended_at: datetime | None


def get(connection: Connection, subscription_id: UUID, *, lock: bool = False) -> Subscription | None:
    """One subscription, None when there is none; with `lock` no other transaction changes it until this one ends."""
    query = sa.select(subscriptions).where(subscriptions.c.id == subscription_id)
    one = connection.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    return None if one is None else _subscription(one)


def find(
    connection: Connection,
    *,
    tier: Tier | None = None,
    status: SubscriptionStatus | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[Subscription]:
    """Subscriptions by descending id; `after` is the id at which the last page ended."""
    query = sa.select(subscriptions).order_by(subscriptions.c.id.desc()).limit(limit)
    wanted = {subscriptions.c.tier: tier, subscriptions.c.status: status}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if after is not None:
        query = query.where(subscriptions.c.id < after)
    return [_subscription(one) for one in connection.execute(query)]


def watched_kinds(connection: Connection, subscription_id: UUID) -> dict[str, int]:
    """The number of identifiers of each kind that a subscription watches now."""
    items = watchlist_items.c
    query = (
        sa.select(items.kind, sa.func.count())
        .where(items.subscription_id == subscription_id, items.removed_at.is_(None))
        .group_by(items.kind)
        .order_by(items.kind)
    )
    return dict(connection.execute(query).tuples().all())


@dataclass(frozen=True, kw_only=True)
class LastVerdict:
    """The last verdict of one source on a subscription. `reason` says why it is unknown."""

    source: str
    checked_on: date
    verdict: str
    reason: str | None
    exposures: int
    covered_until: datetime


def last_verdicts(connection: Connection, subscription_id: UUID) -> list[LastVerdict]:
    """The newest verdict of each source that has answered."""
    query = sa.text(
        "SELECT DISTINCT ON (source) source, last.checked_on, verdict, reason, exposures, covered_until "
        "FROM kordant.source_verdicts v, LATERAL (SELECT coalesce("
        "    (v.again_at[cardinality(v.again_at)] AT TIME ZONE 'UTC')::date, v.checked_on) AS checked_on) last "
        "WHERE subscription_id = :id ORDER BY source, last.checked_on DESC"
    )
    return [LastVerdict(**row) for row in connection.execute(query, {"id": subscription_id}).mappings()]


def masks(connection: Connection, keyring: Keyring, one: Subscription) -> list[tuple[str, str]]:
    """The watched identifiers by kind, masked as the subscriber sees them; empty for a forgotten subscriber.

    Raises:
        KeyringError: they do not open with this master key.
    """
    items = watchlist_items.c
    query = (
        sa.select(items.id, items.kind, items.identifier_encrypted)
        .where(items.subscription_id == one.id, items.removed_at.is_(None), items.identifier_encrypted.is_not(None))
        .order_by(items.kind, items.created_at, items.id)
        .limit(MASKS_MAX)
    )
    rows = connection.execute(query).all()
    keys = keyring.load_keys(connection, [one.subscriber_id])
    if one.subscriber_id not in keys:
        return []
    opened = partial(keys.open, one.subscriber_id, items.identifier_encrypted)
    return [(row.kind, mask(IdentifierKind(row.kind), opened(row.id, row.identifier_encrypted))) for row in rows]


def watching(connection: Connection, indexes: Sequence[bytes]) -> list[tuple[Subscription, bytes]]:
    """The subscriptions that watch one of these blind indexes, with the index."""
    items = watchlist_items.c
    query = (
        sa.select(subscriptions, items.blind_index)
        .join(watchlist_items, items.subscription_id == subscriptions.c.id)
        .where(items.blind_index.in_(indexes), items.removed_at.is_(None))
        .order_by(subscriptions.c.started_at, subscriptions.c.id)
    )
    return [(_subscription(row), bytes(row.blind_index)) for row in connection.execute(query)]


def _subscription(one: sa.Row[Any]) -> Subscription:
    return Subscription(
        id=one.id,
        subscriber_id=one.subscriber_id,
        tier=Tier(one.tier),
        status=SubscriptionStatus(one.status),
        started_at=one.started_at,
        ended_at=one.ended_at,
    )


def _known(connection: Connection, subscription_id: UUID) -> Subscription:
    found = get(connection, subscription_id, lock=True)
    if found is None:
        raise PermanentError(f"there is no subscription {subscription_id}.")
    return found


def set_tier(connection: Connection, subscription_id: UUID, tier: Tier) -> Subscription:
    """Change a subscription's tier. Returns the subscription before the change.

    Raises:
        PermanentError: there is no such subscription.
    """
    before = _known(connection, subscription_id)
    connection.execute(sa.update(subscriptions).where(subscriptions.c.id == subscription_id).values(tier=tier))
    return before


def move(connection: Connection, subscription_id: UUID, to: SubscriptionStatus) -> Subscription:
    """Move a subscription to another status. Returns the subscription before the move. One with that status already
    stays unchanged.

    Raises:
        PermanentError: there is no such subscription, or no such move.
    """
    before = _known(connection, subscription_id)
    if before.status is to:
        return before
    if to not in SUBSCRIPTION_MOVES[before.status]:
        raise PermanentError(f"subscription {subscription_id} is {before.status}: it cannot become {to}.")
    ended_at = sa.func.now() if to is SubscriptionStatus.CANCELLED else None
    connection.execute(
        sa.update(subscriptions).where(subscriptions.c.id == subscription_id).values(status=to, ended_at=ended_at)
    )
    return before
