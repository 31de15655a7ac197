"""Tables of subscribers: who they are (sealed), what they pay for, what is watched for them."""

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, SmallInteger, Text, Uuid, text

from kordant_jobs.domain.people.subscriptions import Locale, Purpose, SubscriptionStatus, Tier
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

keyring_check = table(
    "keyring_check",
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("master_key_id", Text, nullable=False),
    Column("wrapped_root", LargeBinary, nullable=False, comment="the key of blind indexes, labels and links"),
    CheckConstraint("id = 1", name="single"),
    comment="Proves that the master key of a process is the one this database was written with.",
)

subscribers = table(
    "subscribers",
    Column("id", Uuid, primary_key=True),
    Column("name_encrypted", LargeBinary),
    Column("contact_encrypted", LargeBinary),
    moment("created_at", default_now=True),
    moment("forgotten_at", nullable=True),
)

subscriber_keys = table(
    "subscriber_keys",
    belongs_to("subscriber_id", "subscribers", primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("master_key_id", Text, nullable=False),
    moment("created_at", default_now=True),
    comment="Deleting a row here makes everything encrypted for that subscriber unreadable.",
)

consents = table(
    "consents",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    choice("purpose", Purpose),
    Column("how", Text, nullable=False, comment="the form or talk in which it was given; no name"),
    Column("recorded_by", Text, nullable=False),
    moment("given_at", default_now=True),
    moment("withdrawn_at", nullable=True),
    Index("consents_once", "subscriber_id", "purpose", unique=True, postgresql_where=text("withdrawn_at IS NULL")),
    Index(None, "subscriber_id"),
)

subscriptions = table(
    "subscriptions",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    choice("tier", Tier),
    choice("status", SubscriptionStatus, server_default=SubscriptionStatus.ACTIVE.value),
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    choice("locale", Locale, server_default=Locale.EN.value),
    moment("started_at", default_now=True),
    moment("ended_at", nullable=True),
    Index(None, "subscriber_id"),
    Index(None, "tier", postgresql_where=text("status = 'active'")),
)

watchlist_items = table(
    "watchlist_items",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("subscriber_id", "subscribers"),
    Column("kind", Text, nullable=False),
    Column("identifier_encrypted", LargeBinary, comment="null once the subscriber was forgotten"),
    Column("blind_index", LargeBinary, comment="16 bytes; null once the subscriber was forgotten"),
    Column("range_index", LargeBinary, comment="16 bytes: keyed hash of the SHA-1 that range notifications go by"),
    moment("verified_at", nullable=True),
    moment("created_at", default_now=True),
    moment("removed_at", nullable=True),
    Index(
        "watchlist_items_once",
        "subscription_id",
        "blind_index",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index(None, "subscriber_id"),
    Index(None, "subscription_id"),
    Index(None, "blind_index"),
    Index(None, "range_index", postgresql_where=text("range_index IS NOT NULL")),
)
