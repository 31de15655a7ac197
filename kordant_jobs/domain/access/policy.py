"""The policy table: role, action, owner → allowed or not, by the first matching rule. Pure; only `api` reads it."""

from dataclasses import dataclass
from enum import StrEnum

from kordant_jobs.domain.access.change_sets import ChangeKind
from kordant_jobs.domain.access.principals import Principal, Role, TokenScope


class Action(StrEnum):
    """Every action that can be requested."""

    READ = "requests.read"
    READ_OUTPUT = "requests.read_output"
    TRIGGER = "requests.trigger"
    PUBLISH = "events.publish"
    CANCEL = "requests.cancel"
    RETRY = "requests.retry"
    ACKNOWLEDGE = "requests.acknowledge"
    EXPIRE = "requests.expire"
    REPRIORITISE = "requests.reprioritise"
    BULK = "requests.bulk"
    SCHEDULE_READ = "schedules.read"
    SCHEDULE_WRITE = "schedules.write"
    SCHEDULE_PAUSE = "schedules.pause"
    PROPOSE = "changes.propose"
    READ_CHANGE = "changes.read"
    DECIDE = "changes.decide"
    DECIDE_WORKFLOW = "changes.decide_workflow"
    """Decide on a version of an agent's workflow, a workflow's step that waits for a person, or an agent's first
    request of a job."""
    AUDIT_READ = "audit.read"
    SYSTEM_READ = "system.read"
    """Read figures of all tenants together: health, history, alerts, sources, the doctor."""
    ALERT_HANDLE = "alerts.handle"
    SUBSCRIPTION_READ = "subscriptions.read"
    ISSUE_SUBSCRIBER_TOKEN = "tokens.issue_subscriber"  # noqa: S105 - the name of an action
    PROTECTION_READ = "protection.read"
    """Read verdicts and receipts of one's own subscriptions."""
    UI_READ = "dagster.read"
    """View Dagster's own UI."""
    UI_RUN = "dagster.run"
    """Launch, re-execute, backfill and terminate in Dagster's UI."""
    UI_ADMIN = "dagster.admin"
    """Start and stop schedules and sensors in Dagster's UI, reload the code, and change limits."""


class Owner(StrEnum):
    """The owner of the thing, relative to the principal."""

    OWN = "own"
    SCOPE = "scope"
    OTHER = "other"


_BY_SCOPE: dict[TokenScope, tuple[Action, ...]] = {
    TokenScope.JOBS_READ: (
        Action.READ, Action.READ_OUTPUT, Action.SYSTEM_READ, Action.SUBSCRIPTION_READ, Action.ISSUE_SUBSCRIBER_TOKEN,
        Action.PROTECTION_READ, Action.UI_READ,
    ),
    TokenScope.JOBS_TRIGGER: (Action.TRIGGER, Action.PUBLISH, Action.REPRIORITISE),
    TokenScope.JOBS_CANCEL: (Action.CANCEL,),
    TokenScope.JOBS_OPERATE: (
        Action.RETRY, Action.ACKNOWLEDGE, Action.EXPIRE, Action.BULK, Action.ALERT_HANDLE, Action.UI_RUN,
    ),
    TokenScope.SCHEDULES_READ: (Action.SCHEDULE_READ, Action.READ_CHANGE),
    TokenScope.SCHEDULES_WRITE: (Action.SCHEDULE_WRITE, Action.SCHEDULE_PAUSE, Action.UI_ADMIN),
    TokenScope.CHANGES_PROPOSE: (Action.PROPOSE,),
    TokenScope.CHANGES_DECIDE: (Action.DECIDE, Action.DECIDE_WORKFLOW),
    TokenScope.AUDIT_READ: (Action.AUDIT_READ,),
}  # fmt: skip
NEEDS: dict[Action, TokenScope] = {action: scope for scope, actions in _BY_SCOPE.items() for action in actions}
"""The scope that a token needs for each action."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of the table. A field that is None matches everything."""

    id: str
    role: Role | None
    actions: frozenset[Action] | None
    owners: frozenset[Owner] | None = None
    critical: bool | None = None
    """True: only for a job without which the system does not work."""
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Allowed or not, and the rule that decided."""

    allowed: bool
    rule: str


_OWN, _SCOPE = frozenset({Owner.OWN}), frozenset({Owner.OWN, Owner.SCOPE})
_BY_SERVICE = frozenset({Action.CANCEL, Action.RETRY, Action.ACKNOWLEDGE, Action.EXPIRE, Action.REPRIORITISE})
_SCOPED = _BY_SERVICE | {Action.READ, Action.READ_OUTPUT, Action.SYSTEM_READ, Action.ALERT_HANDLE,
                         Action.SUBSCRIPTION_READ, Action.PROTECTION_READ, Action.UI_READ, Action.UI_RUN,
                         Action.UI_ADMIN}  # fmt: skip


def _rule(rule_id: str, role: Role | None, *actions: Action, owners: frozenset[Owner] | None = None,
          critical: bool | None = None, allowed: bool = True) -> Rule:  # fmt: skip
    return Rule(
        id=rule_id,
        role=role,
        actions=frozenset(actions) or None,
        owners=owners,
        critical=critical,
        allowed=allowed,
    )


RULES: tuple[Rule, ...] = (
    _rule("others.nothing", None, *_SCOPED, owners=frozenset({Owner.OTHER}), allowed=False),
    _rule("service.issue_subscriber_token", Role.SERVICE, Action.ISSUE_SUBSCRIBER_TOKEN),
    _rule("others.no_subscriber_token", None, Action.ISSUE_SUBSCRIBER_TOKEN, allowed=False),
    _rule("admin.any", Role.ADMIN),
    _rule("operator.no_cancel_critical", Role.OPERATOR, Action.CANCEL, critical=True, allowed=False),
    _rule("operator.no_schedule_write", Role.OPERATOR, Action.SCHEDULE_WRITE, allowed=False),
    _rule("operator.no_dagster_admin", Role.OPERATOR, Action.UI_ADMIN, allowed=False),
    _rule("operator.audit_own", Role.OPERATOR, Action.AUDIT_READ, owners=_OWN),
    _rule("operator.no_audit_of_others", Role.OPERATOR, Action.AUDIT_READ, allowed=False),
    _rule("operator.no_decide_schedules", Role.OPERATOR, Action.DECIDE, allowed=False),
    _rule("operator.any_else", Role.OPERATOR),
    _rule("service.read_scope", Role.SERVICE, Action.READ, Action.READ_OUTPUT, owners=_SCOPE),
    _rule("service.trigger_scope", Role.SERVICE, Action.TRIGGER, owners=_SCOPE),
    _rule("service.publish_scope", Role.SERVICE, Action.PUBLISH, owners=_SCOPE),
    _rule("service.own", Role.SERVICE, *_BY_SERVICE, owners=_OWN),
    _rule("service.read_schedules", Role.SERVICE, Action.SCHEDULE_READ),
    _rule("agent.read_scope", Role.AGENT, Action.READ, owners=_SCOPE),
    _rule("agent.read_output_own", Role.AGENT, Action.READ_OUTPUT, owners=_OWN),
    _rule("agent.trigger_by_grant", Role.AGENT, Action.TRIGGER, owners=_SCOPE),
    _rule("agent.no_events", Role.AGENT, Action.PUBLISH, allowed=False),
    _rule("agent.no_cancel_critical", Role.AGENT, Action.CANCEL, critical=True, allowed=False),
    _rule("agent.cancel_own", Role.AGENT, Action.CANCEL, Action.REPRIORITISE, owners=_OWN),
    _rule("agent.no_schedule_write", Role.AGENT, Action.SCHEDULE_WRITE, Action.SCHEDULE_PAUSE, allowed=False),
    _rule("agent.read_schedules", Role.AGENT, Action.SCHEDULE_READ),
    _rule("agent.propose", Role.AGENT, Action.PROPOSE),
    _rule("agent.read_own_changes", Role.AGENT, Action.READ_CHANGE, owners=_OWN),
    _rule("agent.never_decide", Role.AGENT, Action.DECIDE, Action.DECIDE_WORKFLOW, allowed=False),
    _rule("agent.audit_own", Role.AGENT, Action.AUDIT_READ, owners=_OWN),
    _rule("subscriber.read_own", Role.SUBSCRIBER, Action.READ, Action.PROTECTION_READ, owners=_SCOPE),
)
"""Checked from the top. An action without a matching rule is denied."""

DEFAULT = Decision(allowed=False, rule="default.deny")
SELF_DECISION = "changes.not_own"
"""The rule that principals may not decide on proposals of their own, or of their own agent."""


def decide(principal: Principal, action: Action, owner: Owner, *, critical: bool = False) -> Decision:
    """Decide whether `principal` may perform this action on a thing of `owner`.

    >>> agent = Principal(id="agent:a", role=Role.AGENT, scopes=frozenset(TokenScope))
    >>> decide(agent, Action.CANCEL, Owner.OWN).rule, decide(agent, Action.CANCEL, Owner.SCOPE).rule
    ('agent.cancel_own', 'default.deny')
    """
    if NEEDS[action] not in principal.scopes:
        return Decision(allowed=False, rule=f"scope.{NEEDS[action]}")
    for rule in RULES:
        if (
            rule.role in {None, principal.role}
            and (rule.actions is None or action in rule.actions)
            and (rule.owners is None or owner in rule.owners)
            and rule.critical in {None, critical}
        ):
            return Decision(allowed=rule.allowed, rule=rule.id)
    return DEFAULT


def owner_of(principal: Principal, *, by: str, tenant: str | None, entity: str | None) -> Owner:
    """The owner of a request, relative to `principal`. A request outside their scope is another's, even when they made
    it. For a subscriber, requests about them are their own, since they make none."""
    if not principal.covers(tenant, entity):
        return Owner.OTHER
    return Owner.OWN if by == principal.id or principal.role is Role.SUBSCRIBER else Owner.SCOPE


def decision_on(kind: ChangeKind) -> Action:
    """The action needed to decide on a change set of this kind: schedules and grants are for admins."""
    return Action.DECIDE if kind in {ChangeKind.SCHEDULE, ChangeKind.GRANT} else Action.DECIDE_WORKFLOW
