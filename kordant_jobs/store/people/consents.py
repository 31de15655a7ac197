"""Subscribers' consents: purpose, time, manner and term. They are kept as a record; the only change is a withdrawal."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.people.subscriptions import Purpose
from kordant_jobs.store.people.tables import consents


def give(connection: Connection, subscriber_id: UUID, purpose: Purpose, *, how: str, by: str) -> bool:
    """Record a consent. False when there is an active one for this purpose: it stays unchanged."""
    if _standing(connection, subscriber_id, purpose):
        return False
    connection.execute(
        sa.insert(consents).values(id=uuid7(), subscriber_id=subscriber_id, purpose=purpose, how=how, recorded_by=by)
    )
    return True


def withdraw(connection: Connection, subscriber_id: UUID, purpose: Purpose) -> bool:
    """Record the withdrawal of a consent. False when there was no active one."""
    column = consents.c
    done = connection.execute(
        sa.update(consents)
        .where(column.subscriber_id == subscriber_id, column.purpose == purpose, column.withdrawn_at.is_(None))
        .values(withdrawn_at=sa.func.now())
    )
    return done.rowcount > 0


def _standing(connection: Connection, subscriber_id: UUID, purpose: Purpose) -> bool:
    column = consents.c
    found = sa.exists().where(
        column.subscriber_id == subscriber_id, column.purpose == purpose, column.withdrawn_at.is_(None)
    )
    return bool(connection.execute(sa.select(found)).scalar_one())
