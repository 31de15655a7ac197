"""Dumps are called by a keyed label, and no part of their file's name is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0003"
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


def downgrade() -> None:
    op.alter_column("breach_dumps", "file_label", existing_type=sa.Text(), comment=_OLD, schema="kordant")
