"""Change sets about an agent's grants: its first request of a job, and other bounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
CHECK = "change_sets_kind_check"
TIER = "of a workflow its id, of a gate the execution's"
BASE = "of a gate the step's place"


def _kinds(words: str) -> None:
    op.drop_constraint(op.f(CHECK), "change_sets", schema=SCHEMA)
    op.create_check_constraint(op.f(CHECK), "change_sets", f"kind IN ({words})", schema=SCHEMA)


def _comments(tier: str, base: str) -> None:
    op.alter_column("change_sets", "tier", existing_type=sa.TEXT(), comment=tier, schema=SCHEMA)
    op.alter_column("change_sets", "base_version", existing_type=sa.INTEGER(), comment=base, schema=SCHEMA)


def upgrade() -> None:
    for column in (
        sa.Column("ask_first", sa.Boolean(), server_default="false", nullable=False,
                  comment="a person approves the first request: a change set of kind first_trigger"),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="what a change set is based on"),
    ):  # fmt: skip
        op.add_column("agent_grants", column, schema=SCHEMA)
    _kinds("'schedule_change', 'workflow', 'gate', 'first_trigger', 'grant_change'")
    _comments(f"{TIER}, of a grant the agent's", f"{BASE}; of a grant 0: there is none yet")


def downgrade() -> None:
    op.execute("DELETE FROM kordant.change_sets WHERE kind IN ('first_trigger', 'grant_change')")
    _kinds("'schedule_change', 'workflow', 'gate'")
    _comments(TIER, BASE)
    for name in ("version", "ask_first"):
        op.drop_column("agent_grants", name, schema=SCHEMA)
