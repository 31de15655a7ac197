"""What a county is called, its recorder's page, and whether it publishes liens, for mails and reports; and new watches
are found by their time. A finding that becomes critical is alerted again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("county_states", sa.Column("name", sa.Text()), schema="kordant")
    page = sa.Column("recorder_url", sa.Text(), comment="a page of the recorder's; {key} and {number} are filled in")
    op.add_column("county_states", page, schema="kordant")
    op.add_column("county_states", sa.Column("has_liens", sa.Boolean()), schema="kordant")
    op.create_index(
        op.f("watched_properties_county_created_at_idx"),
        "watched_properties",
        ["county", "created_at"],
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_constraint(op.f("alerts_finding_id_key"), "alerts", schema="kordant", type_="unique")
    op.create_unique_constraint(
        op.f("alerts_finding_id_severity_key"), "alerts", ["finding_id", "severity"], schema="kordant"
    )


def downgrade() -> None:
    op.execute(
        "DELETE FROM kordant.alerts a USING kordant.alerts b WHERE a.finding_id = b.finding_id "
        "AND (a.created_at, a.id) > (b.created_at, b.id)"
    )
    op.drop_constraint(op.f("alerts_finding_id_severity_key"), "alerts", schema="kordant", type_="unique")
    op.create_unique_constraint(op.f("alerts_finding_id_key"), "alerts", ["finding_id"], schema="kordant")
    op.drop_index(op.f("watched_properties_county_created_at_idx"), table_name="watched_properties", schema="kordant")
    op.drop_column("county_states", "has_liens", schema="kordant")
    op.drop_column("county_states", "recorder_url", schema="kordant")
    op.drop_column("county_states", "name", schema="kordant")
