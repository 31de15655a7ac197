"""Dumps have a ledger, may be read in part, and exposures may be bare mentions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATUSES = ("registered", "ingested", "quarantined", "superseded", "dismissed")
_SECRETS = ("none", "clear", "hashed")


def _allow(table: str, column: str, values: tuple[str, ...]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table, schema="kordant")
    listed = ", ".join(f"'{value}'" for value in values)
    op.create_check_constraint(name, table, f"{column} IN ({listed})", schema="kordant")


def upgrade() -> None:
    op.add_column(
        "breach_dumps",
        sa.Column(
            "ledger",
            JSONB(),
            server_default="{}",
            nullable=False,
            comment="what was read how, and what was not understood",
        ),
        schema="kordant",
    )
    op.add_column(
        "breach_dumps",
        sa.Column(
            "begun",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="how often reading began and did not end",
        ),
        schema="kordant",
    )
    _allow("breach_dumps", "status", (*_STATUSES, "partial"))
    _allow("exposures", "secret", (*_SECRETS, "mentioned"))


def downgrade() -> None:
    op.execute("UPDATE kordant.breach_dumps SET status = 'ingested' WHERE status = 'partial'")
    op.execute("UPDATE kordant.exposures SET secret = 'none' WHERE secret = 'mentioned'")
    _allow("breach_dumps", "status", _STATUSES)
    _allow("exposures", "secret", _SECRETS)
    op.drop_column("breach_dumps", "begun", schema="kordant")
    op.drop_column("breach_dumps", "ledger", schema="kordant")
