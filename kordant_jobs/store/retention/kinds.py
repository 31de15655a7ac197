"""The place of each kind of data: its table, the column from which its term counts, and the owner of a row.

A kind whose rows are in one table is an entry of `TABLES`; for a table that belongs to no kind, `STAYS` gives the
reason why its rows stay. A test checks that every table is in one of the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NO_OWNER = "NULL::uuid"
_OF_SUBSCRIPTION = "(SELECT s.subscriber_id FROM kordant.subscriptions s WHERE s.id = t.subscription_id)"
_OF_CONNECTION = "(SELECT c.entity_id FROM kordant.bank_connections c WHERE c.id = t.connection_id)"
_OF_ACCOUNT = "(SELECT a.entity_id FROM kordant.bank_accounts a WHERE a.id = t.account_id)"
_LAST_LINK = (
    "coalesce((SELECT max(coalesce(l.ended_at, 'infinity')) FROM kordant.account_links l WHERE l.account_id = t.id), "
    "t.created_at)"
)


def _day(column: str) -> str:
    """The beginning of a calendar day, in the time zone of bank days."""
    return f"(t.{column}::timestamp AT TIME ZONE 'America/Sao_Paulo')"


_OF_REQUEST = "(SELECT r.subscriber_id FROM kordant.removal_requests r WHERE r.id = t.request_id)"


@dataclass(frozen=True, kw_only=True)
class TableKind:
    """One kind in one table, which SQL calls `t`. `clock` and `owner` are expressions of a row; `where` limits the kind
    to a part of the table. `children` are the tables that refer to it, each with its column: their rows are deleted
    first, in the same statement. `drained` are such tables with many rows for each parent: these are deleted in batches
    of their own before the parent."""

    kind: str
    table: str
    clock: str
    where: str = "true"
    owner: str = NO_OWNER
    children: tuple[tuple[str, str], ...] = ()
    drained: tuple[tuple[str, str], ...] = ()


TABLES: Mapping[str, TableKind] = {
    one.kind: one
    for one in (
        TableKind(
            kind="notifications",
            table="notification_outbox",
            clock="coalesce(t.sent_at, t.created_at)",
            where="t.status IN ('sent', 'suppressed', 'failed', 'dead')",
            owner=_OF_SUBSCRIPTION,
        ),
        TableKind(
            kind="scan_verdicts",
            table="source_verdicts",
            clock="coalesce(t.again_at[cardinality(t.again_at)], t.checked_at)",
            owner=_OF_SUBSCRIPTION,
        ),
        TableKind(kind="title_verdicts", table="property_verdicts", clock="t.checked_at", owner=_OF_SUBSCRIPTION),
        TableKind(
            kind="voice_analyses",
            table="analysis_jobs",
            clock="coalesce(t.analysed_at, t.created_at)",
            owner="t.subscriber_id",
            children=(("analysis_sound", "job_id"), ("voice_analyses", "job_id")),
        ),
        TableKind(kind="voice_sound", table="analysis_sound", clock="t.created_at", owner="t.subscriber_id"),
        TableKind(
            kind="withdrawn_voice_consents",
            table="voice_consents",
            clock="t.withdrawn_at",
            owner="t.subscriber_id",
            children=(("voice_enrolments", "consent_id"),),
        ),
        TableKind(kind="broker_replies", table="removal_replies", clock="t.received_at", owner="t.subscriber_id"),
        TableKind(kind="broker_checks", table="removal_checks", clock="t.checked_at", owner=_OF_REQUEST),
        TableKind(kind="withdrawn_consents", table="consents", clock="t.withdrawn_at", owner="t.subscriber_id"),
        TableKind(kind="api_replies", table="api_replies", clock="t.at"),
        TableKind(kind="received_events", table="received_events", clock="t.at"),
        TableKind(kind="api_tokens", table="api_tokens", clock="coalesce(t.revoked_at, t.expires_at)"),
        TableKind(kind="change_sets", table="change_sets", clock="coalesce(t.decided_at, t.expires_at)"),
        TableKind(
            kind="workflow_executions",
            table="workflow_executions",
            clock="t.ended_at",
            children=(("workflow_steps", "execution_id"),),
        ),
        TableKind(
            kind="operator_alerts",
            table="operator_alerts",
            clock="t.ended_at",
            children=(("operator_notices", "alert_id"),),
        ),
        TableKind(kind="alert_silences", table="alert_silences", clock="t.until"),
        TableKind(
            kind="closed_accounts",
            table="bank_accounts",
            clock=_LAST_LINK,
            owner="t.entity_id",
            drained=(("transactions", "account_id"), ("card_bills", "account_id"), ("bank_balances", "account_id")),
        ),
        TableKind(
            kind="ended_connections",
            table="bank_connections",
            clock="t.ended_at",
            owner="t.entity_id",
            drained=(
                ("sync_results", "connection_id"),
                ("webhook_events", "connection_id"),
                ("quarantined_rows", "connection_id"),
                ("finance_notices", "connection_id"),
            ),
        ),
        TableKind(kind="transactions", table="transactions", clock=_day("booked_on"), owner="t.entity_id"),
        TableKind(kind="card_bills", table="card_bills", clock=_day("due_on"), owner="t.entity_id"),
        TableKind(kind="bank_balances", table="bank_balances", clock="t.as_of_at", owner=_OF_ACCOUNT),
        TableKind(kind="bank_consents", table="bank_consents", clock="t.ended_at", owner="t.entity_id"),
        TableKind(kind="quarantined_rows", table="quarantined_rows", clock="t.created_at", owner="t.entity_id"),
        TableKind(kind="finance_notices", table="finance_notices", clock="t.created_at", owner="t.entity_id"),
        TableKind(
            kind="insights", table="insights", clock="coalesce(t.resolved_at, t.computed_at)", owner="t.entity_id"
        ),
        TableKind(kind="webhook_events", table="webhook_events", clock="t.received_at", owner=_OF_CONNECTION),
        TableKind(kind="sync_results", table="sync_results", clock="t.ended_at", owner=_OF_CONNECTION),
        TableKind(kind="sync_runs", table="sync_runs", clock="t.started_at", drained=(("sync_results", "run_id"),)),
        TableKind(kind="provider_budgets", table="provider_budgets", clock=_day("month_on")),
        TableKind(kind="schedule_changes", table="scheduler_history", clock="t.changed_at"),
        TableKind(kind="catalogue_imports", table="catalogue_imports", clock="t.checked_at"),
        TableKind(kind="cleanup_plans", table="cleanup_plans", clock="t.clock"),
        TableKind(kind="cleanup_reports", table="cleanup_reports", clock="t.clock"),
    )
}

TAKEN_ALONG: Mapping[str, tuple[str, ...]] = {
    "analysis_jobs": ("notifications", "voice_sound"),
    "bank_accounts": ("bank_balances", "card_bills", "transactions"),
    "bank_connections": (
        "finance_notices", "notifications", "quarantined_rows", "sync_results", "webhook_events",
    ),
    "finance_notices": ("notifications",),
    "reports": ("notifications",),
    "sync_runs": ("sync_results",),
}  # fmt: skip
"""By table, the kinds whose rows are deleted with its rows, through cascading foreign keys over any number of steps. A
test derives this from the tables."""


OWNED = frozenset({kind for kind, one in TABLES.items() if one.owner != NO_OWNER} | {"reports", "ended_subscribers"})
"""Kinds whose rows have an owner."""

_WITH_OWNER = "goes with its subscriber (ended_subscribers, `subscribers forget`)"
_ENGINE = "the engine's own terms (job_history)"
_RULES = "how the system works: one row a thing, replaced and not added to"
_PUBLIC = "public records, needed whole to judge the next one"

STAYS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "alerted", "alerts", "contact_addresses", "dismissals", "due_slots", "exposure_evidence",
            "exposures", "notification_hours", "notification_preferences", "property_findings", "property_rolls",
            "removal_disclosures",
            "removal_events", "removal_messages", "removal_profiles", "removal_references", "removal_requests",
            "scan_receipts", "scan_watermarks", "source_checks", "source_evidence", "source_hints", "subscriber_keys",
            "subscribers", "subscriptions", "watched_name_keys", "watched_properties", "watchlist_items",
            "voice_enrolments", "voice_settings",
        ),
        _WITH_OWNER,
    ),
    **dict.fromkeys(
        (
            "attempt_deltas", "attempt_hours", "attempt_totals", "idempotency_keys", "job_attempts", "job_hosts",
            "job_leases", "job_requests", "run_progress", "schedule_starts", "sla_breaches", "start_lags",
            "suppressions",
        ),
        _ENGINE,
    ),
    **dict.fromkeys(
        (
            "agent_grants", "alert_rules", "audit_progress", "breach_lookups", "broker_contact_faults",
            "broker_domains", "broker_rows", "broker_versions", "brokers", "channel_pauses", "county_states",
            "drp_businesses", "forecast_corrections", "job_catalogue", "job_pauses", "keyring_check", "legal_holds",
            "principals", "rate_buckets", "removal_moves", "retention_policies", "schedule_progress",
            "scheduler_config", "source_states", "workflows",
        ),
        _RULES,
    ),
    **dict.fromkeys(("breaches", "property_instruments", "property_lots", "property_name_keys"), _PUBLIC),
    **dict.fromkeys(
        ("entities", "entity_keys", "entity_versions", "account_links"),
        "go with their entity (`entities forget`), or with its account (closed_accounts)",
    ),
    **dict.fromkeys(
        ("transfers", "transaction_aliases", "transaction_versions"), "go with their transaction (transactions)"
    ),
    "breach_dumps": "what was read, and with which result: verdicts rest on it",
    "reports": "each tier's own term (reports)",
    **dict.fromkeys(("cost_weeks", "http_counts", "policy_denials", "queue_depths"), "few figures without an owner"),
    "token_uses": "go with their token",
    "verdict_counts": "sums that fall to nothing as their verdicts go (scan_verdicts)",
    "report_leftovers": "contents that are still to be deleted (reports)",
    "audit_log": "append-only (audit_log)",
    "voice_analyses": "go with their clip (voice_analyses)",
    "operator_notices": "go with their alert (operator_alerts)",
    "workflow_steps": "go with their execution (workflow_executions)",
}  # fmt: skip
"""The reason why the rows of each other table stay."""
