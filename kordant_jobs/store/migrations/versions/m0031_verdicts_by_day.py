"""Verdicts of a day are counted along an index: `/metrics`, the console and the rule `unknown_rising` read them all."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

NAME = "source_verdicts_checked_on_source_verdict_reason_idx"


def upgrade() -> None:
    columns = ["checked_on", "source", "verdict", "reason"]
    op.create_index(op.f(NAME), "source_verdicts", columns, schema="kordant")


def downgrade() -> None:
    op.drop_index(op.f(NAME), "source_verdicts", schema="kordant")
