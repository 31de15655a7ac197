"""Tables of breaches, their dumps, and what scans found in them."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.darkwatch.breaches import BreachSource
from kordant_jobs.domain.darkwatch.exposures import DumpStatus, Judgement, JudgementReason, SecretKind, Verdict
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

breaches = table(
    "breaches",
    Column("name", Text, primary_key=True),
    choice("source", BreachSource),
    Column("title", Text, nullable=False),
    Column("domain", Text, nullable=False, server_default=""),
    Column("breached_on", Date),
    moment("added_at", nullable=True),
    moment("modified_at", nullable=True),
    Column("pwn_count", BigInteger),
    Column("description", Text, nullable=False, server_default=""),
    Column("data_classes", ARRAY(Text), nullable=False, server_default="{}"),
    *(
        Column(flag, Boolean, nullable=False, server_default=text("false"))
        for flag in (
            "is_verified",
            "is_fabricated",
            "is_sensitive",
            "is_retired",
            "is_spam_list",
            "is_malware",
            "is_stealer_log",
            "is_subscription_free",
        )
    ),
    Column("logo_path", Text),
    Column("attribution", Text),
    Column("disclosure_url", Text),
    Column("extra", JSONB, nullable=False, server_default="{}"),
    moment("known_at", default_now=True),
)

catalogue_imports = table(
    "catalogue_imports",
    Column("content_sha256", LargeBinary, primary_key=True),
    Column("breaches", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    moment("imported_at", default_now=True),
    moment("checked_at", default_now=True),
)

breach_dumps = table(
    "breach_dumps",
    Column("id", Uuid, primary_key=True),
    Column("content_sha256", LargeBinary, nullable=False, unique=True),
    Column("file_label", Text, nullable=False, comment="stands for the file's name: a keyed hash and the ending"),
    Column("file_key", LargeBinary, nullable=False, comment="keyed hash of the file's name"),
    Column("file_size", BigInteger, nullable=False),
    Column("file_mtime_ns", BigInteger, nullable=False),
    Column("place", Text, comment="the name of the drop folder in which the file lies"),
    belongs_to("breach_name", "breaches", "name"),
    Column("told_shape", Text),
    choice("status", DumpStatus, server_default=DumpStatus.REGISTERED.value),
    Column("reason", Text),
    Column("shape", Text),
    Column("compression", Text),
    Column("encoding", Text),
    Column("lines", BigInteger, nullable=False, server_default="0"),
    Column("records", BigInteger, nullable=False, server_default="0"),
    Column("bad_lines", JSONB, nullable=False, server_default="{}"),
    Column(
        "ledger", JSONB, nullable=False, server_default="{}", comment="what was read how, and what was not understood"
    ),
    Column("begun", Integer, nullable=False, server_default="0", comment="how often reading began and did not end"),
    moment("known_at", default_now=True),
    moment("registered_at", default_now=True),
    moment("ingested_at", nullable=True),
    Index(None, "known_at"),
    Index(None, "file_key"),
    Index(None, "breach_name"),
)

exposures = table(
    "exposures",
    Column("id", Uuid, primary_key=True),
    belongs_to("item_id", "watchlist_items"),
    belongs_to("breach_name", "breaches", "name"),
    choice("secret", SecretKind),
    choice("judgement", Judgement, nullable=True),
    choice("judgement_reason", JudgementReason, nullable=True, comment="by which rule"),
    moment("first_seen_at"),
    moment("last_seen_at"),
    moment("dismissed_at", nullable=True),
    UniqueConstraint("item_id", "breach_name"),
    Index(None, "breach_name"),
)

exposure_evidence = table(
    "exposure_evidence",
    belongs_to("exposure_id", "exposures", primary_key=True),
    belongs_to("dump_id", "breach_dumps", primary_key=True),
    Column("line", BigInteger, nullable=False, comment="the first line that names it, from 1"),
    Column("occurrences", Integer, nullable=False),
    Column("sites", ARRAY(Text), nullable=False, server_default="{}", comment="where they logged in, by a stealer log"),
    Index(None, "dump_id"),
)

source_verdicts = table(
    "source_verdicts",
    belongs_to("subscription_id", "subscriptions", primary_key=True),
    Column("source", Text, primary_key=True),
    Column(
        "checked_on",
        Date,
        primary_key=True,
        comment="the UTC day whose knowledge this is; the first one of the month with this verdict",
    ),
    choice("verdict", Verdict),
    Column("reason", Text),
    Column("exposures", Integer, nullable=False),
    Column("new_exposures", Integer, nullable=False),
    moment("covered_until"),
    moment("checked_at", default_now=True),
    Column(
        "again_at",
        ARRAY(DateTime(timezone=True)),
        nullable=False,
        server_default="{}",
        comment="the checks of later days of the month that gave the same verdict, one a UTC day",
    ),
    CheckConstraint("verdict <> 'unknown' OR reason IS NOT NULL", name="unknown_has_a_reason"),
)

verdict_counts = table(
    "verdict_counts",
    Column("checked_on", Date, nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="empty: none"),
    Column("subscriptions", BigInteger, nullable=False, comment="negative: verdicts that were replaced or deleted"),
    comment="Verdicts by day, to be summed: a trigger adds a row for what each statement changed in source_verdicts.",
)

scan_watermarks = table(
    "scan_watermarks",
    belongs_to("subscription_id", "subscriptions", primary_key=True),
    Column("job", Text, primary_key=True),
    moment("known_until"),
)
