"""Principals and their tokens: create, verify, rotate, revoke; and the grants of agents."""

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.access.principals import Principal, Role, TokenScope
from kordant_jobs.domain.access.subscriber_tokens import SubscriberToken
from kordant_jobs.domain.access.tokens import LONGEST_DAYS, Token, new_token
from kordant_jobs.engine import Priority
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.access.tables import agent_grants, api_tokens, principals, token_uses
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscribers, subscriptions

PURPOSE = "api-token"
KINDS = {Role.ADMIN: "user", Role.OPERATOR: "user", Role.SERVICE: "service", Role.AGENT: "agent"}
"""The prefixes of ids by role."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The holder of a token, and the time until which it is valid."""

    principal: Principal
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The limits on a job that an agent may start. A field that is None sets no limit."""

    job: str
    max_priority: Priority
    requests_per_hour: int
    requests_per_day: int | None = None
    concurrent: int | None = None
    cpu_s_per_day: int | None = None
    """CPU seconds in 24 hours for the runs of its requests. A run is counted when it has ended."""
    expires_at: datetime | None = None
    ask_first: bool = False
    """True when a person has to approve the first request."""
    version: int = 0
    """Set by the store; increases with each change."""


def _sign(connection: Connection, by: str) -> None:
    """Name the author of the changes in this transaction, for the audit log's triggers."""
    connection.execute(sa.text("SELECT set_config('kordant.changed_by', :by, true)"), {"by": by})


def save_principal(
    connection: Connection,
    principal_id: str,
    role: Role,
    *,
    tenants: Collection[str] | None = None,
    entities: Collection[str] | None = None,
    owner: str | None = None,
    topics: Collection[str] | None = None,
    by: str,
) -> None:
    """Create a principal, or give an existing one this role and scope.

    Raises:
        PermanentError: the id does not fit the role, or an agent has no owner, or a scoped role names no tenant.
    """
    kind = KINDS.get(role)
    if kind is None:
        raise PermanentError(f"a {role}'s token is not made here: a service asks POST /api/jobs/tokens/subscriber.")
    if not principal_id.startswith(f"{kind}:") or len(principal_id) > 100 or "@" in principal_id:
        raise PermanentError(f"{role} takes an id as {kind}:<id>, without a name or address in it.")
    if role is Role.AGENT and not owner:
        raise PermanentError("an agent belongs to a person: give --owner user:<id>.")
    if role in {Role.AGENT, Role.SERVICE} and not tenants:
        raise PermanentError(f"{role} needs the tenants it works for: give --tenant once for each, or --tenant any.")
    _sign(connection, by)
    values = {
        "role": role.value,
        "tenants": sorted(tenants) if tenants and "any" not in tenants else None,
        "entities": sorted(entities) if entities else None,
        "owner": owner,
        "topics": sorted(topics) if topics else None,
    }
    statement = insert(principals).values(id=principal_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def save_person(connection: Connection, person_id: str, role: Role, *, by: str) -> None:
    """Create a person from a provider's sign-in, or give an existing one this role; their scope stays."""
    _sign(connection, by)
    adding = insert(principals).values(id=person_id, role=role.value)
    changes = principals.c.role != adding.excluded.role
    connection.execute(
        adding.on_conflict_do_update(index_elements=["id"], set_={"role": adding.excluded.role}, where=changes)
    )


def disable_principal(connection: Connection, principal_id: str, *, by: str, now: datetime) -> None:
    """Disable all tokens of a principal, and for a person those of their agents too.

    Raises:
        PermanentError: there is no such principal.
    """
    _sign(connection, by)
    done = connection.execute(sa.update(principals).where(principals.c.id == principal_id).values(disabled_at=now))
    if not done.rowcount:
        raise PermanentError(f"there is no principal {principal_id}; `kordant-jobs tokens list` shows who there is.")


def create_token(
    connection: Connection,
    keyring: Keyring,
    principal_id: str,
    scopes: Collection[TokenScope],
    *,
    days: float,
    by: str,
    now: datetime,
) -> str:
    """Create a token and return its text. It is shown only once: only its hash is stored.

    Raises:
        PermanentError: there is no such principal, or its tokens may not live that long.
    """
    role = connection.execute(sa.select(principals.c.role).where(principals.c.id == principal_id)).scalar_one_or_none()
    if role is None:
        raise PermanentError(f"there is no principal {principal_id}: make it with `kordant-jobs tokens create --role`.")
    if not 0 < days <= LONGEST_DAYS[Role(role)]:
        raise PermanentError(f"a token of role {role} lives at most {LONGEST_DAYS[Role(role)]} days.")
    _sign(connection, by)
    token, written = new_token(Role(role))
    connection.execute(
        sa.insert(api_tokens).values(
            id=token.id,
            principal_id=principal_id,
            secret_hash=keyring.sign(PURPOSE, token.secret.encode()),
            scopes=sorted(scopes),
            created_by=by,
            expires_at=now + timedelta(days=days),
        )
    )
    return written


def rotate_token(
    connection: Connection, keyring: Keyring, token_id: str, *, overlap: timedelta, by: str, now: datetime
) -> str:
    """Create a token that replaces another, which stays valid for `overlap`. The new one has the same lifetime.

    Raises:
        PermanentError: there is no such token, or it does not work any more.
    """
    old = connection.execute(sa.select(api_tokens).where(api_tokens.c.id == token_id).with_for_update()).one_or_none()
    if old is None or old.revoked_at is not None or old.expires_at <= now:
        raise PermanentError(f"there is no working token {token_id}: make a new one with `kordant-jobs tokens create`.")
    days = (old.expires_at - old.created_at) / timedelta(days=1)
    written = create_token(
        connection, keyring, old.principal_id, [TokenScope(one) for one in old.scopes], days=days, by=by, now=now
    )
    connection.execute(
        sa.update(api_tokens).where(api_tokens.c.id == token_id).values(expires_at=min(old.expires_at, now + overlap))
    )
    return written


def revoke_token(connection: Connection, token_id: str, *, by: str, now: datetime) -> None:
    """Revoke a token now.

    Raises:
        PermanentError: there is none with this id.
    """
    _sign(connection, by)
    where = api_tokens.c.id == token_id
    revoked_at = sa.func.coalesce(api_tokens.c.revoked_at, now)
    if not connection.execute(sa.update(api_tokens).where(where).values(revoked_at=revoked_at)).rowcount:
        raise PermanentError(f"there is no token {token_id}; `kordant-jobs tokens list` shows them.")


def end_session(connection: Connection, token_id: str, *, made_by: str, now: datetime) -> None:
    """End a token that was made for a session; tokens issued to a person stay valid."""
    column = api_tokens.c
    where = (column.id == token_id, column.created_by == made_by, column.revoked_at.is_(None))
    if connection.execute(sa.select(column.id).where(*where)).scalar() is not None:
        revoke_token(connection, token_id, by=made_by, now=now)


def tokens(connection: Connection) -> Sequence[dict[str, Any]]:
    """Every token with its holder, without anything from which it could be guessed."""
    column = api_tokens.c
    query = (
        sa.select(column.id, column.principal_id, principals.c.role, principals.c.owner, column.scopes,
                  column.created_at, column.expires_at, column.revoked_at, principals.c.disabled_at)
        .join(principals, principals.c.id == column.principal_id)
        .order_by(column.created_at)
    )  # fmt: skip
    return [dict(row) for row in connection.execute(query).mappings()]


def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Record the last use of tokens; a record of the last hour stays unchanged."""
    rows = [{"token_id": token_id, "used_at": used_at} for token_id, used_at in sorted(uses.items())]
    there = set(connection.execute(sa.select(api_tokens.c.id).where(api_tokens.c.id.in_(uses))).scalars())
    if not (rows := [row for row in rows if row["token_id"] in there]):
        return
    adding = insert(token_uses)
    is_later = token_uses.c.used_at < adding.excluded.used_at - timedelta(hours=1)
    more = {"used_at": adding.excluded.used_at}
    connection.execute(
        adding.on_conflict_do_update(index_elements=[token_uses.c.token_id], set_=more, where=is_later), rows
    )


def verify(connection: Connection, keyring: Keyring, token: Token, *, now: datetime) -> Verified | None:
    """The holder of this token; None for one that is unknown, expired or revoked, or whose holder was disabled. An
    unknown id takes the same work as a wrong secret."""
    row = _token_row(connection, token.id)
    stored = bytes(16) if row is None else bytes(row["secret_hash"])
    is_right = hmac.compare_digest(stored, keyring.sign(PURPOSE, token.secret.encode()))
    return _verified(row, now) if is_right else None


def holder(connection: Connection, token_id: str, *, now: datetime) -> Verified | None:
    """The holder of the token with this id, whose secret was verified before; None once it is invalid, as in
    `verify`."""
    return _verified(_token_row(connection, token_id), now)


def _token_row(connection: Connection, token_id: str) -> Mapping[str, Any] | None:
    owners = principals.alias()
    row = connection.execute(
        sa.select(api_tokens, principals, owners.c.disabled_at.label("owner_disabled_at"))
        .join(principals, principals.c.id == api_tokens.c.principal_id)
        .outerjoin(owners, owners.c.id == principals.c.owner)
        .where(api_tokens.c.id == token_id)
    ).mappings().one_or_none()  # fmt: skip
    return None if row is None else {**row, "token_id": token_id}


def _verified(row: Mapping[str, Any] | None, now: datetime) -> Verified | None:
    if row is None or row["expires_at"] <= now:
        return None
    if any(row[name] is not None for name in ("revoked_at", "disabled_at", "owner_disabled_at")):
        return None
    scopes = frozenset(TokenScope(one) for one in row["scopes"])
    holds = _principal({**row, "id": row["principal_id"]}, scopes, token_id=row["token_id"])
    return Verified(principal=holds, expires_at=row["expires_at"])


def principal(connection: Connection, principal_id: str) -> Principal | None:
    """A principal with every scope of its role, for a job that acts on its behalf; None when it, or its owner, was
    disabled."""
    owners = principals.alias()
    row = connection.execute(
        sa.select(principals, owners.c.disabled_at.label("owner_disabled_at"))
        .outerjoin(owners, owners.c.id == principals.c.owner)
        .where(principals.c.id == principal_id)
    ).mappings().one_or_none()  # fmt: skip
    if row is None or row["disabled_at"] is not None or row["owner_disabled_at"] is not None:
        return None
    return _principal(dict(row), frozenset(TokenScope), token_id="")


def subscriber(connection: Connection, token: SubscriberToken) -> Verified | None:
    """The subscriber of a signed token; None when the service that requested it was disabled, or none of the
    subscriber's subscriptions is in that service's scope."""
    service = principal(connection, token.service_id)
    if service is None or service.role is not Role.SERVICE:
        return None
    column = subscriptions.c
    query = (
        sa.select(column.id)
        .join(subscribers, subscribers.c.id == column.subscriber_id)
        .where(column.subscriber_id == token.subscriber_id, subscribers.c.forgotten_at.is_(None))
    )
    own = frozenset(str(one) for one in connection.execute(query).scalars() if service.reaches({str(one)}))
    if not own:
        return None
    who = Principal(id=f"subscriber:{token.subscriber_id}", role=Role.SUBSCRIBER, tenants=service.tenants,
                    scopes=frozenset({TokenScope.JOBS_READ}), entities=own)  # fmt: skip
    return Verified(principal=who, expires_at=token.expires_at)


def _principal(row: Mapping[str, Any], scopes: frozenset[TokenScope], *, token_id: str) -> Principal:
    return Principal(
        id=row["id"],
        role=Role(row["role"]),
        scopes=scopes,
        tenants=None if row["tenants"] is None else frozenset(row["tenants"]),
        entities=None if row["entities"] is None else frozenset(row["entities"]),
        topics=None if row["topics"] is None else frozenset(row["topics"]),
        token_id=token_id,
        on_behalf_of=row["owner"],
    )


def save_grant(connection: Connection, agent_id: str, grant: Grant, *, by: str) -> None:
    """Grant an agent the right to start a job, within these limits."""
    _sign(connection, by)
    values = {
        "max_priority": int(grant.max_priority),
        "requests_per_hour": grant.requests_per_hour,
        "requests_per_day": grant.requests_per_day,
        "concurrent": grant.concurrent,
        "cpu_s_per_day": grant.cpu_s_per_day,
        "expires_at": grant.expires_at,
        "ask_first": grant.ask_first,
        "granted_by": by,
    }
    statement = insert(agent_grants).values(agent_id=agent_id, job=grant.job, **values)
    more = {**values, "version": agent_grants.c.version + 1}
    connection.execute(statement.on_conflict_do_update(index_elements=["agent_id", "job"], set_=more))


def end_grant(connection: Connection, agent_id: str, job: str, *, by: str) -> bool:
    """Revoke a grant. False: there was none."""
    _sign(connection, by)
    column = agent_grants.c
    done = connection.execute(sa.delete(agent_grants).where(column.agent_id == agent_id, column.job == job))
    return done.rowcount > 0


def grants(connection: Connection, agent_id: str) -> dict[str, Grant]:
    """An agent's grants by job."""
    rows = connection.execute(sa.select(agent_grants).where(agent_grants.c.agent_id == agent_id).order_by("job"))
    return {
        row.job: Grant(
            job=row.job,
            max_priority=Priority(row.max_priority),
            requests_per_hour=row.requests_per_hour,
            requests_per_day=row.requests_per_day,
            concurrent=row.concurrent,
            cpu_s_per_day=row.cpu_s_per_day,
            expires_at=row.expires_at,
            ask_first=row.ask_first,
            version=row.version,
        )
        for row in rows
    }
