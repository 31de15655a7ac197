"""Entities and what their banks say; a notification may be about that. `m0018_bank_accounts.sql` makes the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_DROP = """
DELETE FROM kordant.notification_preferences WHERE category = 'finance';
ALTER TABLE kordant.notification_preferences
    DROP CONSTRAINT notification_preferences_category_check,
    ADD CONSTRAINT notification_preferences_category_check
        CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report'));
DELETE FROM kordant.notification_outbox WHERE finance_notice_id IS NOT NULL;
ALTER TABLE kordant.notification_outbox
    DROP CONSTRAINT notification_outbox_about_one_thing_check,
    DROP CONSTRAINT notification_outbox_category_check,
    DROP COLUMN finance_notice_id,
    ADD CONSTRAINT notification_outbox_about_one_thing_check
        CHECK (num_nonnulls(alert_id, report_id, removal_event_id) = 1),
    ADD CONSTRAINT notification_outbox_category_check
        CHECK (category IN ('breach', 'home_title', 'voice', 'removal', 'report'));
DROP TABLE
    kordant.finance_notices, kordant.quarantined_rows, kordant.webhook_events, kordant.provider_budgets,
    kordant.sync_results, kordant.sync_runs, kordant.transaction_versions, kordant.transaction_aliases,
    kordant.transfers, kordant.transactions, kordant.card_bills, kordant.bank_balances,
    kordant.account_links, kordant.bank_accounts, kordant.bank_consents, kordant.bank_connections,
    kordant.entity_versions, kordant.entity_keys, kordant.entities;
"""


def _run(statements: str) -> None:
    """Run a script of statements: by the driver itself, since it may hold percent signs that are no parameters."""
    raw: Any = op.get_bind().connection
    with raw.cursor() as cursor:
        cursor.execute(statements)


def upgrade() -> None:
    _run(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    _run(_DROP)
