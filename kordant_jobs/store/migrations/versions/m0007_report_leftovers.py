"""Contents of reports that no row names any more, so that they are deleted whatever took the row away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

REMEMBER = """
CREATE FUNCTION kordant.remember_report_leftover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.storage_key <> OLD.storage_key THEN
        INSERT INTO kordant.report_leftovers (storage_key) VALUES (OLD.storage_key)
        ON CONFLICT (storage_key) DO UPDATE SET since_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reports_leftover AFTER UPDATE OF storage_key OR DELETE ON kordant.reports FOR EACH ROW
    EXECUTE FUNCTION kordant.remember_report_leftover();
"""


def upgrade() -> None:
    op.create_table(
        "report_leftovers",
        sa.Column("storage_key", sa.Text(), nullable=False, comment="no report named it any more at `since_at`"),
        sa.Column("since_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("report_leftovers_pkey")),
        schema="kordant",
    )
    op.create_index(op.f("reports_storage_key_idx"), "reports", ["storage_key"], schema="kordant")
    op.create_index(op.f("reports_period_end_on_idx"), "reports", ["period_end_on"], schema="kordant")
    op.execute(REMEMBER)


def downgrade() -> None:
    op.execute("DROP TRIGGER reports_leftover ON kordant.reports")
    op.execute("DROP FUNCTION kordant.remember_report_leftover()")
    op.drop_index(op.f("reports_period_end_on_idx"), table_name="reports", schema="kordant")
    op.drop_index(op.f("reports_storage_key_idx"), table_name="reports", schema="kordant")
    op.drop_table("report_leftovers", schema="kordant")
