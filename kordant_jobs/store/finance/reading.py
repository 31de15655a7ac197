"""Reads bank data for people: accounts with balances and their unexplained part, connections with their last
results."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.store.finance.entities import load_keys
from kordant_jobs.store.finance.tables import bank_accounts
from kordant_jobs.store.people.keyring import Keyring

_ACCOUNTS = sa.text("""
WITH said AS (
    SELECT b.account_id, b.amount, b.currency, b.as_of_at,
           (b.as_of_at AT TIME ZONE 'America/Sao_Paulo')::date AS day,
           row_number() OVER (PARTITION BY b.account_id ORDER BY b.as_of_at) AS first,
           row_number() OVER (PARTITION BY b.account_id ORDER BY b.as_of_at DESC) AS last
    FROM kordant.bank_balances b JOIN kordant.bank_accounts a ON a.id = b.account_id
    WHERE a.entity_id = :entity AND b.kind = 'current'
)
SELECT a.id, a.entity_id, a.kind, a.currency, a.number_encrypted, newest.amount AS balance, newest.as_of_at,
       l.resource_status, l.connection_id, booked.rows, booked.history_from,
       CASE WHEN newest.day > oldest.day THEN newest.amount - oldest.amount - booked.since END AS unexplained
FROM kordant.bank_accounts a
LEFT JOIN said newest ON newest.account_id = a.id AND newest.last = 1
LEFT JOIN said oldest ON oldest.account_id = a.id AND oldest.first = 1
LEFT JOIN kordant.account_links l ON l.account_id = a.id AND l.ended_at IS NULL AND l.is_primary
LEFT JOIN LATERAL (
    SELECT count(*) AS rows, min(t.booked_on) AS history_from,
           coalesce(sum(t.amount) FILTER (WHERE t.booked_on > oldest.day AND t.booked_on <= newest.day), 0) AS since
    FROM kordant.transactions t WHERE t.account_id = a.id AND t.state = 'posted') booked ON true
WHERE a.entity_id = :entity ORDER BY a.created_at, a.id
""")
"""`unexplained`: the change between the first and the last reported balance, less the rows booked on the days between.
It is shown as it is and never balanced by an invented row."""


def accounts(connection: Connection, keyring: Keyring, entity_id: UUID) -> list[dict[str, Any]]:
    """The accounts of an entity: kind, the number's last digits, balance, and its unexplained part."""
    keys = load_keys(connection, keyring, [entity_id])
    shown = []
    for row in connection.execute(_ACCOUNTS, {"entity": entity_id}).mappings():
        fields = {name: value for name, value in row.items() if name not in {"number_encrypted", "entity_id"}}
        number = ""
        if entity_id in keys:
            number = keys.open(entity_id, bank_accounts.c.number_encrypted, row["id"], row["number_encrypted"])
        shown.append({**fields, "number": f"…{number[-4:]}" if number else ""})
    return shown


_CONNECTIONS = sa.text("""
SELECT c.id, c.entity_id, c.provider, c.institution, c.status, c.status_reason, c.next_due_at, c.due_reason,
       c.last_complete_at, c.provider_data_as_of, c.consecutive_failures, k.expires_at AS consent_until,
       (SELECT count(*) FROM kordant.account_links l WHERE l.connection_id = c.id AND l.ended_at IS NULL) AS accounts,
       r.outcome AS last_outcome, r.error_class AS last_error, r.error_code AS last_code
FROM kordant.bank_connections c
LEFT JOIN kordant.bank_consents k ON k.connection_id = c.id AND k.ended_at IS NULL
LEFT JOIN LATERAL (SELECT * FROM kordant.sync_results s WHERE s.connection_id = c.id
                   ORDER BY s.ended_at DESC LIMIT 1) r ON true
WHERE (cast(:entity AS uuid) IS NULL OR c.entity_id = :entity) AND (cast(:id AS uuid) IS NULL OR c.id = :id)
  AND (cast(:status AS text) IS NULL OR c.status = :status)
ORDER BY c.next_due_at, c.id LIMIT :limit
""")


def connections(
    connection: Connection,
    *,
    entity_id: UUID | None = None,
    connection_id: UUID | None = None,
    status: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Connections, those due first at the top."""
    given = {"entity": entity_id, "id": connection_id, "status": status, "limit": limit}
    return [dict(row) for row in connection.execute(_CONNECTIONS, given).mappings()]


def results(connection: Connection, connection_id: UUID, *, limit: int = 20) -> list[dict[str, Any]]:
    """The last results of a connection."""
    query = sa.text("""
    SELECT ended_at, outcome, error_class, error_code, counts, data_as_of, duration_ms FROM kordant.sync_results
    WHERE connection_id = :id ORDER BY ended_at DESC LIMIT :limit
    """)
    return [dict(row) for row in connection.execute(query, {"id": connection_id, "limit": limit}).mappings()]


def runs(connection: Connection, *, since: datetime | None = None, limit: int = 20) -> Sequence[dict[str, Any]]:
    """The last sync runs: their counts {successful, failed, total}, and the deferred connections by reason."""
    query = sa.text("""
    SELECT id, started_at, ended_at, successful, failed, successful + failed AS total, active, deferred
    FROM kordant.sync_runs WHERE cast(:since AS timestamptz) IS NULL OR started_at >= :since
    ORDER BY started_at DESC LIMIT :limit
    """)
    return [dict(row) for row in connection.execute(query, {"since": since, "limit": limit}).mappings()]
