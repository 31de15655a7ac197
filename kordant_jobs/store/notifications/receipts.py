"""Receipts in the rows of the outbox. `jobs/notifications_send/receipts` interprets them."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.alerts import OutboxStatus, may_come_from
from kordant_jobs.domain.notifications.receipts import Receipt, ReceiptState
from kordant_jobs.engine.control import leases


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The state of a notification. `open`: it may have been sent, but its sender was interrupted and none works on it
    now."""

    id: UUID
    status: OutboxStatus
    attempts: int
    receipt: ReceiptState | None
    open: bool


_STANDING = f"""
SELECT id, status, attempts, receipt,
       (status = 'sending' AND NOT {leases.held_sql("lease_id")}) OR (status = 'deferred' AND interruptions > 0) AS open
FROM kordant.notification_outbox
WHERE (id = :message AND mail_id IS NULL) OR mail_id = :message
ORDER BY id FOR UPDATE
"""  # noqa: S608 - put together from constants

_RECORD = """
UPDATE kordant.notification_outbox
SET receipt = CASE WHEN :due_in IS NULL THEN :receipt END, receipt_at = clock_timestamp(),
    provider_id = coalesce(:provider_id, provider_id),
    status = coalesce(:status, status), reason = CASE WHEN :status IS NULL THEN reason ELSE :reason END,
    sent_at = CASE WHEN :status = 'sent' THEN clock_timestamp() ELSE sent_at END,
    lease_id = CASE WHEN :status IS NULL THEN lease_id END,
    due_at = CASE WHEN :due_in IS NULL THEN due_at ELSE now() + cast(:due_in AS interval) END
WHERE id = :id AND (:status IS NULL OR status = ANY(:may_come_from))
"""


def standing(connection: Connection, message_id: UUID) -> list[Standing]:
    """The notifications that a message carried, locked until this transaction ends."""
    rows = connection.execute(sa.text(_STANDING), {"message": message_id})
    return [
        Standing(
            id=row.id,
            status=OutboxStatus(row.status),
            attempts=row.attempts,
            receipt=ReceiptState(row.receipt) if row.receipt else None,
            open=row.open,
        )
        for row in rows
    ]


def of_message(connection: Connection, message_id: UUID) -> list[UUID]:
    """The ids of the notifications that a message carried."""
    return [row.id for row in standing(connection, message_id)]


def record(
    connection: Connection,
    notification_id: UUID,
    receipt: Receipt,
    *,
    status: OutboxStatus | None,
    reason: str | None,
    due_in: timedelta | None,
) -> None:
    """Write a receipt, and the resulting status (None: unchanged). With `due_in` it is sent again, as after a failure,
    and receipts start over."""
    before = set(may_come_from(status)) if status else set()
    if due_in is not None:
        before.add(OutboxStatus.SENT)
    text = sa.text(_RECORD).bindparams(
        sa.bindparam("status", type_=sa.Text()),
        sa.bindparam("reason", type_=sa.Text()),
        sa.bindparam("due_in", type_=sa.Text()),
        sa.bindparam("provider_id", type_=sa.Text()),
    )
    connection.execute(
        text,
        {
            "id": notification_id,
            "receipt": receipt.state,
            "provider_id": receipt.provider_id,
            "status": status,
            "reason": reason,
            "due_in": f"{due_in.total_seconds()} seconds" if due_in is not None else None,
            "may_come_from": [one.value for one in before],
        },
    )
