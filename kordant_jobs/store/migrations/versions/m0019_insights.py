"""Insights of entities, and what forecasts are corrected by. `m0019_insights.sql` makes the tables."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    op.drop_table("forecast_corrections", schema="kordant")
    op.drop_table("insights", schema="kordant")
