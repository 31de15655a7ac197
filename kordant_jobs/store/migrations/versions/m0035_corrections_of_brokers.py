"""Moves after a broker's later answer, and case numbers that a broker gave for more than one request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

SETTLED = ("completed", "no_match", "denied", "exempt")
CORRECTIONS = ("needs_user_action", "needs_identity", "in_progress", "denied", "exempt")
MOVES = [(before, after) for before in SETTLED for after in CORRECTIONS if before != after]
MOVES += [("no_match", "completed"), ("exempt", "no_match")]


def _key(columns: str) -> None:
    op.execute("ALTER TABLE kordant.removal_references DROP CONSTRAINT removal_references_pkey")
    op.execute(f"ALTER TABLE kordant.removal_references ADD CONSTRAINT removal_references_pkey PRIMARY KEY ({columns})")


def upgrade() -> None:
    _key("reference_index, request_id")
    add = sa.text("INSERT INTO kordant.removal_moves (from_state, to_state) VALUES (:before, :after)")
    for before, after in MOVES:
        op.get_bind().execute(add, {"before": before, "after": after})


def downgrade() -> None:
    op.execute(
        "DELETE FROM kordant.removal_references r USING kordant.removal_references other "
        "WHERE r.reference_index = other.reference_index AND r.request_id > other.request_id"
    )
    _key("reference_index")
    drop = sa.text("DELETE FROM kordant.removal_moves WHERE from_state = :before AND to_state = :after")
    for before, after in MOVES:
        op.get_bind().execute(drop, {"before": before, "after": after})
