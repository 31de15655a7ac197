"""An index over the keys of an entity's merchants: a sync with one new row reads no longer all rows of its entity."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NAME = "transactions_entity_id_merchant_key_idx"


def upgrade() -> None:
    op.create_index(NAME, "transactions", ["entity_id", "merchant_key"], schema="kordant")


def downgrade() -> None:
    op.drop_index(NAME, "transactions", schema="kordant")
