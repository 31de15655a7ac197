"""Retention policies: one row for each kind, with its legal ground; and legal holds, which keep data whatever its term.
`DEFAULTS` is the initial content of the table.

Sources: LGPD art. 15 and 16, Marco Civil art. 15, GDPR art. 5(1)(e) and 17(3), CCPA regulations § 7101 (requests are
recorded for 24 months). The terms are our judgement; a lawyer has to confirm them.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/Sao_Paulo")
"""Retention is counted in days of this time zone, whatever the server's."""


class Action(StrEnum):
    """The action on rows whose term is over."""

    DELETE = "delete"
    SHRED_KEY = "shred_key"
    """Delete the owner's key first, then all of the owner's rows."""
    THIN = "thin"
    """Keep one row for each day."""
    KEEP = "keep"
    """Delete nothing: the kind is listed so that its ground is documented."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The term of one kind. `keep_days` counts from the kind's time; None only with `Action.KEEP`."""

    kind: str
    action: Action
    keep_days: int | None
    legal_basis: str
    note: str = ""

    def __post_init__(self) -> None:
        if (self.keep_days is None) != (self.action is Action.KEEP):
            raise ValueError(f"{self.kind}: a term in days goes with every action but `keep`.")

    @property
    def term_days(self) -> int:
        """The term in days.

        Raises:
            ValueError: the kind is kept.
        """
        if self.keep_days is None:
            raise ValueError(f"{self.kind} is kept: it has no term.")
        return self.keep_days

    def cutoff(self, today: date) -> datetime:
        """The time before which rows of this kind are deleted.

        >>> Policy(kind="k", action=Action.DELETE, keep_days=1, legal_basis="b").cutoff(date(2018, 11, 5)).isoformat()
        '2018-11-04T01:00:00-02:00'
        """
        start = datetime.combine(today - timedelta(days=self.term_days), time(), tzinfo=ZONE)
        return datetime.fromtimestamp(start.timestamp(), ZONE)  # a midnight that the clock skipped is its next hour


def _delete(kind: str, days: int, legal_basis: str, note: str = "") -> Policy:
    return Policy(kind=kind, action=Action.DELETE, keep_days=days, legal_basis=legal_basis, note=note)


_PURPOSE = "purpose fulfilled: LGPD art. 15 I, GDPR art. 5(1)(e)"
_WITHDRAWN = "consent withdrawn: LGPD art. 15 III and 16"
_CLAIMS = "defence of claims: GDPR art. 17(3)(e), LGPD art. 7 VI"

DEFAULTS = (
    Policy(
        kind="ended_subscribers",
        action=Action.SHRED_KEY,
        keep_days=365,
        legal_basis="end of the contract: LGPD art. 15 III and 16, GDPR art. 17(1)(a)",
        note="counts from the end of their last subscription",
    ),
    _delete("notifications", 400, _PURPOSE, "proof of what was sent, over the longest period of a report"),
    _delete("scan_verdicts", 730, _PURPOSE, "two yearly periods"),
    _delete("title_verdicts", 730, _PURPOSE, "two yearly periods"),
    _delete("voice_analyses", 730, _PURPOSE, "two yearly periods; what was said of clips, without sound"),
    _delete("voice_sound", 90, _PURPOSE, "sound goes when it was analysed, unless KORDANT_VOICE_KEEP_SOUND is set"),
    _delete("withdrawn_voice_consents", 1095, f"proof of consent: BIPA § 15(a), GDPR art. 7(1); {_CLAIMS}"),
    _delete("broker_replies", 1095, f"CCPA regulations § 7101 (24 months); {_CLAIMS}"),
    _delete("broker_checks", 1095, f"CCPA regulations § 7101 (24 months); {_CLAIMS}"),
    _delete("withdrawn_consents", 1825, f"proof of consent: GDPR art. 7(1), LGPD art. 8 § 2; {_CLAIMS}"),
    _delete("api_replies", 2, _PURPOSE, "answers under an Idempotency-Key are repeated for 24 hours"),
    _delete("received_events", 8, _PURPOSE, "an event that comes again within 7 days starts nothing"),
    _delete("api_tokens", 400, _PURPOSE, "after they ended or were revoked"),
    _delete("change_sets", 730, _PURPOSE),
    _delete("operator_alerts", 400, _PURPOSE, "after they ended"),
    _delete("alert_silences", 400, _PURPOSE, "after they ended"),
    _delete("workflow_executions", 730, _PURPOSE, "after they ended; the audit log keeps what was done"),
    _delete("closed_accounts", 30, _WITHDRAWN, "no connection reads them any more; with all that hangs on them"),
    _delete("ended_connections", 30, _WITHDRAWN, "after they were revoked or deleted; their consents stay as proof"),
    _delete("transactions", 1825, _PURPOSE, "from the day they were booked on"),
    _delete("card_bills", 1825, _PURPOSE, "from the day they were due on"),
    _delete("bank_balances", 1825, _PURPOSE),
    _delete("bank_consents", 1825, f"proof of consent: LGPD art. 8 § 2 and 16 I; {_CLAIMS}", "after they ended"),
    _delete("quarantined_rows", 30, _PURPOSE, "rows of a bank that could not be understood"),
    _delete("finance_notices", 400, _PURPOSE),
    _delete("insights", 1825, _PURPOSE, "after they were resolved, or computed last"),
    _delete("webhook_events", 30, _PURPOSE),
    _delete("sync_results", 90, _PURPOSE),
    _delete("sync_runs", 180, _PURPOSE),
    _delete("provider_budgets", 400, _PURPOSE, "calls counted in a month"),
    _delete("schedule_changes", 1825, _CLAIMS),
    _delete("catalogue_imports", 400, _PURPOSE),
    _delete("cleanup_plans", 30, _PURPOSE),
    _delete("cleanup_reports", 1825, "proof of deletion: GDPR art. 5(2), LGPD art. 6 X"),
    _delete("reports", 0, _PURPOSE, "each tier's own term: 90 days, 1 year, 3 years"),
    _delete("orphaned_documents", 7, _PURPOSE, "contents in the store that no report names"),
    _delete(
        "orphaned_corpus",
        0,
        _PURPOSE,
        "dumps in the corpus that no row names; a dump has its row before its first byte is kept",
    ),
    _delete("job_history", 0, "operation: Marco Civil art. 15", "the engine's own terms: KORDANT_KEEP_*"),
    Policy(
        kind="audit_log",
        action=Action.KEEP,
        keep_days=None,
        legal_basis="accountability: GDPR art. 5(2), LGPD art. 6 X",
        note="append-only and chained; ids and closed words only",
    ),
)
"""The terms that apply until an operator sets another: `kordant-jobs cleanup policy`."""

BY_KIND = {policy.kind: policy for policy in DEFAULTS}


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold on the rows of one owner, of one kind, or of a range of time; with several of them given, on the rows that
    match all. `owner_id` is a subscriber's or an entity's. `since` and `before` limit the kind's time, `before`
    excluded."""

    id: UUID
    reason: str
    placed_by: str
    owner_id: UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    until: datetime | None = None
    """The time at which the hold ends by itself; None: when it is released."""
