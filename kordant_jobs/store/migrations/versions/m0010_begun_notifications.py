"""A claimed notification says whether its sender has begun it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "notification_outbox",
        sa.Column(
            "begun",
            sa.Boolean(),
            server_default=sa.text("true"),
            nullable=False,
            comment="its sender has begun it: it may be out",
        ),
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_column("notification_outbox", "begun", schema="kordant")
