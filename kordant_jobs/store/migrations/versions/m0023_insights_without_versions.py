"""An insight's data version goes: that of its entity says which of two refreshes stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("insights", "data_version", schema="kordant")


def downgrade() -> None:
    op.add_column("insights", sa.Column(
        "data_version", sa.Integer(), server_default="0", nullable=False, comment="of the data that it rests on",
    ), schema="kordant")  # fmt: skip
