"""Tables of operators' alerts."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)

from kordant_jobs.domain.operators.alert_rules import AlertState, NoticeKind, Severity
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

alert_rules = table(
    "alert_rules",
    Column("rule", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    choice("severity", Severity),
    Column("fires_at", Double, nullable=False),
    Column("clears_at", Double, nullable=False),
    Column("for_s", Double, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("changed_by", Text, nullable=False),
    moment("changed_at", default_now=True),
    comment="Versions are added and never changed; the newest of a rule holds, else the one that is shipped.",
)

operator_alerts = table(
    "operator_alerts",
    Column("id", Uuid, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="a job, source, channel, part or agent; never a person"),
    choice("state", AlertState),
    Column("value", Double, comment="the last one measured"),
    moment("since"),
    moment("told_at", nullable=True),
    moment("ended_at", nullable=True),
    Column("acknowledged_by", Text),
    Index(
        "operator_alerts_once", "rule", "subject", unique=True, postgresql_where=text("state IN ('pending', 'firing')")
    ),
    Index(None, "since"),
)

operator_notices = table(
    "operator_notices",
    Column("id", Uuid, primary_key=True),
    belongs_to("alert_id", "operator_alerts"),
    choice("told", NoticeKind),
    Column("target", Integer, nullable=False, comment="the place of the address in KORDANT_ALERT_URLS"),
    Column("tries", Integer, nullable=False, server_default="0"),
    moment("made_at", default_now=True),
    moment("sent_at", nullable=True),
    Index(None, "alert_id"),
    Index(None, "made_at", postgresql_where=text("sent_at IS NULL")),
    comment="Who is told what: one row a target, so that a target that is down repeats nothing to the others.",
)

alert_silences = table(
    "alert_silences",
    Column("id", Uuid, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, comment="null: any"),
    Column("reason", Text, nullable=False),
    Column("silenced_by", Text, nullable=False),
    moment("until"),
)

http_counts = table(
    "http_counts",
    Column("method", Text, primary_key=True),
    Column("route", Text, primary_key=True, comment="the template, never the path"),
    Column("status", SmallInteger, primary_key=True, autoincrement=False),
    Column("bucket", SmallInteger, primary_key=True, autoincrement=False,
           comment="of the duration: its place in HTTP_S"),
    Column("calls", BigInteger, nullable=False),
    Column("sum_s", Double, nullable=False),
    comment="Calls of the API and the console since the beginning; each process adds its own every few seconds.",
)  # fmt: skip

policy_denials = table(
    "policy_denials",
    Column("rule", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("denials", BigInteger, nullable=False),
    comment="What the policy refused, by its rule, since the beginning.",
)

cost_weeks = table(
    "cost_weeks",
    Column("week_of", Date, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("tier", Text, primary_key=True, comment="empty: for no subscription"),
    Column("cpu_s", Double, nullable=False),
    Column("subscriptions", BigInteger, nullable=False, comment="active ones of the tier when it was rolled up"),
    moment("rolled_at", default_now=True),
    comment="CPU time by week, job and tier: what is left of cost when the attempts have gone.",
)

queue_depths = table(
    "queue_depths",
    Column("job", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("due", BigInteger, nullable=False),
    comment="How many requests were due in each minute of the last hour: does a queue grow?",
)
