"""Verdicts are counted by day as they are written, for `/metrics`, the console and the rule `unknown_rising`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for change in ("inserted", "updated", "deleted"):
        op.execute(f"DROP TRIGGER count_{change} ON kordant.source_verdicts")
    op.execute("DROP FUNCTION kordant.count_verdicts")
    op.drop_table("verdict_counts", schema="kordant")
