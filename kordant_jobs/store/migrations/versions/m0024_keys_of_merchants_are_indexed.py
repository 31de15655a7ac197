"""An index over the keys of an entity's merchants: a sync with one new row reads no longer all rows of its entity. A
column of accounts that nothing fills goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
NAME = "transactions_entity_id_merchant_key_idx"


def upgrade() -> None:
    op.create_index(NAME, "transactions", ["entity_id", "merchant_key"], schema=SCHEMA)
    op.drop_column("bank_accounts", "credit_group_id", schema=SCHEMA)


def downgrade() -> None:
    op.add_column("bank_accounts", sa.Column(
        "credit_group_id", sa.Uuid(), comment="cards that share one limit and one balance",
    ), schema=SCHEMA)  # fmt: skip
    op.drop_index(NAME, "transactions", schema=SCHEMA)
