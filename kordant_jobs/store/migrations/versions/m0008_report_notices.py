"""A notification is about an alert or about a report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OUTBOX = "notification_outbox"


def upgrade() -> None:
    op.alter_column(OUTBOX, "alert_id", nullable=True, schema="kordant")
    op.add_column(OUTBOX, sa.Column("report_id", sa.Uuid(), nullable=True), schema="kordant")
    op.create_foreign_key(
        op.f("notification_outbox_report_id_fkey"),
        OUTBOX,
        "reports",
        ["report_id"],
        ["id"],
        source_schema="kordant",
        referent_schema="kordant",
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("notification_outbox_about_one_thing_check"),
        OUTBOX,
        "(alert_id IS NULL) <> (report_id IS NULL)",
        schema="kordant",
    )
    op.create_unique_constraint(
        op.f("notification_outbox_report_id_channel_address_id_key"),
        OUTBOX,
        ["report_id", "channel", "address_id"],
        schema="kordant",
    )
    op.create_index(
        "notification_outbox_report_contact_once",
        OUTBOX,
        ["report_id", "channel"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("address_id IS NULL"),
    )


def downgrade() -> None:
    """Notifications about reports are lost."""
    op.execute(sa.text("DELETE FROM kordant.notification_outbox WHERE report_id IS NOT NULL"))
    op.drop_index("notification_outbox_report_contact_once", table_name=OUTBOX, schema="kordant")
    op.drop_constraint(op.f("notification_outbox_report_id_channel_address_id_key"), OUTBOX, schema="kordant")
    op.drop_constraint(op.f("notification_outbox_about_one_thing_check"), OUTBOX, schema="kordant")
    op.drop_column(OUTBOX, "report_id", schema="kordant")
    op.alter_column(OUTBOX, "alert_id", nullable=False, schema="kordant")
