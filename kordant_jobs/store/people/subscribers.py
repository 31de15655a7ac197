"""Subscribers, their subscriptions and watchlists: written in bulk, and forgotten one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.identifiers import IdentifierKind, kept, sha1_hex
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscribers, watchlist_items


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """An identifier to watch, in its canonical form."""

    id: UUID
    kind: str
    canonical: str
    verified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewSubscriber:
    """A subscriber with one subscription and its watchlist, unencrypted: pass this value only to `add`."""

    id: UUID
    subscription_id: UUID
    tier: str
    locale: str
    time_zone: str
    name: str
    contact: str
    created_at: datetime
    items: tuple[NewItem, ...]


def add(connection: Connection, people: Sequence[NewSubscriber], keyring: Keyring) -> None:
    """Write subscribers in bulk, each encrypted with a new key of their own."""
    if not people:
        return
    people_rows = [(str(person.id), person.created_at) for person in people]
    write_frame(connection, _frame(people_rows, ["id", "created_at"]), "kordant.subscribers")
    keys = keyring.create_keys(connection, [person.id for person in people])
    connection.execute(sa.text("CREATE TEMP TABLE sealed (id uuid, name bytea, contact bytea) ON COMMIT DROP"))
    sealed = [
        (
            str(p.id),
            keys.seal(p.id, subscribers.c.name_encrypted, p.id, p.name),
            keys.seal(p.id, subscribers.c.contact_encrypted, p.id, p.contact),
        )
        for p in people
    ]
    write_frame(connection, _frame(sealed, ["id", "name", "contact"]), "sealed")
    connection.execute(
        sa.text(
            "UPDATE kordant.subscribers s SET name_encrypted = x.name, contact_encrypted = x.contact "
            "FROM sealed x WHERE x.id = s.id"
        )
    )
    plans = [(str(p.subscription_id), str(p.id), p.tier, p.locale, p.time_zone, p.created_at) for p in people]
    columns = ["id", "subscriber_id", "tier", "locale", "time_zone", "started_at"]
    write_frame(connection, _frame(plans, columns), "kordant.subscriptions")
    items = [
        (
            str(item.id),
            str(person.subscription_id),
            str(person.id),
            item.kind,
            keys.seal(
                person.id,
                watchlist_items.c.identifier_encrypted,
                item.id,
                kept(IdentifierKind(item.kind), item.canonical),
            ),
            keyring.blind_index(item.kind, item.canonical),
            keyring.range_index(sha1_hex(item.canonical)) if item.kind == IdentifierKind.EMAIL else None,
            item.verified_at,
            item.created_at,
        )
        for person in people
        for item in person.items
    ]
    columns = ["id", "subscription_id", "subscriber_id", "kind", "identifier_encrypted", "blind_index", "range_index"]
    write_frame(connection, _frame(items, [*columns, "verified_at", "created_at"]), "kordant.watchlist_items")


def _frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(columns), orient="row", infer_schema_length=None)


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The result of `forget`: the counts of what it deleted, and what must be deleted elsewhere: ids of messages, keys
    of documents."""

    identifiers: int
    exposures: int
    alerts: int
    voices: int
    clips: int
    consents: int
    messages: tuple[UUID, ...]
    documents: tuple[str, ...]


_ERASED = """
SELECT (SELECT count(*) FROM kordant.watchlist_items WHERE subscriber_id = :id) AS identifiers,
       (SELECT count(*) FROM kordant.exposures e JOIN kordant.watchlist_items i ON i.id = e.item_id
        WHERE i.subscriber_id = :id) AS exposures,
       (SELECT count(*) FROM kordant.alerts a JOIN kordant.subscriptions s ON s.id = a.subscription_id
        WHERE s.subscriber_id = :id) AS alerts,
       (SELECT count(*) FROM kordant.voice_enrolments WHERE subscriber_id = :id) AS voices,
       (SELECT count(*) FROM kordant.analysis_jobs WHERE subscriber_id = :id) AS clips,
       (SELECT count(*) FROM kordant.voice_consents WHERE subscriber_id = :id) AS consents,
       ARRAY(SELECT DISTINCT coalesce(o.mail_id, o.id) FROM kordant.notification_outbox o
             JOIN kordant.subscriptions s ON s.id = o.subscription_id WHERE s.subscriber_id = :id
             UNION SELECT m.id FROM kordant.removal_messages m
             JOIN kordant.removal_requests r ON r.id = m.request_id WHERE r.subscriber_id = :id) AS messages,
       ARRAY(SELECT DISTINCT r.storage_key FROM kordant.reports r JOIN kordant.subscriptions s
             ON s.id = r.subscription_id WHERE s.subscriber_id = :id) AS documents
"""


_OWNED = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'kordant' AND c.column_name = 'subscriber_id' AND t.table_type = 'BASE TABLE' ORDER BY 1
"""
"""Every table with an owner column, of any area."""


def correct(connection: Connection, keyring: Keyring, subscriber_id: UUID, said: Mapping[str, str]) -> None:
    """Write a new name or contact, as given in `said`; the former value is overwritten."""
    keys = keyring.load_keys(connection, [subscriber_id], for_writing=True)
    columns = {"name": subscribers.c.name_encrypted, "contact": subscribers.c.contact_encrypted}
    sealed = {
        columns[word]: keys.seal(subscriber_id, columns[word], subscriber_id, text) for word, text in said.items()
    }
    connection.execute(sa.update(subscribers).where(subscribers.c.id == subscriber_id).values(sealed))


def forget(connection: Connection, subscriber_id: UUID) -> Erased | None:
    """Delete all rows of a subscriber: keys, identifiers, addresses, exposures, alerts, messages, reports. Only their
    id and the time remain, so that a second call, or a late event, finds no personal data. None when there is no such
    subscriber, or they were forgotten before."""
    table = subscribers.c
    known = sa.select(table.id).where(table.id == subscriber_id, table.forgotten_at.is_(None)).with_for_update()
    if connection.execute(known).first() is None:
        return None
    row = connection.execute(sa.text(_ERASED), {"id": subscriber_id}).one()
    for owned in connection.execute(sa.text(_OWNED)).scalars().all():  # what hangs on these goes with them
        connection.execute(sa.text(f'DELETE FROM kordant."{owned}" WHERE subscriber_id = :id'), {"id": subscriber_id})  # noqa: S608 - names of ours
    emptied = sa.update(subscribers).where(table.id == subscriber_id)
    connection.execute(emptied.values(forgotten_at=sa.func.now(), name_encrypted=None, contact_encrypted=None))
    return Erased(
        identifiers=row.identifiers,
        exposures=row.exposures,
        alerts=row.alerts,
        voices=row.voices,
        clips=row.clips,
        consents=row.consents,
        messages=tuple(row.messages),
        documents=tuple(row.documents),
    )


_ENDED = """
SELECT b.id FROM kordant.subscribers b JOIN kordant.subscriptions s ON s.subscriber_id = b.id
WHERE b.forgotten_at IS NULL GROUP BY b.id
HAVING bool_and(s.status = 'cancelled') AND max(s.ended_at) < :before ORDER BY b.id
"""


def ended_before(connection: Connection, before: datetime) -> list[UUID]:
    """Subscribers whose subscriptions had all ended by then."""
    return list(connection.execute(sa.text(_ENDED), {"before": before}).scalars())


def count_known(connection: Connection) -> int:
    """The number of subscribers that were not forgotten."""
    query = sa.select(sa.func.count()).where(subscribers.c.forgotten_at.is_(None))
    return connection.execute(query).scalar_one()
