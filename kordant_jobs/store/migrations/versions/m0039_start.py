"""The start: `m0039_start.sql` beside this file makes every table, index, function and trigger. Nothing was released
before it; a database that the 39 migrations before it made is the same."""

from pathlib import Path
from typing import Any

from alembic import op

revision = "0039"
down_revision = None
branch_labels = None
depends_on = None

_DROP = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'kordant' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DROP TABLE kordant.%I CASCADE', one.tablename);
    END LOOP;
    FOR one IN SELECT oid::regprocedure AS signature FROM pg_proc WHERE pronamespace = 'kordant'::regnamespace LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', one.signature);
    END LOOP;
    FOR one IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'kordant' LOOP
        EXECUTE format('DROP SEQUENCE kordant.%I', one.sequencename);
    END LOOP;
END $$;
"""


def _run(statements: str) -> None:
    """Run a script of statements: by the driver itself, since it holds percent signs that are no parameters."""
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(statements)


def upgrade() -> None:
    _run(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    _run(_DROP)
