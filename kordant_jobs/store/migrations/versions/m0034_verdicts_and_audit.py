"""Verdicts are counted by day as they are written; the audit log is verified all the time, a part at once."""

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
    for table in ("verdict_counts", "audit_progress"):
        op.drop_table(table, schema="kordant")
