"""Schedules: the price list with its history, who is served when, and how far each row is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNT_VERSION = """
CREATE FUNCTION kordant.count_schedule_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) = to_jsonb(OLD) THEN
            RETURN NULL;
        END IF;
        NEW.version = OLD.version + 1;
    ELSE
        SELECT coalesce(max(h.version), 0) + 1 INTO NEW.version FROM kordant.scheduler_history h
        WHERE h.job = NEW.job AND h.tier = NEW.tier;
    END IF;
    NEW.changed_at = clock_timestamp();
    NEW.changed_by = coalesce(nullif(current_setting('kordant.changed_by', true), ''), 'sql:' || session_user);
    RETURN NEW;
END $$;
CREATE TRIGGER scheduler_config_version BEFORE INSERT OR UPDATE ON kordant.scheduler_config FOR EACH ROW
    EXECUTE FUNCTION kordant.count_schedule_version();
"""

KEEP_HISTORY = """
CREATE FUNCTION kordant.keep_schedule_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said text := coalesce(nullif(current_setting('kordant.changed_by', true), ''), 'sql:' || session_user);
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO kordant.scheduler_history (job, tier, version, row, changed_at, changed_by)
        VALUES (OLD.job, OLD.tier, OLD.version + 1, NULL, clock_timestamp(), said);
    ELSE
        INSERT INTO kordant.scheduler_history (job, tier, version, row, changed_at, changed_by, note)
        VALUES (NEW.job, NEW.tier, NEW.version, to_jsonb(NEW), NEW.changed_at, NEW.changed_by, NEW.note);
    END IF;
    PERFORM pg_notify('kordant_schedules', '');
    RETURN NULL;
END $$;
CREATE TRIGGER scheduler_config_history AFTER INSERT OR UPDATE OR DELETE ON kordant.scheduler_config FOR EACH ROW
    EXECUTE FUNCTION kordant.keep_schedule_history();
"""

WAKE_SENSORS = """
CREATE FUNCTION kordant.wake_sensors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kordant_events', TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE TRIGGER subscriptions_wake_sensors AFTER INSERT OR UPDATE OF tier, status ON kordant.subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();
CREATE TRIGGER watchlist_items_wake_sensors AFTER INSERT ON kordant.watchlist_items
    FOR EACH STATEMENT EXECUTE FUNCTION kordant.wake_sensors();
"""


def upgrade() -> None:
    op.create_table(
        "schedule_progress",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("position_on", sa.Date(), nullable=False),
        sa.Column("position_slot", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("job", "tier", name=op.f("schedule_progress_pkey")),
        schema="kordant",
    )
    op.create_table(
        "schedule_starts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="the tick that decided it, or the sensor"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spans", postgresql.JSONB(), nullable=False, comment="[day, anchor, first slot, past slot]"),
        sa.Column(
            "subscriptions", sa.Integer(), nullable=True, comment="how many there were; null: the job as a whole"
        ),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the row that it was decided by"),
        sa.CheckConstraint("kind IN ('started', 'dropped')", name=op.f("schedule_starts_kind_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("schedule_starts_pkey")),
        schema="kordant",
        comment="What ticks led to. A tick that is looked at again gives the same starts.",
    )
    op.create_index(
        op.f("schedule_starts_decided_at_idx"), "schedule_starts", ["decided_at"], unique=False, schema="kordant"
    )
    op.create_index(
        op.f("schedule_starts_job_tier_source_idx"),
        "schedule_starts",
        ["job", "tier", "source"],
        unique=False,
        schema="kordant",
    )
    op.create_table(
        "scheduler_config",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False, comment="'all' for a row that is of no tier"),
        sa.Column("cadence", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("anchor", sa.Text(), server_default="anniversary", nullable=False),
        sa.Column("spread", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("gap", sa.Text(), server_default="shift", nullable=False),
        sa.Column("fold", sa.Text(), server_default="once", nullable=False),
        sa.Column("catch_up", sa.Text(), server_default="latest", nullable=False),
        sa.Column("catch_up_window_s", sa.Integer(), server_default="604800", nullable=False),
        sa.Column("overlap", sa.Text(), server_default="queue_one", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="2", nullable=False),
        sa.Column("realtime", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False, comment="counted up by a trigger"),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Text(), server_default=sa.text("CURRENT_USER"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("anchor IN ('anniversary', 'calendar')", name=op.f("scheduler_config_anchor_check")),
        sa.CheckConstraint(
            "cadence IN ('every_tick', 'daily', 'weekly', 'monthly')", name=op.f("scheduler_config_cadence_check")
        ),
        sa.CheckConstraint("catch_up IN ('none', 'latest', 'all')", name=op.f("scheduler_config_catch_up_check")),
        sa.CheckConstraint("fold IN ('once', 'twice')", name=op.f("scheduler_config_fold_check")),
        sa.CheckConstraint("gap IN ('shift', 'skip')", name=op.f("scheduler_config_gap_check")),
        sa.CheckConstraint(
            "overlap IN ('allow', 'skip', 'queue_one', 'queue_all', 'cancel_other')",
            name=op.f("scheduler_config_overlap_check"),
        ),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (pause_reason IS NULL)", name=op.f("scheduler_config_pause_has_a_reason_check")
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 3", name=op.f("scheduler_config_priority_check")),
        sa.PrimaryKeyConstraint("job", "tier", name=op.f("scheduler_config_pkey")),
        schema="kordant",
    )
    op.create_table(
        "scheduler_history",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row", postgresql.JSONB(), nullable=True, comment="as it was from then on; null: deleted"),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "tier", "version", name=op.f("scheduler_history_pkey")),
        schema="kordant",
        comment="Written by a trigger, whoever changes scheduler_config.",
    )
    op.create_table(
        "due_slots",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column(
            "anchor",
            sa.SmallInteger(),
            nullable=False,
            comment="its day of the week (from 1, Monday) or month; 0: none",
        ),
        sa.Column("slot", sa.Integer(), nullable=False, comment="its stable place in a day, below 2^30"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["kordant.subscriptions.id"],
            name=op.f("due_slots_subscription_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", "job", name=op.f("due_slots_pkey")),
        schema="kordant",
        comment="Who is served by which row, and where in its day and month. Only active subscriptions have rows.",
    )
    op.create_index(
        "due_slots_tick_idx",
        "due_slots",
        ["job", "tier", "anchor", "slot"],
        unique=False,
        schema="kordant",
        postgresql_include=["subscription_id"],
    )
    for statement in (COUNT_VERSION, KEEP_HISTORY, WAKE_SENSORS):
        op.execute(sa.text(statement))


def downgrade() -> None:
    op.execute(sa.text("DROP TRIGGER subscriptions_wake_sensors ON kordant.subscriptions"))
    op.execute(sa.text("DROP TRIGGER watchlist_items_wake_sensors ON kordant.watchlist_items"))
    op.execute(sa.text("DROP FUNCTION kordant.wake_sensors"))
    op.drop_table("due_slots", schema="kordant")
    op.drop_table("scheduler_history", schema="kordant")
    op.drop_table("scheduler_config", schema="kordant")
    op.drop_table("schedule_starts", schema="kordant")
    op.drop_table("schedule_progress", schema="kordant")
    op.execute(sa.text("DROP FUNCTION kordant.keep_schedule_history"))
    op.execute(sa.text("DROP FUNCTION kordant.count_schedule_version"))
