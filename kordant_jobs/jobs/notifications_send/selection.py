"""Selects the claimed notifications that are sent now (suppressed addresses, quiet hours, digests, rates), and groups
them into messages: one for each person and breach, and at most the capped number of messages an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection

from kordant_jobs.domain.notifications.alerts import Channel, Severity
from kordant_jobs.domain.notifications.choices import Held
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark, NoticeRow, PropertyRow
from kordant_jobs.engine.control import leases
from kordant_jobs.jobs.notifications_send import rules
from kordant_jobs.jobs.notifications_send.bundle import Opened
from kordant_jobs.jobs.notifications_send.rules import CRITICAL_WAIT, ONE_HOUR, hold
from kordant_jobs.store.notifications import choices as notification_choices
from kordant_jobs.store.notifications import outbox
from kordant_jobs.store.notifications.choices import AddressKey
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.reports.notices import Notice

Pair = tuple[Notice, Opened]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The notifications to send now, the next states of the others, and the address key of each notification."""

    now: list[Pair]
    later: list[Mark]
    claims: dict[UUID, Claim]
    address_keys: dict[UUID, AddressKey]


def select(
    connection: Connection,
    pairs: Sequence[Pair],
    claims: Mapping[UUID, Claim],
    *,
    keyring: Keyring,
    rate: rules.Rate,
    now: datetime,
) -> Selection:
    """Split a batch, in the transaction that claimed it: a rollback also returns the tokens taken here."""
    keys = {
        row.id: notification_choices.address_key(keyring, Channel(row.channel), clear.address) for row, clear in pairs
    }
    silent = notification_choices.suppressed(connection, set(keys.values()))
    open_pairs: list[Pair] = []
    later: list[Mark] = []
    for row, clear in pairs:
        claim = claims[row.id]
        if keys[row.id] in silent:
            later.append(rules.suppress(claim, f"the address is suppressed: {silent[keys[row.id]]}"))
        elif mark := rules.not_yet(row, claim, now=now):
            later.append(mark)
        else:
            open_pairs.append((row, clear))
    bundles = bundle(
        [row for row, _ in open_pairs],
        claims,
        sent_last_hour=_sent_last_hour(connection, open_pairs, rate),
        cap=rate.person_per_hour,
        now=now,
    )
    later += bundles.held
    claims = _joined(connection, claims, bundles)
    going = [pair for ids in bundles.messages for pair in _picked(open_pairs, ids)]
    if rate.domain_per_s is not None:
        going, over = _by_domain(connection, going, claims, keyring=keyring, rate=rate, now=now)
        later += over
    return Selection(now=going, later=later, claims=claims, address_keys=keys)


def _picked(pairs: Sequence[Pair], ids: Sequence[UUID]) -> list[Pair]:
    by_id = {pair[0].id: pair for pair in pairs}
    return [by_id[one] for one in ids]


def _joined(connection: Connection, claims: Mapping[UUID, Claim], bundles: Grouping) -> dict[UUID, Claim]:
    """The claims, after those that are now sent together got the id of their message."""
    fresh = [ids for ids in bundles.messages if len(ids) > 1 and claims[ids[0]].mail_id is None]
    messages = {uuid4(): ids for ids in fresh}
    outbox.join(connection, messages)
    mail_of = {one: message for message, ids in messages.items() for one in ids}
    return {one: replace(claim, mail_id=mail_of.get(one, claim.mail_id)) for one, claim in claims.items()}


def _sent_last_hour(connection: Connection, pairs: Sequence[Pair], rate: rules.Rate) -> dict[Target, int]:
    if rate.person_per_hour is None or not pairs:
        return {}
    people = {row.subscription_id for row, _ in pairs}
    return outbox.sent_since(connection, Channel(pairs[0][0].channel), people, rules.ONE_HOUR)


def _by_domain(
    connection: Connection,
    pairs: list[Pair],
    claims: Mapping[UUID, Claim],
    *,
    keyring: Keyring,
    rate: rules.Rate,
    now: datetime,
) -> tuple[list[Pair], list[Mark]]:
    """Takes a token for each message from the bucket of its domain, which all processes share. A digest is one message.
    A bucket is named by the domain's blind index, since a private domain may name a person."""
    assert rate.domain_per_s is not None  # noqa: S101 - asked for by the caller
    wanted: dict[str, dict[UUID, list[Pair]]] = {}
    for row, clear in pairs:
        message = claims[row.id].mail_id or row.id
        domain = clear.address.rpartition("@")[2].strip().lower() if row.channel == Channel.EMAIL else ""
        wanted.setdefault(domain, {}).setdefault(message, []).append((row, clear))
    going: list[Pair] = []
    over: list[Mark] = []
    for domain in sorted(wanted):  # in one order, so that two senders never wait for each other in a circle
        messages = list(wanted[domain].values())
        granted = len(messages)
        if domain:
            party = f"mail {keyring.blind_index('domain', domain).hex()}"
            granted = leases.take_tokens(
                connection, party, len(messages), per_s=rate.domain_per_s, burst=rate.domain_burst, now=now
            )
        going += [pair for found in messages[:granted] for pair in found]
        for place, found in enumerate(messages[granted:], 1):
            wait = timedelta(seconds=max(1.0, place / rate.domain_per_s))  # each when its turn comes
            over += [rules.put_back(claims[row.id], "the rate of its mail domain", due_in=wait) for row, _ in found]
    return going, over


Target = tuple[UUID, UUID | None]
"""A subscription and one of its addresses; None: the subscriber's contact."""

ORDER = list(Severity)


@dataclass(kw_only=True)
class Grouping:
    """The result for a batch. `messages` are sent now, each with its notifications; `held` wait."""

    messages: list[list[UUID]] = field(default_factory=list)
    held: list[Mark] = field(default_factory=list)


def bundle(
    rows: Sequence[NoticeRow],
    claims: Mapping[UUID, Claim],
    *,
    sent_last_hour: Mapping[Target, int],
    cap: int | None,
    now: datetime,
) -> Grouping:
    """Put notifications of one breach to one address into one message. What exceeds `cap` messages an hour is combined,
    while the most urgent breaches keep their own message. Beyond the cap, critical alerts form one message at once and
    then one every five minutes; others wait for an hour and form one. Digests, reports and repeated messages stay as
    they are."""
    found = Grouping()
    targets: dict[Target, list[NoticeRow]] = {}
    for row in rows:
        targets.setdefault((row.subscription_id, row.address_id), []).append(row)
    for target, own in targets.items():
        fresh = [row for row in own if _is_fresh(row, claims[row.id])]
        fixed = _together([row for row in own if not _is_fresh(row, claims[row.id])], claims)
        found.messages += fixed
        sent = sent_last_hour.get(target, 0) + len(fixed)
        _bundle_fresh(found, _by_breach(fresh), claims, sent=sent, cap=cap, now=now)
    return found


def _is_fresh(row: NoticeRow, claim: Claim) -> bool:
    """True when it may be combined with others: an alert whose message was never begun."""
    return (
        isinstance(row, AlertRow | PropertyRow)
        and row.held_for is None
        and claim.mail_id is None
        and not claim.interrupted
    )


def _together(rows: Sequence[NoticeRow], claims: Mapping[UUID, Claim]) -> list[list[UUID]]:
    messages: dict[UUID, list[UUID]] = {}
    for row in rows:
        messages.setdefault(claims[row.id].mail_id or row.id, []).append(row.id)
    return list(messages.values())


def _by_breach(rows: Sequence[NoticeRow]) -> list[list[NoticeRow]]:
    """One list for each breach, the most urgent first."""
    breaches: dict[str, list[NoticeRow]] = {}
    for row in rows:
        about = row.breach_name if isinstance(row, AlertRow) else ""
        about = f"property {row.instrument_id}" if isinstance(row, PropertyRow) else about
        breaches.setdefault(about, []).append(row)
    return sorted(breaches.values(), key=lambda group: -_urgency(group))


def _urgency(group: Sequence[NoticeRow]) -> int:
    return max(ORDER.index(Severity(row.severity)) for row in group)


def _bundle_fresh(
    found: Grouping,
    groups: list[list[NoticeRow]],
    claims: Mapping[UUID, Claim],
    *,
    sent: int,
    cap: int | None,
    now: datetime,
) -> None:
    left = len(groups) if cap is None else cap - sent
    alone = groups if len(groups) <= left else groups[: max(0, left - 1)]
    found.messages += [[row.id for row in group] for group in alone]
    rest = [row for group in groups[len(alone) :] for row in group]
    if not rest:
        return
    is_critical = _urgency(rest) == ORDER.index(Severity.CRITICAL)
    if left > 0 or (is_critical and left == 0):
        found.messages.append([row.id for row in rest])
        return
    for row in rest:
        wait = CRITICAL_WAIT if row.severity == Severity.CRITICAL else ONE_HOUR
        found.held.append(hold(claims[row.id], "many came within an hour", now + wait, Held.MANY))
