"""Tables of alerts and notifications: the outbox, addresses, and what subscribers chose."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus, Severity
from kordant_jobs.domain.notifications.choices import Category, Held, Mode
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table, trace

alerts = table(
    "alerts",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("exposure_id", "exposures", nullable=True),
    belongs_to("finding_id", "property_findings", nullable=True),
    belongs_to("analysis_id", "voice_analyses", nullable=True),
    choice("severity", Severity),
    Column("why", JSONB, nullable=False, comment="reasons by code and id; never an identifier"),
    Column(
        "provisional",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="told before its dump was read to the end; severity and why may still change",
    ),
    moment("created_at", default_now=True),
    UniqueConstraint("exposure_id"),
    UniqueConstraint("finding_id", "severity"),
    UniqueConstraint("analysis_id"),
    CheckConstraint("num_nonnulls(exposure_id, finding_id, analysis_id) = 1", name="about_one_thing"),
    Index(None, "subscription_id", "created_at"),
)

contact_addresses = table(
    "contact_addresses",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    choice("channel", Channel),
    Column("address_encrypted", LargeBinary, nullable=False),
    Column("blind_index", LargeBinary, comment="16 bytes; null once the subscriber was forgotten"),
    moment("created_at", default_now=True),
    moment("removed_at", nullable=True),
    Column("removed_reason", Text),
    Index(None, "subscriber_id"),
    Index(
        "contact_addresses_once",
        "subscriber_id",
        "channel",
        "blind_index",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
    ),
    comment="Push tokens, phones and further e-mail addresses; the first e-mail address is subscribers.contact.",
)

notification_outbox = table(
    "notification_outbox",
    Column("id", Uuid, primary_key=True),
    belongs_to("alert_id", "alerts", nullable=True),
    belongs_to("report_id", "reports", nullable=True),
    belongs_to("removal_event_id", "removal_events", nullable=True),
    belongs_to("finance_notice_id", "finance_notices", nullable=True),
    belongs_to("subscription_id", "subscriptions"),
    choice("category", Category, server_default=Category.BREACH.value),
    choice("channel", Channel),
    belongs_to("address_id", "contact_addresses", nullable=True, comment="null: the subscriber's contact"),
    choice("status", OutboxStatus, server_default=OutboxStatus.QUEUED.value),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column(
        "interruptions", Integer, nullable=False, server_default="0", comment="attempts that may have sent it unseen"
    ),
    Column(
        "begun", Boolean, nullable=False, server_default=text("true"), comment="its sender has begun it: it may be out"
    ),
    moment("due_at", default_now=True),
    Column("lease_id", Uuid, comment="the engine's lease under which its sender holds it"),
    choice("held_for", Held, nullable=True, comment="it waits for others, to go out in one message with them"),
    Column("mail_id", Uuid, comment="the message that carries it and others; null: its own, under its id"),
    Column("reason", Text, comment="why it was deferred, suppressed or given up; never an address"),
    moment("created_at", default_now=True),
    moment("sent_at", nullable=True),
    Column("provider_id", Text, comment="what the other side calls it"),
    Column("receipt", Text, comment="what the other side last told of it"),
    moment("receipt_at", nullable=True),
    trace(),
    UniqueConstraint("alert_id", "channel", "address_id"),
    UniqueConstraint("report_id", "channel", "address_id"),
    UniqueConstraint("removal_event_id", "channel", "address_id"),
    UniqueConstraint("finance_notice_id", "channel", "address_id"),
    CheckConstraint(
        "num_nonnulls(alert_id, report_id, removal_event_id, finance_notice_id) = 1", name="about_one_thing"
    ),
    Index(  # NULLS NOT DISTINCT would say both at once, from PostgreSQL 15 on
        "notification_outbox_contact_once",
        "alert_id",
        "channel",
        unique=True,
        postgresql_where=text("address_id IS NULL"),
    ),
    Index(
        "notification_outbox_report_contact_once",
        "report_id",
        "channel",
        unique=True,
        postgresql_where=text("address_id IS NULL"),
    ),
    Index(
        "notification_outbox_removal_contact_once",
        "removal_event_id",
        "channel",
        unique=True,
        postgresql_where=text("address_id IS NULL"),
    ),
    Index(
        "notification_outbox_finance_contact_once",
        "finance_notice_id",
        "channel",
        unique=True,
        postgresql_where=text("address_id IS NULL"),
    ),
    Index(None, "channel", "due_at", postgresql_where=text("status IN ('queued', 'deferred', 'sending')")),
    Index(None, "subscription_id"),
    Index(None, "address_id", postgresql_where=text("address_id IS NOT NULL")),
    Index(None, "provider_id", postgresql_where=text("provider_id IS NOT NULL")),
    Index(None, "mail_id", postgresql_where=text("mail_id IS NOT NULL")),
)

channel_pauses = table(
    "channel_pauses",
    choice("channel", Channel, primary_key=True),
    Column("pauses", Integer, nullable=False, comment="in a row; a message that is accepted ends them"),
    moment("paused_until"),
    Column("reason", Text, nullable=False, comment="for the operator; never an address"),
    moment("since", default_now=True),
    comment="Channels that cannot work: nothing is claimed for them until then.",
)

suppressions = table(
    "suppressions",
    choice("channel", Channel, primary_key=True),
    Column("address_index", LargeBinary, primary_key=True, comment="the blind index of the address"),
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    moment("created_at", default_now=True),
    comment="Addresses that nothing is sent to, whoever they belong to.",
)

notification_preferences = table(
    "notification_preferences",
    belongs_to("subscriber_id", "subscribers", primary_key=True),
    choice("category", Category, primary_key=True),
    choice("channel", Channel, primary_key=True),
    choice("mode", Mode),
    Column("changed_by", Text, nullable=False),
    moment("changed_at", default_now=True),
)

notification_hours = table(
    "notification_hours",
    belongs_to("subscriber_id", "subscribers", primary_key=True),
    Column("quiet_from", Time),
    Column("quiet_until", Time),
    Column("digest_at", Time, nullable=False, server_default="08:00:00"),
    Column("digest_weekday", SmallInteger, nullable=False, server_default="1", comment="from 1, Monday"),
    CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_has_both_ends"),
    CheckConstraint("digest_weekday BETWEEN 1 AND 7", name="digest_weekday"),
    comment="Wall times in the zone of the subscription.",
)
