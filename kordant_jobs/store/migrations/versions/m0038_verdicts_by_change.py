"""A verdict that repeats the one before is no new row: the row of the month notes the time of the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    counts = Path(__file__).with_name("m0034_verdicts_and_audit.sql").read_text(encoding="utf-8")
    start, end = counts.index("CREATE FUNCTION kordant.count_verdicts()"), counts.index("REVOKE EXECUTE")
    # The counts hold these days already.
    op.execute("ALTER TABLE kordant.source_verdicts DISABLE TRIGGER USER")
    op.execute(
        "INSERT INTO kordant.source_verdicts (subscription_id, source, checked_on, verdict, reason, exposures, "
        "new_exposures, covered_until, checked_at) SELECT subscription_id, source, (t AT TIME ZONE 'UTC')::date, "
        "verdict, reason, exposures, 0, least(covered_until, t), t FROM kordant.source_verdicts, unnest(again_at) t "
        "ON CONFLICT DO NOTHING"
    )
    op.execute("UPDATE kordant.source_verdicts SET again_at = '{}' WHERE again_at <> '{}'")
    op.execute("ALTER TABLE kordant.source_verdicts ENABLE TRIGGER USER")
    _execute(counts[start:end].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute("DROP FUNCTION kordant.check_days")
    op.execute("COMMENT ON COLUMN kordant.source_verdicts.checked_on IS 'the UTC day whose knowledge this is'")
    op.drop_column("source_verdicts", "again_at", schema="kordant")
    op.execute("ALTER TABLE kordant.source_verdicts RESET (fillfactor)")


def _execute(statements: str) -> None:
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(statements)
