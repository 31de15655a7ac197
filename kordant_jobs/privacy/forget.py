"""Forgets a subscriber or an entity for good: rows, documents, mails, connections at bank providers, and the bytes that
deleted rows leave in files.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.banks.registry import Banks
from kordant_jobs.adapters.mail.maildir import MaildirTransport
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.errors import PermanentError, TransientError
from kordant_jobs.ports import BankFailed, ReportStorage
from kordant_jobs.store.finance import connections, entities
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.scrub import Scrubbed, scrub
from kordant_jobs.store.people.subscribers import Erased
from kordant_jobs.store.reports import retention
from kordant_jobs.store.retention.holds import owners_held

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ForgetSummary:
    """The counts of deleted data, and of documents that could not be deleted yet, in a store that did not answer."""

    erased: Erased
    mails: int
    documents_left: int
    scrubbed: Scrubbed


def forget(
    subscriber_id: UUID, *, db: Engine, keyring: Keyring, banks: Banks, storage: ReportStorage, maildir: Path
) -> ForgetSummary | None:
    """Delete all data of a subscriber; their bank connections are first deleted at the providers, so that these stop
    gathering data. None when there is no such subscriber.

    The rows are deleted in one transaction; from then on none of their data can be read, even after a crash in the
    later steps: a second call has nothing to do, and documents are deleted with the next reports. Mails that an SMTP
    server accepted are out of our reach.

    Raises:
        PermanentError: something of them is on legal hold; nothing was deleted.
        TransientError: a provider did not delete a connection; nothing was deleted here. Try again.
    """
    found = _erase(subscriber_id, db=db, keyring=keyring, banks=banks, storage=storage, maildir=maildir)
    if found is None:
        return None
    erased, mails, left = found
    return ForgetSummary(erased=erased, mails=mails, documents_left=left, scrubbed=scrub(db))


def forget_all(
    subscriber_ids: Sequence[UUID],
    *,
    db: Engine,
    keyring: Keyring,
    banks: Banks,
    storage: ReportStorage,
    maildir: Path,
) -> Iterator[float]:
    """Forget several, one after the other. Yields the seconds for each that existed. The bytes of deleted keys are
    scrubbed once, at the end. Those put on hold in the meantime, and those with a connection that a provider did not
    delete, are left for the next time."""
    scrubs = False
    for one in subscriber_ids:
        began = time.monotonic()
        try:
            done = _erase(one, db=db, keyring=keyring, banks=banks, storage=storage, maildir=maildir)
        except (PermanentError, TransientError) as why:
            log.warning("%s was not forgotten: %s", one, why)
            continue
        if done is not None:
            scrubs = True
            yield time.monotonic() - began
    if scrubs:
        scrub(db)


def _erase(
    subscriber_id: UUID, *, db: Engine, keyring: Keyring, banks: Banks, storage: ReportStorage, maildir: Path
) -> tuple[Erased, int, int] | None:
    with db.connect() as connection:
        _refuse_held(connection, subscriber_id)
    end_at_provider(subscriber_id, db=db, keyring=keyring, banks=banks)
    with db.begin() as connection:
        _refuse_held(connection, subscriber_id)
        erased = subscribers.forget(connection, subscriber_id)
    if erased is None:
        return None
    mails = MaildirTransport(maildir).delete(erased.messages)
    return erased, mails, retention.delete_documents(db, storage, erased.documents)


def forget_entity(entity_id: UUID, *, db: Engine, keyring: Keyring, banks: Banks) -> dict[str, int] | None:
    """Delete an entity: first its connections at their providers, then its key and rows. Returns the number of deleted
    rows by table; None when there is no such entity.

    Raises:
        PermanentError: something of it is on legal hold; nothing was deleted.
        TransientError: a provider did not delete a connection; nothing was deleted here. Try again.
    """
    with db.connect() as connection:
        _refuse_held(connection, entity_id)
    end_at_provider(entity_id, db=db, keyring=keyring, banks=banks)
    with db.begin() as connection:
        _refuse_held(connection, entity_id)
        deleted = entities.forget(connection, entity_id)
    if deleted is not None:
        scrub(db)
    return deleted


def _refuse_held(connection: Connection, owner_id: UUID) -> None:
    if owners_held(connection, [owner_id]):
        raise PermanentError(
            f"something of {owner_id} is on legal hold, so nothing was deleted. `cleanup hold list` shows it; "
            "release it first, or refuse the request with that reason (GDPR art. 17(3), LGPD art. 16)."
        )


def end_at_provider(owner_id: UUID, *, db: Engine, keyring: Keyring, banks: Banks) -> int:
    """Delete the live connections of a subscriber or an entity, or the one with this id, at their providers. Returns
    their number. Safe to repeat; our own rows stay unchanged.

    Raises:
        TransientError: a provider did not delete one, or is not configured here. Earlier ones are deleted; try again.
    """
    with db.connect() as connection:
        live = [one for one in connections.secrets_of(connection, keyring, owner_id) if one.provider != Provider.FILE]
    for one in live:
        bank = banks.on.get(one.provider)
        if bank is None:
            raise TransientError(f"connection {one.id}: {banks.off.get(one.provider, 'its provider is off')}.")
        try:
            asyncio.run(bank.end(one.item, one.institution))
        except BankFailed as failure:
            raise TransientError(f"connection {one.id} was not deleted at {one.provider}: {failure.code}.") from None
    return len(live)
