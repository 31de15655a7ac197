"""The tables of the foundation: who is watched, for what, what was found, told and reported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "breaches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), server_default="", nullable=False),
        sa.Column("breached_on", sa.Date(), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pwn_count", sa.BigInteger(), nullable=True),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("data_classes", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_fabricated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_sensitive", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_retired", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_spam_list", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_malware", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_stealer_log", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_subscription_free", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("logo_path", sa.Text(), nullable=True),
        sa.Column("attribution", sa.Text(), nullable=True),
        sa.Column("disclosure_url", sa.Text(), nullable=True),
        sa.Column("extra", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('hibp', 'dump')", name=op.f("breaches_source_check")),
        sa.PrimaryKeyConstraint("name", name=op.f("breaches_pkey")),
        schema="kordant",
    )
    op.create_table(
        "catalogue_imports",
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("breaches", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("content_sha256", name=op.f("catalogue_imports_pkey")),
        schema="kordant",
    )
    op.create_table(
        "keyring_check",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("keyring_check_single_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("keyring_check_pkey")),
        schema="kordant",
        comment="Proves that the master key of a process is the one this database was written with.",
    )
    op.create_table(
        "run_progress",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("run_progress_pkey")),
        schema="kordant",
    )
    op.create_table(
        "subscribers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("contact_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("subscribers_pkey")),
        schema="kordant",
    )
    op.create_table(
        "breach_dumps",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column(
            "file_label", sa.Text(), nullable=False, comment="the file's name, with what looks personal left out"
        ),
        sa.Column("file_key", sa.LargeBinary(), nullable=False, comment="keyed hash of the file's name"),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("file_mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("breach_name", sa.Text(), nullable=False),
        sa.Column("told_shape", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="registered", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("shape", sa.Text(), nullable=True),
        sa.Column("compression", sa.Text(), nullable=True),
        sa.Column("encoding", sa.Text(), nullable=True),
        sa.Column("lines", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("records", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bad_lines", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('registered', 'ingested', 'quarantined', 'superseded', 'dismissed')",
            name=op.f("breach_dumps_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["breach_name"], ["kordant.breaches.name"], name=op.f("breach_dumps_breach_name_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("breach_dumps_pkey")),
        sa.UniqueConstraint("content_sha256", name=op.f("breach_dumps_content_sha256_key")),
        schema="kordant",
    )
    op.create_index(
        op.f("breach_dumps_breach_name_idx"), "breach_dumps", ["breach_name"], unique=False, schema="kordant"
    )
    op.create_index(op.f("breach_dumps_file_key_idx"), "breach_dumps", ["file_key"], unique=False, schema="kordant")
    op.create_index(op.f("breach_dumps_known_at_idx"), "breach_dumps", ["known_at"], unique=False, schema="kordant")
    op.create_table(
        "subscriber_keys",
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("master_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("subscriber_keys_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscriber_id", name=op.f("subscriber_keys_pkey")),
        schema="kordant",
        comment="Deleting a row here makes everything encrypted for that subscriber unreadable.",
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("locale IN ('en', 'pt-BR')", name=op.f("subscriptions_locale_check")),
        sa.CheckConstraint("status IN ('active', 'paused', 'cancelled')", name=op.f("subscriptions_status_check")),
        sa.CheckConstraint("tier IN ('basic', 'plus', 'premium')", name=op.f("subscriptions_tier_check")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("subscriptions_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("subscriptions_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("subscriptions_subscriber_id_idx"), "subscriptions", ["subscriber_id"], unique=False, schema="kordant"
    )
    op.create_index(
        op.f("subscriptions_tier_idx"),
        "subscriptions",
        ["tier"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period_start_on", sa.Date(), nullable=False),
        sa.Column("period_end_on", sa.Date(), nullable=False, comment="the first day that is no more covered"),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="counts and ids only"),
        sa.Column("figures_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("reports_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("reports_pkey")),
        sa.UniqueConstraint(
            "subscription_id", "kind", "period_start_on", name=op.f("reports_subscription_id_kind_period_start_on_key")
        ),
        schema="kordant",
    )
    op.create_table(
        "scan_watermarks",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("known_until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("scan_watermarks_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "job", name=op.f("scan_watermarks_pkey")),
        schema="kordant",
    )
    op.create_table(
        "source_verdicts",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("checked_on", sa.Date(), nullable=False, comment="the UTC day whose knowledge this is"),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("exposures", sa.Integer(), nullable=False),
        sa.Column("new_exposures", sa.Integer(), nullable=False),
        sa.Column("covered_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "verdict <> 'unknown' OR reason IS NOT NULL", name=op.f("source_verdicts_unknown_has_a_reason_check")
        ),
        sa.CheckConstraint("verdict IN ('clean', 'exposed', 'unknown')", name=op.f("source_verdicts_verdict_check")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("source_verdicts_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "source", "checked_on", name=op.f("source_verdicts_pkey")),
        schema="kordant",
    )
    op.create_table(
        "watchlist_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identifier_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column(
            "blind_index", sa.LargeBinary(), nullable=True, comment="16 bytes; null once the subscriber was forgotten"
        ),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("watchlist_items_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("watchlist_items_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("watchlist_items_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("watchlist_items_blind_index_idx"), "watchlist_items", ["blind_index"], unique=False, schema="kordant"
    )
    op.create_index(
        "watchlist_items_once",
        "watchlist_items",
        ["subscription_id", "blind_index"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        op.f("watchlist_items_subscriber_id_idx"), "watchlist_items", ["subscriber_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "exposures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("breach_name", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "judgement IN ('alert', 'withheld_sensitive', 'not_a_breach')", name=op.f("exposures_judgement_check")
        ),
        sa.CheckConstraint("secret IN ('none', 'clear', 'hashed')", name=op.f("exposures_secret_check")),
        sa.ForeignKeyConstraint(
            ["breach_name"], ["kordant.breaches.name"], name=op.f("exposures_breach_name_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["kordant.watchlist_items.id"], name=op.f("exposures_item_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("exposures_pkey")),
        sa.UniqueConstraint("item_id", "breach_name", name=op.f("exposures_item_id_breach_name_key")),
        schema="kordant",
    )
    op.create_index(op.f("exposures_breach_name_idx"), "exposures", ["breach_name"], unique=False, schema="kordant")
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column(
            "why",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="reasons by code and id; never an identifier",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("severity IN ('low', 'medium', 'high', 'critical')", name=op.f("alerts_severity_check")),
        sa.ForeignKeyConstraint(
            ["exposure_id"], ["kordant.exposures.id"], name=op.f("alerts_exposure_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("alerts_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("alerts_pkey")),
        sa.UniqueConstraint("exposure_id", name=op.f("alerts_exposure_id_key")),
        schema="kordant",
    )
    op.create_index(
        op.f("alerts_subscription_id_created_at_idx"),
        "alerts",
        ["subscription_id", "created_at"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "exposure_evidence",
        sa.Column("exposure_id", sa.Uuid(), nullable=False),
        sa.Column("dump_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False, comment="the first line that names it, from 1"),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dump_id"], ["kordant.breach_dumps.id"], name=op.f("exposure_evidence_dump_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["exposure_id"],
            ["kordant.exposures.id"],
            name=op.f("exposure_evidence_exposure_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("exposure_id", "dump_id", name=op.f("exposure_evidence_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("exposure_evidence_dump_id_idx"), "exposure_evidence", ["dump_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "notification_outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="why it was deferred, suppressed or given up; never an address"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('email')", name=op.f("notification_outbox_channel_check")),
        sa.CheckConstraint(
            "status IN ('queued', 'sending', 'sent', 'deferred', 'suppressed', 'dead')",
            name=op.f("notification_outbox_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["kordant.alerts.id"], name=op.f("notification_outbox_alert_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("notification_outbox_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("notification_outbox_pkey")),
        sa.UniqueConstraint("alert_id", "channel", name=op.f("notification_outbox_alert_id_channel_key")),
        schema="kordant",
    )
    op.create_index(
        op.f("notification_outbox_due_at_idx"),
        "notification_outbox",
        ["due_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("status IN ('queued', 'deferred', 'sending')"),
    )
    op.create_index(
        op.f("notification_outbox_subscription_id_idx"),
        "notification_outbox",
        ["subscription_id"],
        unique=False,
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_index(op.f("notification_outbox_subscription_id_idx"), table_name="notification_outbox", schema="kordant")
    op.drop_index(
        op.f("notification_outbox_due_at_idx"),
        table_name="notification_outbox",
        schema="kordant",
        postgresql_where=sa.text("status IN ('queued', 'deferred', 'sending')"),
    )
    op.drop_table("notification_outbox", schema="kordant")
    op.drop_index(op.f("exposure_evidence_dump_id_idx"), table_name="exposure_evidence", schema="kordant")
    op.drop_table("exposure_evidence", schema="kordant")
    op.drop_index(op.f("alerts_subscription_id_created_at_idx"), table_name="alerts", schema="kordant")
    op.drop_table("alerts", schema="kordant")
    op.drop_index(op.f("exposures_breach_name_idx"), table_name="exposures", schema="kordant")
    op.drop_table("exposures", schema="kordant")
    op.drop_index(op.f("watchlist_items_subscriber_id_idx"), table_name="watchlist_items", schema="kordant")
    op.drop_index(
        "watchlist_items_once",
        table_name="watchlist_items",
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(op.f("watchlist_items_blind_index_idx"), table_name="watchlist_items", schema="kordant")
    op.drop_table("watchlist_items", schema="kordant")
    op.drop_table("source_verdicts", schema="kordant")
    op.drop_table("scan_watermarks", schema="kordant")
    op.drop_table("reports", schema="kordant")
    op.drop_index(
        op.f("subscriptions_tier_idx"),
        table_name="subscriptions",
        schema="kordant",
        postgresql_where=sa.text("status = 'active'"),
    )
    op.drop_index(op.f("subscriptions_subscriber_id_idx"), table_name="subscriptions", schema="kordant")
    op.drop_table("subscriptions", schema="kordant")
    op.drop_table("subscriber_keys", schema="kordant")
    op.drop_index(op.f("breach_dumps_known_at_idx"), table_name="breach_dumps", schema="kordant")
    op.drop_index(op.f("breach_dumps_file_key_idx"), table_name="breach_dumps", schema="kordant")
    op.drop_index(op.f("breach_dumps_breach_name_idx"), table_name="breach_dumps", schema="kordant")
    op.drop_table("breach_dumps", schema="kordant")
    op.drop_table("subscribers", schema="kordant")
    op.drop_table("run_progress", schema="kordant")
    op.drop_table("keyring_check", schema="kordant")
    op.drop_table("catalogue_imports", schema="kordant")
    op.drop_table("breaches", schema="kordant")
