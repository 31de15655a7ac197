"""Principals: a person, a program or an agent, with a role, scopes, and their tenants and entities."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The role of a principal. The policy table has each role's rights."""

    ADMIN = "admin"
    OPERATOR = "operator"
    SERVICE = "service"
    AGENT = "agent"
    SUBSCRIBER = "subscriber"


class TokenScope(StrEnum):
    """The uses that a token is limited to. A right needs both the role and the token's scope."""

    JOBS_READ = "jobs:read"
    JOBS_TRIGGER = "jobs:trigger"
    JOBS_CANCEL = "jobs:cancel"
    JOBS_OPERATE = "jobs:operate"
    SCHEDULES_READ = "schedules:read"
    SCHEDULES_WRITE = "schedules:write"
    CHANGES_PROPOSE = "changes:propose"
    CHANGES_DECIDE = "changes:decide"
    AUDIT_READ = "audit:read"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The caller of an operation. `tenants` and `entities` None: any."""

    id: str
    role: Role
    scopes: frozenset[TokenScope]
    tenants: frozenset[str] | None = None
    entities: frozenset[str] | None = None
    topics: frozenset[str] | None = None
    """The events that it may publish; None: any that its role may."""
    token_id: str = ""
    on_behalf_of: str | None = None
    """The person an agent belongs to."""

    def covers(self, tenant: str | None, entity: str | None) -> bool:
        """True when something of this tenant and entity is in scope.

        >>> one = Principal(id="service:app", role=Role.SERVICE, scopes=frozenset(), tenants=frozenset({"t1"}))
        >>> one.covers("t1", "e"), one.covers("t2", "e"), one.covers(None, "e")
        (True, False, False)
        """
        return (self.tenants is None or tenant in self.tenants) and (self.entities is None or entity in self.entities)

    def reaches(self, entities: Collection[str] | None) -> bool:
        """True when all these entities are in scope. None means all entities."""
        mine = self.tenants if self.entities is None else self.entities
        return mine is None or (entities is not None and mine.issuperset(entities))
