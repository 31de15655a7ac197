"""Receipts: a Twilio callback, a bounce (RFC 3464), a webhook; read (pure), and what follows from them.

A receipt names the message by its id, which is random and which only the other side was given: nobody who does not
have the message can make one up. Callbacks and webhooks are signed besides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.adapters.http_delivery import Act
from kordant_jobs.adapters.mail.replies import NO_SUCH_ADDRESS
from kordant_jobs.adapters.sms.errors import LATER
from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus
from kordant_jobs.domain.notifications.receipts import ARRIVED, LOST, Receipt, ReceiptState, Remedy, moves_on
from kordant_jobs.jobs.notifications_send.service import opened
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import receipts
from kordant_jobs.store.notifications.receipts import Standing
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports import notices as report_notices

RETRY_LATER = timedelta(minutes=30)
RETRIES_MAX = 2
"""Attempts after which a message that was lost on its way for a passing reason is left to an operator."""
WEBHOOK_AGE_MAX_S = 300

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


class NoReceipt(ValueError):
    """It is none, or of no message of ours."""


def read_twilio(message_id: UUID, form: Mapping[str, str]) -> Receipt:
    """What a status callback says; the id is the one behind the callback's address.

    Raises:
        NoReceipt: a status that this version does not know.
    """
    state = TWILIO_STATES.get(form.get("MessageStatus", ""))
    if state is None:
        raise NoReceipt
    code = form.get("ErrorCode", "")
    remedy = _REMEDIES.get(LATER.get(code, Act.OPERATOR), Remedy.OPERATOR)
    said = f"twilio {code}" if code.isdigit() else "twilio"
    return Receipt(message_id=message_id, state=state, code=said, remedy=remedy, provider_id=form.get("MessageSid"))


_ID = re.compile(r"<?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@([^>\s]+)>?", re.IGNORECASE)
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")


def read_bounce(content: bytes, *, domain: str) -> Receipt | None:
    """What a delivery status notification (RFC 3464) says of a mail from our `domain`; None when it only says that
    the mail is late.

    Raises:
        NoReceipt: it is no such notification, or of no mail of ours.
    """
    mail = message_from_bytes(content, policy=policy.default)
    report = next((part for part in mail.walk() if part.get_content_type() == "message/delivery-status"), None)
    message_id = _about(mail, domain)
    if report is None or message_id is None:
        raise NoReceipt
    for block in report.get_payload():
        if not isinstance(block, Message) or "Action" not in block:
            continue
        action = str(block["Action"]).strip().lower()
        found = _STATUS.search(str(block.get("Status", "")))
        code = f"bounce {found[0]}" if found else "bounce"
        if action == "failed":
            gone = found is not None and found[1] == "5" and (int(found[2]), int(found[3])) in NO_SUCH_ADDRESS
            remedy = Remedy.SUPPRESS if gone else Remedy.OPERATOR
            return Receipt(message_id=message_id, state=ReceiptState.FAILED, code=code, remedy=remedy)
        if action in {"delivered", "relayed", "expanded"}:
            state = ReceiptState.DELIVERED if action == "delivered" else ReceiptState.SENT
            return Receipt(message_id=message_id, state=state, code=code)
    return None


def _about(mail: EmailMessage, domain: str) -> UUID | None:
    """The id of the mail that came back, from its own headers where they are enclosed."""
    for part in mail.walk():
        kind = part.get_content_type()
        text = ""
        if kind == "message/rfc822":
            inner = part.get_payload()
            first = inner[0] if isinstance(inner, list) and inner else None
            text = str(first.get("Message-ID", "")) if isinstance(first, Message) else ""
        elif kind == "text/rfc822-headers":
            payload = part.get_payload(decode=True)
            text = str(message_from_bytes(payload if isinstance(payload, bytes) else b"").get("Message-ID", ""))
        found = _ID.search(text)
        if found and found[2].lower() == domain.lower():
            return UUID(found[1])
    return None


def webhook_signature(secret: str, moment: str, body: bytes) -> str:
    """X-Kordant-Signature of a webhook: HMAC-SHA256 over the moment (Unix seconds), a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


_WEBHOOK_STATES = {
    "delivered": (ReceiptState.DELIVERED, Remedy.OPERATOR),
    "read": (ReceiptState.READ, Remedy.OPERATOR),
    "bounced": (ReceiptState.FAILED, Remedy.SUPPRESS),
    "complained": (ReceiptState.READ, Remedy.SUPPRESS),
    "failed": (ReceiptState.FAILED, Remedy.OPERATOR),
}


def read_webhook(body: bytes) -> Receipt:
    """What `{"message_id": …, "status": "delivered | read | bounced | complained | failed"}` says.

    Raises:
        NoReceipt: it is not of this form.
    """
    try:
        found = json.loads(body)
        state, remedy = _WEBHOOK_STATES[found["status"]]
        return Receipt(
            message_id=UUID(found["message_id"]), state=state, code=f"webhook {found['status']}", remedy=remedy
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NoReceipt from None


def take(connection: Connection, keyring: Keyring, receipt: Receipt) -> int:
    """Write what a receipt says. It only ever moves a notification forward: what says no more than was known, or of a
    message that we did not send, changes nothing. Returns how many notifications it told of.
    """
    told = 0
    for row in receipts.standing(connection, receipt.message_id):
        if not moves_on(row.receipt, receipt.state):
            continue
        told += 1
        status, reason = next_status(row, receipt)
        retry = status is OutboxStatus.DEFERRED
        receipts.record(
            connection, row.id, receipt, status=status, reason=reason, due_in=RETRY_LATER if retry else None
        )
    if told and receipt.remedy is Remedy.SUPPRESS:
        _suppress(connection, keyring, receipt)
    return told


def next_status(row: Standing, receipt: Receipt) -> tuple[OutboxStatus | None, str | None]:
    """Where a notification stands after a receipt, None: where it stood; and why.

    One whose sender was cut off is sent, once the other side says that it arrived.
    """
    if receipt.state in ARRIVED and row.open:
        return OutboxStatus.SENT, None
    if receipt.state in LOST and row.status is OutboxStatus.SENT:
        reason = f"it did not arrive ({receipt.code})"
        if receipt.remedy is Remedy.SUPPRESS:
            return OutboxStatus.SUPPRESSED, reason
        if receipt.remedy is Remedy.RETRY and row.attempts < RETRIES_MAX:
            return OutboxStatus.DEFERRED, reason
        return OutboxStatus.FAILED, reason
    return None, None


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
