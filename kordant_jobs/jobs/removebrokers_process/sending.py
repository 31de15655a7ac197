"""Sends what waits for brokers: claimed under their caps, written, disclosed in the ledger, sent, marked.

No transaction is open while something is sent. A sender that is killed repeats a mail under the same Message-ID and a
protocol request under the same agent_request_id; a form is never posted twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.brokers import drp
from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.authorities import authority_of
from kordant_jobs.domain.removals.brokers import Broker, RemovalChannel, fields_needed, form_fields
from kordant_jobs.domain.removals.clocks import CLOCKS, Ask, Law
from kordant_jobs.domain.removals.replies import MessageKind, MessageStatus
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.errors import SettingsError, SourceUnavailable
from kordant_jobs.jobs.removebrokers_process import letters, rules, rules_sending
from kordant_jobs.jobs.removebrokers_process.letters import Letter
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.jobs.removebrokers_process.rules_sending import Fate
from kordant_jobs.ports import DeliveryOutcome, OutgoingMail, RightsError, WebOutcome
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, moves, outgoing, profiles, rights
from kordant_jobs.store.removals.outgoing import Ended, Outgoing
from kordant_jobs.store.removals.profiles import Profile
from kordant_jobs.store.removals.tables import brokers

BATCH = 200
ACTOR = "removebrokers_process"


@dataclass(kw_only=True)
class Sent:
    """The result of one round of sending."""

    sent: int = 0
    put_off: int = 0
    failed: int = 0
    copies: int = 0
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Claimed messages with what their texts are made from."""

    messages: list[Outgoing]
    people: Mapping[UUID, Profile]
    brokers: Mapping[UUID, Any]
    fronts: Mapping[UUID, list[str]]
    wanted: Mapping[UUID, tuple[str, ...]]
    """The details that each broker needs to find a person."""
    businesses: Mapping[str, Mapping[str, Any]]
    """Of the Data Rights Protocol, by id."""
    tokens: rights.Tokens | None
    now: datetime
    letters: dict[UUID, Letter] = field(default_factory=dict)


def send_waiting(broker_ids: Sequence[UUID], *, db: Engine, keyring: Keyring, outside: Outside, now: datetime) -> Sent:
    """Send what waits for these brokers, as far as their caps allow. A party that is down is tried in the next run."""
    total = Sent()
    tokens = rights.Tokens(db, keyring, outside.rights) if outside.rights else None
    _withdraw(db, broker_ids, now)
    while True:
        with db.begin() as connection:
            claimed = outgoing.claim(connection, broker_ids, limit=BATCH, now=now)
            work = _load(connection, keyring, claimed, outside, tokens, now) if claimed else None
        if work is None:
            return total
        fates = dict(_sent(work, db=db, outside=outside, total=total))
        _write(db, work, fates, now)
        total.copies += sum(one.may_be_a_copy for one in work.messages)
        total.sent += sum(one.status is MessageStatus.SENT for one in fates.values())
        total.failed += sum(one.status in _LOST for one in fates.values())
        put_off = len(work.messages) - len(fates) + sum(one.status is MessageStatus.QUEUED for one in fates.values())
        total.put_off += put_off
        if total.problem or put_off == len(work.messages) or len(work.messages) < BATCH:
            return total


_LOST = frozenset({MessageStatus.FAILED, MessageStatus.UNCERTAIN})


def _withdraw(db: Engine, broker_ids: Sequence[UUID], now: datetime) -> None:
    """Withdraw messages that must not be sent any more. A request whose contact does not work gets another channel."""
    with db.begin() as connection:
        taken = outgoing.withdraw(connection, broker_ids, now=now)
        stuck = [
            {"id": str(one.request_id), "from_state": one.state, "to_state": RemovalState.BOUNCED.value,
             "reason": "address_dead", "next_at": now}
            for one in taken
            if one.kind == MessageKind.REQUEST and one.state == RemovalState.QUEUED
        ]  # fmt: skip
        moves.apply(connection, moves.frame_of(stuck), now=now, actor=ACTOR)


def _load(
    connection: Connection,
    keyring: Keyring,
    claimed: list[Outgoing],
    outside: Outside,
    tokens: rights.Tokens | None,
    now: datetime,
) -> _Batch:
    subscriber_ids = list({one.subscriber_id for one in claimed})
    broker_ids = list({one.broker_id for one in claimed})
    keys = keyring.load_keys(connection, subscriber_ids)
    fronts: dict[UUID, list[str]] = {}
    query = sa.select(brokers.c.handled_by, brokers.c.name).where(brokers.c.handled_by.in_(broker_ids))
    for row in connection.execute(query.order_by(brokers.c.name)):
        fronts.setdefault(row.handled_by, []).append(row.name)
    rows = {row.id: row for row in connection.execute(sa.select(brokers).where(brokers.c.id.in_(broker_ids)))}
    work = _Batch(
        messages=claimed,
        people=profiles.load(connection, keys, subscriber_ids),
        brokers=rows,
        fronts=fronts,
        wanted={one: wanted_of(row) for one, row in rows.items()},
        businesses=rights.businesses(
            connection, list({one.contact for one in claimed if one.channel == RemovalChannel.DRP})
        ),
        tokens=tokens,
        now=now,
    )
    disclosed = {}
    for one in claimed:
        if one.subscriber_id in work.people:
            letter = work.letters[one.id] = _letter(work, one, outside)
            disclosed[one.id] = (one, letter.fields, letter.ground)
    outgoing.disclose(connection, disclosed, now=now)
    return work


def _letter(work: _Batch, one: Outgoing, outside: Outside) -> Letter:
    row, person = work.brokers[one.broker_id], work.people[one.subscriber_id]
    wanted = work.wanted[one.broker_id]
    if one.channel != RemovalChannel.EMAIL:
        used: tuple[str, ...] = ()
        if one.channel == RemovalChannel.FORM_POST:
            used = form_fields(row.facts["recipe"]["post"], person.details)
        elif business := work.businesses.get(one.contact):
            used = drp.disclosed(business, person.details)
        return Letter(subject="", body="", fields=used, ground=CLOCKS[Law(one.law)].ground)
    authority = authority_of(Law(one.law), person.country, person.state)
    return letters.write_letter(
        MessageKind(one.kind),
        broker=row.name,
        fronts=work.fronts.get(one.broker_id, []),
        wanted=wanted,
        given=person.details,
        law=Law(one.law),
        ask=Ask(one.ask),
        language=Locale(one.language),
        sent_on=one.sent_on,
        today=work.now.date(),
        reference=one.address_token[:8].upper(),
        agent=outside.agent,
        has_permission=person.permission is not None,
        authority=authority.name if authority else None,
    )


def wanted_of(row: Any) -> tuple[str, ...]:
    """The details that a broker needs to find a person, from its row of the catalogue."""
    facts = row.facts
    lists = {name: tuple(facts[name]) for name in ("domains", "emails", "regions", "categories", "sources")}
    return fields_needed(Broker(**{**facts, **lists, "dead_links": tuple(facts["dead_links"])}))


def _sent(work: _Batch, *, db: Engine, outside: Outside, total: Sent) -> Iterator[tuple[UUID, Fate]]:
    """The outcome of each message as it becomes known. A message without an outcome stays claimed until its lease ends,
    or is released."""
    gone = [one for one in work.messages if one.id not in work.letters]
    yield from ((one.id, Fate(status=MessageStatus.WITHDRAWN, code="no_profile")) for one in gone)
    there = [one for one in work.messages if one.id in work.letters]
    yield from _mailed([one for one in there if one.channel == RemovalChannel.EMAIL], work, outside, total)
    for one in there:
        if one.channel == RemovalChannel.FORM_POST:
            yield one.id, _posted(one, work, outside)
        elif one.channel == RemovalChannel.DRP:
            yield one.id, _exercised(one, work, db=db)


def _mailed(messages: list[Outgoing], work: _Batch, outside: Outside, total: Sent) -> Iterator[tuple[UUID, Fate]]:
    if not messages:
        return
    by_id = {one.id: one for one in messages}

    def written() -> Iterator[OutgoingMail]:
        for one in messages:
            person = work.people[one.subscriber_id]
            content = letters.mail_of(
                work.letters[one.id],
                agent=outside.agent,
                recipient=one.contact,
                token=one.address_token,
                message_id=one.id,
                in_reply_to=one.thread_id if one.kind != MessageKind.REQUEST else None,
                permission=person.permission if one.kind == MessageKind.REQUEST else None,
                now=work.now,
            )
            signed = outside.sign(content) if outside.sign else content
            yield OutgoingMail(
                id=one.id, recipient=one.contact, content=signed, sender=outside.agent.address_of(one.address_token)
            )

    disclosed: set[UUID] = set()
    try:
        for delivery in outside.mail.deliver(written()):
            one = by_id[delivery.mail_id]
            disclosed.add(one.id)
            age = work.now - one.created_at
            yield (
                one.id,
                rules_sending.after_mail(
                    delivery.outcome,
                    delivery.code,
                    kind=one.kind,
                    age=age,
                    now=work.now,
                    is_handed_over=delivery.is_handed_over,
                ),
            )
    except (SourceUnavailable, SettingsError) as error:
        total.problem = str(error)
        for one in messages:
            if one.id not in disclosed:
                yield (
                    one.id,
                    rules_sending.after_mail(
                        DeliveryOutcome.DEFERRED,
                        "transport down",
                        kind=one.kind,
                        age=timedelta(),
                        now=work.now,
                        is_handed_over=False,
                    ),
                )


def _posted(one: Outgoing, work: _Batch, outside: Outside) -> Fate:
    if one.may_be_a_copy:
        return rules_sending.after_post(WebOutcome(done=False, code="cut_off", uncertain=True))
    if outside.web is None:
        again_at = work.now + rules_sending.RETRY_AFTER
        return Fate(status=MessageStatus.QUEUED, code="web_off", again_at=again_at, is_handed_over=False)
    form = work.brokers[one.broker_id].facts["recipe"]["post"]
    return rules_sending.after_post(outside.web.post(form, work.people[one.subscriber_id].details))


def _exercised(one: Outgoing, work: _Batch, *, db: Engine) -> Fate:
    """Exercise the right, with a new token where the one that we have is not accepted any more."""
    after = partial(rules_sending.after_no_rights, age=work.now - one.created_at, now=work.now)
    if one.may_be_a_copy and one.outside_id:
        return Fate(status=MessageStatus.SENT, code="drp taken before", to=RemovalState.SENT, reason="sent")
    business = work.businesses.get(one.contact)
    if work.tokens is None or business is None:
        return after("drp", is_passing=work.tokens is None, is_handed_over=False)
    person = work.people[one.subscriber_id]
    claims = {"exercise": one.ask, **drp.claims_of(business, person.details, verified=person.verified)}
    if one.law == Law.CCPA:
        claims["regime"] = "ccpa"
    try:
        status = work.tokens.call(
            business, lambda agent, token: agent.exercise(business, token, claims, request_id=one.request_id)
        )
    except RightsError as error:
        if error.fatal:
            return Fate(status=MessageStatus.SENT, code=error.code, to=RemovalState.DENIED, reason="other")
        return after(error.code, is_passing=error.passing)
    except SourceUnavailable:
        return after("drp_down", is_passing=True)
    with db.begin() as connection:
        rights.remember(connection, one.request_id, status.request_id)
    return Fate(status=MessageStatus.SENT, code=f"drp {status.state}"[:60], to=RemovalState.SENT, reason="sent")


def _write(db: Engine, work: _Batch, fates: Mapping[UUID, Fate], now: datetime) -> None:
    """Mark the messages, note contacts that do not work, and move the requests, in one transaction."""
    by_id = {one.id: one for one in work.messages}
    with db.begin() as connection:
        ended = [Ended(id=one, status=fate.status, code=fate.code, due_at=fate.again_at) for one, fate in fates.items()]
        ours = outgoing.mark(connection, ended, now=now)
        outgoing.undisclose(connection, [one for one in ours if not fates[one].is_handed_over], at=work.now)
        rows = []
        for message_id, fate in fates.items():
            one = by_id[message_id]
            if message_id not in ours or fate.to is None:
                continue
            if fate.fault:
                catalogue.note_fault(connection, one.broker_id, one.contact, fate.code, now=now)
            row: dict[str, Any] = {
                "id": str(one.request_id), "from_state": one.state, "to_state": fate.to.value, "reason": fate.reason,
                "next_at": now, "evidence": f'{{"message_id": "{message_id}"}}',
            }  # fmt: skip
            if fate.to is RemovalState.SENT:
                row |= {
                    "action": "sent",
                    **rules_sending.sent_facts(Law(one.law), Ask(one.ask), now, channel=one.channel),
                }
                if one.channel == RemovalChannel.DRP:
                    row["next_at"] = now + rules.POLL_EVERY
            rows.append(row)
        moves.apply(connection, moves.frame_of(rows), now=now, actor=ACTOR)
