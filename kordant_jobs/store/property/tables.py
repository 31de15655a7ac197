"""Tables of watched parcels and owners, recorded instruments, and findings.

Records of counties belong to no subscriber: party names are encrypted with a key for records, bound to their row.
"""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.property.findings import UnknownReason, Verdict
from kordant_jobs.domain.property.instruments import Event, Form
from kordant_jobs.postgres.schema import SCHEMA, belongs_to, choice, moment, table


def _part_of(name: str, table: str) -> Column[object]:
    return Column(name, Uuid, ForeignKey(f"{SCHEMA}.{table}.id", ondelete="CASCADE"), primary_key=True)


watched_properties = table(
    "watched_properties",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("subscriber_id", "subscribers"),
    Column("county", Text, nullable=False),
    Column("parcel_encrypted", LargeBinary, comment="null: an owner is watched, wherever in the county"),
    Column("parcel_index", LargeBinary, comment="16 bytes, of county and parcel number"),
    Column("owners_encrypted", LargeBinary, comment="names as the subscriber knows them, a line each"),
    moment("created_at", default_now=True),
    moment("removed_at", nullable=True),
    Index(
        "watched_properties_once",
        "subscription_id",
        "parcel_index",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index(None, "subscriber_id"),
    Index(None, "subscription_id"),
    Index(None, "parcel_index", postgresql_where=text("removed_at IS NULL")),
    Index(None, "county", "created_at", postgresql_where=text("removed_at IS NULL")),
    CheckConstraint("parcel_index IS NOT NULL OR owners_encrypted IS NOT NULL", name="watches_something"),
)

watched_name_keys = table(
    "watched_name_keys",
    _part_of("watch_id", "watched_properties"),
    Column("key_index", LargeBinary, primary_key=True, comment="blind index of what a name is looked up by"),
    Index(None, "key_index"),
)

property_instruments = table(
    "property_instruments",
    Column("id", Uuid, primary_key=True),
    Column("county", Text, nullable=False),
    Column("key", Text, nullable=False, comment="the recorder's own id"),
    Column("number", Text, nullable=False, server_default=""),
    Column("code", Text, nullable=False),
    choice("event", Event),
    choice("form", Form),
    Column("recorded_on", Date),
    Column("executed_on", Date),
    Column("amount", Numeric(18, 2)),
    Column("percent", Numeric(9, 4)),
    Column("refers_to", ARRAY(Text), nullable=False, server_default="{}"),
    Column("parties_encrypted", LargeBinary, info={"sealed_by": "house"}),
    Column("content_hash", LargeBinary, nullable=False, comment="keyed, over all that the source says of it"),
    Column("is_first_load", Boolean, nullable=False, server_default=text("false")),
    moment("known_at", default_now=True),
    moment("changed_at", default_now=True),
    UniqueConstraint("county", "key"),
    Index(None, "county", "changed_at"),
)

property_lots = table(
    "property_lots",
    Column("parcel_index", LargeBinary, primary_key=True),
    _part_of("instrument_id", "property_instruments"),
    Index(None, "instrument_id"),
)

property_name_keys = table(
    "property_name_keys",
    Column("key_index", LargeBinary, primary_key=True),
    _part_of("instrument_id", "property_instruments"),
    Index(None, "instrument_id"),
)

property_findings = table(
    "property_findings",
    Column("id", Uuid, primary_key=True),
    belongs_to("watch_id", "watched_properties"),
    belongs_to("instrument_id", "property_instruments"),
    choice("event", Event),
    choice("severity", Severity),
    Column("is_told", Boolean, nullable=False, comment="worth an alert, if it is also news"),
    Column("is_news", Boolean, nullable=False, comment="it became known after the watch began"),
    Column("reasons", ARRAY(Text), nullable=False, server_default="{}"),
    Column("case_key", Text, comment="the instrument that it belongs to"),
    Column("before_key", Text, comment="the deed by which the owners before held it"),
    Column("probability", Float, comment="of an owner watch: that the name is theirs"),
    moment("first_seen_at", default_now=True),
    moment("dismissed_at", nullable=True),
    Column("dismissed_by", Text),
    UniqueConstraint("watch_id", "instrument_id"),
    Index(None, "instrument_id"),
)

county_states = table(
    "county_states",
    Column("county", Text, primary_key=True),
    Column("watermarks", JSONB, nullable=False, server_default="{}", comment="by table: the source's own newest mark"),
    Column("freshness", Text, comment="what the source last said of itself; the same again: nothing is new"),
    Column("table_version", Text, comment="of the county's description: another one reads everything again"),
    Column("data_as_of", Date),
    Column("rows", Integer, nullable=False, server_default="0"),
    Column("rows_not_understood", JSONB, nullable=False, server_default="{}", comment="by reason"),
    Column("reason", Text, comment="why the last read failed; null: it did not"),
    moment("checked_at", nullable=True),
    moment("read_at", nullable=True),
    moment("matched_at", nullable=True),
    Column("name", Text),
    Column("recorder_url", Text, comment="a page of the recorder's; {key} and {number} are filled in"),
    Column("has_liens", Boolean),
    Column("roll_freshness", Text, comment="what the owner roll, where it is read whole, last said of itself"),
    moment("roll_changed_at", nullable=True),
    Column("roll_reason", Text, comment="why the owner roll could not be read; null: it could"),
)

property_rolls = table(
    "property_rolls",
    belongs_to("id", "watched_properties", primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    moment("read_at"),
    Column("is_listed", Boolean, nullable=False, comment="the roll had this parcel when it was last asked"),
    Column("owners_hash", LargeBinary, comment="keyed, of the owners in one spelling; null: it named none yet"),
    Column("mailing_hash", LargeBinary, comment="keyed, of the mailing address in one spelling"),
    Column("address_index", LargeBinary, comment="blind index that documents with this address alone are kept under"),
    Column("waiting_hash", LargeBinary, comment="of other owners, who wait for a document that explains them"),
    Column("waiting_since", Date),
    Column("waiting_owners_encrypted", LargeBinary, comment="their names, a line each, until that is decided"),
    Index(None, "subscriber_id"),
    Index(None, "address_index", postgresql_where=text("address_index IS NOT NULL")),
    Index(None, "waiting_since", postgresql_where=text("waiting_since IS NOT NULL")),
    CheckConstraint("(waiting_hash IS NULL) = (waiting_since IS NULL)", name="waits_since_a_day"),
    comment="what the county's owner roll says of a watched parcel, as keyed hashes: to see when it changes",
)

property_verdicts = table(
    "property_verdicts",
    belongs_to("subscription_id", "subscriptions", primary_key=True),
    Column("county", Text, primary_key=True),
    Column("checked_on", Date, primary_key=True),
    choice("verdict", Verdict),
    choice("reason", UnknownReason, nullable=True),
    Column("data_as_of", Date),
    Column("watched", Integer, nullable=False),
    Column("findings", Integer, nullable=False),
    moment("checked_at", default_now=True),
    CheckConstraint("verdict <> 'unknown' OR reason IS NOT NULL", name="unknown_has_a_reason"),
)
