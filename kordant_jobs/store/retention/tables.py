"""Tables of retention: which term holds, what is on hold, what was planned, what was deleted."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.retention.policies import Action
from kordant_jobs.postgres.schema import choice, moment, table

retention_policies = table(
    "retention_policies",
    Column("kind", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    choice("action", Action),
    Column("keep_days", Integer, comment="null: kept"),
    Column("legal_basis", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    moment("valid_from", default_now=True),
    Column("set_by", Text, nullable=False),
    Column("approved_by", Text, comment="of a shorter term: somebody other than who set it"),
    CheckConstraint("(keep_days IS NULL) = (action = 'keep')", name="term_with_every_action_but_keep"),
    CheckConstraint("keep_days BETWEEN 0 AND 36500", name="keep_days"),
    comment="Versions are added and never changed; the newest of a kind holds.",
)

legal_holds = table(
    "legal_holds",
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, comment="a subscriber or an entity; null: any"),
    Column("kind", Text, comment="null: any"),
    moment("since", nullable=True),
    moment("before", nullable=True),
    Column("reason", Text, nullable=False, comment="a file number; no personal data"),
    Column("placed_by", Text, nullable=False),
    moment("placed_at", default_now=True),
    moment("until", nullable=True),
    Column("released_by", Text),
    moment("released_at", nullable=True),
    CheckConstraint("num_nonnulls(owner_id, kind, since, before) > 0", name="names_something"),
    Index(None, "owner_id", postgresql_where="released_at IS NULL"),
    comment="What is not deleted, whatever its term: read inside every deletion.",
)

cleanup_plans = table(
    "cleanup_plans",
    Column("id", Uuid, primary_key=True),
    moment("clock"),
    Column("digest", LargeBinary, nullable=False, comment="of all predicates and cutoffs"),
    Column("figures", JSONB, nullable=False, comment="by kind: rows, bytes, held, oldest, newest, stopped"),
    comment="What a clean-up would delete. One that is at most a day old can be carried out.",
)

cleanup_reports = table(
    "cleanup_reports",
    Column("id", Uuid, primary_key=True),
    Column("plan_id", Uuid, nullable=False),
    moment("clock"),
    moment("ended_at", nullable=True),
    Column("dry_run", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("figures", JSONB, nullable=False, comment="by kind: planned, deleted, held, left, bytes, seconds, …"),
    Index(None, "clock"),
    comment="What was deleted, by kind and rule. No personal data.",
)
