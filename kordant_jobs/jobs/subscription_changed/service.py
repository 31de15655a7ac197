"""A subscription began, changed its tier, was paused or ended: updates its schedule rows, and requests its first scan
at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.catalog import enqueue
from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.domain.people.subscriptions import SubscriptionStatus
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import Filter, operate
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.people import subscriptions
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.store.schedules.due_slots import Slot

JOB = "subscription_changed"
SCAN = DarkwatchScan.job


@dataclass(frozen=True, kw_only=True)
class Placed:
    """The numbers of subscriptions that were scheduled by their tier (`served`), whose schedule was removed since they
    are not active (`removed`), and that no longer exist (`gone`)."""

    served: int = 0
    removed: int = 0
    gone: int = 0


def schedule_for_subscription(connection: Connection, subscription_id: UUID, *, requested_by: str) -> list[Slot]:
    """Schedule an active subscription by its tier from now on, in the caller's transaction. Returns its slots, by job.
    When its tier is new to it, a scan is queued at once. Safe to repeat: existing slots stay, and a waiting scan is not
    queued again.

    Raises:
        PermanentError: there is no such subscription, or it is not active.
    """
    found = subscriptions.get(connection, subscription_id, lock=True)
    if found is None or found.status is not SubscriptionStatus.ACTIVE:
        raise PermanentError(f"subscription {subscription_id} is not active: resume it first.")
    before = {one.job: one.tier for one in due_slots.of_subscription(connection, subscription_id)}
    due_slots.place(connection, [subscription_id])
    slots = due_slots.of_subscription(connection, subscription_id)
    if any(one.job == SCAN and before.get(SCAN) != one.tier for one in slots):
        _scan_at_once(connection, subscription_id, requested_by=requested_by)
    return slots


def _scan_at_once(connection: Connection, subscription_id: UUID, *, requested_by: str) -> None:
    waiting = Filter(job=SCAN, entity_key=str(subscription_id), statuses=operate.OPEN)
    if operate.find(connection, waiting, limit=1):
        return
    enqueue(
        connection,
        DarkwatchScan(subscription_ids=(subscription_id,), read_dumps=False),
        requested_by=requested_by,
        priority=Priority.CRITICAL,
        entity_key=str(subscription_id),
    )


def remove_schedules_for_subscription(connection: Connection, subscription_id: UUID) -> int:
    """Remove a subscription's schedule, in the caller's transaction: its rows are deleted, its waiting requests
    cancelled, its running ones asked to stop; history stays. Returns the number of rows and requests removed."""
    now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    theirs = operate.find(connection, Filter(entity_key=str(subscription_id), statuses=operate.OPEN))
    others = tuple(one.id for one in theirs if one.job != JOB)  # not the event that this is the answer to
    cancelled = operate.cancel(connection, Filter(ids=others), now=now) if others else []
    return due_slots.remove(connection, [subscription_id]) + len(cancelled)


def place(subscription_ids: Sequence[UUID], *, db: Engine, requested_by: str = JOB) -> Placed:
    """Update each of these subscriptions by its tier and status, one transaction each."""
    served = removed = gone = 0
    for subscription_id in subscription_ids:
        with db.begin() as connection:
            found = subscriptions.get(connection, subscription_id, lock=True)
            if found is None:
                gone += 1
            elif found.status is SubscriptionStatus.ACTIVE:
                schedule_for_subscription(connection, subscription_id, requested_by=requested_by)
                served += 1
            else:
                remove_schedules_for_subscription(connection, subscription_id)
                removed += 1
    return Placed(served=served, removed=removed, gone=gone)
