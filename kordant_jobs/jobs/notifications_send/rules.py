"""Rules for sending, holding, retrying and giving up a notification. Pure: no clock, network or database."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus, Severity
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
from kordant_jobs.domain.notifications.receipts import with_cause
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
"""The wait after the first, second, … attempt. It is short at first, since an alert is urgent and greylisting lasts
minutes; in all it is up to 3.7 days, since RFC 5321 §4.5.4.1 asks for 4 to 5 days before giving up."""

MAX_ATTEMPTS = len(RETRY_AFTER) + 1

PAUSE_WHEN_DOWN = timedelta(minutes=1)
"""The wait when the transport itself failed. That says nothing about the mail, so the attempt does not count."""

ONE_HOUR = timedelta(hours=1)

CRITICAL_WAIT = timedelta(minutes=5)
"""Beyond the cap, critical alerts are sent in one message at once, and then in one each time this has passed."""

COPIES_MAX = 1
"""The second copies that are risked where a copy shows. A notification whose sender was interrupted more often may have
arrived."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The rate limits of sending; None: no limit. `person_per_hour`: messages to one address of a subscriber; more are
    combined. `domain_per_s`: mails to the mail servers of one domain; at most those of one second are sent at once."""

    person_per_hour: int | None = None
    domain_per_s: float | None = None

    @property
    def domain_burst(self) -> int:
        """The mails to one domain that may be sent at once: those of one second, at least one."""
        return max(1, round(self.domain_per_s or 1))


NO_RATE = Rate()


def after(delivery: Delivery, claim: Claim, *, copies_show: bool = False) -> Mark:
    """The next state of a claimed notification, from the outcome of its message.

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
    """Wait for the next attempt, at least as long as the server asked; give up after the last one."""
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
"""The longest Retry-After that is followed; a longer one is an error of the server."""

FINAL = frozenset({DeliveryOutcome.NO_SUCH_ADDRESS, DeliveryOutcome.MISMATCH, DeliveryOutcome.REFUSED})
"""Outcomes that no retry can change."""

ALIKE_LEAST = 5
"""The number of different addresses that must fail with the same code, with no success among them, before the fault is
considered ours."""


def is_gone(outcome: DeliveryOutcome, *, channel_works: bool) -> bool:
    """True when an address must not be used any more. A mismatch with our set-up counts only when the set-up worked for
    another address of the same batch.

    >>> [is_gone(DeliveryOutcome.MISMATCH, channel_works=works) for works in (False, True)]
    [False, True]
    """
    return outcome is DeliveryOutcome.NO_SUCH_ADDRESS or (outcome is DeliveryOutcome.MISMATCH and channel_works)


def failing_alike(failures: Iterable[tuple[str, Hashable]]) -> str | None:
    """The code with which a whole batch failed, None when it did not. `failures` are the codes and addresses of a batch
    in which nothing was accepted. Five dead addresses at once are rare; a wrong key or a block list is not.

    >>> failing_alike([("apns 400 BadDeviceToken", n) for n in range(5)]), failing_alike([("smtp 550 5.1.1", 1)] * 9)
    ('apns 400 BadDeviceToken', None)
    """
    counts = Counter(code for code, _ in set(failures))
    code, count = counts.most_common(1)[0] if counts else ("", 0)
    return code if count >= ALIKE_LEAST else None


PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))
"""The length of a channel's pause after the first, second, … consecutive batch that showed that it cannot work; the
last one repeats."""


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
    """Return it to the queue for a little later, without counting an attempt: the transport is down, or there was no
    time or rate left."""
    return Mark(
        id=claim.id,
        attempt=claim.attempt,
        status=OutboxStatus.DEFERRED,
        reason=reason,
        due_in=due_in,
        refund=True,
    )


def hold(claim: Claim, reason: str, until: datetime, held_for: Held | None = None) -> Mark:
    """Hold it until a given time, without counting an attempt."""
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
    """The next state of a notification that must not be sent again, None when it may be."""
    if claim.interrupted and claim.attempt > MAX_ATTEMPTS:
        return try_again(claim, "every attempt to send it was cut off")
    if copies_show and claim.interruptions > COPIES_MAX:
        return fail(claim, f"it may have arrived: its sender was cut off {claim.interruptions} times")
    return None


NEWS_FOR = timedelta(days=7)
"""The age from which an alert is not pushed or texted any more, for example when the channel was off. Mails are still
sent."""


def why_not(row: NoticeRow, *, has_key: bool, now: datetime) -> str | None:
    """The reason why a notification must not be sent any more, None when it may be sent."""
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
    """The delivery mode of the notification."""
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
    """The hold of a notification, None when it is sent now. A critical one is never held. It is held for a digest only
    once; quiet hours apply to every attempt."""
    if row.severity == Severity.CRITICAL:
        return None
    hours, mode = hours_of(row), mode_of(row)
    if mode in {Mode.DAILY, Mode.WEEKLY} and row.held_for is None:
        return hold(claim, f"it waits for the {mode} digest", digest_moment(now, mode, hours), Held(mode.value))
    if until := quiet_until(now, hours):
        return hold(claim, "quiet hours", until)
    return None
