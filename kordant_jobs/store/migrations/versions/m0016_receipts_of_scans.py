"""Receipts: what was checked for whom, signed and chained."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scan_receipts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="from 1 for each subscription"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period_start_on", sa.Date(), nullable=False),
        sa.Column("period_end_on", sa.Date(), nullable=False, comment="the first day that is no more covered"),
        sa.Column("figures_sha256", sa.LargeBinary(), nullable=False, comment="of the report that it stands in"),
        sa.Column("receipt", sa.Text(), nullable=False, comment="the signed line: ids, days, counts and verdicts"),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("scan_receipts_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("scan_receipts_pkey")),
        sa.UniqueConstraint(
            "subscription_id", "kind", "period_start_on", "period_end_on", "figures_sha256", name="scan_receipts_once"
        ),
        sa.UniqueConstraint("subscription_id", "number", name=op.f("scan_receipts_subscription_id_number_key")),
        schema="kordant",
        comment="Added to and never changed: each names the one before.",
    )


def downgrade() -> None:
    op.drop_table("scan_receipts", schema="kordant")
