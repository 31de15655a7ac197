"""What a run claims (notifications, bank connections, questions to sources) is free once the run's own lease ends."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_RUN_LEASE = """
CREATE FUNCTION kordant.run_lease() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(pg_catalog.current_setting('kordant.lease', true), '')::uuid
$$
"""


def upgrade() -> None:
    op.execute(_RUN_LEASE)
    op.add_column(
        "job_leases",
        sa.Column(
            "under",
            sa.Uuid(),
            comment="the lease of the run that claimed something under this one, which ends with it",
        ),
        schema="kordant",
    )
    op.alter_column("job_leases", "under", server_default=sa.text("kordant.run_lease()"), schema="kordant")
    op.create_foreign_key(
        "job_leases_under_fkey",
        "job_leases",
        "job_leases",
        ["under"],
        ["id"],
        source_schema="kordant",
        referent_schema="kordant",
        ondelete="CASCADE",
    )
    op.create_index("job_leases_under_idx", "job_leases", ["under"], schema="kordant")


def downgrade() -> None:
    op.drop_column("job_leases", "under", schema="kordant")
    op.execute("DROP FUNCTION kordant.run_lease()")
