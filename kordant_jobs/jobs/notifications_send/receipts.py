"""Reads receipts (Twilio callbacks, webhooks; pure), and applies these and those of `bounces` to notifications.

A receipt names the message by its id, which is random and known only to the provider, so no one else can forge one.
Callbacks and webhooks are also signed.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs import outside_json
from kordant_jobs.adapters.http_delivery import Act
from kordant_jobs.adapters.mail.bounces import NoReceipt, read_bounce
from kordant_jobs.adapters.sms.twilio import LATER, TWILIO
from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus
from kordant_jobs.domain.notifications.receipts import ARRIVED, LOST, Receipt, ReceiptState, Remedy, is_news, with_cause
from kordant_jobs.jobs.notifications_send.service import opened
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import receipts
from kordant_jobs.store.notifications.receipts import Standing
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import notices as report_notices

__all__ = ["NoReceipt", "next_status", "read_bounce", "read_twilio", "read_webhook", "take", "webhook_signature"]

RETRY_LATER = timedelta(minutes=30)
RETRIES_MAX = 2
"""Attempts after which a message that was lost for a temporary reason is left to an operator."""
WEBHOOK_AGE_MAX_S = 300

_SUPPRESSIBLE = frozenset({OutboxStatus.SENT, OutboxStatus.DEFERRED, OutboxStatus.QUEUED, OutboxStatus.FAILED})
"""The statuses that a hard bounce changes: sent messages, those that wait after a soft bounce, and those left to an
operator."""

TWILIO_STATES = {
    "accepted": ReceiptState.ACCEPTED,
    "scheduled": ReceiptState.ACCEPTED,
    "queued": ReceiptState.ACCEPTED,
    "sending": ReceiptState.ACCEPTED,
    "sent": ReceiptState.SENT,
    "delivered": ReceiptState.DELIVERED,
    "undelivered": ReceiptState.UNDELIVERED,
    "failed": ReceiptState.FAILED,
    "canceled": ReceiptState.FAILED,
    "read": ReceiptState.READ,
}

_REMEDIES = {Act.RETRY: Remedy.RETRY, Act.GONE: Remedy.SUPPRESS}


def read_twilio(message_id: UUID, form: Mapping[str, str]) -> Receipt:
    """Read a status callback; the id is the last part of the callback's address.

    Raises:
        NoReceipt: a status that this version does not know.
    """
    state = TWILIO_STATES.get(form.get("MessageStatus", ""))
    if state is None:
        raise NoReceipt
    code = form.get("ErrorCode", "")
    # With a messaging service, the codes of an answer come in the callback, too.
    act = LATER.get(code) or TWILIO.codes.get(code) or Act.OPERATOR
    remedy = _REMEDIES.get(act, Remedy.OPERATOR)
    said = f"twilio {code}" if code.isdigit() else "twilio"
    return Receipt(message_id=message_id, state=state, code=said, remedy=remedy, provider_id=form.get("MessageSid"))


def webhook_signature(secret: str, moment: str, body: bytes) -> str:
    """X-Kordant-Signature of a webhook: HMAC-SHA256 over the time (Unix seconds), a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


_WEBHOOK_STATES = {
    "delivered": (ReceiptState.DELIVERED, Remedy.OPERATOR),
    "read": (ReceiptState.READ, Remedy.OPERATOR),
    "bounced": (ReceiptState.FAILED, Remedy.SUPPRESS),
    "complained": (ReceiptState.READ, Remedy.SUPPRESS),
    "failed": (ReceiptState.FAILED, Remedy.OPERATOR),
}


def read_webhook(body: bytes) -> Receipt:
    """Read `{"message_id": …, "status": "delivered | read | bounced | complained | failed"}`.

    Raises:
        NoReceipt: it is not of this form.
    """
    try:
        found = outside_json.loads(body)
        state, remedy = _WEBHOOK_STATES[found["status"]]
        return Receipt(
            message_id=UUID(found["message_id"]), state=state, code=f"webhook {found['status']}", remedy=remedy
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NoReceipt from None


def take(connection: Connection, keyring: Keyring, receipt: Receipt) -> int:
    """Apply a receipt. It only moves a notification forward: a receipt without news, or about a message that we did not
    send, changes nothing. Returns the number of notifications changed."""
    updated = 0
    for row in receipts.standing(connection, receipt.message_id):
        if not is_news(row.receipt, row.status, receipt):
            continue
        updated += 1
        status, reason = next_status(row, receipt)
        retry = status is OutboxStatus.DEFERRED
        receipts.record(
            connection, row.id, receipt, status=status, reason=reason, due_in=RETRY_LATER if retry else None
        )
    if updated and receipt.remedy is Remedy.SUPPRESS:
        _suppress(connection, keyring, receipt)
    return updated


def next_status(row: Standing, receipt: Receipt) -> tuple[OutboxStatus | None, str | None]:
    """The status of a notification after a receipt (None: unchanged), and the reason. A notification whose sender was
    interrupted becomes sent when the provider reports that it arrived."""
    if receipt.state in ARRIVED and row.open:
        return OutboxStatus.SENT, None
    if receipt.state not in LOST:
        return None, None
    reason = f"it did not arrive ({with_cause(receipt.code, receipt.cause)})"
    if receipt.remedy is Remedy.SUPPRESS and row.status in _SUPPRESSIBLE:
        return OutboxStatus.SUPPRESSED, reason
    if row.status is not OutboxStatus.SENT:
        return None, None
    if receipt.remedy is Remedy.RETRY and row.attempts < RETRIES_MAX:
        return OutboxStatus.DEFERRED, reason
    return OutboxStatus.FAILED, reason


def _suppress(connection: Connection, keyring: Keyring, receipt: Receipt) -> None:
    rows = report_notices.notices(connection, receipts.of_message(connection, receipt.message_id))
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
    for row in rows:
        if row.subscriber_id not in keys:
            continue
        channel = Channel(row.channel)
        key = notification_choices.address_key(keyring, channel, opened(row, keys).address)
        if channel in {Channel.EMAIL, Channel.SMS}:
            notification_choices.suppress(connection, [key], reason=receipt.code, by="receipt")
        if row.address_id:
            notification_choices.remove_addresses(connection, [(row.address_id, None)], receipt.code)
