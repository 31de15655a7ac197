"""Entities know the rules they were refreshed by; clips are held back without an attempt; columns nothing read go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0019"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
REASONS = ("short_history", "no_balance", "old_balance", "no_limit")
VERSIONS = "An entity's insights are stale while data_version > refreshed_version"
STALE = f"{VERSIONS}, after a change of the rules, and on every new day."
PAIRS = "pairs: where a window begins, in seconds, and its score"
TRIPLES = "of each window where it begins, in seconds, its score, and what that alone says"


def upgrade() -> None:
    op.add_column("entity_versions", sa.Column(
        "refreshed_algorithm", sa.Integer(), server_default="0", nullable=False,
        comment="the version of the rules of its last refresh",
    ), schema=SCHEMA)  # fmt: skip
    op.create_table_comment("entity_versions", STALE, existing_comment=f"{VERSIONS}.", schema=SCHEMA)
    for column in ("decided_at", "data_as_of", "algorithm_version"):
        op.drop_column("insights", column, schema=SCHEMA)
    _allow_reasons(*REASONS, "no_bills")
    op.execute("UPDATE kordant.insights SET facts = facts || '{\"currency\": \"BRL\"}' WHERE kind = 'price_rise'")
    op.drop_column("forecast_corrections", "pairs", schema=SCHEMA)
    op.add_column("analysis_jobs", sa.Column(
        "held_until_at", sa.DateTime(timezone=True), comment="not analysed before, after something went wrong",
    ), schema=SCHEMA)  # fmt: skip
    op.alter_column("voice_analyses", "windows", comment=TRIPLES, schema=SCHEMA)


def downgrade() -> None:
    op.alter_column("voice_analyses", "windows", comment=PAIRS, schema=SCHEMA)
    op.drop_column("analysis_jobs", "held_until_at", schema=SCHEMA)
    op.add_column("forecast_corrections", sa.Column(
        "pairs", sa.Integer(), server_default="0", nullable=False, comment="past forecasts that it is taken from",
    ), schema=SCHEMA)  # fmt: skip
    op.execute("UPDATE kordant.insights SET unknown_reason = 'short_history' WHERE unknown_reason = 'no_bills'")
    _allow_reasons(*REASONS)
    op.add_column("insights", sa.Column(
        "algorithm_version", sa.Integer(), server_default="0", nullable=False,
    ), schema=SCHEMA)  # fmt: skip
    op.add_column("insights", sa.Column(
        "data_as_of", sa.Date(), server_default=sa.func.current_date(), nullable=False,
        comment="the day as of which it was computed",
    ), schema=SCHEMA)  # fmt: skip
    op.add_column("insights", sa.Column("decided_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.create_table_comment("entity_versions", f"{VERSIONS}.", existing_comment=STALE, schema=SCHEMA)
    op.drop_column("entity_versions", "refreshed_algorithm", schema=SCHEMA)


def _allow_reasons(*reasons: str) -> None:
    listed = ", ".join(f"'{one}'" for one in reasons)
    op.drop_constraint("insights_unknown_reason_check", "insights", schema=SCHEMA)
    op.create_check_constraint(
        op.f("insights_unknown_reason_check"), "insights", f"unknown_reason IN ({listed})", schema=SCHEMA
    )
