"""The content of notifications of findings, still encrypted. The outbox claims and marks them."""

import json
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.notifications.pending import PropertyRow
from kordant_jobs.domain.property.instruments import Role
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property.tables import property_instruments

_ROWS = f"""
SELECT {outbox.NOTICE_COLUMNS}, a.severity, o.alert_id, wp.id AS watch_id, wp.parcel_encrypted,
       wp.removed_at AS watch_removed_at, f.dismissed_at, coalesce(cs.name, wp.county) AS county,
       coalesce(cs.recorder_url, '') AS recorder_url, cs.data_as_of, f.event, f.reasons, i.code, i.key, i.number,
       i.amount, i.recorded_on, a.created_at AS alerted_at, i.id AS instrument_id, i.parties_encrypted,
       b.id AS before_id, b.parties_encrypted AS before_parties_encrypted
FROM kordant.notification_outbox o
JOIN kordant.alerts a ON a.id = o.alert_id
JOIN kordant.property_findings f ON f.id = a.finding_id
JOIN kordant.watched_properties wp ON wp.id = f.watch_id
JOIN kordant.property_instruments i ON i.id = f.instrument_id
LEFT JOIN kordant.county_states cs ON cs.county = wp.county
LEFT JOIN kordant.property_instruments b ON b.county = i.county AND b.key = f.before_key
{outbox.NOTICE_JOINS}
WHERE o.id = ANY(cast(:ids AS uuid[]))
ORDER BY o.due_at, o.id
"""  # noqa: S608 - put together from constants

_TAKERS = frozenset({Role.GRANTEE, Role.LENDER, Role.CLAIMANT, Role.ATTORNEY, Role.NEW_LENDER, Role.LIFE_TENANT})


def notices(connection: Connection, ids: Sequence[UUID]) -> list[PropertyRow]:
    """The content of the notifications among `ids` that are about findings, the longest due first."""
    rows = connection.execute(sa.text(_ROWS), {"ids": [str(one) for one in ids]})
    return [PropertyRow(**row._mapping) for row in rows]


def parties(keyring: Keyring, instrument_id: UUID, sealed: bytes | None) -> tuple[list[str], list[str]]:
    """The names in an instrument: the givers, and the takers.

    Raises:
        KeyringError: it was sealed with another key.
    """
    if sealed is None:
        return [], []
    text = keyring.open_record(property_instruments.c.parties_encrypted, instrument_id, bytes(sealed))
    named = json.loads(text)
    return [name for role, name in named if role not in _TAKERS], [name for role, name in named if role in _TAKERS]
