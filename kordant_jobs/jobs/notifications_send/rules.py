"""Rules for sending, holding, retrying and giving up a notification. Pure: no clock, network or database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus, Severity
from kordant_jobs.domain.notifications.causes import with_cause
from kordant_jobs.domain.notifications.choices import (
    CATEGORY_MODE,
    DEFAULT_MODE,
    Category,
    Held,
    Hours,
    Mode,
    digest_moment,
    quiet_until,
)
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark, NoticeRow, PropertyRow
from kordant_jobs.domain.people.subscriptions import SubscriptionStatus
from kordant_jobs.ports import Delivery, DeliveryOutcome

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
"""The wait after the first, second, … attempt: short at first, since an alert is urgent and greylisting lasts minutes,
then up to 3.7 days in all, since RFC 5321 §4.5.4.1 asks for 4 to 5 days before giving up."""

MAX_ATTEMPTS = len(RETRY_AFTER) + 1

PAUSE_WHEN_DOWN = timedelta(minutes=1)
"""The transport itself failed: that says nothing about the mail, so the attempt does not count."""

ONE_HOUR = timedelta(hours=1)

CRITICAL_WAIT = timedelta(minutes=5)
"""Beyond the cap, critical alerts go out in one message at once, and then in one every so often."""

COPIES_MAX = 1
"""Where a copy shows, so many are risked: a notification whose sender was cut off twice may have arrived."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The rate limits of sending; None: no limit.

    `person_per_hour`: messages to one address of a subscriber; what is more goes out as one. `domain_per_s`: mails to
    the mail servers of one domain; at most those of one second are sent at once.
    """

    person_per_hour: int | None = None
    domain_per_s: float | None = None

    @property
    def domain_burst(self) -> int:
        """Mails to one domain that may go out at once: those of one second, at least one."""
        return max(1, round(self.domain_per_s or 1))


NO_RATE = Rate()


def after(delivery: Delivery, claim: Claim, *, copies_show: bool = False) -> Mark:
    """The next state of a claimed notification, by the outcome of its message.

    >>> from uuid import UUID
    >>> one = UUID(int=1)
    >>> refused = Delivery(mail_id=one, outcome=DeliveryOutcome.DEFERRED, code="smtp 450 4.2.1")
    >>> after(refused, Claim(id=one, attempt=2)).due_in
    datetime.timedelta(seconds=300)
    >>> after(refused, Claim(id=one, attempt=9)).status.value
    'dead'
    """
    match delivery.outcome:
        case DeliveryOutcome.DELIVERED:
            return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SENT, provider_id=delivery.provider_id)
        case DeliveryOutcome.NO_SUCH_ADDRESS:
            return suppress(claim, f"the address takes no message ({delivery.code})")
        case DeliveryOutcome.MISMATCH:
            return fail(claim, f"the address is dead, or our set-up does not fit it ({delivery.code})")
        case DeliveryOutcome.REFUSED:
            return fail(claim, f"the server refused it ({with_cause(delivery.code, delivery.cause)})")
        case DeliveryOutcome.DEFERRED:
            return try_again(claim, f"the server put it off ({delivery.code})", retry_after_s=delivery.retry_after_s)
        case DeliveryOutcome.UNCERTAIN:
            reason = f"it may have arrived ({delivery.code})"
            if copies_show and claim.interruptions >= COPIES_MAX:
                return fail(claim, reason, uncertain=True)
            return try_again(claim, reason, uncertain=True)


def try_again(claim: Claim, reason: str, *, retry_after_s: float | None = None, uncertain: bool = False) -> Mark:
    """Wait for the next attempt, for as long as the server asked at least; or give up after the last."""
    if claim.attempt >= MAX_ATTEMPTS:
        text = f"{reason}; given up after {claim.attempt} attempts"
        return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.DEAD, reason=text, uncertain=uncertain)
    wait = max(RETRY_AFTER[claim.attempt - 1], timedelta(seconds=min(retry_after_s or 0, RETRY_AFTER_MOST_S)))
    return Mark(
        id=claim.id,
        attempt=claim.attempt,
        status=OutboxStatus.DEFERRED,
        reason=reason,
        due_in=wait,
        uncertain=uncertain,
    )


RETRY_AFTER_MOST_S = 86_400.0
"""A longer Retry-After is a mistake of the server."""

FINAL = frozenset({DeliveryOutcome.NO_SUCH_ADDRESS, DeliveryOutcome.MISMATCH, DeliveryOutcome.REFUSED})
"""Outcomes that no retry heals."""

ALIKE_LEAST = 5
"""Different addresses that must fail alike, with no success among them, before the fault is taken to be ours."""


def is_gone(outcome: DeliveryOutcome, *, channel_works: bool) -> bool:
    """True when an address is used no more. One that does not fit our set-up goes only when the set-up was seen to work
    for another address of the same batch.

    >>> [is_gone(DeliveryOutcome.MISMATCH, channel_works=works) for works in (False, True)]
    [False, True]
    """
    return outcome is DeliveryOutcome.NO_SUCH_ADDRESS or (outcome is DeliveryOutcome.MISMATCH and channel_works)


def failing_alike(failures: Iterable[tuple[str, Hashable]]) -> str | None:
    """The code for which a whole batch failed, None when it did not: `failures` are the codes and addresses of a batch
    in which nothing was accepted. Five dead addresses at once are rare; a wrong key or a block list is not.

    >>> failing_alike([("apns 400 BadDeviceToken", n) for n in range(5)]), failing_alike([("smtp 550 5.1.1", 1)] * 9)
    ('apns 400 BadDeviceToken', None)
    """
    counts = Counter(code for code, _ in set(failures))
    code, count = counts.most_common(1)[0] if counts else ("", 0)
    return code if count >= ALIKE_LEAST else None


PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))
"""The length of a channel's pause after the first, second, … batch in a row that said it cannot work; then the last."""


def pause_after(pauses_before: int) -> timedelta:
    """The next pause of a channel.

    >>> pause_after(0), pause_after(99)
    (datetime.timedelta(seconds=60), datetime.timedelta(seconds=3600))
    """
    return PAUSES[min(pauses_before, len(PAUSES) - 1)]


def suppress(claim: Claim, reason: str) -> Mark:
    """Never send it."""
    return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.SUPPRESSED, reason=reason)


def fail(claim: Claim, reason: str, *, uncertain: bool = False) -> Mark:
    """Leave it to an operator."""
    return Mark(id=claim.id, attempt=claim.attempt, status=OutboxStatus.FAILED, reason=reason, uncertain=uncertain)


def put_back(claim: Claim, reason: str, *, due_in: timedelta = PAUSE_WHEN_DOWN) -> Mark:
    """As if it had not been claimed, but a little later: the transport is down, or there was no time or rate left."""
    return Mark(
        id=claim.id,
        attempt=claim.attempt,
        status=OutboxStatus.DEFERRED,
        reason=reason,
        due_in=due_in,
        refund=True,
    )


def hold(claim: Claim, reason: str, until: datetime, held_for: Held | None = None) -> Mark:
    """Wait until a moment; no attempt is counted."""
    return Mark(
        id=claim.id,
        attempt=claim.attempt,
        status=OutboxStatus.DEFERRED,
        reason=reason,
        due_at=until,
        refund=True,
        held_for=held_for,
    )


def not_again(claim: Claim, *, copies_show: bool) -> Mark | None:
    """The next state of a notification that must not be tried again, None when it may be."""
    if claim.interrupted and claim.attempt > MAX_ATTEMPTS:
        return try_again(claim, "every attempt to send it was cut off")
    if copies_show and claim.interruptions > COPIES_MAX:
        return fail(claim, f"it may have arrived: its sender was cut off {claim.interruptions} times")
    return None


NEWS_FOR = timedelta(days=7)
"""An alert that is older is no news: it is not pushed or texted any more (the channel was off, say). Mails go out."""


def why_not(row: NoticeRow, *, has_key: bool, now: datetime) -> str | None:
    """Why a notification is not to be sent any more, None when it is."""
    own = row.address_id is None
    reasons: Mapping[str, bool] = {
        "the subscriber was forgotten": row.forgotten_at is not None or not has_key,
        "the subscription is not active": row.subscription_status != SubscriptionStatus.ACTIVE,
        "the identifier is no longer watched": isinstance(row, AlertRow) and row.item_removed_at is not None,
        "the exposure was dismissed": isinstance(row, AlertRow | PropertyRow) and row.dismissed_at is not None,
        "the property is no longer watched": isinstance(row, PropertyRow) and row.watch_removed_at is not None,
        "the subscriber has no e-mail address": own and row.contact_encrypted is None,
        "the address is used no more": not own and row.address_removed_at is not None,
        "the subscriber wants none of this kind": mode_of(row) is Mode.OFF,
        "it is too old to be news": row.channel != Channel.EMAIL and now - row.queued_at > NEWS_FOR,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def mode_of(row: NoticeRow) -> Mode:
    """The mode that holds for the notification."""
    return row.chosen or CATEGORY_MODE.get(Category(row.category)) or DEFAULT_MODE[Channel(row.channel)]


def hours_of(row: NoticeRow) -> Hours:
    """The subscriber's quiet hours and digest times."""
    return Hours(
        time_zone=row.time_zone,
        quiet_from=row.quiet_from,
        quiet_until=row.quiet_until,
        digest_at=row.digest_at or time(8),
        digest_weekday=row.digest_weekday or 1,
    )


def not_yet(row: NoticeRow, claim: Claim, *, now: datetime) -> Mark | None:
    """The wait of a notification, None when it goes out now. A critical one never waits.

    A digest is waited for once; quiet hours are kept by every attempt.
    """
    if row.severity == Severity.CRITICAL:
        return None
    hours, mode = hours_of(row), mode_of(row)
    if mode in {Mode.DAILY, Mode.WEEKLY} and row.held_for is None:
        return hold(claim, f"it waits for the {mode} digest", digest_moment(now, mode, hours), Held(mode.value))
    if until := quiet_until(now, hours):
        return hold(claim, "quiet hours", until)
    return None
