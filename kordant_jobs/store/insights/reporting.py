"""Reads insights for reports: open insights of a subscription's entities, with payees' lines still encrypted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.store.finance import entities
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

# A forecast about a day repeats, as news, what the one of 30 days says.
_LINES = sa.text("""
SELECT e.subscription_id, i.entity_id, i.kind, i.facts, i.unknown_reason, t.id AS line_id, t.description_encrypted
FROM kordant.insights i
JOIN kordant.entities e ON e.id = i.entity_id
LEFT JOIN kordant.transactions t ON t.id = i.evidence[array_upper(i.evidence, 1)]
WHERE e.subscription_id = ANY(:ids) AND i.status IN ('new', 'seen')
  AND (i.kind NOT IN ('cash_flow', 'fees') OR i.dedup_key <= to_char(cast(:end AS date) - 1, 'YYYY-MM'))
  AND (i.about_on IS NULL OR i.kind IN ('recurring', 'income')
       OR (i.kind <> 'forecast' AND i.about_on >= :start AND i.about_on < :end))
ORDER BY i.entity_id, i.kind, i.dedup_key
""")


@dataclass(frozen=True, kw_only=True)
class MoneyFacts:
    """The lines by subscription, and the encrypted payees' lines."""

    lines: Mapping[UUID, Sequence[Mapping[str, Any]]]
    sealed: Mapping[UUID, tuple[UUID, bytes]]
    """The owner and the ciphertext, by line."""
    keys: SubscriberKeys

    def payee_line(self, line_id: UUID) -> str | None:
        """The decrypted statement line with this id; None where none is stored."""
        owner, ciphertext = self.sealed.get(line_id, (None, None))
        if owner is None or owner not in self.keys:
            return None
        return self.keys.open(owner, transactions.c.description_encrypted, line_id, ciphertext)


def money_facts(
    connection: Connection, keyring: Keyring, subscription_ids: Sequence[UUID], *, start: date, end: date
) -> MoneyFacts:
    """The insights for reports of a period: months up to its last day, recurring payments, forecasts, and events within
    `start` ≤ day < `end`."""
    given = {"ids": list(subscription_ids), "start": start, "end": end}
    rows = [dict(row) for row in connection.execute(_LINES, given).mappings()]
    lines: dict[UUID, list[Mapping[str, Any]]] = {}
    sealed: dict[UUID, tuple[UUID, bytes]] = {}
    for row in rows:
        ciphertext, line_id = row.pop("description_encrypted"), row["line_id"]
        if ciphertext is not None:
            sealed[line_id] = (row["entity_id"], ciphertext)
        lines.setdefault(row.pop("subscription_id"), []).append(row)
    keys = entities.load_keys(connection, keyring, sorted({row["entity_id"] for row in rows}))
    return MoneyFacts(lines=lines, sealed=sealed, keys=keys)
