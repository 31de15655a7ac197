"""Where the subscriber proves who they are to a business of the Data Rights Protocol, sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

SCHEMA = "kordant"


def upgrade() -> None:
    op.add_column("removal_requests", sa.Column(
        "verification_encrypted", sa.LargeBinary,
        comment="the page on which the subscriber proves who they are to the business",
    ), schema=SCHEMA)  # fmt: skip


def downgrade() -> None:
    op.drop_column("removal_requests", "verification_encrypted", schema=SCHEMA)
