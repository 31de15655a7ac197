"""How much CPU time a day an agent's requests of a job may use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

SCHEMA = "kordant"


def upgrade() -> None:
    column = sa.Column("cpu_s_per_day", sa.Integer(), comment="CPU seconds of its runs in 24 hours; null: any number")
    op.add_column("agent_grants", column, schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("agent_grants", "cpu_s_per_day", schema=SCHEMA)
