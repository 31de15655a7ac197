"""What a county's owner roll says of watched parcels, and the two events that a change of it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
_EVENTS = (
    "ownership_change", "partial_transfer", "tax_deed", "transfer_on_death", "tod_revoked", "correction",
    "name_change", "power_of_attorney", "power_revoked", "contract", "mortgage", "mortgage_change", "assignment",
    "lien", "lis_pendens", "release", "partial_release", "other", "unknown",
)  # fmt: skip
_ROLL = ("mailing_address_changed", "owner_changed_on_roll")
_REASONS = ("never_read", "stale", "source_failed", "not_covered", "rows_not_understood")
_ROLL_REASON = "roll_not_read"


def _allow(table: str, column: str, values: tuple[str, ...]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table, schema=SCHEMA, type_="check")
    allowed = ", ".join(f"'{one}'" for one in values)
    op.create_check_constraint(name, table, f"{column} IN ({allowed})", schema=SCHEMA)


def upgrade() -> None:
    op.create_table(
        "property_rolls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_listed", sa.Boolean(), nullable=False, comment="the roll had this parcel when it was last asked"),
        sa.Column(
            "owners_hash", sa.LargeBinary(), comment="keyed, of the owners in one spelling; null: it named none yet"
        ),
        sa.Column("mailing_hash", sa.LargeBinary(), comment="keyed, of the mailing address in one spelling"),
        sa.Column(
            "address_index", sa.LargeBinary(),
            comment="blind index that documents with this address alone are kept under",
        ),
        sa.Column(
            "waiting_hash", sa.LargeBinary(), comment="of other owners, who wait for a document that explains them"
        ),
        sa.Column("waiting_since", sa.Date()),
        sa.Column(
            "waiting_owners_encrypted", sa.LargeBinary(), comment="their names, a line each, until that is decided"
        ),
        sa.CheckConstraint(
            "(waiting_hash IS NULL) = (waiting_since IS NULL)", name=op.f("property_rolls_waits_since_a_day_check")
        ),
        sa.ForeignKeyConstraint(
            ["id"], ["kordant.watched_properties.id"], name=op.f("property_rolls_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["kordant.subscribers.id"], name=op.f("property_rolls_subscriber_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("property_rolls_pkey")),
        schema=SCHEMA,
        comment="what the county's owner roll says of a watched parcel, as keyed hashes: to see when it changes",
    )  # fmt: skip
    op.create_index(op.f("property_rolls_subscriber_id_idx"), "property_rolls", ["subscriber_id"], schema=SCHEMA)
    op.create_index(
        op.f("property_rolls_address_index_idx"), "property_rolls", ["address_index"], schema=SCHEMA,
        postgresql_where=sa.text("address_index IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        op.f("property_rolls_waiting_since_idx"), "property_rolls", ["waiting_since"], schema=SCHEMA,
        postgresql_where=sa.text("waiting_since IS NOT NULL"),
    )  # fmt: skip
    op.add_column("county_states", sa.Column(
        "roll_freshness", sa.Text(), comment="what the owner roll, where it is read whole, last said of itself",
    ), schema=SCHEMA)  # fmt: skip
    op.add_column("county_states", sa.Column("roll_changed_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.add_column("county_states", sa.Column(
        "roll_reason", sa.Text(), comment="why the owner roll could not be read; null: it could",
    ), schema=SCHEMA)  # fmt: skip
    for table in ("property_instruments", "property_findings"):
        _allow(table, "event", (*_EVENTS, *_ROLL))
    _allow("property_verdicts", "reason", (*_REASONS, _ROLL_REASON))


def downgrade() -> None:
    events = ", ".join(f"'{one}'" for one in _ROLL)
    op.execute(f"DELETE FROM kordant.property_instruments WHERE event IN ({events})")  # noqa: S608 - constants
    op.execute(f"UPDATE kordant.property_verdicts SET reason = 'source_failed' WHERE reason = '{_ROLL_REASON}'")  # noqa: S608 - names of ours
    _allow("property_verdicts", "reason", _REASONS)
    for table in ("property_findings", "property_instruments"):
        _allow(table, "event", _EVENTS)
    op.drop_column("county_states", "roll_reason", schema=SCHEMA)
    op.drop_column("county_states", "roll_changed_at", schema=SCHEMA)
    op.drop_column("county_states", "roll_freshness", schema=SCHEMA)
    op.drop_table("property_rolls", schema=SCHEMA)
