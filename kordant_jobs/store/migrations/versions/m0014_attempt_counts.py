"""Attempts are counted as they end, by hour and since the beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute("DROP TRIGGER count_attempts ON kordant.job_attempts")
    op.execute("DROP FUNCTION kordant.count_attempts")
    for table in ("attempt_totals", "attempt_hours", "attempt_deltas"):
        op.drop_table(table, schema="kordant")
