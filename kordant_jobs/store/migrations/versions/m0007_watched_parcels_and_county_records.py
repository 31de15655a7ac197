"""Watched parcels and owners, what counties recorded, what was found; an alert may be about a finding."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_EVENTS = [
    "ownership_change",
    "partial_transfer",
    "tax_deed",
    "transfer_on_death",
    "tod_revoked",
    "correction",
    "name_change",
    "power_of_attorney",
    "power_revoked",
    "contract",
    "mortgage",
    "mortgage_change",
    "assignment",
    "lien",
    "lis_pendens",
    "release",
    "partial_release",
    "other",
    "unknown",
]
_EVENT_IS_KNOWN = "event IN (" + ", ".join(f"'{one}'" for one in _EVENTS) + ")"


def upgrade() -> None:
    op.create_table(
        "county_states",
        sa.Column("county", sa.Text(), nullable=False),
        sa.Column(
            "watermarks",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="by table: the source's own newest mark",
        ),
        sa.Column(
            "freshness",
            sa.Text(),
            nullable=True,
            comment="what the source last said of itself; the same again: nothing is new",
        ),
        sa.Column(
            "table_version",
            sa.Text(),
            nullable=True,
            comment="of the county's description: another one reads everything again",
        ),
        sa.Column("data_as_of", sa.Date(), nullable=True),
        sa.Column("rows", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "rows_not_understood",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="by reason",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="why the last read failed; null: it did not"),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("county", name=op.f("county_states_pkey")),
        schema="kordant",
    )
    op.create_table(
        "property_instruments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("county", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="the recorder's own id"),
        sa.Column("number", sa.Text(), server_default="", nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("recorded_on", sa.Date(), nullable=True),
        sa.Column("executed_on", sa.Date(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=True),
        sa.Column("percent", sa.Numeric(precision=9, scale=4), nullable=True),
        sa.Column("refers_to", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("parties_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column(
            "content_hash", sa.LargeBinary(), nullable=False, comment="keyed, over all that the source says of it"
        ),
        sa.Column("is_first_load", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            _EVENT_IS_KNOWN,
            name=op.f("property_instruments_event_check"),
        ),
        sa.CheckConstraint(
            "form IN ('plain', 'quitclaim', 'fiduciary', 'trustee')", name=op.f("property_instruments_form_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("property_instruments_pkey")),
        sa.UniqueConstraint("county", "key", name=op.f("property_instruments_county_key_key")),
        schema="kordant",
    )
    op.create_index(
        op.f("property_instruments_county_changed_at_idx"),
        "property_instruments",
        ["county", "changed_at"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "property_lots",
        sa.Column("parcel_index", sa.LargeBinary(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["kordant.property_instruments.id"],
            name=op.f("property_lots_instrument_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("parcel_index", "instrument_id", name=op.f("property_lots_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("property_lots_instrument_id_idx"), "property_lots", ["instrument_id"], unique=False, schema="kordant"
    )
    op.create_table(
        "property_name_keys",
        sa.Column("key_index", sa.LargeBinary(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["kordant.property_instruments.id"],
            name=op.f("property_name_keys_instrument_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_index", "instrument_id", name=op.f("property_name_keys_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("property_name_keys_instrument_id_idx"),
        "property_name_keys",
        ["instrument_id"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "property_verdicts",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("county", sa.Text(), nullable=False),
        sa.Column("checked_on", sa.Date(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("data_as_of", sa.Date(), nullable=True),
        sa.Column("watched", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "reason IN ('never_read', 'stale', 'source_failed', 'not_covered', 'rows_not_understood')",
            name=op.f("property_verdicts_reason_check"),
        ),
        sa.CheckConstraint(
            "verdict <> 'unknown' OR reason IS NOT NULL", name=op.f("property_verdicts_unknown_has_a_reason_check")
        ),
        sa.CheckConstraint("verdict IN ('clean', 'found', 'unknown')", name=op.f("property_verdicts_verdict_check")),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("property_verdicts_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "county", "checked_on", name=op.f("property_verdicts_pkey")),
        schema="kordant",
    )
    op.create_table(
        "watched_properties",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("county", sa.Text(), nullable=False),
        sa.Column(
            "parcel_encrypted",
            sa.LargeBinary(),
            nullable=True,
            comment="null: an owner is watched, wherever in the county",
        ),
        sa.Column("parcel_index", sa.LargeBinary(), nullable=True, comment="16 bytes, of county and parcel number"),
        sa.Column(
            "owners_encrypted",
            sa.LargeBinary(),
            nullable=True,
            comment="names as the subscriber knows them, a line each",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "parcel_index IS NOT NULL OR owners_encrypted IS NOT NULL",
            name=op.f("watched_properties_watches_something_check"),
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["kordant.subscribers.id"],
            name=op.f("watched_properties_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("watched_properties_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("watched_properties_pkey")),
        schema="kordant",
    )
    op.create_index(
        "watched_properties_once",
        "watched_properties",
        ["subscription_id", "parcel_index"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        op.f("watched_properties_parcel_index_idx"),
        "watched_properties",
        ["parcel_index"],
        unique=False,
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        op.f("watched_properties_subscriber_id_idx"),
        "watched_properties",
        ["subscriber_id"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "property_findings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("watch_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False, comment="worth an alert, if it is also news"),
        sa.Column("is_news", sa.Boolean(), nullable=False, comment="it became known after the watch began"),
        sa.Column("reasons", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("case_key", sa.Text(), nullable=True, comment="the instrument that it belongs to"),
        sa.Column("before_key", sa.Text(), nullable=True, comment="the deed by which the owners before held it"),
        sa.Column("probability", sa.Float(), nullable=True, comment="of an owner watch: that the name is theirs"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dismissed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            _EVENT_IS_KNOWN,
            name=op.f("property_findings_event_check"),
        ),
        sa.CheckConstraint(
            "severity IN ('low', 'medium', 'high', 'critical')", name=op.f("property_findings_severity_check")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["kordant.property_instruments.id"],
            name=op.f("property_findings_instrument_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["watch_id"],
            ["kordant.watched_properties.id"],
            name=op.f("property_findings_watch_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("property_findings_pkey")),
        sa.UniqueConstraint("watch_id", "instrument_id", name=op.f("property_findings_watch_id_instrument_id_key")),
        schema="kordant",
    )
    op.create_index(
        op.f("property_findings_instrument_id_idx"),
        "property_findings",
        ["instrument_id"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "watched_name_keys",
        sa.Column("watch_id", sa.Uuid(), nullable=False),
        sa.Column("key_index", sa.LargeBinary(), nullable=False, comment="blind index of what a name is looked up by"),
        sa.ForeignKeyConstraint(
            ["watch_id"],
            ["kordant.watched_properties.id"],
            name=op.f("watched_name_keys_watch_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("watch_id", "key_index", name=op.f("watched_name_keys_pkey")),
        schema="kordant",
    )
    op.create_index(
        op.f("watched_name_keys_key_index_idx"), "watched_name_keys", ["key_index"], unique=False, schema="kordant"
    )
    op.add_column("alerts", sa.Column("finding_id", sa.Uuid(), nullable=True), schema="kordant")
    op.alter_column("alerts", "exposure_id", existing_type=sa.UUID(), nullable=True, schema="kordant")
    op.create_unique_constraint(op.f("alerts_finding_id_key"), "alerts", ["finding_id"], schema="kordant")
    op.create_foreign_key(
        op.f("alerts_finding_id_fkey"),
        "alerts",
        "property_findings",
        ["finding_id"],
        ["id"],
        source_schema="kordant",
        referent_schema="kordant",
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("alerts_about_one_thing_check"), "alerts", "num_nonnulls(exposure_id, finding_id) = 1", schema="kordant"
    )


def downgrade() -> None:
    op.execute("DELETE FROM kordant.alerts WHERE finding_id IS NOT NULL")
    op.drop_constraint(op.f("alerts_about_one_thing_check"), "alerts", schema="kordant")
    op.drop_constraint(op.f("alerts_finding_id_fkey"), "alerts", schema="kordant", type_="foreignkey")
    op.drop_constraint(op.f("alerts_finding_id_key"), "alerts", schema="kordant", type_="unique")
    op.alter_column("alerts", "exposure_id", existing_type=sa.UUID(), nullable=False, schema="kordant")
    op.drop_column("alerts", "finding_id", schema="kordant")
    op.drop_index(op.f("watched_name_keys_key_index_idx"), table_name="watched_name_keys", schema="kordant")
    op.drop_table("watched_name_keys", schema="kordant")
    op.drop_index(op.f("property_findings_instrument_id_idx"), table_name="property_findings", schema="kordant")
    op.drop_table("property_findings", schema="kordant")
    op.drop_index(op.f("watched_properties_subscriber_id_idx"), table_name="watched_properties", schema="kordant")
    op.drop_index(
        op.f("watched_properties_parcel_index_idx"),
        table_name="watched_properties",
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "watched_properties_once",
        table_name="watched_properties",
        schema="kordant",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("watched_properties", schema="kordant")
    op.drop_table("property_verdicts", schema="kordant")
    op.drop_index(op.f("property_name_keys_instrument_id_idx"), table_name="property_name_keys", schema="kordant")
    op.drop_table("property_name_keys", schema="kordant")
    op.drop_index(op.f("property_lots_instrument_id_idx"), table_name="property_lots", schema="kordant")
    op.drop_table("property_lots", schema="kordant")
    op.drop_index(
        op.f("property_instruments_county_changed_at_idx"), table_name="property_instruments", schema="kordant"
    )
    op.drop_table("property_instruments", schema="kordant")
    op.drop_table("county_states", schema="kordant")
