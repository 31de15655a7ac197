"""Who sends a notification, and who asks a source, holds a lease of the engine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OUTBOX, _CHECKS = "notification_outbox", "source_checks"
_NAMES = "The names that kordant.enqueue_job takes: a copy of {}, written when the dispatcher starts."


def upgrade() -> None:
    op.drop_column(_OUTBOX, "lease_until", schema="kordant")
    op.add_column(
        _OUTBOX,
        sa.Column("lease_id", sa.Uuid(), comment="the engine's lease under which its sender holds it"),
        schema="kordant",
    )
    op.add_column(
        _CHECKS,
        sa.Column("lease_id", sa.Uuid(), comment="the engine's lease under which a scan is asking it just now"),
        schema="kordant",
    )

    op.create_table_comment("job_catalogue", _NAMES.format("the rows"), schema="kordant")


def downgrade() -> None:
    op.create_table_comment("job_catalogue", _NAMES.format("catalog.py"), schema="kordant")
    op.drop_column(_CHECKS, "lease_id", schema="kordant")
    op.drop_column(_OUTBOX, "lease_id", schema="kordant")
    op.add_column(_OUTBOX, sa.Column("lease_until", sa.DateTime(timezone=True)), schema="kordant")
    op.execute("UPDATE kordant.notification_outbox SET lease_until = now() WHERE status = 'sending'")
