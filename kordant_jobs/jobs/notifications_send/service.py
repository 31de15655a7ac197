"""Load, decide, save: sends due notifications, channel by channel, in batches claimed by lease.

Claim → decide (rules) → compose from ids → send, with no transaction open → mark. A crash between sending and marking
repeats at most the messages since the last mark, under the same ids.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs.domain.notifications.alerts import OutboxStatus
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark, PropertyRow, VoiceRow
from kordant_jobs.domain.property.parcels import masked_parcel
from kordant_jobs.engine import Progress
from kordant_jobs.engine.control import leases
from kordant_jobs.errors import KeyringError, SettingsError, SourceUnavailable
from kordant_jobs.jobs.notifications_send import rules, selection, spans
from kordant_jobs.jobs.notifications_send.bundle import Bundle, Opened
from kordant_jobs.jobs.notifications_send.channel_senders import ChannelSender
from kordant_jobs.jobs.notifications_send.ledger import Gone, Ledger
from kordant_jobs.jobs.notifications_send.mail import NoSuchAddress
from kordant_jobs.ports import Delivery, DeliveryOutcome
from kordant_jobs.store.notifications import outbox, pauses
from kordant_jobs.store.notifications.choices import AddressKey
from kordant_jobs.store.notifications.tables import contact_addresses
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys
from kordant_jobs.store.people.tables import subscribers, watchlist_items
from kordant_jobs.store.property import notices as property_notices
from kordant_jobs.store.property.tables import watched_properties
from kordant_jobs.store.removals.notices import RemovalNoticeRow
from kordant_jobs.store.reports import notices as report_notices
from kordant_jobs.store.reports.notices import Notice
from kordant_jobs.store.voice.tables import voice_consents

JOB = "notifications_send"

BATCH = 200
"""Notifications claimed at once: few enough to be sent well within the lease."""

LEASE = timedelta(minutes=10)
"""The longest time for a batch. Notifications that are not sent by then are returned, and another sender may claim
them; those of a run that is lost as soon as its own lease ends."""


@dataclass(frozen=True, kw_only=True)
class SendSummary:
    """The result of one run of the job. `held` wait for a digest, the end of quiet hours or the rate; `failed` wait for
    an operator. `possible_repeats` were sent again after their sender was interrupted: each may be a second copy where
    the transport cannot detect that. `lost_leases` were claimed by another sender. `paused` are the channels that
    cannot work, each with the time and the reason."""

    claimed: int = 0
    sent: int = 0
    deferred: int = 0
    held: int = 0
    suppressed: int = 0
    failed: int = 0
    dead: int = 0
    put_back: int = 0
    possible_repeats: int = 0
    lost_leases: int = 0
    paused: tuple[str, ...] = ()

    def __add__(self, other: SendSummary) -> SendSummary:
        return SendSummary(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def send_due(
    *,
    db: Engine,
    keyring: Keyring,
    senders: Sequence[ChannelSender[Any]],
    limit: int,
    progress: Progress,
    batch: int = BATCH,
    lease: timedelta = LEASE,
    rate: rules.Rate = rules.NO_RATE,
    clock: Callable[[], datetime] | None = None,
) -> SendSummary:
    """Send up to `limit` due notifications of the configured channels. Safe to repeat and to run concurrently: each is
    claimed once; those due to one address are claimed together, also beyond the limit.

    Quiet hours and digests use the database's clock, as due times do, unless there is a `clock`. A message that fails
    affects no other; a channel that cannot work is paused, and the other channels are served.

    Raises:
        SourceUnavailable: a transport is down. The sent messages are marked, and the others are released.
    """
    with db.connect() as connection:
        paused = pauses.pauses(connection)
        progress.start(min(limit, outbox.due(connection, [sender.channel for sender in senders])), "sending")
    total = SendSummary()
    problem: Exception | None = None
    for sender in senders:
        before = paused.get(sender.channel)
        if before and not before.is_over:
            continue
        while total.claimed < limit:
            size = min(batch, limit - total.claimed)
            try:
                load = _load(db, keyring, sender, size, lease, rate, clock)
                if not load.claims:
                    break
                sent, stop = _send_batch(db, load, sender)
            except Exception as error:  # noqa: BLE001 - raised below, once the other channels have had their turn
                problem = problem or error
                break
            total += sent
            progress.advance(len(load.claims), "sending")
            if stop is not None:
                length = rules.pause_after(before.pauses if before else 0)
                with db.begin() as connection:
                    pauses.pause(connection, sender.channel, stop.reason, length)
                total += SendSummary(paused=(f"{sender.channel} for {length}: {stop.reason}",))
                problem = problem or stop.error
                break
            if before and sent.sent:
                with db.begin() as connection:
                    pauses.resume(connection, sender.channel)
                before = None
    if problem:
        raise problem
    return total


@dataclass(frozen=True, kw_only=True)
class _Stop:
    """The reason why a channel cannot go on. `error`: it is down, and the run is to be retried; None: an operator has
    to act, and no retry helps."""

    reason: str
    error: SourceUnavailable | None = None


def _send_batch(db: Engine, load: _Load, sender: ChannelSender[Any]) -> tuple[SendSummary, _Stop | None]:
    """Send the claimed notifications. Whatever happens, each claim is settled and written."""
    ledger = Ledger(db, load.claims, lease_id=load.lease_id, mark_every=sender.mark_every)
    stop: _Stop | None = None
    left = "there was no time left in this run"
    try:
        fault = _deliver(load, ledger, sender=sender)
        if fault:
            left = f"the channel cannot work ({fault})"
            stop = _Stop(reason=f"every message failed alike ({fault}); the fault is ours, no address was removed")
    except SourceUnavailable as error:
        left, stop = "the transport was down", _Stop(reason=str(error), error=error)
    except SettingsError as error:
        left, stop = "the channel is not set up", _Stop(reason=str(error))
    except Exception as error:
        for claim in ledger.unsettled():
            ledger.settle([rules.try_again(claim, f"its batch broke off ({type(error).__name__})")])
        raise
    finally:
        for claim in ledger.unsettled():
            ledger.settle([rules.put_back(claim, left)])
        ledger.close()
    return _summary(ledger), stop


@dataclass(frozen=True, kw_only=True)
class _Load:
    """A claimed batch, and the data that was read for it in the same transaction."""

    claims: dict[UUID, Claim]
    bundles: list[Bundle]
    settled: list[Mark]
    """Marks of notifications that must not be sent, or not now, or cannot be decrypted."""
    address_keys: dict[UUID, AddressKey]
    until: float
    lease_id: UUID


def _load(
    db: Engine,
    keyring: Keyring,
    sender: ChannelSender[Any],
    size: int,
    lease: timedelta,
    rate: rules.Rate,
    clock: Callable[[], datetime] | None,
) -> _Load:
    with db.begin() as connection:
        held = leases.insert(
            connection,
            [f"notifications {sender.channel}"],
            holder=JOB,
            now=outbox.now(connection),
            ttl_s=lease.total_seconds(),
        )[0]
        how: dict[str, Any] = {
            "channel": sender.channel,
            "limit": size,
            "lease": held.id,
            "begun": not sender.copies_show,
        }
        claims = outbox.claim(connection, **how)
        del how["limit"]
        claims += outbox.claim_beside(connection, claims, **how)
        claims = claims or outbox.claim_digests(connection, limit=size, **how)
        if not claims:
            leases.release(connection, [held.id])
        until = time.monotonic() + lease.total_seconds() / 2
        rows = report_notices.notices(connection, [claim.id for claim in claims])
        keys = keyring.load_keys(connection, list({row.subscriber_id for row in rows}))
        by_id = {claim.id: claim for claim in claims}
        now = clock() if clock else outbox.now(connection)
        pairs, settled = _opened(rows, by_id, keys, keyring, now=now, copies_show=sender.copies_show)
        selected = selection.select(connection, pairs, by_id, keyring=keyring, rate=rate, now=now)
        return _Load(
            claims=selected.claims,
            bundles=_bundles(selected.now, selected.claims),
            settled=settled + selected.later,
            address_keys=selected.address_keys,
            until=until,
            lease_id=held.id,
        )


def _opened(
    rows: Sequence[Notice],
    claims: dict[UUID, Claim],
    keys: SubscriberKeys,
    keyring: Keyring,
    *,
    now: datetime,
    copies_show: bool,
) -> tuple[list[selection.Pair], list[Mark]]:
    """The rows that may be sent, with their decrypted facts; and the marks of the others."""
    pairs, settled = [], []
    for row in rows:
        claim = claims[row.id]
        if mark := rules.not_again(claim, copies_show=copies_show):
            settled.append(mark)
        elif reason := rules.why_not(row, has_key=row.subscriber_id in keys, now=now):
            settled.append(rules.suppress(claim, reason))
        else:
            try:
                pairs.append((row, opened(row, keys, keyring)))
            except KeyringError:
                settled.append(rules.try_again(claim, "its data does not open with this master key"))
    return pairs, settled


def opened(row: Notice, keys: SubscriberKeys, keyring: Keyring | None = None) -> Opened:
    """Decrypt the facts that a notification needs.

    Raises:
        KeyringError: it does not open with this master key.
    """
    plain = partial(keys.open, row.subscriber_id)
    item = watchlist_items.c.identifier_encrypted
    identifier = plain(item, row.item_id, row.identifier_encrypted) if isinstance(row, AlertRow) else ""
    if isinstance(row, VoiceRow) and row.consent_id is not None:
        identifier = plain(voice_consents.c.person_encrypted, row.consent_id, row.person_encrypted)
    if isinstance(row, PropertyRow) and keyring is not None:
        parcel = plain(watched_properties.c.parcel_encrypted, row.watch_id, row.parcel_encrypted)
        givers, takers = property_notices.parties(keyring, row.instrument_id, row.parties_encrypted)
        _, before = (
            property_notices.parties(keyring, row.before_id, row.before_parties_encrypted)
            if row.before_id
            else ([], [])
        )
        facts = {"parcel": parcel and masked_parcel(parcel), "givers": givers, "takers": takers, "before": before}
        identifier = json.dumps(facts)
    name = plain(subscribers.c.name_encrypted, row.subscriber_id, row.name_encrypted)
    contact = plain(subscribers.c.contact_encrypted, row.subscriber_id, row.contact_encrypted)
    if isinstance(row, RemovalNoticeRow):
        identifier = row.page(keys, name, contact)
    return Opened(
        name=name,
        address=plain(contact_addresses.c.address_encrypted, row.address_id, row.address_encrypted)
        if row.address_id
        else contact,
        identifier=identifier,
    )


def _bundles(pairs: Sequence[selection.Pair], claims: dict[UUID, Claim]) -> list[Bundle]:
    together: dict[UUID, list[selection.Pair]] = {}
    for row, clear in pairs:
        together.setdefault(claims[row.id].mail_id or row.id, []).append((row, clear))
    return [
        Bundle(id=one, rows=tuple(row for row, _ in found), opened=tuple(clear for _, clear in found))
        for one, found in together.items()
    ]


def _deliver(load: _Load, ledger: Ledger, *, sender: ChannelSender[Any]) -> str | None:
    """Hand the messages over and settle each, as far as time allows. Permanent failures are settled only once a message
    was accepted, which shows that the channel works, or at the end of the batch. Returns the code with which the whole
    batch failed, None when it did not; in that case the failed ones are not settled."""
    for mark in load.settled:
        ledger.settle([mark])
    bundles = {bundle.id: bundle for bundle in load.bundles}
    channel_works = False
    doubtful: list[Delivery] = []
    began_at: dict[UUID, datetime] = {}

    def settle(delivery: Delivery) -> None:
        bundle = bundles[delivery.mail_id]
        first = bundle.first
        gone = None
        if rules.is_gone(delivery.outcome, channel_works=channel_works):
            gone = Gone(key=load.address_keys[first.id], address_id=first.address_id, at=delivery.gone_at)
            delivery = replace(delivery, outcome=DeliveryOutcome.NO_SUCH_ADDRESS)
        marks = [rules.after(delivery, load.claims[row.id], copies_show=sender.copies_show) for row in bundle.rows]
        ledger.settle(marks, gone=gone)

    for delivery in sender.transport.deliver(spans.noting_starts(_written(load, ledger, sender), began_at)):
        claims = [load.claims[row.id] for row in bundles[delivery.mail_id].rows]
        spans.record_delivery(sender.channel, claims, delivery, began_at.get(delivery.mail_id))
        if delivery.outcome in rules.FINAL and not channel_works:
            doubtful.append(delivery)
            continue
        settle(delivery)
        if delivery.outcome is DeliveryOutcome.DELIVERED and not channel_works:
            channel_works = True
            for one in doubtful:
                settle(one)
            doubtful = []
    failures = [(one.code or "", load.address_keys[bundles[one.mail_id].first.id]) for one in doubtful]
    if fault := rules.failing_alike(failures):
        return fault
    for one in doubtful:
        settle(one)
    return None


def _written(load: _Load, ledger: Ledger, sender: ChannelSender[Any]) -> Iterator[Any]:
    """The messages of a batch, written one by one on demand. A message that cannot be written is settled here, and
    does not stop the rest; after the deadline none follows."""
    for bundle in load.bundles:
        if time.monotonic() > load.until:
            return
        claims = [load.claims[row.id] for row in bundle.rows]
        if sender.copies_show and not ledger.begin(claims):
            continue  # another sender has it
        try:
            yield sender.write(bundle)
        except NoSuchAddress:
            ledger.settle([rules.suppress(claim, "the contact is no e-mail address") for claim in claims])
        except Exception as error:  # noqa: BLE001 - one broken message is kept for an operator, and stops no other
            reason = f"it could not be written ({type(error).__name__})"
            ledger.settle([rules.try_again(claim, reason) for claim in claims])


def _summary(ledger: Ledger) -> SendSummary:
    def count(wanted: Callable[[Mark], bool]) -> int:
        return sum(1 for mark in ledger.done if wanted(mark))

    def stands(mark: Mark, status: OutboxStatus) -> bool:
        return mark.status is status

    return SendSummary(
        claimed=len(ledger.claims),
        sent=count(lambda mark: stands(mark, OutboxStatus.SENT)),
        deferred=count(lambda mark: stands(mark, OutboxStatus.DEFERRED) and not mark.refund),
        held=count(lambda mark: mark.refund and mark.due_at is not None),
        suppressed=count(lambda mark: stands(mark, OutboxStatus.SUPPRESSED)),
        failed=count(lambda mark: stands(mark, OutboxStatus.FAILED)),
        dead=count(lambda mark: stands(mark, OutboxStatus.DEAD)),
        put_back=count(lambda mark: mark.refund and mark.due_at is None),
        possible_repeats=ledger.repeats,
        lost_leases=ledger.lost,
    )
