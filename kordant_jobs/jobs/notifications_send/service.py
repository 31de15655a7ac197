"""Load, decide, save: sends the notifications that are due, in batches, each batch claimed by lease.

Claim → compose from ids → send, with no transaction open → mark. A crash between sending and marking repeats at most
the mails since the last mark, under the same Message-ID.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.domain.alerts import Channel, OutboxStatus
from kordant_jobs.errors import KeyringError, SourceUnavailable
from kordant_jobs.jobs.notifications_send import rules
from kordant_jobs.jobs.notifications_send.letter import NoSuchAddress, Opened, Sender, compose
from kordant_jobs.ports import MailTransport, OutgoingMail
from kordant_jobs.store import outbox
from kordant_jobs.store.keyring import Keyring, Sealed, SubscriberKeys
from kordant_jobs.store.outbox import Claim, LetterRow, Mark
from kordant_jobs.store.progress import Progress

JOB = "notifications_send"

BATCH = 200
"""Notifications claimed at once: few enough to be sent well within the lease."""

LEASE = timedelta(minutes=10)
"""How long a batch may take. What is not sent by then is put back, and another sender may have it."""

MARK_EVERY = 20
"""Mails sent between two marks. A crash repeats at most this many, each once, under the same Message-ID; a mark costs
about 1 ms, so that fewer would save little."""


@dataclass(frozen=True, kw_only=True)
class SendSummary:
    """What one run of the job did. `possible_repeats` are mails sent again after their sender was cut off: each may
    be a second copy where the transport cannot tell. `lost_leases` were taken over by another sender meanwhile."""

    claimed: int = 0
    sent: int = 0
    deferred: int = 0
    suppressed: int = 0
    dead: int = 0
    put_back: int = 0
    possible_repeats: int = 0
    lost_leases: int = 0

    def __add__(self, other: SendSummary) -> SendSummary:
        return SendSummary(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def send_due(
    *,
    db: Engine,
    keyring: Keyring,
    mail: MailTransport,
    sender: Sender,
    limit: int,
    progress: Progress,
    batch: int = BATCH,
    lease: timedelta = LEASE,
) -> SendSummary:
    """Send up to `limit` due notifications. Safe to repeat and to run beside itself: each is claimed by one.

    Raises:
        SourceUnavailable: the transport is down. What was sent is marked, the rest is put back.
    """
    with db.connect() as connection:
        progress.start(min(limit, outbox.due(connection, Channel.EMAIL)), "sending")
    total = SendSummary()
    while total.claimed < limit:
        with db.begin() as connection:
            claims = outbox.claim(
                connection, channel=Channel.EMAIL, limit=min(batch, limit - total.claimed), lease=lease
            )
            until = time.monotonic() + lease.total_seconds() / 2
            rows = outbox.letters(connection, [claim.id for claim in claims])
            keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
        if not claims:
            break
        ledger = _Ledger(db, {claim.id: claim for claim in claims})
        mails = _composed(rows, ledger, keys=keys, sender=sender)
        try:
            _deliver(mails, ledger, mail=mail, until=until)
        finally:
            ledger.write()
            total += ledger.summary(claimed=len(claims))
        progress.advance(len(claims), "sending")
    return total


class _Ledger:
    """The claims of one batch and what became of each; written out every few mails."""

    def __init__(self, db: Engine, claims: dict[UUID, Claim]) -> None:
        self._db = db
        self.claims = claims
        self._open: list[Mark] = []
        self._done: list[Mark] = []
        self._lost = 0
        self._repeats = 0

    def settle(self, mark: Mark) -> None:
        self._open.append(mark)
        self._repeats += self.claims[mark.id].interrupted and mark.status is OutboxStatus.SENT
        if len(self._open) >= MARK_EVERY:
            self.write()

    def write(self) -> None:
        marks, self._open = self._open, []
        if marks:
            with self._db.begin() as connection:
                self._lost += len(marks) - outbox.mark(connection, marks)
            self._done += marks

    def unsettled(self) -> list[Claim]:
        settled = {mark.id for mark in (*self._done, *self._open)}
        return [claim for claim in self.claims.values() if claim.id not in settled]

    def summary(self, *, claimed: int) -> SendSummary:
        def count(wanted: Callable[[Mark], bool]) -> int:
            return sum(1 for mark in self._done if wanted(mark))

        return SendSummary(
            claimed=claimed,
            sent=count(lambda mark: mark.status is OutboxStatus.SENT),
            deferred=count(lambda mark: mark.status is OutboxStatus.DEFERRED and not mark.refund),
            suppressed=count(lambda mark: mark.status is OutboxStatus.SUPPRESSED),
            dead=count(lambda mark: mark.status is OutboxStatus.DEAD),
            put_back=count(lambda mark: mark.refund),
            possible_repeats=self._repeats,
            lost_leases=self._lost,
        )


def _composed(
    rows: Sequence[LetterRow], ledger: _Ledger, *, keys: SubscriberKeys, sender: Sender
) -> Iterator[OutgoingMail]:
    """The mails of a batch, each when it is asked for. What cannot or must not be sent is settled here, and stops
    nothing else.
    """
    for row in rows:
        claim = ledger.claims[row.id]
        if rules.crashed_too_often(claim):
            ledger.settle(rules.try_again(claim, "every attempt to send it was cut off"))
            continue
        if reason := rules.why_not(row, has_key=row.subscriber_id in keys):
            ledger.settle(rules.suppress(claim, reason))
            continue
        try:
            mail = compose(row, opened(row, keys), sender=sender, now=datetime.now(UTC))
        except NoSuchAddress:
            ledger.settle(rules.suppress(claim, "the contact is no e-mail address"))
        except KeyringError:
            ledger.settle(rules.try_again(claim, "its data does not open with this master key"))
        except Exception as error:  # noqa: BLE001 - one broken letter is kept for an operator, and stops no other
            ledger.settle(rules.try_again(claim, f"it could not be written ({type(error).__name__})"))
        else:
            yield mail


def opened(row: LetterRow, keys: SubscriberKeys) -> Opened:
    """What a letter needs in clear.

    Raises:
        KeyringError: it does not open with this master key.
    """

    def plain(row_id: UUID, sealed: bytes | None) -> str:
        if sealed is None:
            return ""
        return keys.open(Sealed(subscriber_id=row.subscriber_id, row_id=row_id, sealed=bytes(sealed)))

    return Opened(
        name=plain(row.subscriber_id, row.name_encrypted),
        address=plain(row.subscriber_id, row.contact_encrypted),
        identifier=plain(row.item_id, row.identifier_encrypted),
    )


def _deliver(mails: Iterable[OutgoingMail], ledger: _Ledger, *, mail: MailTransport, until: float) -> None:
    """Hand the mails over and settle each; at `until` what is left is put back."""
    try:
        with closing(mail.deliver(mails)) as deliveries:
            for delivery in deliveries:
                ledger.settle(rules.after(delivery, ledger.claims[delivery.mail_id]))
                if time.monotonic() > until:
                    break
    except SourceUnavailable:
        for claim in ledger.unsettled():
            ledger.settle(rules.put_back(claim, "the mail transport was down"))
        raise
    for claim in ledger.unsettled():
        ledger.settle(rules.put_back(claim, "there was no time left in this run"))
