"""Tables of entities and their bank data.

An entity has a data key of its own (`entity_keys`), which opens the columns `_encrypted` of every table with an
`entity_id`. Ids of providers are kept as keyed hashes, 16 bytes. Amounts are positive towards the holder; days are
calendar days in America/Sao_Paulo. In clear are amounts, days, types and our ids, which set-based work needs:
`entities forget` deletes those rows and the key.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
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
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kordant_jobs.domain.finance.states import (
    AccountKind,
    BalanceKind,
    BillState,
    CategorySource,
    ChangeReason,
    ConnectionStatus,
    ConsentEnd,
    ConsentStatus,
    EntityKind,
    NoticeKind,
    Provider,
    SyncOutcome,
    TransactionState,
    TransactionType,
    TransferStatus,
)
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.postgres.schema import SCHEMA, belongs_to, choice, moment, table


def money(name: str, *, nullable: bool = True) -> Column[Any]:
    """An amount, with four decimals at most."""
    return Column(name, Numeric(19, 4), nullable=nullable)


entities = table(
    "entities",
    Column("id", Uuid, primary_key=True),
    belongs_to("subscription_id", "subscriptions", nullable=True),
    choice("kind", EntityKind),
    Column("name_encrypted", LargeBinary),
    Column("holder_index", LargeBinary, comment="blind index of the CPF or CNPJ; null: not given"),
    moment("created_at", default_now=True),
    moment("forgotten_at", nullable=True),
    Index(None, "subscription_id", postgresql_where=text("subscription_id IS NOT NULL")),
    comment="Households and firms; the subscription is the one that is told of them.",
)

entity_keys = table(
    "entity_keys",
    belongs_to("entity_id", "entities", primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("master_key_id", Text, nullable=False),
    moment("created_at", default_now=True),
    comment="Deleting a row here makes everything encrypted for that entity unreadable.",
)

entity_versions = table(
    "entity_versions",
    belongs_to("entity_id", "entities", primary_key=True),
    Column("data_version", BigInteger, nullable=False, server_default="0"),
    Column("refreshed_version", BigInteger, nullable=False, server_default="0"),
    Column("inputs", JSONB, nullable=False, server_default="{}", comment="by kind of input: the version it changed in"),
    moment("changed_at", default_now=True),
    Column(
        "refreshed_algorithm",
        Integer,
        nullable=False,
        server_default="0",
        comment="the version of the rules of its last refresh",
    ),
    moment("refreshed_at", nullable=True),
    Index(None, "changed_at", postgresql_where=text("data_version > refreshed_version")),
    comment="An entity's insights are stale while data_version > refreshed_version, after a change of the rules, and "
    "on every new day.",
)

bank_connections = table(
    "bank_connections",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    choice("provider", Provider),
    Column("institution", Text, nullable=False, comment="the provider's id of the bank, or its CNPJ"),
    Column("item_encrypted", LargeBinary, comment="the provider's id: item, link, or the bank's consent"),
    Column("item_index", LargeBinary, nullable=False),
    choice("status", ConnectionStatus, server_default=ConnectionStatus.ACTIVE.value),
    Column("status_reason", Text, comment="a code"),
    Column("cursor_encrypted", LargeBinary, comment="JSON: where the last committed read ended"),
    moment("next_due_at", default_now=True),
    Column("due_reason", Text, nullable=False, server_default="new", comment="a code: why it is due when it is"),
    moment("last_attempt_at", nullable=True),
    moment("last_complete_at", nullable=True),
    moment("provider_data_as_of", nullable=True),
    Column("consecutive_failures", Integer, nullable=False, server_default="0"),
    Column("lease_id", Uuid, comment="the lease of the read that has it now"),
    moment("created_at", default_now=True),
    moment("ended_at", nullable=True),
    CheckConstraint("(status = 'ended') = (ended_at IS NOT NULL)", name="ended_has_a_moment"),
    Index(
        "bank_connections_once",
        "provider",
        "item_index",
        unique=True,
        postgresql_where=text("status <> 'ended'"),
    ),
    Index(None, "entity_id"),
    Index(None, "next_due_at", postgresql_where=text("status = 'active'")),
    Index(None, "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

bank_consents = table(
    "bank_consents",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    Column("connection_id", Uuid, ForeignKey(f"{SCHEMA}.bank_connections.id", ondelete="SET NULL")),
    Column("consent_encrypted", LargeBinary, comment="the provider's id"),
    choice("status", ConsentStatus),
    Column("permissions", ARRAY(Text), nullable=False, server_default="{}"),
    moment("granted_at", default_now=True),
    moment("expires_at", nullable=True),
    moment("ended_at", nullable=True),
    choice("end_reason", ConsentEnd, nullable=True),
    Column("told_days", SmallInteger, comment="of the warnings before it expires, the last one given: 30, 7, 1"),
    Index("bank_consents_one_open", "connection_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index(None, "connection_id"),
    Index(None, "entity_id"),
    Index(None, "expires_at", postgresql_where=text("ended_at IS NULL")),
    comment="What its owner agreed to; without expires_at it holds until revoked. Kept after its end as proof.",
)

bank_accounts = table(
    "bank_accounts",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    choice("kind", AccountKind),
    Column("currency", Text, nullable=False),
    Column("institution", Text, nullable=False),
    Column("identity_index", LargeBinary, nullable=False, comment="of bank, branch and number, or of the card"),
    Column("number_encrypted", LargeBinary),
    Column("name_encrypted", LargeBinary),
    Column("holder_index", LargeBinary),
    moment("created_at", default_now=True),
    UniqueConstraint("entity_id", "identity_index"),
)

account_links = table(
    "account_links",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    belongs_to("account_id", "bank_accounts"),
    belongs_to("connection_id", "bank_connections"),
    Column("provider_account_encrypted", LargeBinary, nullable=False),
    Column("provider_account_index", LargeBinary, nullable=False),
    Column("is_primary", Boolean, nullable=False, comment="others only cross-check: nothing is counted twice"),
    Column("resource_status", Text, nullable=False, server_default="available", comment="as the provider says"),
    moment("began_at", default_now=True),
    moment("rekeyed_at", nullable=True),  # since when the account's rows have the ids of this link
    moment("ended_at", nullable=True),
    Index(
        "account_links_once",
        "connection_id",
        "provider_account_index",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index(
        "account_links_one_primary",
        "account_id",
        unique=True,
        postgresql_where=text("ended_at IS NULL AND is_primary"),
    ),
    Index(None, "account_id"),
    Index(None, "connection_id"),
    Index(None, "entity_id"),
    comment="Over which connection an account is read; after a reconnect the same account has another link.",
)

bank_balances = table(
    "bank_balances",
    belongs_to("account_id", "bank_accounts", primary_key=True),
    choice("kind", BalanceKind, primary_key=True),
    Column("as_of_at", moment("as_of_at").type, primary_key=True),
    money("amount", nullable=False),
    Column("currency", Text, nullable=False),
    moment("fetched_at", default_now=True),
    comment="What the bank said; debt of a card is negative.",
)

card_bills = table(
    "card_bills",
    Column("id", Uuid, primary_key=True),
    Column("entity_id", Uuid, nullable=False),
    belongs_to("account_id", "bank_accounts"),
    Column("bill_index", LargeBinary, nullable=False, comment="of the provider's id"),
    Column("due_on", Date, nullable=False),
    Column("closed_on", Date, comment="as the bank says; null: it does not"),
    money("total"),
    money("minimum"),
    Column("currency", Text, nullable=False),
    choice("state", BillState),
    Column("charges", JSONB, nullable=False, server_default="[]", comment="kind and amount, as text"),
    Column("payments", JSONB, nullable=False, server_default="[]", comment="day, amount, kind"),
    money("unexplained"),
    moment("first_seen_at", default_now=True),
    moment("updated_at", default_now=True),
    UniqueConstraint("account_id", "bill_index"),
    Index(None, "account_id", "due_on"),
    comment="total is what is owed, so positive; unexplained is total less rows, charges and reversals.",
)

transfers = table(
    "transfers",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    belongs_to("out_id", "transactions"),
    belongs_to("in_id", "transactions"),
    Column("confidence", Float, nullable=False),
    moment("created_at", default_now=True),
    Index("transfers_one_out", "out_id", unique=True),
    Index("transfers_one_in", "in_id", unique=True),
    Index(None, "entity_id"),
)

transactions = table(
    "transactions",
    Column("id", Uuid, primary_key=True),
    belongs_to("account_id", "bank_accounts"),
    Column("entity_id", Uuid, nullable=False, comment="of the account: repeated here for set-based work"),
    Column("alias", LargeBinary, nullable=False, comment="of the provider's present id, or of the row's fingerprint"),
    choice("state", TransactionState),
    Column("booked_on", Date, nullable=False),
    moment("occurred_at", nullable=True),
    Column("authorised_on", Date, comment="the day on which it was first pending"),
    money("amount", nullable=False),
    Column("currency", Text, nullable=False),
    money("original_amount"),
    Column("original_currency", Text),
    choice("type", TransactionType),
    Column("type_raw", Text, comment="the source's word, where ours is `other`"),
    Column("mcc", Text),
    Column("counterparty_encrypted", LargeBinary),
    Column("counterparty_index", LargeBinary, comment="of a CPF or CNPJ"),
    Column("transfer_index", LargeBinary, comment="of the id that both legs of a payment carry"),
    Column("description_encrypted", LargeBinary),
    Column("merchant_key", Text, comment="a known firm in clear; any other name as a keyed hash behind ~"),
    Column("category_id", Text),
    choice("category_source", CategorySource, nullable=True),
    Column("bill_id", Uuid, ForeignKey(f"{SCHEMA}.card_bills.id", ondelete="SET NULL")),
    Column("instalment_no", SmallInteger),
    Column("instalment_of", SmallInteger),
    Column("purchase_on", Date),
    Column("plan_id", Uuid, comment="the same for all instalments of one purchase"),
    Column("transfer_id", Uuid, comment="the row of transfers that this is a leg of"),
    choice("transfer_status", TransferStatus, nullable=True),
    Column("iof_of", Uuid, comment="the foreign purchase that this tax is of"),
    Column("refund_of", Uuid, comment="the transaction that this one reverses, whole or in part"),
    Column("provider_id_encrypted", LargeBinary, comment="while provisional: to ask for it by its id"),
    Column("content_hash", LargeBinary, nullable=False, comment="keyed, over what decides and shows it"),
    Column(
        "extra_hash", LargeBinary, nullable=False, comment="keyed, over what arrives late: category, bill, merchant"
    ),
    Column("version", Integer, nullable=False, server_default="1"),
    moment("missing_since_at", nullable=True),
    moment("first_seen_at", default_now=True),
    moment("updated_at", default_now=True),
    moment("removed_at", nullable=True),
    Column("removed_by", Text, comment="bank, user"),
    Column("removed_reason", Text),
    UniqueConstraint("account_id", "alias"),
    Index(None, "account_id", "booked_on"),
    Index(None, "entity_id", "merchant_key"),
    Index(None, "bill_id", postgresql_where=text("bill_id IS NOT NULL")),
    Index(
        "transactions_provisional",
        "account_id",
        postgresql_where=text("state IN ('scheduled', 'pending')"),
    ),
    comment="Our id never changes, nor its account; what the bank says of it may.",
)

transaction_aliases = table(
    "transaction_aliases",
    belongs_to("account_id", "bank_accounts", primary_key=True),
    Column("alias", LargeBinary, primary_key=True),
    belongs_to("transaction_id", "transactions"),
    moment("ended_at", default_now=True),
    Index(None, "transaction_id"),
    comment="Former ids of a transaction; its present one is in its row.",
)

transaction_versions = table(
    "transaction_versions",
    belongs_to("transaction_id", "transactions", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("booked_on", Date, nullable=False),
    money("amount", nullable=False),
    Column("type", Text, nullable=False),
    choice("reason", ChangeReason),
    Column("sync_run_id", Uuid),
    moment("ended_at", default_now=True),
    comment="What a transaction was before it changed, and why it did; append-only.",
)

sync_runs = table(
    "sync_runs",
    Column("id", Uuid, primary_key=True),
    Column("planned", Integer, nullable=False),
    Column("active", Integer, nullable=False),
    Column("deferred", JSONB, nullable=False, server_default="{}", comment="by reason"),
    Column("successful", Integer),
    Column("failed", Integer),
    moment("started_at", default_now=True),
    moment("ended_at", nullable=True),
    Index(None, "started_at"),
)

sync_results = table(
    "sync_results",
    belongs_to("sync_run_id", "sync_runs", primary_key=True),
    belongs_to("connection_id", "bank_connections", primary_key=True),
    choice("outcome", SyncOutcome),
    Column("error_class", Text, comment="transient, user, permanent, ours; null: none"),
    Column("error_code", Text),
    Column("counts", JSONB, nullable=False, server_default="{}"),
    moment("data_as_of", nullable=True),
    Column("duration_ms", Integer, nullable=False),
    moment("ended_at", default_now=True),
    Index(None, "connection_id"),
    Index(None, "ended_at"),
)

provider_budgets = table(
    "provider_budgets",
    choice("provider", Provider, primary_key=True),
    Column("endpoint", Text, primary_key=True, comment="the class of calls that share a limit"),
    Column("subject_index", LargeBinary, primary_key=True, comment="whose calls are counted"),
    Column("month_on", Date, primary_key=True, comment="its first day, in Sao Paulo"),
    Column("used", Integer, nullable=False, server_default="0", comment="calls that succeeded"),
    Column("reserved", Integer, nullable=False, server_default="0", comment="calls whose end is not known yet"),
    Column("call_limit", Integer, nullable=False),
    comment="Operational limits of a month; only calls that succeeded count.",
)

webhook_events = table(
    "webhook_events",
    Column("id", Uuid, primary_key=True),
    choice("provider", Provider),
    Column("event_key", LargeBinary, nullable=False, comment="of the provider's id of the event"),
    Column("event", Text, nullable=False),
    belongs_to("connection_id", "bank_connections", nullable=True),
    Column("removed_aliases", ARRAY(LargeBinary), nullable=False, server_default="{}", comment="of deleted rows"),
    moment("received_at", default_now=True),
    UniqueConstraint("provider", "event_key"),
    Index(None, "connection_id"),
    Index(None, "received_at"),
    comment="Hints that something is new; the body is not kept.",
)

quarantined_rows = table(
    "quarantined_rows",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    belongs_to("connection_id", "bank_connections"),
    Column("row_index", LargeBinary, nullable=False, comment="of its content: the same row is kept once"),
    Column("reason", Text, nullable=False),
    Column("raw_encrypted", LargeBinary),
    moment("created_at", default_now=True),
    UniqueConstraint("connection_id", "row_index"),
    Index(None, "entity_id"),
    Index(None, "created_at"),
    comment="Rows of a bank that could not be understood.",
)

finance_notices = table(
    "finance_notices",
    Column("id", Uuid, primary_key=True),
    belongs_to("entity_id", "entities"),
    belongs_to("connection_id", "bank_connections", nullable=True),
    choice("kind", NoticeKind),
    Column("dedup_key", Text, nullable=False, comment="told once"),
    choice("severity", Severity),
    Column("facts", JSONB, nullable=False, server_default="{}", comment="codes, days and ids; never a name or text"),
    moment("created_at", default_now=True),
    UniqueConstraint("entity_id", "dedup_key"),
    Index(None, "connection_id", postgresql_where=text("connection_id IS NOT NULL")),
    comment="What the owner of bank data is told: through the outbox, when a subscription is.",
)
