"""Forgets a subscriber for good: rows, documents, mails, and the bytes that deleting leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.adapters.mail.maildir import MaildirTransport
from kordant_jobs.ports import ReportStorage
from kordant_jobs.store.people import subscribers
from kordant_jobs.store.people.scrub import Scrubbed, scrub
from kordant_jobs.store.people.subscribers import Erased
from kordant_jobs.store.reports import retention


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What is gone, and what could not be deleted yet: documents of a store that did not answer."""

    erased: Erased
    mails: int
    documents_left: int
    scrubbed: Scrubbed


def forget(subscriber_id: UUID, *, db: Engine, storage: ReportStorage, maildir: Path) -> Forgotten | None:
    """Delete everything that is kept of a subscriber. None when there is no such subscriber.

    The rows go in one transaction; from then on nothing of them can be read, also after a crash in what follows: a
    second call has nothing to do, and documents go with the next reports. Mails that an SMTP server took are theirs.
    """
    with db.begin() as connection:
        erased = subscribers.forget(connection, subscriber_id)
    if erased is None:
        return None
    mails = MaildirTransport(maildir).delete(erased.messages)
    left = retention.delete_documents(db, storage, erased.documents)
    return Forgotten(erased=erased, mails=mails, documents_left=left, scrubbed=scrub(db))
