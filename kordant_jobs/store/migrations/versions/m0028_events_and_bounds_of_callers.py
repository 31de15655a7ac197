"""Events that were received; of which events a service may publish; a grant's bounds of a day, at once and in time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

SCHEMA = "kordant"


def upgrade() -> None:
    op.add_column("principals", sa.Column(
        "topics", postgresql.ARRAY(sa.Text()), comment="of which events it may publish; null: any that its role may"
    ), schema=SCHEMA)  # fmt: skip
    for column in (
        sa.Column("requests_per_day", sa.Integer(), comment="null: as many as the hours allow"),
        sa.Column("concurrent", sa.Integer(), comment="open requests at once; null: any number"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("agent_grants", column, schema=SCHEMA)
    op.create_table(
        "received_events",
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("request_ids", postgresql.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("principal_id", "source", "id", name=op.f("received_events_pkey")),
        schema=SCHEMA,
        comment="Events by who sent them, source and id: each counts once for 7 days.",
    )
    op.create_index(op.f("received_events_at_idx"), "received_events", ["at"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("received_events", schema=SCHEMA)
    for name in ("requests_per_day", "concurrent", "expires_at"):
        op.drop_column("agent_grants", name, schema=SCHEMA)
    op.drop_column("principals", "topics", schema=SCHEMA)
