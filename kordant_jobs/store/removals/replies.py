"""Replies of brokers: which request they belong to, and what was read from them, sealed like an identifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.removals.replies import Reading
from kordant_jobs.store.people.keyring import Keyring, Sealed
from kordant_jobs.store.removals.tables import (
    removal_messages,
    removal_references,
    removal_replies,
    removal_requests,
)

REFERENCE = "removal-case"


@dataclass(frozen=True, kw_only=True)
class Match:
    """The request that a mail belongs to, and how that was seen."""

    request: Any
    by: str


def match(
    connection: Connection,
    keyring: Keyring,
    *,
    tokens: Sequence[str],
    answers: Sequence[UUID],
    case_numbers: Sequence[str],
    sender_domain: str,
) -> Match | None:
    """Find the request by its address, else by the message of ours that is answered, else by the broker's case number
    (which counts only from the domain that gave it)."""
    table = removal_requests.c
    if tokens:
        query = sa.select(removal_requests).where(table.address_token.in_(tokens))
        if (row := connection.execute(query).first()) is not None:
            return Match(request=row, by="address")
    if answers:
        query = sa.select(removal_requests).join(removal_messages, removal_messages.c.request_id == table.id)
        if (row := connection.execute(query.where(removal_messages.c.id.in_(answers))).first()) is not None:
            return Match(request=row, by="thread")
    indexes = _indexes(keyring, case_numbers, sender_domain)
    if indexes:
        query = sa.select(removal_requests).join(removal_references, removal_references.c.request_id == table.id)
        rows = connection.execute(query.where(removal_references.c.reference_index.in_(indexes)).distinct()).all()
        if len(rows) == 1:
            return Match(request=rows[0], by="case_number")
    return None


def _indexes(keyring: Keyring, numbers: Sequence[str], domain: str) -> list[bytes]:
    return keyring.blind_indexes(REFERENCE, [f"{domain} {one}" for one in numbers]) if domain and numbers else []


@dataclass(frozen=True, kw_only=True)
class NewReply:
    """A reply as it is kept. `link` is one that waits to be followed."""

    match: Match
    message_key: str = field(repr=False)
    sender_domain: str
    is_own_domain: bool
    reading: Reading
    text: str = field(repr=False)
    link: str | None = field(default=None, repr=False)
    moved: bool
    needs_person: bool
    received_at: datetime


def is_known(connection: Connection, keyring: Keyring, message_key: str) -> bool:
    """Whether this very mail was taken before."""
    key = keyring.blind_index("removal-mail", message_key)
    query = sa.select(removal_replies.c.id).where(removal_replies.c.dedupe_key == key)
    return connection.execute(query).first() is not None


def write(connection: Connection, keyring: Keyring, reply: NewReply) -> UUID | None:
    """Keep a reply, sealed with its subscriber's key; None when it was kept before.

    Raises:
        KeyringError: the subscriber was forgotten.
    """
    request, row_id = reply.match.request, uuid4()
    keys = keyring.load_keys(connection, [request.subscriber_id], for_writing=True)

    def sealed(name: str, text: str | None) -> bytes | None:
        return keys.seal(request.subscriber_id, removal_replies.c[name], row_id, text) if text else None

    statement = insert(removal_replies).values(
        **{"class": reply.reading.reply_class.value},
        id=row_id,
        request_id=request.id,
        subscriber_id=request.subscriber_id,
        dedupe_key=keyring.blind_index("removal-mail", reply.message_key),
        matched_by=reply.match.by,
        sender_domain=reply.sender_domain,
        is_own_domain=reply.is_own_domain,
        detail=reply.reading.detail,
        rule=reply.reading.rule,
        sentence_encrypted=sealed("sentence_encrypted", reply.reading.sentence),
        text_encrypted=sealed("text_encrypted", reply.text),
        link_encrypted=sealed("link_encrypted", reply.link),
        moved=reply.moved,
        needs_person=reply.needs_person,
        received_at=reply.received_at,
    )
    written = connection.execute(statement.on_conflict_do_nothing().returning(removal_replies.c.id)).scalar()
    if written is None:
        return None
    rows = [
        {"reference_index": index, "request_id": request.id}
        for index in _indexes(keyring, reply.reading.case_numbers, reply.sender_domain)
    ]
    if rows:
        connection.execute(insert(removal_references).on_conflict_do_nothing(), rows)
    return row_id


def waiting_links(connection: Connection, keyring: Keyring, broker_ids: Sequence[UUID]) -> list[tuple[Any, str]]:
    """Replies to requests at these brokers whose confirmation link waits, with the link in clear."""
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
    return [
        (row, keys.open(Sealed(subscriber_id=row.subscriber_id, column=column, row_id=row.id, sealed=bytes(row[1]))))
        for row in rows
        if row.subscriber_id in keys
    ]


def take_link(connection: Connection, reply_id: UUID, request_id: UUID) -> None:
    """A link is about to be followed: never again, and the request counts it."""
    connection.execute(sa.update(removal_replies).where(removal_replies.c.id == reply_id).values(link_encrypted=None))
    table = removal_requests.c
    connection.execute(
        sa.update(removal_requests).where(table.id == request_id).values(links_followed=table.links_followed + 1)
    )


def for_a_person(connection: Connection, limit: int = 100) -> list[Any]:
    """Replies that a person has to read, the oldest first."""
    table = removal_replies.c
    query = sa.select(removal_replies).where(table.needs_person).order_by(table.received_at).limit(limit)
    return list(connection.execute(query))


def opened(connection: Connection, keyring: Keyring, reply_id: UUID) -> tuple[Any, str, str] | None:
    """A reply with its deciding sentence and its text in clear; None when there is none."""
    row = connection.execute(sa.select(removal_replies).where(removal_replies.c.id == reply_id)).one_or_none()
    if row is None:
        return None
    keys = keyring.load_keys(connection, [row.subscriber_id])

    def plain(name: str) -> str:
        sealed = getattr(row, name)
        if sealed is None:
            return ""
        place = Sealed(
            subscriber_id=row.subscriber_id, column=removal_replies.c[name], row_id=row.id, sealed=bytes(sealed)
        )
        return keys.open(place)

    return row, plain("sentence_encrypted"), plain("text_encrypted")


def settle(connection: Connection, reply_id: UUID, reply_class: str) -> None:
    """A person read the reply and says what it is."""
    update = sa.update(removal_replies).where(removal_replies.c.id == reply_id)
    connection.execute(update.values({"class": reply_class, "rule": "a person", "needs_person": False}))
