"""People who sign in through an OpenID provider: their id here, and the role that a claim gives them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kordant_jobs.domain.access.principals import Role

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
