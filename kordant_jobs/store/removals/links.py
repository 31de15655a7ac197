"""The links for a subscriber about one request: the page to open, and the signed link that reports 'done'."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.removals.brokers import prefilled
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.removals import profiles
from kordant_jobs.store.removals.tables import removal_requests

DONE = "removal form done"


def token_of(keyring: Keyring, purpose: str, request_id: UUID) -> str:
    """The token that makes a request's address unguessable; each purpose has its own."""
    return keyring.sign(purpose, request_id.bytes).hex()


def done_link(keyring: Keyring, public_url: str, request_id: UUID) -> str:
    """The signed address at which the subscriber reports that they did what the broker wanted."""
    return f"{public_url.rstrip('/')}/removals/{request_id}/done/{token_of(keyring, DONE, request_id)}"


def keep_verification(connection: Connection, keyring: Keyring, request: Any, page: str | None) -> None:
    """Store the page on which the subscriber proves their identity, encrypted with their key; None: there is no such
    page any more.

    Raises:
        KeyringError: the subscriber was forgotten.
    """
    if page is None and request.verification_encrypted is None:
        return
    sealed = None
    if page is not None:
        keys = keyring.load_keys(connection, [request.subscriber_id], for_writing=True)
        sealed = keys.seal(request.subscriber_id, removal_requests.c.verification_encrypted, request.id, page)
    update = sa.update(removal_requests).where(removal_requests.c.id == request.id)
    connection.execute(update.values(verification_encrypted=sealed))


def page_for(
    keys: SubscriberKeys,
    *,
    request_id: UUID,
    subscriber_id: UUID,
    state: str,
    sealed: bytes | None,
    facts: Mapping[str, Any],
    details: Mapping[str, str],
) -> str:
    """The page for the subscriber of a request: the one to prove their identity, else the broker's form, prefilled
    where its recipe allows; empty where none is known. `sealed` is the former, `facts` are the broker's."""
    if state == RemovalState.NEEDS_IDENTITY and sealed is not None:
        column = removal_requests.c.verification_encrypted
        return keys.open(subscriber_id, column, request_id, sealed)
    template = facts["recipe"].get("prefill")
    filled = prefilled(template, details, year=datetime.now(UTC).year) if template else None
    return filled or str(facts["opt_out_url"])


def page_of(connection: Connection, keyring: Keyring, request: Any, facts: Mapping[str, Any]) -> str:
    """The page for a row of a request, as `page_for`."""
    keys = keyring.load_keys(connection, [request.subscriber_id])
    person = profiles.load(connection, keys, [request.subscriber_id]).get(request.subscriber_id)
    return page_for(
        keys,
        request_id=request.id,
        subscriber_id=request.subscriber_id,
        state=request.state,
        sealed=request.verification_encrypted,
        facts=facts,
        details=person.details if person else {},
    )
