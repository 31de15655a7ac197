"""A person may ask a broker for an opt-out and, apart from it, for a deletion. Messages are found by their address, so
that a mailbox that brokers share is asked once. Iowa's law has its own clock (90 days, 45 more: Iowa Code §715D.3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

SCHEMA = "kordant"
TABLE = "removal_requests"
LAWS = ("ccpa", "gdpr", "uk_gdpr", "lgpd", "tdpsa", "ocpa", "vcdpa", "cpa", "ctdpa", "us_state", "voluntary")


def upgrade() -> None:
    _laws((*LAWS[:-2], "icdpa", *LAWS[-2:]))
    op.execute(
        "UPDATE kordant.removal_requests r SET law = 'icdpa', answer_by_on = r.sent_on + 90, "
        "extended_by_on = r.sent_on + 135 FROM kordant.removal_profiles p "
        "WHERE p.subscriber_id = r.subscriber_id AND p.country = 'US' AND p.state = 'IA' AND r.law = 'us_state'"
    )
    _once("subscriber_id", "broker_id", "ask")
    op.create_index(
        "removal_messages_contact_idx",
        "removal_messages",
        ["contact"],
        schema=SCHEMA,
        postgresql_where=sa.text("kind = 'request'"),
    )


def downgrade() -> None:
    op.drop_index("removal_messages_contact_idx", "removal_messages", schema=SCHEMA)
    _once("subscriber_id", "broker_id")
    op.execute("UPDATE kordant.removal_requests SET law = 'us_state' WHERE law = 'icdpa'")
    _laws(LAWS)


def _once(*columns: str) -> None:
    op.drop_index("removal_requests_once", TABLE, schema=SCHEMA)
    op.create_index(
        "removal_requests_once",
        TABLE,
        list(columns),
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )


def _laws(laws: tuple[str, ...]) -> None:
    op.drop_constraint("removal_requests_law_check", TABLE, schema=SCHEMA)
    named = ", ".join(f"'{one}'" for one in laws)
    op.create_check_constraint(op.f("removal_requests_law_check"), TABLE, f"law IN ({named})", schema=SCHEMA)
