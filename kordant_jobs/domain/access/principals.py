"""Principals: a person, a program or an agent, with a role, scopes, and their tenants and entities. A person who signs
in through an OpenID provider has an id here, and the role that a claim gives. Pure.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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


PEOPLE = (Role.ADMIN, Role.OPERATOR)
"""The roles that a provider may give, the highest first."""


def person_id(issuer: str, subject: str) -> str:
    """The principal id of a person. A provider's subject may be a name or an address, so only its hash is used.

    >>> person_id("https://id.example", "jane")
    'user:oidc-68fa1c5de319e9e264e3'
    """
    return f"user:oidc-{hashlib.sha256(f'{issuer} {subject}'.encode()).hexdigest()[:20]}"


def role_of(claims: Mapping[str, Any], claim: str, roles: Mapping[str, Role]) -> Role | None:
    """The highest role that the values of a claim give; None: no access. Values must match completely; dots in the
    claim's name lead into objects.

    >>> roles = {"ops": Role.OPERATOR, "admins": Role.ADMIN}
    >>> str(role_of({"groups": ["ops", "admins"]}, "groups", roles))
    'admin'
    >>> str(role_of({"realm": {"roles": "ops"}}, "realm.roles", roles))
    'operator'
    >>> role_of({"groups": ["admins-of-printers"]}, "groups", roles), role_of({}, "groups", roles)
    (None, None)
    """
    found: Any = claims
    for name in [claim] if claim in claims else claim.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    values = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    given = {roles[value] for value in values if isinstance(value, str) and value in roles}
    return next((role for role in PEOPLE if role in given), None)
