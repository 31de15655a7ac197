"""Alerts of operators: rules, their state, notices, silences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("fires_at", sa.Double(), nullable=False),
        sa.Column("clears_at", sa.Double(), nullable=False),
        sa.Column("for_s", sa.Double(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("severity IN ('page', 'ticket')", name=op.f("alert_rules_severity_check")),
        sa.PrimaryKeyConstraint("rule", "version", name=op.f("alert_rules_pkey")),
        schema="kordant",
        comment="Versions are added and never changed; the newest of a rule holds, else the one that is shipped.",
    )
    op.create_table(
        "alert_silences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True, comment="null: any"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("silenced_by", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alert_silences_pkey")),
        schema="kordant",
    )
    op.create_table(
        "operator_alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="a job, source, channel, part or agent; never a person"
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True, comment="the last one measured"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'firing', 'resolved')", name=op.f("operator_alerts_state_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("operator_alerts_pkey")),
        schema="kordant",
    )
    op.create_index(
        "operator_alerts_once",
        "operator_alerts",
        ["rule", "subject"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("state IN ('pending', 'firing')"),
    )
    op.create_index(op.f("operator_alerts_since_idx"), "operator_alerts", ["since"], unique=False, schema="kordant")
    op.create_table(
        "operator_notices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False, comment="the place of the address in KORDANT_ALERT_URLS"),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("told IN ('fired', 'again', 'resolved')", name=op.f("operator_notices_told_check")),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["kordant.operator_alerts.id"],
            name=op.f("operator_notices_alert_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("operator_notices_pkey")),
        schema="kordant",
        comment="Who is told what: one row a target, so that a target that is down repeats nothing to the others.",
    )
    op.create_index(
        op.f("operator_notices_alert_id_idx"), "operator_notices", ["alert_id"], unique=False, schema="kordant"
    )
    op.create_index(
        op.f("operator_notices_made_at_idx"),
        "operator_notices",
        ["made_at"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("sent_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        op.f("operator_notices_made_at_idx"),
        table_name="operator_notices",
        schema="kordant",
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.drop_index(op.f("operator_notices_alert_id_idx"), table_name="operator_notices", schema="kordant")
    op.drop_table("operator_notices", schema="kordant")
    op.drop_index(op.f("operator_alerts_since_idx"), table_name="operator_alerts", schema="kordant")
    op.drop_index(
        "operator_alerts_once",
        table_name="operator_alerts",
        schema="kordant",
        postgresql_where=sa.text("state IN ('pending', 'firing')"),
    )
    op.drop_table("operator_alerts", schema="kordant")
    op.drop_table("alert_silences", schema="kordant")
    op.drop_table("alert_rules", schema="kordant")
