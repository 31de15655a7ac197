"""When a notification is sent, tried again, or given up. Pure: no clock, network or database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from kordant_jobs.domain.alerts import OutboxStatus
from kordant_jobs.domain.subscriptions import SubscriptionStatus
from kordant_jobs.ports import Delivery, DeliveryOutcome
from kordant_jobs.store.outbox import Claim, LetterRow, Mark

RETRY_AFTER = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(hours=24),
    timedelta(hours=48),
)
"""How long to wait after the first, second, … attempt: quick at first, since an alert is urgent and greylisting lasts
minutes, then up to 3.7 days in all, since RFC 5321 §4.5.4.1 asks for 4 to 5 days before giving up."""

MAX_ATTEMPTS = len(RETRY_AFTER) + 1

PAUSE_WHEN_DOWN = timedelta(minutes=1)
"""The transport itself failed: that says nothing about the mail, so the attempt does not count."""


def after(delivery: Delivery, claim: Claim) -> Mark:
    """What becomes of a claimed notification, given what became of its mail.

    >>> from uuid import UUID
    >>> one = UUID(int=1)
    >>> refused = Delivery(mail_id=one, outcome=DeliveryOutcome.DEFERRED, code="smtp 450 4.2.1")
    >>> after(refused, Claim(id=one, attempt=2, interrupted=False)).due_in
    datetime.timedelta(seconds=300)
    >>> after(refused, Claim(id=one, attempt=9, interrupted=False)).status.value
    'dead'
    """
    match delivery.outcome:
        case DeliveryOutcome.DELIVERED:
            return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SENT)
        case DeliveryOutcome.NO_SUCH_ADDRESS:
            return suppress(claim, f"the address takes no mail ({delivery.code})")
        case DeliveryOutcome.REFUSED:
            reason = f"the mail server refused it ({delivery.code})"
            return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.DEAD, reason=reason)
        case DeliveryOutcome.DEFERRED:
            return try_again(claim, f"the mail server put it off ({delivery.code})")


def try_again(claim: Claim, reason: str) -> Mark:
    """Wait for the next attempt, or give up after the last."""
    if claim.attempt >= MAX_ATTEMPTS:
        text = f"{reason}; given up after {claim.attempt} attempts"
        return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.DEAD, reason=text)
    wait = RETRY_AFTER[claim.attempt - 1]
    return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.DEFERRED, reason=reason, due_in=wait)


def suppress(claim: Claim, reason: str) -> Mark:
    """Never send it."""
    return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SUPPRESSED, reason=reason)


def put_back(claim: Claim, reason: str) -> Mark:
    """The transport is down: as if it had not been claimed, but a little later."""
    return Mark(
        id=claim.id,
        attempt=claim.attempt,
        status=OutboxStatus.DEFERRED,
        reason=reason,
        due_in=PAUSE_WHEN_DOWN,
        refund=True,
    )


def crashed_too_often(claim: Claim) -> bool:
    """Whether this notification seems to kill whoever sends it: each of its attempts was cut off."""
    return claim.interrupted and claim.attempt > MAX_ATTEMPTS


def why_not(row: LetterRow, *, has_key: bool) -> str | None:
    """Why a notification is not to be sent any more, None when it is."""
    reasons: Mapping[str, bool] = {
        "the subscriber was forgotten": row.forgotten_at is not None or not has_key,
        "the subscription is not active": row.subscription_status != SubscriptionStatus.ACTIVE,
        "the identifier is no longer watched": row.item_removed_at is not None,
        "the exposure was dismissed": row.dismissed_at is not None,
        "the subscriber has no e-mail address": row.contact_encrypted is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
