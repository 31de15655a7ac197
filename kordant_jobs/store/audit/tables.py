"""The audit log's table. Triggers chain its rows and refuse to change or delete any."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Computed, Index, LargeBinary, SmallInteger, Text

from kordant_jobs.postgres.schema import moment, table

audit_log = table(
    "audit_log",
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="given by a trigger, without gaps"),
    Column("entry", Text, nullable=False, comment="canonical JSON; ids and closed words only"),
    Column("mac", LargeBinary, comment="the writer's code over the entry; none on rows that triggers write"),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    moment("recorded_at", default_now=True),
    Column("actor", Text, Computed("((entry)::jsonb ->> 'actor'::text)", persisted=True)),
    Column("action", Text, Computed("((entry)::jsonb ->> 'action'::text)", persisted=True)),
    Column("target", Text, Computed("(((entry)::jsonb -> 'target'::text) ->> 'id'::text)", persisted=True)),
    Index(None, "actor", "seq"),
    Index(None, "target", "seq"),
    comment="What was done, by whom, in whose name. Rows are added and never changed.",
)

audit_progress = table(
    "audit_progress",
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    moment("verified_at", nullable=True),
    Column("fault_seq", BigInteger),
    Column("fault", Text),
    CheckConstraint("id = 1", name="single"),
    comment="How far this pass over the audit log has verified it, and what is wrong since the last whole pass.",
)
