"""Traces, counters that outlive their rows, and what jobs cost by week and tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for name in ("count_starts", "count_breaches"):
        op.execute(f"DROP TRIGGER {name} ON kordant.job_attempts")
        op.execute(f"DROP FUNCTION kordant.{name}")
    for table in ("start_lags", "sla_breaches", "http_counts", "policy_denials", "cost_weeks", "token_uses",
                  "queue_depths"):  # fmt: skip
        op.drop_table(table, schema="kordant")
    op.drop_column("job_catalogue", "sla_s", schema="kordant")
    for table in ("job_requests", "notification_outbox"):
        op.drop_column(table, "traceparent", schema="kordant")
    op.execute("DROP FUNCTION kordant.traceparent")
