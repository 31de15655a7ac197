"""Previews a notification for an operator: the real text, without the name and the address."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection

from kordant_jobs.errors import SettingsError
from kordant_jobs.jobs.notifications_send.bundle import Bundle, Opened
from kordant_jobs.jobs.notifications_send.mail import MailFrom, texts_of
from kordant_jobs.jobs.notifications_send.service import opened
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.store.reports import notices as report_notices
from kordant_jobs.store.reports.notices import Notice


def preview(
    connection: Connection, keyring: Keyring, ids: Sequence[UUID], *, sender: MailFrom
) -> tuple[str, dict[str, str]]:
    """The subject, and the text and HTML parts by content type; several ids make a digest. Links to unsubscribe and to
    a report are left out, since they would work.

    Raises:
        SettingsError: there is no such notification, or they are of several subscriptions.
        KeyringError: the subscriber was forgotten.
    """
    rows = report_notices.notices(connection, ids)
    if len(rows) != len(set(ids)) or len({row.subscription_id for row in rows}) != 1:
        raise SettingsError(
            "give notifications of one subscription; `kordant-jobs notifications list` shows their ids."
        )
    keys = keyring.load_keys(connection, [rows[0].subscriber_id])
    clear = tuple(_masked(opened(row, keys, keyring), row) for row in rows)
    return texts_of(
        Bundle(id=rows[0].id, rows=tuple(rows), opened=clear),
        sender=replace(sender, unsubscribe=None, reports=None, removals=None),
        now=datetime.now(UTC),
    )


def _masked(clear: Opened, row: Notice) -> Opened:
    """The facts without those that identify the subscriber: the page of a removal request may be filled in with their
    details."""
    return replace(clear, name="", identifier="" if isinstance(row, RemovalNoticeRow) else clear.identifier)
