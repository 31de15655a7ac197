"""Processes replies: each is matched to its request, read by the rules, kept sealed, and the request moves.

A hundred mails are a transaction: a statement a mail took half of a run. A mail goes from the mailbox only once
what it says is in the database.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.brokers.reply_mail import ReplyMail, Returned, read_mail
from kordant_jobs.domain.removals.brokers import RemovalChannel, registrable
from kordant_jobs.domain.removals.clocks import Ask
from kordant_jobs.domain.removals.replies import REPLY_MOVES, MessageKind, Reading, ReplyClass, is_news
from kordant_jobs.domain.removals.states import RemovalState, may_move
from kordant_jobs.errors import KordantError, SourceUnavailable
from kordant_jobs.jobs.removebrokers_process.rules import CHECK_AFTER_DONE, USER_REMINDED_EVERY
from kordant_jobs.jobs.removebrokers_process.rules_replies import read_reply
from kordant_jobs.ports import InboundMail, InboundMessage
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, moves, outgoing, replies, requests
from kordant_jobs.store.removals.replies import Match, NewReply, Question

_log = logging.getLogger(__name__)

ACTOR = "broker"
LINKS_MOST = 3
"""Confirmation links that one request follows; a broker that sends more gets a person."""
INTAKE_LIMIT = 20_000
BATCH = 100
BATCH_BYTES = 16 << 20
"""The most mails, and the most bytes, that are processed together."""
UNMATCHED_KEPT = timedelta(days=30)
"""Time for which a mail without a request waits for an operator. `forget` cannot find it, so it does not stay."""


@dataclass(kw_only=True)
class MailboxSummary:
    """The number of mails by what became of them: `repeated` were known already, `for_a_person` need an operator, and
    `unmatched` belong to no request. `problem`: the mailbox did not answer."""

    read: int = 0
    moved: int = 0
    repeated: int = 0
    for_a_person: int = 0
    unmatched: int = 0
    failed: int = 0
    """Mails that could not be processed because of an error of ours; they are put aside like those of no request."""
    problem: str | None = None


def process_mailbox(inbox: InboundMail, *, db: Engine, keyring: Keyring, now: Callable[[], datetime]) -> MailboxSummary:
    """Process up to `INTAKE_LIMIT` mails of the mailbox as replies to removal requests, and delete those put aside more
    than 30 days ago. If the mailbox does not answer, the result has the reason as `problem`."""
    total = MailboxSummary()
    try:
        inbox.tidy(now() - UNMATCHED_KEPT)
        for batch in _batches(inbox.messages(INTAKE_LIMIT)):
            found = _each_for_itself([one.content for one in batch], db=db, keyring=keyring, now=now())
            of_ours = [one for one in found if isinstance(one, ProcessedReply)]
            total.read += len(batch)
            total.failed += sum(isinstance(one, Failed) for one in found)
            total.unmatched += sum(one is None for one in found)
            total.repeated += sum(one.repeated for one in of_ours)
            total.moved += sum(one.moved for one in of_ours)
            total.for_a_person += sum(one.needs_person for one in of_ours)
            both = list(zip(batch, found, strict=True))
            inbox.done([message.key for message, one in both if isinstance(one, ProcessedReply)])
            inbox.put_aside([message.key for message, one in both if not isinstance(one, ProcessedReply)])
    except SourceUnavailable as error:
        total.problem = str(error)
    return total


def _batches(messages: Iterable[InboundMessage]) -> Iterator[list[InboundMessage]]:
    """Messages in batches of bounded number and size; what was read before the mailbox failed is a batch, too."""
    batch: list[InboundMessage] = []
    try:
        for message in messages:
            batch.append(message)
            if len(batch) == BATCH or sum(len(one.content) for one in batch) > BATCH_BYTES:
                yield batch
                batch = []
    except SourceUnavailable:
        yield batch
        raise
    yield batch


@dataclass(frozen=True, kw_only=True)
class ProcessedReply:
    """The effect of one reply: `repeated` when it was known already, `moved` when its request changed its state."""

    repeated: bool = False
    moved: bool = False
    needs_person: bool = False


class Failed:
    """A mail that could not be processed."""


def _each_for_itself(
    contents: Sequence[bytes], *, db: Engine, keyring: Keyring, now: datetime
) -> list[ProcessedReply | Failed | None]:
    """The results of `process_mails`. When one mail makes a batch fail, the halves of the batch are processed apart, so
    that only that mail is `Failed`."""
    try:
        return [*process_mails(contents, db=db, keyring=keyring, now=now)]
    except (KordantError, sa.exc.OperationalError):  # the keys, the database: no fault of a mail
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one mail is that mail's
        if len(contents) == 1:
            _log.error("a reply could not be processed (%s); it waits with those of no request", type(error).__name__)
            return [Failed()]
    middle = len(contents) // 2
    return [
        one
        for half in (contents[:middle], contents[middle:])
        for one in _each_for_itself(half, db=db, keyring=keyring, now=now)
    ]


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A mail with what the rules read in it. `place` is its index among the mails that are processed together."""

    place: int
    key: str = field(repr=False)
    mail: ReplyMail
    reading: Reading

    @property
    def asked(self) -> Question:
        return Question(
            place=self.place, tokens=self.mail.tokens, answers=self.mail.answers,
            case_numbers=self.reading.case_numbers, sender_domain=self.mail.sender_domain,
        )  # fmt: skip


def process_mail(content: bytes, *, db: Engine, keyring: Keyring, now: datetime) -> ProcessedReply | None:
    """Process one mail. None when it belongs to no request."""
    return process_mails([content], db=db, keyring=keyring, now=now)[0]


def process_mails(
    contents: Sequence[bytes], *, db: Engine, keyring: Keyring, now: datetime
) -> list[ProcessedReply | None]:
    """Process mails, each once; None for those that belong to no request.

    They are processed in rounds. Each round is one transaction with at most one mail for each request, since a second
    mail moves the request from the state that the first left, and may be matched by the case number in the first.
    """
    found: list[ProcessedReply | None] = [None] * len(contents)
    waiting = [_read(place, content) for place, content in enumerate(contents)]
    while waiting:
        with db.begin() as connection:
            matches = replies.match(connection, keyring, [one.asked for one in waiting])
            first: dict[UUID, _Read] = {}
            for one in waiting:
                if one.place in matches:
                    first.setdefault(matches[one.place].request_id, one)
            taken = _taken(connection, keyring, first, matches, now) if first else {}
        for place, outcome in taken.items():
            found[place] = outcome
        waiting = [one for one in waiting if one.place not in taken] if taken else []
    return found


def _read(place: int, content: bytes) -> _Read:
    mail = read_mail(content)
    if mail.returned is not None:
        reading = _BOUNCES[mail.returned]
    else:
        reading = read_reply(
            mail.subject, *mail.texts, sender=mail.sender_domain, is_automatic=mail.is_automatic, is_cut=mail.is_cut
        )
    # ticket systems give several mails one Message-ID
    said = f"{mail.message_id}\n{mail.subject}\n{mail.text}".encode() if mail.message_id else content
    return _Read(place=place, key=hashlib.sha256(said).hexdigest(), mail=mail, reading=reading)


_BOUNCES = {
    Returned.DEAD: Reading(reply_class=ReplyClass.BOUNCED, rule="delivery_report"),
    Returned.LOST: Reading(reply_class=ReplyClass.UNKNOWN, rule="not_delivered"),
    Returned.PASSING: Reading(reply_class=ReplyClass.AUTO_REPLY, rule="passing_bounce"),
}


def _taken(
    connection: Connection, keyring: Keyring, first: Mapping[UUID, _Read], matches: Mapping[int, Match], now: datetime
) -> dict[int, ProcessedReply]:
    """Keep one reply of each of these requests and move the requests; by place. One of a subscriber who was forgotten
    meanwhile counts as repeated: nothing of it is kept."""
    taken = {one.place: ProcessedReply(repeated=True) for one in first.values()}
    keys = keyring.load_keys(connection, [matches[place].subscriber_id for place in taken], for_writing=True)
    rows = {row.id: row for row in requests.locked(connection, list(first)) if row.subscriber_id in keys}
    domains = catalogue.domains_of(connection, {row.broker_id for row in rows.values()})
    about_contact = [one for one in rows if first[one].reading.reply_class in _ABOUT_THE_CONTACT]
    written = outgoing.written_to(connection, about_contact) if about_contact else {}
    fresh, moved, dead = [], {}, {}
    for request_id, row in rows.items():
        one, own = first[request_id], domains[row.broker_id]
        reading = one.reading
        link = confirmation_link(reading, own) if row.links_followed < LINKS_MOST else None
        state = RemovalState(row.state)
        to, reason = where_to(reading, link=link is not None)
        needs_person = reading.reply_class is ReplyClass.UNKNOWN
        if to is not None and not _leads_to(state, to, reading, Ask(row.ask)):
            to, needs_person = None, is_news(state, reading.reply_class)
        if reading.reply_class in _ABOUT_THE_CONTACT:
            sent = written.get(request_id, [])
            contact = dead[request_id] = _dead_contact(one.mail, reading, sent)
            needs_person = contact is None
            newest = next((message for message in sent if message.kind == MessageKind.REQUEST), None)
            if newest is None or newest.contact != contact:
                to = None
        reply = NewReply(
            request_id=request_id, subscriber_id=row.subscriber_id, matched_by=matches[one.place].by,
            message_key=f"{request_id} {one.key}", sender_domain=one.mail.sender_domain,
            is_own_domain=one.mail.sender_domain in own, reading=reading, text=one.mail.text, link=link,
            moved=to is not None, needs_person=needs_person, received_at=now,
        )  # fmt: skip
        fresh.append(reply)
        is_answer = reading.reply_class not in _NO_ANSWERS and not (
            needs_person and reading.reply_class is ReplyClass.CONTACT_MOVED
        )
        move: dict[str, Any] = {
            "id": str(request_id), "from_state": state.value, "reason": reason, "action": "answer",
            "evidence": f'{{"reply_id": "{reply.id}", "class": "{reading.reply_class}", "rule": "{reading.rule}"}}',
            "next_at": row.next_at, "answered": is_answer,
            "broker_says": reading.reply_class.value if is_answer else None,
        }  # fmt: skip
        if to is not None:
            move |= {"to_state": to.value, "next_at": next_check(to, now), "action": action_after(to)}
        moved[reply.id] = move
    kept = replies.write(connection, keyring, keys, fresh)
    moves.apply(connection, moves.frame_of([moved[one] for one in moved if one in kept]), now=now, actor=ACTOR)
    for reply in fresh:
        if reply.id in kept:
            taken[first[reply.request_id].place] = ProcessedReply(moved=reply.moved, needs_person=reply.needs_person)
            if contact := dead.get(reply.request_id):
                fault, broker_id = reply.reading.reply_class.value, rows[reply.request_id].broker_id
                catalogue.note_fault(connection, broker_id, contact, fault, now=now)
    return taken


_NO_ANSWERS = frozenset({ReplyClass.AUTO_REPLY, ReplyClass.BOUNCED, ReplyClass.UNKNOWN})
_SETTLED = frozenset({RemovalState.COMPLETED, RemovalState.NO_MATCH, RemovalState.DENIED, RemovalState.EXEMPT})
_AT_WORK = frozenset({RemovalState.IN_PROGRESS, RemovalState.EXTENDED})


def _leads_to(state: RemovalState, to: RemovalState, reading: Reading, ask: Ask) -> bool:
    """True when a reply may move a request by itself. Mails overtake each other, so 'we are at it' reopens nothing; and
    an opt-out is not the deletion that was asked for."""
    if reading.reply_class is ReplyClass.DONE and reading.detail == "opt_out" and ask is Ask.DELETION:
        return False
    return may_move(state, to) and not (state in _SETTLED and to in _AT_WORK)


def note_dead(connection: Connection, request: Any, said: ReplyClass, *, now: datetime) -> None:
    """A person says that the address which a request was written to last is dead."""
    for sent in outgoing.written_to(connection, [request.id]).get(request.id, []):
        if sent.channel == RemovalChannel.EMAIL:
            catalogue.note_fault(connection, request.broker_id, sent.contact, said.value, now=now)
            return


_ABOUT_THE_CONTACT = frozenset({ReplyClass.BOUNCED, ReplyClass.CONTACT_MOVED})


def _dead_contact(mail: ReplyMail, reading: Reading, sent: Sequence[Any]) -> str | None:
    """The address that a reply says is dead, where that is sure: a bounce names our message or we wrote to one address
    only; and only who reads an address says that it moved. It is dead for everybody's requests."""
    by_mail = [one for one in sent if one.channel == RemovalChannel.EMAIL]
    contacts = {one.contact for one in by_mail}
    if reading.reply_class is ReplyClass.CONTACT_MOVED:
        return next((one for one in contacts if one.lower() == mail.sender), None)
    if mail.returned is None:
        return None
    named = {one.contact for one in by_mail if one.id in mail.answers} or contacts
    return next(iter(named)) if len(named) == 1 else None


def where_to(reading: Reading, *, link: bool) -> tuple[RemovalState | None, str]:
    """The state that a reply leads to, and the reason. A confirmation link that we follow ourselves is not work for the
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
    """The link to follow: the only one of the deciding sentence, on the broker's own domains, that says nothing of the
    opposite. Of several the subscriber chooses."""
    if reading.reply_class is not ReplyClass.CONFIRMATION_LINK or len(reading.links) != 1:
        return None
    [link] = reading.links
    return link if registrable(link) in domains and not _OPPOSITE.search(link) else None


_OPPOSITE = re.compile(
    r"cancel|unsub|den(y|ied)|declin|reject|revok|withdraw|abus|disput|not-?me|undo|stop|keep|log-?in|sign-?in|recus|ignor",
    re.IGNORECASE,
)


def next_check(state: RemovalState, now: datetime) -> datetime:
    """The next check of a request that just came to this state: at once, unless the state is one that waits."""
    if state is RemovalState.COMPLETED:
        return now + CHECK_AFTER_DONE
    if state in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}:
        return now + USER_REMINDED_EVERY
    return now


ANNOUNCED = frozenset({RemovalState.COMPLETED, RemovalState.NO_MATCH, RemovalState.DENIED, RemovalState.EXEMPT})


def action_after(state: RemovalState) -> str:
    """The action after a move: the subscriber is notified when it is their turn, and when the broker is done with
    it."""
    if state in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}:
        return "ask_user"
    return "tell_user" if state in ANNOUNCED else "answer"
