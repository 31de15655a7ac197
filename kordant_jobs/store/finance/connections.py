"""Bank connections: creates them, plans and claims their reads, and changes their state. Nothing here waits for a
bank."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.limits import CALLS_A_READ, RATES
from kordant_jobs.domain.finance.states import (
    CONNECTION_MOVES,
    AccountKind,
    ConnectionStatus,
    ConsentEnd,
    ConsentStatus,
    Provider,
)
from kordant_jobs.domain.finance.values import SeenConsent
from kordant_jobs.engine.control import leases
from kordant_jobs.errors import PermanentError
from kordant_jobs.ports import KnownAccount
from kordant_jobs.store.finance.entities import load_keys
from kordant_jobs.store.finance.tables import account_links, bank_connections, bank_consents, transactions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

ITEM = "bank-item"
"""Kind of the blind index of a connection's id at its provider."""
LEASE = timedelta(minutes=4)
"""Longer than the longest read (`service.READ_MOST_S`) and its commit together."""


def item_index(keyring: Keyring, provider: Provider, item: str) -> bytes:
    """The blind index by which a provider's id of a connection is found. For a JSON secret the id is its `consent`."""
    name = item
    if item.startswith("{"):
        name = str(json.loads(item).get("consent", item))
    return keyring.blind_index(ITEM, f"{provider}|{name}")


def create(
    connection: Connection,
    keyring: Keyring,
    *,
    entity_id: UUID,
    provider: Provider,
    institution: str,
    item: str,
    now: datetime,
) -> UUID:
    """Create a connection, due at once. Returns the existing one if it has not ended.

    Raises:
        PermanentError: the entity was forgotten, or the item is another entity's.
    """
    index = item_index(keyring, provider, item)
    table = bank_connections.c
    live = sa.select(table.id, table.entity_id).where(
        table.provider == provider, table.item_index == index, table.status != ConnectionStatus.ENDED
    )
    found = connection.execute(live).one_or_none()
    if found is not None:
        if found.entity_id != entity_id:
            raise PermanentError("this connection is another entity's.")
        existing: UUID = found.id
        return existing
    made = uuid7()
    keys = load_keys(connection, keyring, [entity_id], for_writing=True)
    if entity_id not in keys:
        raise PermanentError(f"there is no entity {entity_id}, or it was forgotten.")
    connection.execute(
        sa.insert(bank_connections),
        {
            "id": made,
            "entity_id": entity_id,
            "provider": provider.value,
            "institution": institution,
            "item_encrypted": keys.seal(entity_id, table.item_encrypted, made, item),
            "item_index": index,
            "next_due_at": now,
        },
    )
    return made


_PLAN = sa.text(f"""
WITH judged AS MATERIALIZED (
    SELECT id, entity_id, provider, institution, next_due_at,
           CASE WHEN status = 'paused' THEN 'paused' WHEN status = 'needs_user' THEN 'needs_user'
                WHEN {leases.held_sql("lease_id", ":now")} THEN 'lease_held'
                WHEN id = ANY(cast(:ids AS uuid[])) THEN NULL
                WHEN NOT :also_due OR next_due_at > :now
                    THEN CASE due_reason WHEN 'budget' THEN 'budget' WHEN 'rate' THEN 'rate' ELSE 'not_due' END
           END AS deferred
    FROM kordant.bank_connections WHERE status <> 'ended' AND provider <> 'file'
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY provider ORDER BY turn, next_due_at, id) AS place FROM (
        SELECT *, row_number() OVER (PARTITION BY provider, entity_id ORDER BY next_due_at, id) AS turn
        FROM judged WHERE deferred IS NULL) fair
)
SELECT j.id, coalesce(j.deferred, CASE WHEN p.place > coalesce((cast(:caps AS jsonb) ->> j.provider)::int, 2147483647)
                                       THEN 'rate' END) AS deferred, p.institution
FROM judged j LEFT JOIN placed p ON p.id = j.id
ORDER BY p.turn, p.next_due_at, j.id
""")  # noqa: S608 - put together from constants


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The connections to read now, in order; the numbers of deferred ones by reason; and the number that can be read at
    all (`active`)."""

    due: tuple[UUID, ...]
    deferred: Mapping[str, int]
    active: int


def plan(
    connection: Connection,
    *,
    now: datetime,
    within: timedelta,
    named: Sequence[UUID] = (),
    also_due: bool = True,
) -> Planned:
    """Decide for every connection, in one statement, whether it is due or deferred, and why. `within` is the time until
    the next tick: no more are due than the provider's rate allows in it. Connections in `named` are due in any case."""
    caps = {name.value: int(rate.per_s * within.total_seconds() / CALLS_A_READ) for name, rate in RATES.items()}
    given = {"now": now, "caps": json.dumps(caps), "ids": [str(one) for one in named], "also_due": also_due}
    due, deferred = list[UUID](), dict[str, int]()
    rows = connection.execute(_PLAN, given).all()
    for row in rows:
        if row.deferred is None:
            due.append(row.id)
        else:
            deferred[row.deferred] = deferred.get(row.deferred, 0) + 1
    idle = deferred.get("paused", 0) + deferred.get("needs_user", 0)
    return Planned(due=tuple(due), deferred=deferred, active=len(rows) - idle)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A connection under a lease, with all that a read needs, its secrets decrypted."""

    id: UUID
    entity_id: UUID
    provider: Provider
    institution: str
    item: str = field(repr=False)
    cursor: Mapping[str, Any] = field(repr=False)
    known: tuple[KnownAccount, ...] = field(repr=False)
    failures: int
    lease_id: UUID


_CLAIM = sa.text(f"""
UPDATE kordant.bank_connections SET lease_id = :lease, last_attempt_at = :now
WHERE id = :id AND status = 'active' AND NOT {leases.held_sql("lease_id", ":now")}
RETURNING entity_id, provider, institution, item_encrypted, cursor_encrypted, consecutive_failures
""")  # noqa: S608 - put together from constants
_KNOWN = sa.text("""
SELECT l.id AS link_id, l.provider_account_encrypted, a.id AS account_id, a.kind, a.currency
FROM kordant.account_links l JOIN kordant.bank_accounts a ON a.id = l.account_id
WHERE l.connection_id = :id AND l.ended_at IS NULL ORDER BY l.began_at, l.id
""")
_PROVISIONAL = sa.text("""
SELECT id, account_id, booked_on, provider_id_encrypted FROM kordant.transactions
WHERE account_id = ANY(cast(:ids AS uuid[])) AND state IN ('scheduled', 'pending')
""")


def claim(connection: Connection, keyring: Keyring, connection_id: UUID, *, now: datetime) -> Claimed | None:
    """The connection under a new lease; None when it is read elsewhere, is not active, or was forgotten."""
    [lease] = leases.insert(connection, ["bank read"], holder="bank_sync", now=now, ttl_s=LEASE.total_seconds())
    row = connection.execute(_CLAIM, {"id": connection_id, "lease": lease.id, "now": now}).one_or_none()
    keys = load_keys(connection, keyring, [row.entity_id] if row else [])
    if row is None or row.entity_id not in keys:
        leases.release(connection, [lease.id])
        return None
    opened = partial(keys.open, row.entity_id)
    links = connection.execute(_KNOWN, {"id": connection_id}).all()
    waiting = connection.execute(_PROVISIONAL, {"ids": [str(one.account_id) for one in links]}).all()
    known = []
    for link in links:
        own = [one for one in waiting if one.account_id == link.account_id]
        column = transactions.c.provider_id_encrypted
        ids = [opened(column, one.id, one.provider_id_encrypted) for one in own if one.provider_id_encrypted]
        known.append(
            KnownAccount(
                provider_id=opened(
                    account_links.c.provider_account_encrypted, link.link_id, link.provider_account_encrypted
                ),
                kind=AccountKind(link.kind),
                currency=link.currency,
                provisional=tuple(ids),
                oldest_provisional_on=min((one.booked_on for one in own), default=None),
            )
        )
    cursor = row.cursor_encrypted
    return Claimed(
        id=connection_id,
        entity_id=row.entity_id,
        provider=Provider(row.provider),
        institution=row.institution,
        item=opened(bank_connections.c.item_encrypted, connection_id, row.item_encrypted),
        cursor=json.loads(opened(bank_connections.c.cursor_encrypted, connection_id, cursor)) if cursor else {},
        known=tuple(known),
        failures=row.consecutive_failures,
        lease_id=lease.id,
    )


class LeaseLost(Exception):
    """Another process holds the connection's lease, or the connection is not active any more. Nothing of this read may
    be written."""


def hold(connection: Connection, claimed: Claimed) -> None:
    """Ensure, until this transaction ends, that this read holds the lease and may write.

    Raises:
        LeaseLost: it may not.
    """
    table = bank_connections.c
    held = sa.select(table.id).where(
        table.id == claimed.id, table.lease_id == claimed.lease_id, table.status == ConnectionStatus.ACTIVE
    )
    if connection.execute(held.with_for_update()).one_or_none() is None:
        raise LeaseLost


def put_off(
    connection: Connection,
    claimed: Claimed,
    *,
    due_at: datetime,
    reason: str,
    failed: bool,
) -> None:
    """Set when and why a connection is due again after a read without a result. Releases the lease."""
    leases.release(connection, [claimed.lease_id])
    connection.execute(
        sa.update(bank_connections)
        .where(bank_connections.c.id == claimed.id, bank_connections.c.lease_id == claimed.lease_id)
        .values(
            next_due_at=due_at,
            due_reason=reason,
            lease_id=None,
            consecutive_failures=bank_connections.c.consecutive_failures + int(failed),
        )
    )


def make_due(connection: Connection, connection_ids: Sequence[UUID], *, now: datetime, reason: str) -> int:
    """Make active connections due at once. Returns their number. A connection that is being read becomes due again
    after the read."""
    table = bank_connections.c
    due = sa.update(bank_connections).where(table.id.in_(connection_ids), table.status == ConnectionStatus.ACTIVE)
    return connection.execute(due.values(next_due_at=now, due_reason=reason)).rowcount


def set_status(
    connection: Connection,
    connection_id: UUID,
    status: ConnectionStatus,
    *,
    reason: str,
    now: datetime,
    only_from: ConnectionStatus | None = None,
    consent_end: ConsentEnd = ConsentEnd.CUSTOMER_MANUALLY_REVOKED,
) -> bool:
    """Change a connection's state, if the move is allowed (and, with `only_from`, starts from that state). Ending it
    also ends its links, and its open consent for the reason `consent_end`."""
    before = [one.value for one, after in CONNECTION_MOVES.items() if status in after and only_from in {None, one}]
    table = bank_connections.c
    ends = status is ConnectionStatus.ENDED
    moved = connection.execute(
        sa.update(bank_connections)
        .where(table.id == connection_id, table.status.in_(before))
        .values(
            status=status.value,
            status_reason=reason,
            ended_at=now if ends else None,
            lease_id=None,
            **({"next_due_at": now, "due_reason": "resumed"} if status is ConnectionStatus.ACTIVE else {}),
        )
    ).rowcount
    if moved and ends:
        links = sa.update(account_links).where(
            account_links.c.connection_id == connection_id, account_links.c.ended_at.is_(None)
        )
        connection.execute(links.values(ended_at=now))
        end_consent(connection, connection_id, consent_end, now=now)
    return bool(moved)


def save_consent(
    connection: Connection, keys: SubscriberKeys, claimed: Claimed, consent: SeenConsent, *, now: datetime
) -> None:
    """Save a consent's current state. Ended consents stay as history and are never reopened."""
    table = bank_consents.c
    found = connection.execute(
        sa.select(table.id).where(table.connection_id == claimed.id, table.ended_at.is_(None))
    ).one_or_none()
    expires = {"expires_at": consent.expires_at, "permissions": list(consent.permissions)}
    if found is None:
        made = uuid7()
        connection.execute(
            sa.insert(bank_consents),
            {
                "id": made,
                "entity_id": claimed.entity_id,
                "connection_id": claimed.id,
                "consent_encrypted": keys.seal(claimed.entity_id, table.consent_encrypted, made, consent.provider_id),
                "status": ConsentStatus.AUTHORISED.value,
                "granted_at": consent.granted_at or now,
                **expires,
            },
        )
    else:
        extended = table.expires_at.is_distinct_from(consent.expires_at)
        values = {**expires, "told_days": sa.case((extended, None), else_=table.told_days)}
        connection.execute(sa.update(bank_consents).where(table.id == found.id).values(values))
    if consent.ended is not None:
        end_consent(connection, claimed.id, consent.ended, now=now)


def end_consent(connection: Connection, connection_id: UUID, reason: ConsentEnd, *, now: datetime) -> None:
    """End the open consent of a connection."""
    table = bank_consents.c
    open_one = sa.update(bank_consents).where(table.connection_id == connection_id, table.ended_at.is_(None))
    connection.execute(open_one.values(status=ConsentStatus.REJECTED.value, ended_at=now, end_reason=reason.value))


def institutions(connection: Connection, connection_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The provider and bank of each connection, as text."""
    table = bank_connections.c
    listed = sa.select(table.id, table.provider, table.institution)
    query = listed.where(sa.text("bank_connections.id = ANY(cast(:ids AS uuid[]))"))
    rows = connection.execute(query, {"ids": [str(one) for one in connection_ids]}).all()
    return {row.id: f"{row.provider} {row.institution}" for row in rows}


@dataclass(frozen=True, kw_only=True)
class Secret:
    """The secret that deletes a connection at its provider."""

    id: UUID
    provider: Provider
    institution: str
    item: str = field(repr=False)


_LIVE = sa.text("""
SELECT c.id, c.entity_id, c.provider, c.institution, c.item_encrypted FROM kordant.bank_connections c
WHERE c.status <> 'ended' AND (c.id = :id OR c.entity_id = :id OR c.entity_id IN (
    SELECT e.id FROM kordant.entities e JOIN kordant.subscriptions s ON s.id = e.subscription_id
    WHERE s.subscriber_id = :id))
ORDER BY c.id
""")


def secrets_of(connection: Connection, keyring: Keyring, owner_id: UUID) -> list[Secret]:
    """The open connections of a subscriber or an entity, or the one with this id, with their secrets decrypted."""
    rows = connection.execute(_LIVE, {"id": owner_id}).all()
    if not rows:
        return []
    keys = load_keys(connection, keyring, [row.entity_id for row in rows])
    column = bank_connections.c.item_encrypted
    return [
        Secret(
            id=row.id,
            provider=Provider(row.provider),
            institution=row.institution,
            item=keys.open(row.entity_id, column, row.id, row.item_encrypted),
        )
        for row in rows
        if row.entity_id in keys
    ]
