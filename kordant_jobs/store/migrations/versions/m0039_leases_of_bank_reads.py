"""Whether a lease is held is looked up with a fresh snapshot, and a read of a bank is under a lease like all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
TABLE = "bank_connections"


def upgrade() -> None:
    op.execute(
        "CREATE FUNCTION kordant.lease_is_held(lease uuid, moment timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ "
        "BEGIN RETURN EXISTS (SELECT FROM kordant.job_leases WHERE id = lease AND expires_at > moment); END $$"
    )
    op.execute("REVOKE EXECUTE ON FUNCTION kordant.lease_is_held FROM PUBLIC")
    op.drop_column(TABLE, "leased_by", schema=SCHEMA)
    op.drop_column(TABLE, "leased_until", schema=SCHEMA)
    op.add_column(
        TABLE, sa.Column("lease_id", sa.Uuid(), comment="the lease of the read that has it now"), schema=SCHEMA
    )


def downgrade() -> None:
    op.drop_column(TABLE, "lease_id", schema=SCHEMA)
    moment = sa.DateTime(timezone=True)
    leased_by = sa.Column("leased_by", sa.Uuid(), comment="the lease of the read that has it now")
    op.add_column(TABLE, leased_by, schema=SCHEMA)
    op.add_column(TABLE, sa.Column("leased_until", moment), schema=SCHEMA)
    op.execute("DROP FUNCTION kordant.lease_is_held")
