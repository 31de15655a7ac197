"""The catalogue of data brokers and removal requests: `m0006_removal_requests.sql` makes tables, moves and triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DROP = """
DELETE FROM kordant.notification_outbox WHERE removal_event_id IS NOT NULL;
ALTER TABLE kordant.notification_outbox
    DROP CONSTRAINT notification_outbox_about_one_thing_check,
    DROP COLUMN removal_event_id,
    ADD CONSTRAINT notification_outbox_about_one_thing_check CHECK ((alert_id IS NULL) <> (report_id IS NULL));
DROP TABLE kordant.removal_checks, kordant.removal_references, kordant.removal_replies, kordant.removal_disclosures,
    kordant.removal_messages, kordant.removal_events, kordant.removal_requests, kordant.removal_moves,
    kordant.removal_profiles, kordant.drp_businesses, kordant.broker_contact_faults, kordant.broker_versions,
    kordant.broker_rows, kordant.broker_domains, kordant.brokers;
DROP FUNCTION kordant.check_removal_moves, kordant.check_removal_begins;
"""


def _run(statements: str) -> None:
    """Run a script of statements: by the driver itself, since it holds percent signs that are no parameters."""
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(statements)


def upgrade() -> None:
    _run(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    _run(_DROP)
