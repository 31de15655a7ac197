"""Takes replies in: matched to their request, read by the rules, kept sealed, and the request moves.

Each mail is a transaction of its own: one that cannot be read stops no other. A mail goes from the mailbox only once
what it says is in the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.brokers.reply_mail import ReplyMail, read_mail
from kordant_jobs.domain.removals.brokers import registrable
from kordant_jobs.domain.removals.replies import REPLY_MOVES, Reading, ReplyClass
from kordant_jobs.domain.removals.states import RemovalState, may_move
from kordant_jobs.errors import KeyringError, SourceUnavailable
from kordant_jobs.jobs.removebrokers_process.rules import CHECK_AFTER_DONE, USER_REMINDED_EVERY
from kordant_jobs.jobs.removebrokers_process.rules_replies import read_reply
from kordant_jobs.ports import InboundMail
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, moves, replies
from kordant_jobs.store.removals.replies import Match, NewReply

ACTOR = "broker"
LINKS_MOST = 3
"""Confirmation links that one request follows; a broker that sends more gets a person."""
INTAKE_LIMIT = 20_000
UNMATCHED_KEPT = timedelta(days=30)
"""How long a mail of no request waits for an operator. `forget` cannot find it, so it does not stay."""


@dataclass(kw_only=True)
class TakenIn:
    """What came in."""

    read: int = 0
    moved: int = 0
    repeated: int = 0
    for_a_person: int = 0
    unmatched: int = 0
    problem: str | None = None


def take_in(
    inbox: InboundMail, *, db: Engine, keyring: Keyring, now: Callable[[], datetime], limit: int = INTAKE_LIMIT
) -> TakenIn:
    """Take in what the mailbox holds. A mailbox that does not answer is a problem of this run, not an error."""
    total = TakenIn()
    try:
        inbox.tidy(now() - UNMATCHED_KEPT)
        for message in inbox.messages(limit):
            taken = take_mail(message.content, db=db, keyring=keyring, now=now())
            total.read += 1
            if taken is None:
                total.unmatched += 1
                inbox.put_aside(message.key)
                continue
            total.repeated += taken.repeated
            total.moved += taken.moved
            total.for_a_person += taken.needs_person
            inbox.done(message.key)
    except SourceUnavailable as error:
        total.problem = str(error)
    return total


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of one reply."""

    repeated: bool = False
    moved: bool = False
    needs_person: bool = False


def take_mail(content: bytes, *, db: Engine, keyring: Keyring, now: datetime) -> Taken | None:
    """Take one mail in; None when it belongs to no request."""
    mail = read_mail(content)
    key = mail.message_id or hashlib.sha256(content).hexdigest()
    reading = read_reply(mail.subject, mail.text, is_automatic=mail.is_automatic, is_bounce=mail.is_bounce)
    with db.begin() as connection:
        found = replies.match(
            connection,
            keyring,
            tokens=mail.tokens,
            answers=mail.answers,
            case_numbers=reading.case_numbers,
            sender_domain=mail.sender_domain,
        )
        if found is None:
            return None
        key = f"{found.request.id} {key}"
        if replies.is_known(connection, keyring, key):
            return Taken(repeated=True)
        try:
            return _taken(connection, keyring, found, mail, reading, key, now)
        except KeyringError:  # forgotten meanwhile: nothing of it is kept
            return Taken(repeated=True)


def _taken(
    connection: Connection,
    keyring: Keyring,
    found: Match,
    mail: ReplyMail,
    reading: Reading,
    key: str,
    now: datetime,
) -> Taken:
    request = found.request
    domains = catalogue.domains_of(connection, request.broker_id)
    link = confirmation_link(reading, domains) if request.links_followed < LINKS_MOST else None
    if mail.is_bounce and not mail.is_hard:
        reading = Reading(reply_class=ReplyClass.AUTO_REPLY, rule="passing_bounce", case_numbers=reading.case_numbers)
    to, reason = where_to(reading, link=link is not None)
    state = RemovalState(request.state)
    is_move = to is not None and may_move(state, to)
    is_answer = reading.reply_class not in {ReplyClass.AUTO_REPLY, ReplyClass.BOUNCED, ReplyClass.UNKNOWN}
    needs_person = reading.reply_class is ReplyClass.UNKNOWN
    reply_id = replies.write(
        connection,
        keyring,
        NewReply(
            match=found,
            message_key=key,
            sender_domain=mail.sender_domain,
            is_own_domain=mail.sender_domain in domains,
            reading=reading,
            text=mail.text,
            link=link,
            moved=is_move,
            needs_person=needs_person,
            received_at=now,
        ),
    )
    if reply_id is None:
        return Taken(repeated=True)
    row: dict[str, Any] = {
        "id": str(request.id), "from_state": state.value, "reason": reason, "action": "answer",
        "evidence": f'{{"reply_id": "{reply_id}", "class": "{reading.reply_class}", "rule": "{reading.rule}"}}',
        "next_at": request.next_at, "answered": is_answer,
        "broker_says": reading.reply_class.value if is_answer else None,
    }  # fmt: skip
    if is_move and to is not None:
        row |= {"to_state": to.value, "next_at": next_look(to, now), "action": told(to)}
    moves.apply(connection, moves.frame_of([row]), now=now, actor=ACTOR)
    if is_move and to in {RemovalState.BOUNCED, RemovalState.CONTACT_MOVED}:
        _note_fault(connection, request, reading, now)
    return Taken(moved=is_move, needs_person=needs_person)


def _note_fault(connection: Connection, request: Any, reading: Reading, now: datetime) -> None:
    """The address does not work: a fault of the catalogue, for everybody's requests."""
    broker = catalogue.by_id(connection, request.broker_id)
    dead = [fault.contact for fault in catalogue.faults(connection, request.broker_id)]
    contact = next((one for one in broker.facts["emails"] if one not in dead), None)
    if contact and request.channel == "email":
        catalogue.note_fault(connection, request.broker_id, contact, reading.reply_class.value, now=now)


def where_to(reading: Reading, *, link: bool) -> tuple[RemovalState | None, str]:
    """The state that a reply leads to, and the reason. A confirmation link that we follow ourselves is no work for the
    subscriber; a refused agent is: they ask by themselves.

    >>> where_to(Reading(reply_class=ReplyClass.REJECTED, rule="x", detail="agent_not_accepted"), link=False)
    (<RemovalState.NEEDS_USER_ACTION: 'needs_user_action'>, 'agent_not_accepted')
    """
    if reading.reply_class is ReplyClass.CONFIRMATION_LINK:
        return (RemovalState.ACKNOWLEDGED, "link_followed") if link else (
            RemovalState.NEEDS_USER_ACTION, "confirmation_link",
        )  # fmt: skip
    if reading.reply_class is ReplyClass.REJECTED and reading.detail == "agent_not_accepted":
        return RemovalState.NEEDS_USER_ACTION, "agent_not_accepted"
    return REPLY_MOVES[reading.reply_class], reading.detail or reading.reply_class.value


def confirmation_link(reading: Reading, domains: frozenset[str]) -> str | None:
    """The link to follow: one on the broker's own domains, by preference one whose address says what it is for."""
    if reading.reply_class is not ReplyClass.CONFIRMATION_LINK:
        return None
    own = [one for one in reading.links if registrable(one) in domains]
    named = [one for one in own if any(word in one.lower() for word in ("confirm", "verif", "valid", "optout", "/c"))]
    return next(iter(named or own), None)


def next_look(state: RemovalState, now: datetime) -> datetime:
    """When a request that just came to this state is looked at again: at once, unless the state is one that waits."""
    if state is RemovalState.COMPLETED:
        return now + CHECK_AFTER_DONE
    if state in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}:
        return now + USER_REMINDED_EVERY
    return now


TOLD = frozenset({RemovalState.COMPLETED, RemovalState.NO_MATCH, RemovalState.DENIED, RemovalState.EXEMPT})


def told(state: RemovalState) -> str:
    """Whether the subscriber hears of a move: when it is their turn, and when the broker is done with it."""
    if state in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}:
        return "ask_user"
    return "tell_user" if state in TOLD else "answer"
