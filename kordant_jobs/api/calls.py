"""One call of the API: its caller, the policy's decision on it, and its entry in the audit log."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from kordant_jobs.api.problems import denied, not_found
from kordant_jobs.catalog import SYSTEM_CRITICAL
from kordant_jobs.domain.access.audit import Entry, Outcome
from kordant_jobs.domain.access.policy import Action, Owner, decide, owner_of
from kordant_jobs.domain.access.principals import Principal
from kordant_jobs.engine.control import Request
from kordant_jobs.store.audit import log
from kordant_jobs.store.operators import counts
from kordant_jobs.store.people.keyring import Keyring


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: the caller, the time, and the keyring that signs the audit log."""

    principal: Principal
    keyring: Keyring
    now: datetime
    source: str = "api"
    ui_url: str | None = None
    """The address of Dagster's UI, for links that admins and operators get."""

    def permit(self, action: Action, owner: Owner = Owner.SCOPE, *, critical: bool = False) -> str:
        """The name of the rule that allows this.

        Raises:
            Problem: it is not allowed (403, with the rule), or the caller may not know that the thing exists (404).
        """
        decision = decide(self.principal, action, owner, critical=critical)
        if decision.allowed:
            return decision.rule
        is_hidden = owner is Owner.OTHER and not decision.rule.startswith("scope.")
        raise not_found() if is_hidden else denied(decision.rule)

    def of_all(self) -> Owner:
        """The owner to check for actions on all tenants: SCOPE for a caller without limits of scope, else OTHER."""
        return Owner.SCOPE if self.principal.covers(None, None) else Owner.OTHER

    def permit_on(self, action: Action, request: Request) -> str:
        """Like `permit`, but for an action on a request."""
        owner = owner_of(self.principal, by=request.requested_by, tenant=request.tenant, entity=request.entity_key)
        return self.permit(action, owner, critical=request.job in SYSTEM_CRITICAL)

    def may(self, action: Action, request: Request) -> bool:
        """True when the policy allows the caller this action on a request."""
        owner = owner_of(self.principal, by=request.requested_by, tenant=request.tenant, entity=request.entity_key)
        return decide(self.principal, action, owner, critical=request.job in SYSTEM_CRITICAL).allowed

    def audit_entry(self, action: str, kind: str, target: str, **more: Any) -> Entry:
        """An entry of the audit log in the caller's name."""
        return Entry(
            actor=self.principal.id,
            role=self.principal.role.value,
            source=self.source,
            action=action,
            target_kind=kind,
            target_id=target,
            on_behalf_of=self.principal.on_behalf_of,
            token_id=self.principal.token_id,
            **more,
        )

    def record(self, connection: Connection, *entries: Entry) -> None:
        """Write entries to the audit log, in the transaction of the actions that they record."""
        log.record(connection, self.keyring, *entries)

    def record_denial(self, connection: Connection, operation: str, rule: str) -> None:
        """Record in the audit log that the policy refused `operation`, and count the denial."""
        counts.add_denial(connection, rule, self.principal.role.value)
        self.record(connection, self.audit_entry("denied", "operation", operation, outcome=Outcome.DENIED, rule=rule))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The response to a call: JSON body, status and headers."""

    body: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
