"""Brokers' replies: the request that they belong to, and their content, encrypted like an identifier."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.removals.brokers import MAIL_HOSTS
from kordant_jobs.domain.removals.replies import Reading
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.removals.tables import (
    removal_messages,
    removal_references,
    removal_replies,
    removal_requests,
)

REFERENCE = "removal-case"
UNREAD = "EXISTS (SELECT FROM kordant.removal_replies p WHERE p.request_id = r.id AND p.needs_person)"
"""True of a request `r` while a reply to it waits for a person: what the broker said before may not be so any more."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The facts that identify a mail's request; `place` identifies the mail in the result."""

    place: int
    tokens: Sequence[str] = ()
    answers: Sequence[UUID] = ()
    case_numbers: Sequence[str] = ()
    sender_domain: str = ""


@dataclass(frozen=True, kw_only=True)
class Match:
    """The request that a mail belongs to, and how it was found."""

    request_id: UUID
    subscriber_id: UUID
    by: str


def match(connection: Connection, keyring: Keyring, asked: Sequence[Question]) -> dict[int, Match]:
    """Find the request of each mail, by place: by its address, else by our message that it answers, else by the
    broker's case number (valid only from the domain that gave it, and when it gave it for one request). Mails without a
    request are left out."""
    table = removal_requests.c
    columns = (table.id, table.subscriber_id)
    indexes: dict[int, Sequence[Any]] = {
        one.place: _indexes(keyring, one.case_numbers, one.sender_domain) for one in asked
    }
    ways: list[tuple[str, dict[int, Sequence[Any]], sa.Select[Any]]] = [
        ("address", {one.place: one.tokens for one in asked}, sa.select(table.address_token, *columns)),
        (
            "thread",
            {one.place: one.answers for one in asked},
            sa.select(removal_messages.c.id, *columns).join(
                removal_messages, removal_messages.c.request_id == table.id
            ),
        ),
        (
            "case_number",
            indexes,
            sa.select(removal_references.c.reference_index, *columns).join(
                removal_references, removal_references.c.request_id == table.id
            ),
        ),
    ]
    found: dict[int, Match] = {}
    for by, values, query in ways:
        left = {place: keys for place, keys in values.items() if keys and place not in found}
        if not left:
            continue
        wanted = {key for keys in left.values() for key in keys}
        key_column = query.selected_columns[0]
        named: dict[Any, list[tuple[UUID, UUID]]] = {}
        for row in connection.execute(query.where(key_column.in_(wanted))):
            named.setdefault(_key(row[0]), []).append((row[1], row[2]))
        for place, keys in left.items():
            owners = list(dict.fromkeys(owner for key in keys for owner in named.get(key, ())))
            if owners and (by != "case_number" or len(owners) == 1):
                found[place] = Match(request_id=owners[0][0], subscriber_id=owners[0][1], by=by)
    return found


def _key(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _indexes(keyring: Keyring, numbers: Sequence[str], domain: str) -> list[bytes]:
    """None for a domain that is shared by all: its case numbers may be of another broker."""
    if not domain or domain in MAIL_HOSTS or not numbers:
        return []
    return keyring.blind_indexes(REFERENCE, [f"{domain} {one}" for one in numbers])


@dataclass(frozen=True, kw_only=True)
class NewReply:
    """A reply to store. `link` is a confirmation link to be followed."""

    id: UUID = field(default_factory=uuid7)
    request_id: UUID
    subscriber_id: UUID
    matched_by: str
    message_key: str = field(repr=False)
    sender_domain: str
    is_own_domain: bool
    reading: Reading
    text: str = field(repr=False)
    link: str | None = field(default=None, repr=False)
    moved: bool
    needs_person: bool
    received_at: datetime


def write(connection: Connection, keyring: Keyring, keys: SubscriberKeys, fresh: Sequence[NewReply]) -> set[UUID]:
    """Store replies, encrypted with their subscribers' keys. Returns the ids of new ones."""
    if not fresh:
        return set()

    def sealed(reply: NewReply, name: str, text: str | None) -> bytes | None:
        return keys.seal(reply.subscriber_id, removal_replies.c[name], reply.id, text) if text else None

    rows = [
        {
            "id": one.id,
            "request_id": one.request_id,
            "subscriber_id": one.subscriber_id,
            "dedupe_key": keyring.blind_index("removal-mail", one.message_key),
            "matched_by": one.matched_by,
            "sender_domain": one.sender_domain,
            "is_own_domain": one.is_own_domain,
            "class": one.reading.reply_class.value,
            "detail": one.reading.detail,
            "rule": one.reading.rule,
            "sentence_encrypted": sealed(one, "sentence_encrypted", one.reading.sentence),
            "text_encrypted": sealed(one, "text_encrypted", one.text),
            "link_encrypted": sealed(one, "link_encrypted", one.link),
            "moved": one.moved,
            "needs_person": one.needs_person,
            "received_at": one.received_at,
        }
        for one in fresh
    ]
    statement = insert(removal_replies).on_conflict_do_nothing().returning(removal_replies.c.id)
    written = set(connection.execute(statement, rows).scalars())
    references = [
        {"reference_index": index, "request_id": one.request_id}
        for one in fresh
        if one.id in written
        for index in _indexes(keyring, one.reading.case_numbers, one.sender_domain)
    ]
    if references:
        connection.execute(insert(removal_references).on_conflict_do_nothing(), references)
    return written


def waiting_links(connection: Connection, keyring: Keyring, broker_ids: Sequence[UUID]) -> list[tuple[Any, str]]:
    """Replies to requests at these brokers with a confirmation link to follow, and the decrypted link."""
    query = (
        sa.select(
            removal_replies.c.id,
            removal_replies.c.link_encrypted,
            removal_requests.c.id.label("request_id"),
            removal_requests.c.subscriber_id,
            removal_requests.c.broker_id,
            removal_requests.c.state,
            removal_requests.c.links_followed,
        )
        .join(removal_requests, removal_requests.c.id == removal_replies.c.request_id)
        .where(removal_requests.c.broker_id.in_(broker_ids), removal_replies.c.link_encrypted.is_not(None))
        .with_for_update(of=removal_replies, skip_locked=True)
    )
    rows = connection.execute(query).all()
    keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
    column = removal_replies.c.link_encrypted
    return [(row, keys.open(row.subscriber_id, column, row.id, row[1])) for row in rows if row.subscriber_id in keys]


_TAKE_LINKS = """
WITH taken AS (
    UPDATE kordant.removal_replies SET link_encrypted = NULL WHERE id = ANY(cast(:ids AS uuid[])) RETURNING request_id
)
UPDATE kordant.removal_requests r SET links_followed = r.links_followed + t.links
FROM (SELECT request_id, count(*) AS links FROM taken GROUP BY 1) t WHERE r.id = t.request_id
"""


def take_links(connection: Connection, reply_ids: Sequence[UUID]) -> None:
    """Record that links are about to be followed: they are never followed again, and their requests count them."""
    if reply_ids:
        connection.execute(sa.text(_TAKE_LINKS), {"ids": [str(one) for one in reply_ids]})


def for_a_person(connection: Connection, limit: int = 100) -> list[Any]:
    """Replies that a person has to read, the oldest first."""
    table = removal_replies.c
    query = sa.select(removal_replies).where(table.needs_person).order_by(table.received_at).limit(limit)
    return list(connection.execute(query))


def opened(connection: Connection, keyring: Keyring, reply_id: UUID) -> tuple[Any, str, str] | None:
    """A reply with its deciding sentence and its text, decrypted; None when there is none."""
    row = connection.execute(sa.select(removal_replies).where(removal_replies.c.id == reply_id)).one_or_none()
    if row is None:
        return None
    keys = keyring.load_keys(connection, [row.subscriber_id])

    def plain(name: str) -> str:
        return keys.open(row.subscriber_id, removal_replies.c[name], row.id, getattr(row, name))

    return row, plain("sentence_encrypted"), plain("text_encrypted")


def settle(connection: Connection, reply_id: UUID, reply_class: str) -> None:
    """Record the class that a person gave to the reply."""
    update = sa.update(removal_replies).where(removal_replies.c.id == reply_id)
    connection.execute(update.values({"class": reply_class, "rule": "a person", "needs_person": False}))
