"""The index root beside the master key; ciphertexts may be null once their subscriber was forgotten.

Revision ID: 0020
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0020", "0011"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM kordant.keyring_check")
    op.drop_column("keyring_check", "proof", schema="kordant")
    op.add_column(
        "keyring_check",
        sa.Column(
            "wrapped_root",
            sa.LargeBinary(),
            nullable=False,
            comment="the key of blind indexes, labels and links",
        ),
        schema="kordant",
    )
    op.alter_column(
        "watchlist_items",
        "identifier_encrypted",
        nullable=True,
        comment="null once the subscriber was forgotten",
        schema="kordant",
    )


def downgrade() -> None:
    op.execute("DELETE FROM kordant.keyring_check")
    op.alter_column(
        "watchlist_items",
        "identifier_encrypted",
        nullable=False,
        comment=None,
        existing_comment="null once the subscriber was forgotten",
        schema="kordant",
    )
    op.drop_column("keyring_check", "wrapped_root", schema="kordant")
    op.add_column("keyring_check", sa.Column("proof", sa.LargeBinary(), nullable=False), schema="kordant")
