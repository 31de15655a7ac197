"""retention"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cleanup_plans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clock", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of all predicates and cutoffs"),
        sa.Column(
            "figures",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="by kind: rows, bytes, held, oldest, newest, stopped",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("cleanup_plans_pkey")),
        schema="kordant",
        comment="What a clean-up would delete. One that is at most a day old can be carried out.",
    )
    op.create_table(
        "cleanup_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("clock", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "figures",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="by kind: planned, deleted, held, left, bytes, seconds, …",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("cleanup_reports_pkey")),
        schema="kordant",
        comment="What was deleted, by kind and rule. No personal data.",
    )
    op.create_index(op.f("cleanup_reports_clock_idx"), "cleanup_reports", ["clock"], unique=False, schema="kordant")
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True, comment="a subscriber or an entity; null: any"),
        sa.Column("kind", sa.Text(), nullable=True, comment="null: any"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False, comment="a file number; no personal data"),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "num_nonnulls(owner_id, kind, since, before) > 0", name=op.f("legal_holds_names_something_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("legal_holds_pkey")),
        schema="kordant",
        comment="What is not deleted, whatever its term: read inside every deletion.",
    )
    op.create_index(
        op.f("legal_holds_owner_id_idx"),
        "legal_holds",
        ["owner_id"],
        unique=False,
        schema="kordant",
        postgresql_where="released_at IS NULL",
    )
    op.create_table(
        "retention_policies",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=True, comment="null: kept"),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True, comment="of a shorter term: somebody other than who set it"),
        sa.CheckConstraint(
            "(keep_days IS NULL) = (action = 'keep')",
            name=op.f("retention_policies_term_with_every_action_but_keep_check"),
        ),
        sa.CheckConstraint(
            "action IN ('delete', 'shred_key', 'thin', 'keep')", name=op.f("retention_policies_action_check")
        ),
        sa.CheckConstraint("keep_days BETWEEN 0 AND 36500", name=op.f("retention_policies_keep_days_check")),
        sa.PrimaryKeyConstraint("kind", "version", name=op.f("retention_policies_pkey")),
        schema="kordant",
        comment="Versions are added and never changed; the newest of a kind holds.",
    )
    op.create_index(op.f("consents_subscriber_id_idx"), "consents", ["subscriber_id"], unique=False, schema="kordant")
    op.create_index(
        op.f("contact_addresses_subscriber_id_idx"),
        "contact_addresses",
        ["subscriber_id"],
        unique=False,
        schema="kordant",
    )
    op.create_index(
        op.f("notification_outbox_address_id_idx"),
        "notification_outbox",
        ["address_id"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("address_id IS NOT NULL"),
    )
    op.create_index(
        op.f("removal_disclosures_request_id_idx"),
        "removal_disclosures",
        ["request_id"],
        unique=False,
        schema="kordant",
    )
    op.create_index(
        op.f("removal_requests_broker_id_idx"), "removal_requests", ["broker_id"], unique=False, schema="kordant"
    )
    op.create_index(
        op.f("removal_requests_subscriber_id_idx"),
        "removal_requests",
        ["subscriber_id"],
        unique=False,
        schema="kordant",
    )
    op.create_index(
        op.f("watched_properties_subscription_id_idx"),
        "watched_properties",
        ["subscription_id"],
        unique=False,
        schema="kordant",
    )
    op.create_index(
        op.f("watchlist_items_subscription_id_idx"),
        "watchlist_items",
        ["subscription_id"],
        unique=False,
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_index(op.f("watchlist_items_subscription_id_idx"), table_name="watchlist_items", schema="kordant")
    op.drop_index(op.f("watched_properties_subscription_id_idx"), table_name="watched_properties", schema="kordant")
    op.drop_index(op.f("removal_requests_subscriber_id_idx"), table_name="removal_requests", schema="kordant")
    op.drop_index(op.f("removal_requests_broker_id_idx"), table_name="removal_requests", schema="kordant")
    op.drop_index(op.f("removal_disclosures_request_id_idx"), table_name="removal_disclosures", schema="kordant")
    op.drop_index(
        op.f("notification_outbox_address_id_idx"),
        table_name="notification_outbox",
        schema="kordant",
        postgresql_where=sa.text("address_id IS NOT NULL"),
    )
    op.drop_index(op.f("contact_addresses_subscriber_id_idx"), table_name="contact_addresses", schema="kordant")
    op.drop_index(op.f("consents_subscriber_id_idx"), table_name="consents", schema="kordant")
    op.drop_table("retention_policies", schema="kordant")
    op.drop_index(
        op.f("legal_holds_owner_id_idx"),
        table_name="legal_holds",
        schema="kordant",
        postgresql_where="released_at IS NULL",
    )
    op.drop_table("legal_holds", schema="kordant")
    op.drop_index(op.f("cleanup_reports_clock_idx"), table_name="cleanup_reports", schema="kordant")
    op.drop_table("cleanup_reports", schema="kordant")
    op.drop_table("cleanup_plans", schema="kordant")
