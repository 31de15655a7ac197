"""Alerts that are told while a dump is still being read, and settled by the scan that ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "alerts",
        sa.Column(
            "provisional",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="told before its dump was read to the end; severity and why may still change",
        ),
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_column("alerts", "provisional", schema="kordant")
