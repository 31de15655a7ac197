"""Hosts of workers, which of them took a run, and in which drop folder a dump lies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

SCHEMA = "kordant"


def upgrade() -> None:
    op.add_column("job_leases", sa.Column(
        "host", sa.Text, comment="the host that took the run; it keeps the lease alive until the run does",
    ), schema=SCHEMA)  # fmt: skip
    op.add_column("breach_dumps", sa.Column(
        "place", sa.Text, comment="the name of the drop folder in which the file lies",
    ), schema=SCHEMA)  # fmt: skip
    op.create_table(
        "job_hosts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("place", sa.Text, nullable=False,
                  comment="machine and state folder, by which two of one name are told apart"),
        sa.Column("code_version", sa.Text, nullable=False, comment="it takes runs of this version only"),
        sa.Column("slots", sa.Integer, nullable=False, comment="runs at the same time"),
        sa.Column("draining", sa.Boolean, nullable=False, server_default=sa.text("false"),
                  comment="it takes no more, and ends"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
        comment="Hosts of workers (KORDANT_LAUNCHER=celery). One not seen for the time of a lease gets no runs.",
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("job_hosts", schema=SCHEMA)
    op.drop_column("breach_dumps", "place", schema=SCHEMA)
    op.drop_column("job_leases", "host", schema=SCHEMA)
