"""Saves providers' webhooks, each once, and makes their connection due. A webhook's content is only a hint: the state
is read again from the provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.states import ConnectionStatus, Provider
from kordant_jobs.store.finance import connections
from kordant_jobs.store.finance.rows import alias_hash
from kordant_jobs.store.people.keyring import Keyring

EVENT = "bank-webhook"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A provider's webhook: its connection, the rows it reports as deleted, and whether the owner has acted."""

    event_id: str
    event: str
    item: str
    deleted: Sequence[str] = ()
    user_acted: bool = False


_KEEP = sa.text("""
WITH ours AS (
    SELECT id FROM kordant.bank_connections
    WHERE provider = :provider AND item_index = :item ORDER BY (status <> 'ended') DESC, created_at DESC LIMIT 1
)
INSERT INTO kordant.webhook_events (id, provider, event_key, event, connection_id, removed_aliases, received_at)
VALUES (:id, :provider, :key, :event, (SELECT id FROM ours), cast(:aliases AS bytea[]), :now)
ON CONFLICT (provider, event_key) DO NOTHING RETURNING connection_id
""")


def take(connection: Connection, keyring: Keyring, provider: Provider, webhook: Webhook, *, now: datetime) -> bool:
    """Save a webhook in the caller's transaction, and make its connection due. False: it came before, or belongs to no
    connection of ours."""
    given = {
        "id": uuid7(),
        "provider": provider.value,
        "key": keyring.blind_index(EVENT, f"{provider}|{webhook.event_id}"),
        "event": webhook.event[:60],
        "item": connections.item_index(keyring, provider, webhook.item),
        "aliases": [alias_hash(keyring, provider, one) for one in webhook.deleted],
        "now": now,
    }
    row = connection.execute(_KEEP, given).one_or_none()
    if row is None or row.connection_id is None:
        return False
    if webhook.user_acted:
        connections.set_status(
            connection,
            row.connection_id,
            ConnectionStatus.ACTIVE,
            reason=webhook.event,
            now=now,
            only_from=ConnectionStatus.NEEDS_USER,  # one that an operator paused stays so
        )
    return connections.make_due(connection, [row.connection_id], now=now, reason="webhook") > 0
