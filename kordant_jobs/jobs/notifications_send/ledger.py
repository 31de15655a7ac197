"""The claims of one batch and the outcome of each, written to the database every few messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.domain.notifications.alerts import Channel, OutboxStatus
from kordant_jobs.domain.notifications.pending import Claim, Mark
from kordant_jobs.engine.control import leases
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.choices import AddressKey


@dataclass(frozen=True, kw_only=True)
class Gone:
    """An address that accepts no messages: its key, its row if it has one, and since when, if the service reported
    that.

    E-mail addresses and phone numbers are suppressed, since others may have entered them too. A push token belongs to
    one device: only its row is deleted, and not if the token was registered again after that time.
    """

    key: AddressKey
    address_id: UUID | None
    at: datetime | None


BY = "notifications_send"


class Ledger:
    """The outcomes of the claims of a batch, all under one lease. After `mark_every` outcomes they are written."""

    def __init__(self, db: Engine, claims: dict[UUID, Claim], *, lease_id: UUID, mark_every: int) -> None:
        self._db = db
        self._lease_id = lease_id
        self.claims = claims
        self.done: list[Mark] = []
        self.lost = 0
        """Marks that came too late: another sender has the notification."""
        self.repeats = 0
        """Notifications that were sent, and may have been before."""
        self._mark_every = mark_every
        self._open: list[Mark] = []
        self._gone_keys: list[AddressKey] = []
        self._gone_ids: list[tuple[UUID, datetime | None]] = []

    def begin(self, claims: Sequence[Claim]) -> bool:
        """Record that a message is about to be sent, where a second copy would show: after a crash only this one is
        doubtful, not the whole batch. False when another sender has it now."""
        with self._db.begin() as connection:
            return outbox.begin(connection, claims)

    def settle(self, marks: Sequence[Mark], *, gone: Gone | None = None) -> None:
        """Settle the notifications of one message; they are written together. An address in `gone` is not used any
        more."""
        self._open += marks
        self.repeats += sum(self.claims[mark.id].interrupted and mark.status is OutboxStatus.SENT for mark in marks)
        if gone is not None and gone.address_id is not None:
            self._gone_ids.append((gone.address_id, gone.at))
        if gone is not None and gone.key[0] in {Channel.EMAIL, Channel.SMS}:
            self._gone_keys.append(gone.key)
        if len(self._open) >= self._mark_every:
            self.write()

    def write(self) -> None:
        """Write the outcomes that are not written yet."""
        marks, self._open = self._open, []
        if not marks:
            return
        reasons = {mark.status: mark.reason for mark in marks}
        with self._db.begin() as connection:
            self.lost += len(marks) - outbox.mark(connection, marks)
            if self._gone_keys or self._gone_ids:
                reason = reasons.get(OutboxStatus.SUPPRESSED) or "the address takes no message"
                notification_choices.suppress(connection, self._gone_keys, reason=reason, by=BY)
                notification_choices.remove_addresses(connection, self._gone_ids, reason)
        self._gone_keys, self._gone_ids = [], []
        self.done += marks

    def close(self) -> None:
        """Write the outcomes that are not written yet, and release the lease."""
        self.write()
        with self._db.begin() as connection:
            leases.release(connection, [self._lease_id])

    def unsettled(self) -> list[Claim]:
        """The claims without an outcome."""
        settled = {mark.id for mark in (*self.done, *self._open)}
        return [claim for claim in self.claims.values() if claim.id not in settled]
