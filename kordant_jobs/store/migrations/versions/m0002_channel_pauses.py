"""Channels may be paused; notifications about one breach may go out together.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None

OUTBOX = "notification_outbox"
CHANNELS = "channel IN ('email', 'fcm', 'apns', 'web_push', 'sms')"


def upgrade() -> None:
    op.create_table(
        "channel_pauses",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("pauses", sa.Integer(), nullable=False, comment="in a row; a message that is accepted ends them"),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="for the operator; never an address"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(CHANNELS, name=op.f("channel_pauses_channel_check")),
        sa.PrimaryKeyConstraint("channel", name=op.f("channel_pauses_pkey")),
        schema="kordant",
        comment="Channels that cannot work: nothing is claimed for them until then.",
    )
    _hold_for("'daily', 'weekly', 'many', 'together'")


def downgrade() -> None:
    op.execute("UPDATE kordant.notification_outbox SET held_for = 'many' WHERE held_for = 'together'")
    _hold_for("'daily', 'weekly', 'many'")
    op.drop_table("channel_pauses", schema="kordant")


def _hold_for(values: str) -> None:
    name = op.f("notification_outbox_held_for_check")
    op.drop_constraint(name, OUTBOX, schema="kordant", type_="check")
    op.create_check_constraint(name, OUTBOX, f"held_for IN ({values})", schema="kordant")
