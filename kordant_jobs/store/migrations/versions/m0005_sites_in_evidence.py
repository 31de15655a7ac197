"""Evidence from a stealer log names the sites where somebody logged in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "exposure_evidence",
        sa.Column(
            "sites",
            ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="where they logged in, by a stealer log",
        ),
        schema="kordant",
    )


def downgrade() -> None:
    op.drop_column("exposure_evidence", "sites", schema="kordant")
