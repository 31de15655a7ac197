"""Tables of brokers and removal requests. `broker_rows` has the rows of lists, `brokers` the result of merging them.

Rows that belong to a request are deleted with it and have no other foreign key: 100,000 decisions in a statement would
pay for each.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from kordant_jobs.domain.removals.brokers import ListSource, RemovalChannel
from kordant_jobs.domain.removals.clocks import Ask, Law
from kordant_jobs.domain.removals.replies import CheckVerdict, MessageKind, MessageStatus, ReplyClass
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.postgres.schema import belongs_to, choice, moment, table

brokers = table(
    "brokers",
    Column("id", Uuid, primary_key=True),
    Column("key", Text, nullable=False, unique=True, comment="its domain, else its squashed name"),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("facts", JSONB, nullable=False),
    Column("sources", ARRAY(Text), nullable=False),
    belongs_to("handled_by", "brokers", nullable=True),
    Column("channels", ARRAY(Text), nullable=False, comment="the ways in, the preferred first"),
    Column("has_search", Boolean, nullable=False, server_default=text("false")),
    Column("daily_cap", Integer, nullable=False, server_default="50", comment="messages a day, over all processes"),
    Column("cool_down_days", Integer, nullable=False, server_default="25", comment="before the same person again"),
    moment("paused_until", nullable=True),
    moment("retired_at", nullable=True),
    moment("updated_at", default_now=True),
    Index(None, "handled_by"),
)

broker_domains = table(
    "broker_domains",
    Column("domain", Text, primary_key=True),
    belongs_to("broker_id", "brokers"),
    Index(None, "broker_id"),
)

broker_rows = table(
    "broker_rows",
    choice("source", ListSource, primary_key=True),
    Column("row_key", Text, primary_key=True),
    belongs_to("broker_id", "brokers"),
    Column("row", JSONB, nullable=False),
    moment("first_seen_at", default_now=True),
    moment("gone_at", nullable=True),
    Index(None, "broker_id"),
    comment="Every row of every list as it was read last. One that left its list keeps its row, with the moment.",
)

broker_versions = table(
    "broker_versions",
    belongs_to("broker_id", "brokers"),
    Column("version", Integer, nullable=False),
    Column("facts", JSONB, nullable=False),
    moment("since", default_now=True),
    UniqueConstraint("broker_id", "version"),
)

broker_contact_faults = table(
    "broker_contact_faults",
    belongs_to("broker_id", "brokers"),
    Column("contact", Text, nullable=False, comment="an address or link of the broker that does not work"),
    Column("fault", Text, nullable=False),
    moment("since", default_now=True),
    UniqueConstraint("broker_id", "contact"),
)

removal_profiles = table(
    "removal_profiles",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    Column("country", Text, nullable=False),
    Column("state", Text),
    Column("details_encrypted", LargeBinary, comment="JSON: what the subscriber gave, by field"),
    Column("permission_encrypted", LargeBinary, comment="the signed permission, a PDF in base64"),
    moment("permitted_at", nullable=True),
    UniqueConstraint("subscriber_id"),
)

removal_moves = table(
    "removal_moves",
    Column("from_state", Text, primary_key=True),
    Column("to_state", Text, primary_key=True),
    comment="The allowed moves; a trigger on removal_requests refuses any other.",
)

removal_requests = table(
    "removal_requests",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscriber_id", "subscribers"),
    belongs_to("subscription_id", "subscriptions"),
    belongs_to("broker_id", "brokers"),
    choice("state", RemovalState, server_default=RemovalState.DRAFT.value),
    Column("reason", Text, comment="a code: why it is in this state"),
    Column("last_event_id", Uuid, comment="the event of its last move; a trigger compares the two"),
    choice("law", Law),
    choice("ask", Ask, server_default=Ask.DELETION.value),
    Column("language", Text, nullable=False, server_default="en"),
    choice("channel", RemovalChannel, nullable=True),
    Column("address_token", Text, nullable=False, unique=True, comment="replies come to <local part>+<token>@…"),
    Column("outside_id", Text, comment="what the broker calls it in the Data Rights Protocol"),
    Column(
        "verification_encrypted",
        LargeBinary,
        comment="the page on which the subscriber proves who they are to the business",
    ),
    Column("attempts", Integer, nullable=False, server_default="0", comment="requests sent"),
    Column("reminders", Integer, nullable=False, server_default="0", comment="reminders since the last request"),
    Column("asked_user", Integer, nullable=False, server_default="0", comment="how often the subscriber was told"),
    Column("answered", Boolean, nullable=False, server_default=text("false"), comment="since the last request"),
    Column("links_followed", Integer, nullable=False, server_default="0"),
    Column("sent_on", Date),
    Column("confirm_by_on", Date),
    Column("answer_by_on", Date),
    Column("extended_by_on", Date),
    Column("broker_says", Text, comment="the last answer of the broker, as a reply class"),
    choice("check_says", CheckVerdict, nullable=True, comment="our own last check"),
    moment("checked_at", nullable=True),
    moment("state_since", default_now=True),
    moment("next_at", nullable=True),
    moment("created_at", default_now=True),
    Index(
        "removal_requests_once",
        "subscriber_id",
        "broker_id",
        "ask",
        text("(state <> 'cancelled' OR NULL)"),  # a cancelled one has NULL there, and so is like no other
        unique=True,
    ),
    Index(None, "broker_id", "next_at"),
    Index(None, "subscription_id"),
    Index(None, "outside_id", postgresql_where=text("outside_id IS NOT NULL")),
)

removal_events = table(
    "removal_events",
    Column("id", Uuid, primary_key=True),
    belongs_to("request_id", "removal_requests"),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="a code: the rule that moved it"),
    Column("evidence", JSONB, nullable=False, server_default="{}", comment="ids, days and codes; never an identifier"),
    Column("actor", Text, nullable=False),
    moment("at"),
    Index(None, "request_id", "at"),
    comment="One row a move, and one for what happened without a move (the states are then the same).",
)

removal_messages = table(
    "removal_messages",
    Column("id", Uuid, primary_key=True, comment="in the Message-ID, and the agent_request_id"),
    belongs_to("request_id", "removal_requests"),
    Column("broker_id", Uuid, nullable=False),
    choice("kind", MessageKind),
    choice("channel", RemovalChannel),
    Column("contact", Text, nullable=False, comment="the broker's address or link that it goes to"),
    choice("status", MessageStatus, server_default=MessageStatus.QUEUED.value),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("code", Text, comment="of the last outcome; never a text of the server"),
    moment("created_at", default_now=True),
    moment("due_at", default_now=True),
    moment("begun_at", nullable=True),
    Column("lease_id", Uuid, comment="the engine's lease under which its sender holds it"),
    moment("ended_at", nullable=True),
    Index(None, "broker_id", "due_at", postgresql_where=text("status IN ('queued', 'sending')")),
    Index(None, "broker_id", "begun_at", postgresql_where=text("begun_at IS NOT NULL")),
    Index(None, "request_id"),
    Index(None, "contact", postgresql_where=text("kind = 'request'")),
    comment="Everything that goes to a broker.",
)

removal_disclosures = table(
    "removal_disclosures",
    Column("message_id", Uuid, primary_key=True),
    belongs_to("request_id", "removal_requests"),
    Column("broker_id", Uuid, nullable=False),
    Column("fields", ARRAY(Text), nullable=False, comment="the names of what was disclosed"),
    Column("legal_ground", Text, nullable=False),
    Column("channel", Text, nullable=False),
    moment("disclosed_at"),
    Index(None, "request_id"),
    comment="What was disclosed to whom, when and why; written before the message goes out.",
)

removal_replies = table(
    "removal_replies",
    Column("id", Uuid, primary_key=True),
    belongs_to("request_id", "removal_requests"),
    belongs_to("subscriber_id", "subscribers"),
    Column("dedupe_key", LargeBinary, nullable=False, unique=True, comment="keyed hash of the message"),
    Column("matched_by", Text, nullable=False),
    Column("sender_domain", Text, nullable=False, server_default=""),
    Column("is_own_domain", Boolean, nullable=False, comment="whether the sender's domain is the broker's"),
    choice("class", ReplyClass),
    Column("detail", Text),
    Column("rule", Text, nullable=False),
    Column("sentence_encrypted", LargeBinary, comment="the sentence that decided"),
    Column("text_encrypted", LargeBinary),
    Column("link_encrypted", LargeBinary, comment="a confirmation link that waits to be followed"),
    Column("moved", Boolean, nullable=False, server_default=text("false")),
    Column("needs_person", Boolean, nullable=False, server_default=text("false")),
    moment("received_at"),
    Index(None, "request_id", "received_at"),
    Index(None, "subscriber_id"),
    Index(None, "received_at", postgresql_where=text("needs_person")),
    Index(
        "removal_replies_links",
        "request_id",
        postgresql_where=text("link_encrypted IS NOT NULL"),
    ),
)

removal_references = table(
    "removal_references",
    Column("reference_index", LargeBinary, nullable=False, comment="keyed hash of a case number, with its domain"),
    belongs_to("request_id", "removal_requests"),
    PrimaryKeyConstraint("reference_index", "request_id"),
    Index(None, "request_id"),
)

removal_checks = table(
    "removal_checks",
    Column("id", Uuid, primary_key=True),
    belongs_to("request_id", "removal_requests"),
    choice("verdict", CheckVerdict),
    Column("reason", Text),
    Column("source", Text, nullable=False),
    moment("checked_at"),
    CheckConstraint("(verdict = 'unknown') = (reason IS NOT NULL)", name="unknown_has_a_reason"),
    Index(None, "request_id", "checked_at"),
)

drp_businesses = table(
    "drp_businesses",
    Column("id", Text, primary_key=True),
    belongs_to("broker_id", "brokers", nullable=True),
    Column("document", JSONB, nullable=False),
    Column("token_sealed", LargeBinary, comment="our Bearer token there, under the keyring's own key"),
    moment("token_since", nullable=True),
    moment("updated_at", default_now=True),
    Index(None, "broker_id"),
    comment="Businesses of the Data Rights Protocol, as their directory documents say.",
)
