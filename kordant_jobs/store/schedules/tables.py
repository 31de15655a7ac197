"""Tables of schedules: the price list with its history, who is served when, and how far each row is."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.schedules.cron import Fold, Gap
from kordant_jobs.domain.schedules.rows import Anchor, Cadence, CatchUp, Overlap, StartKind
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

scheduler_config = table(
    "scheduler_config",
    Column("job", Text, primary_key=True),
    Column("tier", Text, primary_key=True, comment="'all' for a row that is of no tier"),
    choice("cadence", Cadence),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    choice("anchor", Anchor, server_default=Anchor.ANNIVERSARY.value),
    Column("spread", Boolean, nullable=False, server_default=text("true")),
    choice("gap", Gap, server_default=Gap.SHIFT.value),
    choice("fold", Fold, server_default=Fold.ONCE.value),
    choice("catch_up", CatchUp, server_default=CatchUp.LATEST.value),
    Column("catch_up_window_s", Integer, nullable=False, server_default="604800"),
    choice("overlap", Overlap, server_default=Overlap.QUEUE_ONE.value),
    Column("priority", SmallInteger, nullable=False, server_default="2"),
    Column("realtime", Boolean, nullable=False, server_default=text("false")),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("pause_reason", Text),
    Column("paused_by", Text),
    moment("paused_at", nullable=True),
    moment("paused_until", nullable=True),
    Column("version", Integer, nullable=False, server_default="1", comment="counted up by a trigger"),
    moment("changed_at", default_now=True),
    Column("changed_by", Text, nullable=False, server_default=text("CURRENT_USER")),
    Column("note", Text),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint("(paused_at IS NULL) = (pause_reason IS NULL)", name="pause_has_a_reason"),
)

scheduler_history = table(
    "scheduler_history",
    Column("job", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("row", JSONB, comment="as it was from then on; null: deleted"),
    moment("changed_at"),
    Column("changed_by", Text, nullable=False),
    Column("note", Text),
    comment="Written by a trigger, whoever changes scheduler_config.",
)

due_slots = table(
    "due_slots",
    belongs_to("subscription_id", "subscriptions", primary_key=True),
    Column("job", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("anchor", SmallInteger, nullable=False, comment="its day of the week (from 1, Monday) or month; 0: none"),
    Column("slot", Integer, nullable=False, comment="its stable place in a day, below 2^30"),
    moment("since", default_now=True),
    Index("due_slots_tick_idx", "job", "tier", "anchor", "slot", postgresql_include=["subscription_id"]),
    comment="Who is served by which row, and where in its day and month. Only active subscriptions have rows.",
)

schedule_progress = table(
    "schedule_progress",
    Column("job", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    moment("until"),
    Column("position_on", Date, nullable=False),
    Column("position_slot", Integer, nullable=False),
    Column("held", Boolean, nullable=False, server_default=text("false")),
)

schedule_starts = table(
    "schedule_starts",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job", Text, nullable=False),
    Column("tier", Text, nullable=False),
    choice("kind", StartKind),
    Column("source", Text, nullable=False, comment="the tick that decided it, or the sensor"),
    moment("due_at"),
    moment("decided_at"),
    Column("spans", JSONB, nullable=False, comment="[day, anchor, first slot, past slot]"),
    Column("subscriptions", Integer, comment="how many there were; null: the job as a whole"),
    Column("version", Integer, nullable=False, comment="of the row that it was decided by"),
    Index(None, "job", "tier", "source"),
    Index(None, "decided_at"),
    comment="What ticks led to. A tick that is looked at again gives the same starts.",
)
