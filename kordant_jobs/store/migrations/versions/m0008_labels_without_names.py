"""Dumps are called by a keyed label, and no part of their file's name is kept; consents are recorded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ENDINGS = (
    "7z|br|bz2|csv|db|eml|gpg|gz|html|json|jsonl|log|lz4|mbox|ndjson|parquet|sql|sqlite|tar|tgz|tsv|txt|vcf|xls|xlsx"
    "|xml|xz|yaml|yml|zip|zst"
)
_NEW = "stands for the file's name: a keyed hash and the ending"
_OLD = "the file's name, with what looks personal left out"


def upgrade() -> None:
    labels = sa.text(
        "UPDATE kordant.breach_dumps SET file_label = left(encode(file_key, 'hex'), 12) || "
        "coalesce(substring(lower(file_label) from :ending), '')"
    )
    op.execute(labels.bindparams(ending=rf"((?:\.(?:{_ENDINGS})){{1,2}})$"))
    op.alter_column("breach_dumps", "file_label", existing_type=sa.Text(), comment=_NEW, schema="kordant")
    op.create_table(
        "consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subscriber_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False, comment="the form or talk in which it was given; no name"),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("purpose IN ('watch', 'outside_sources', 'messages')", name=op.f("consents_purpose_check")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["kordant.subscribers.id"], name=op.f("consents_subscriber_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("consents_pkey")),
        schema="kordant",
    )
    op.create_index(
        "consents_once",
        "consents",
        ["subscriber_id", "purpose"],
        unique=True,
        schema="kordant",
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("consents", schema="kordant")
    op.alter_column("breach_dumps", "file_label", existing_type=sa.Text(), comment=_OLD, schema="kordant")
