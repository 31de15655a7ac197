"""Notifications: several channels and addresses, digests, receipts, preferences, quiet hours, suppressed addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHANNELS = "('email', 'fcm', 'apns', 'web_push', 'sms')"
CATEGORIES = "('breach', 'home_title', 'voice', 'removal', 'report')"
OUTBOX = "notification_outbox"
WAITING = sa.text("status IN ('queued', 'deferred', 'sending')")


def _check(table: str, column: str, values: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN {values}", name=op.f(f"{table}_{column}_check"))


def _subscriber(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["subscriber_id"], ["kordant.subscribers.id"], name=op.f(f"{table}_subscriber_id_fkey"), ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "contact_addresses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column(
            "blind_index", sa.LargeBinary(), nullable=True, comment="16 bytes; null once the subscriber was forgotten"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_reason", sa.Text(), nullable=True),
        _check("contact_addresses", "channel", CHANNELS),
        _subscriber("contact_addresses"),
        sa.PrimaryKeyConstraint("id", name=op.f("contact_addresses_pkey")),
        schema="kordant",
        comment="Push tokens, phones and further e-mail addresses; the first e-mail address is subscribers.contact.",
    )
    op.create_index(
        "contact_addresses_once",
        "contact_addresses",
        ["subscriber_id", "channel", "blind_index"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    _widen_the_outbox()
    op.create_table(
        "suppressions",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False, comment="the blind index of the address"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        _check("suppressions", "channel", CHANNELS),
        sa.PrimaryKeyConstraint("channel", "address_index", name=op.f("suppressions_pkey")),
        schema="kordant",
        comment="Addresses that nothing is sent to, whoever they belong to.",
    )
    op.create_table(
        "notification_preferences",
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        _check("notification_preferences", "category", CATEGORIES),
        _check("notification_preferences", "channel", CHANNELS),
        _check("notification_preferences", "mode", "('off', 'at_once', 'daily', 'weekly')"),
        _subscriber("notification_preferences"),
        sa.PrimaryKeyConstraint("subscriber_id", "category", "channel", name=op.f("notification_preferences_pkey")),
        schema="kordant",
    )
    op.create_table(
        "notification_hours",
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("digest_at", sa.Time(), server_default="08:00:00", nullable=False),
        sa.Column("digest_weekday", sa.SmallInteger(), server_default="1", nullable=False, comment="from 1, Monday"),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("notification_hours_quiet_has_both_ends_check")
        ),
        sa.CheckConstraint("digest_weekday BETWEEN 1 AND 7", name=op.f("notification_hours_digest_weekday_check")),
        _subscriber("notification_hours"),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("notification_hours_pkey")),
        schema="kordant",
        comment="Wall times in the zone of the subscription.",
    )


def _widen_the_outbox() -> None:
    for column in (
        sa.Column("category", sa.Text(), server_default="breach", nullable=False),
        sa.Column("address_id", sa.Uuid(), nullable=True, comment="null: the subscriber's contact"),
        sa.Column(
            "interruptions",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="attempts that may have sent it unseen",
        ),
        sa.Column(
            "held_for", sa.Text(), nullable=True, comment="it waits for others, to go out in one message with them"
        ),
        sa.Column(
            "mail_id",
            sa.Uuid(),
            nullable=True,
            comment="the message that carries it and others; null: its own, under its id",
        ),
        sa.Column("provider_id", sa.Text(), nullable=True, comment="what the other side calls it"),
        sa.Column("receipt", sa.Text(), nullable=True, comment="what the other side last told of it"),
        sa.Column("receipt_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column(OUTBOX, column, schema="kordant")
    op.create_foreign_key(
        op.f("notification_outbox_address_id_fkey"),
        OUTBOX,
        "contact_addresses",
        ["address_id"],
        ["id"],
        source_schema="kordant",
        referent_schema="kordant",
        ondelete="CASCADE",
    )
    op.drop_constraint(op.f("notification_outbox_alert_id_channel_key"), OUTBOX, schema="kordant")
    op.create_unique_constraint(
        op.f("notification_outbox_alert_id_channel_address_id_key"),
        OUTBOX,
        ["alert_id", "channel", "address_id"],
        schema="kordant",
    )
    op.create_index(
        "notification_outbox_contact_once",
        OUTBOX,
        ["alert_id", "channel"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("address_id IS NULL"),
    )
    _checks(CHANNELS, "('queued', 'sending', 'sent', 'deferred', 'suppressed', 'failed', 'dead')")
    op.create_check_constraint(
        op.f("notification_outbox_category_check"), OUTBOX, f"category IN {CATEGORIES}", schema="kordant"
    )
    op.create_check_constraint(
        op.f("notification_outbox_held_for_check"), OUTBOX, "held_for IN ('daily', 'weekly', 'many')", schema="kordant"
    )
    op.drop_index(op.f("notification_outbox_due_at_idx"), table_name=OUTBOX, schema="kordant")
    op.create_index(
        op.f("notification_outbox_channel_due_at_idx"),
        OUTBOX,
        ["channel", "due_at"],
        schema="kordant",
        postgresql_where=WAITING,
    )
    for column_name in ("provider_id", "mail_id"):
        op.create_index(
            op.f(f"notification_outbox_{column_name}_idx"),
            OUTBOX,
            [column_name],
            schema="kordant",
            postgresql_where=sa.text(f"{column_name} IS NOT NULL"),
        )


def _checks(channels: str, statuses: str) -> None:
    for column, values in (("channel", channels), ("status", statuses)):
        name = op.f(f"notification_outbox_{column}_check")
        op.drop_constraint(name, OUTBOX, schema="kordant")
        op.create_check_constraint(name, OUTBOX, f"{column} IN {values}", schema="kordant")


def downgrade() -> None:
    """What only the wider outbox can say is lost: channels other than e-mail, further addresses, the state `failed`."""
    op.execute(sa.text("DELETE FROM kordant.notification_outbox WHERE channel <> 'email' OR address_id IS NOT NULL"))
    op.execute(sa.text("UPDATE kordant.notification_outbox SET status = 'dead' WHERE status = 'failed'"))
    for column_name in ("provider_id", "mail_id"):
        op.drop_index(op.f(f"notification_outbox_{column_name}_idx"), table_name=OUTBOX, schema="kordant")
    op.drop_index(op.f("notification_outbox_channel_due_at_idx"), table_name=OUTBOX, schema="kordant")
    op.create_index(
        op.f("notification_outbox_due_at_idx"), OUTBOX, ["due_at"], schema="kordant", postgresql_where=WAITING
    )
    _checks("('email')", "('queued', 'sending', 'sent', 'deferred', 'suppressed', 'dead')")
    op.drop_constraint(op.f("notification_outbox_alert_id_channel_address_id_key"), OUTBOX, schema="kordant")
    op.drop_index("notification_outbox_contact_once", table_name=OUTBOX, schema="kordant")
    op.create_unique_constraint(
        op.f("notification_outbox_alert_id_channel_key"), OUTBOX, ["alert_id", "channel"], schema="kordant"
    )
    for column in (
        "category",
        "address_id",
        "interruptions",
        "held_for",
        "mail_id",
        "provider_id",
        "receipt",
        "receipt_at",
    ):
        op.drop_column(OUTBOX, column, schema="kordant")
    for table in ("notification_hours", "notification_preferences", "suppressions", "contact_addresses"):
        op.drop_table(table, schema="kordant")
