"""What sensors look at tells them so: new notifications and breaches, as subscriptions and identifiers did already."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("notification_outbox", "breaches")


def upgrade() -> None:
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_wake_sensors AFTER INSERT ON kordant.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors()"
        )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_wake_sensors ON kordant.{table}")
