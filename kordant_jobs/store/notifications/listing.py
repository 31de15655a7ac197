"""Notifications for operators: find, show, queue again, give up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus, may_come_from
from kordant_jobs.store.notifications.tables import notification_outbox, suppressions
from kordant_jobs.store.people.tables import subscriptions

_COLUMNS = (
    "id", "alert_id", "report_id", "subscription_id", "category", "channel", "address_id", "status", "attempts",
    "interruptions", "due_at", "held_for", "mail_id", "reason", "created_at", "sent_at", "provider_id", "receipt",
    "receipt_at",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One row of the outbox, with its subscriber."""

    id: UUID
    alert_id: UUID | None
    report_id: UUID | None
    subscription_id: UUID
    subscriber_id: UUID
    category: str
    channel: str
    address_id: UUID | None
    status: str
    attempts: int
    interruptions: int
    due_at: datetime
    held_for: str | None
    mail_id: UUID | None
    reason: str | None
    created_at: datetime
    sent_at: datetime | None
    provider_id: str | None
    receipt: str | None
    receipt_at: datetime | None


def find(
    connection: Connection,
    *,
    ids: Sequence[UUID] = (),
    status: OutboxStatus | None = None,
    channel: Channel | None = None,
    subscription_id: UUID | None = None,
    limit: int = 100,
) -> list[Notification]:
    """Notifications, the newest first."""
    table = notification_outbox.c
    query = sa.select(*(table[name] for name in _COLUMNS), subscriptions.c.subscriber_id).join(
        subscriptions, subscriptions.c.id == table.subscription_id
    )
    if ids:
        query = query.where(sa.or_(table.id.in_(ids), table.mail_id.in_(ids)))
    if status:
        query = query.where(table.status == status)
    if channel:
        query = query.where(table.channel == channel)
    if subscription_id:
        query = query.where(table.subscription_id == subscription_id)
    rows = connection.execute(query.order_by(table.created_at.desc(), table.id).limit(limit))
    return [Notification(**row._mapping) for row in rows]


def counts(connection: Connection) -> list[tuple[str, str, int]]:
    """The number of notifications by channel and status."""
    table = notification_outbox.c
    query = sa.select(table.channel, table.status, sa.func.count()).group_by(table.channel, table.status)
    return [(row[0], row[1], row[2]) for row in connection.execute(query.order_by(table.channel, table.status))]


def move(connection: Connection, ids: Sequence[UUID], to: OutboxStatus, *, reason: str | None) -> list[UUID]:
    """Move notifications to a status that an operator may choose. Returns the ids of those moved. One that is queued
    again starts over: attempts, interruptions and receipts are reset."""
    table = notification_outbox
    values: dict[str, object] = {"status": to, "reason": reason, "lease_id": None}
    if to is OutboxStatus.QUEUED:
        again = {"attempts": 0, "interruptions": 0, "receipt": None, "receipt_at": None, "due_at": sa.func.now()}
        values |= again
    statement = (
        sa.update(table)
        .where(table.c.id.in_(ids), table.c.status.in_(may_come_from(to)))
        .where(table.c.status != OutboxStatus.SENDING)
        .values(**values)
        .returning(table.c.id)
    )
    return list(connection.execute(statement).scalars())


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """A suppressed address; the address itself cannot be read from it."""

    channel: str
    address_index: bytes
    reason: str
    created_by: str
    created_at: datetime


def suppressions_of(connection: Connection, *, limit: int = 100) -> list[Suppression]:
    """Suppressed addresses, the newest first."""
    table = suppressions.c
    columns = (table.channel, table.address_index, table.reason, table.created_by, table.created_at)
    rows = connection.execute(sa.select(*columns).order_by(table.created_at.desc()).limit(limit))
    return [Suppression(**row._mapping) for row in rows]
