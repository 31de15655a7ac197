"""A pending notification as its sender holds it: its claim, its routing facts, and its next state."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import OutboxStatus
from kordant_jobs.domain.notifications.choices import Held, Mode
from kordant_jobs.domain.voice.verdicts import ClipSummary


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A notification that this sender may send until the lease ends. `attempt` counts from 1. `interruptions` is the
    number of earlier attempts that were interrupted between sending and marking; with any of them, this one may be a
    second copy (`interrupted`). `mail_id` is the message that it shares with others, None: it has its own."""

    id: UUID
    attempt: int
    interruptions: int = 0
    mail_id: UUID | None = None
    traceparent: str | None = None

    @property
    def interrupted(self) -> bool:
        """True when an earlier attempt may have sent it."""
        return self.interruptions > 0


@dataclass(frozen=True, kw_only=True)
class NoticeRow:
    """The facts that routing of any notification depends on. Personal data is still encrypted."""

    id: UUID
    category: str
    channel: str
    address_id: UUID | None
    held_for: str | None
    queued_at: datetime
    mode: str | None
    subscription_id: UUID
    subscriber_id: UUID
    subscription_status: str
    locale: str
    time_zone: str
    quiet_from: time | None
    quiet_until: time | None
    digest_at: time | None
    digest_weekday: int | None
    forgotten_at: datetime | None
    name_encrypted: bytes | None
    contact_encrypted: bytes | None
    address_encrypted: bytes | None
    address_removed_at: datetime | None
    severity: str

    @property
    def chosen(self) -> Mode | None:
        """The mode that the subscriber chose, None when they have not."""
        return Mode(self.mode) if self.mode else None


@dataclass(frozen=True, kw_only=True)
class AlertRow(NoticeRow):
    """A notification of an alert, with everything that its text is made from."""

    alert_id: UUID
    item_id: UUID
    item_kind: str
    identifier_encrypted: bytes
    item_removed_at: datetime | None
    dismissed_at: datetime | None
    secret: str
    why: list[dict[str, Any]]
    alerted_at: datetime
    breach_name: str
    breach_source: str
    breach_title: str
    breach_domain: str
    breached_on: date | None
    data_classes: list[str]
    is_sensitive: bool


@dataclass(frozen=True, kw_only=True)
class PropertyRow(NoticeRow):
    """A notification of a finding on a watched parcel or owner; names and parcel number are still encrypted."""

    alert_id: UUID
    watch_id: UUID
    parcel_encrypted: bytes | None
    watch_removed_at: datetime | None
    dismissed_at: datetime | None
    county: str
    """The county's name."""
    recorder_url: str
    data_as_of: date | None
    event: str
    reasons: list[str]
    code: str
    key: str
    number: str
    amount: Decimal | None
    recorded_on: date | None
    alerted_at: datetime
    instrument_id: UUID
    parties_encrypted: bytes
    before_id: UUID | None
    before_parties_encrypted: bytes | None


@dataclass(frozen=True, kw_only=True)
class VoiceRow(NoticeRow, ClipSummary):
    """A notification of a clip; the name of the member with a similar voice is still encrypted."""

    alert_id: UUID
    why: list[dict[str, Any]]
    alerted_at: datetime
    received_at: datetime
    consent_id: UUID | None
    person_encrypted: bytes | None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The next state of a claimed notification. `due_in` or `due_at` is the time of the next attempt; `refund`: this
    attempt does not count; `uncertain`: it may have arrived; `held_for`: the kind of message that it now waits for."""

    id: UUID
    attempt: int
    status: OutboxStatus
    reason: str | None = None
    due_in: timedelta | None = None
    due_at: datetime | None = None
    refund: bool = False
    uncertain: bool = False
    held_for: Held | None = None
    provider_id: str | None = None
