"""Actions of people on a request: a form was filled in, a reply was read, a complaint is wanted."""

import hmac
import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.people.subscriptions import Locale
from kordant_jobs.domain.removals.authorities import authority_of
from kordant_jobs.domain.removals.brokers import RemovalChannel
from kordant_jobs.domain.removals.clocks import CLOCKS, Ask, Law
from kordant_jobs.domain.removals.replies import CheckVerdict, Reading, ReplyClass, is_news
from kordant_jobs.domain.removals.states import BEFORE_THE_BROKER, RemovalState, may_move
from kordant_jobs.errors import PermanentError
from kordant_jobs.jobs.removebrokers_process import intake, letters, rules_sending, sending
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.people.tables import subscriptions
from kordant_jobs.store.removals import catalogue, moves, profiles, replies, requests
from kordant_jobs.store.removals.links import DONE, token_of
from kordant_jobs.store.removals.profiles import Profile
from kordant_jobs.store.removals.tables import removal_replies, removal_requests
from kordant_jobs.wording import wording


def form_done(db: Engine, request_id: UUID, *, actor: str, now: datetime) -> RemovalState:
    """The subscriber did what the broker wanted. The first time the broker has the request now, and its clock begins;
    later (identity shown, link opened) it goes on. Said twice, nothing happens. The state that it is in then.

    Raises:
        PermanentError: there is no such request, or nothing was asked of the subscriber.
    """
    with db.begin() as connection:
        request = requests.get(connection, request_id)
        state = RemovalState(request.state)
        if state in {RemovalState.SENT, RemovalState.IN_PROGRESS}:
            return state
        if state not in {RemovalState.NEEDS_USER_ACTION, RemovalState.NEEDS_IDENTITY}:
            raise PermanentError(f"removal request {request_id} is {state}: nothing was asked of the subscriber.")
        row: dict[str, Any] = {"id": str(request_id), "from_state": state.value, "reason": "user_says_done"}
        if state is RemovalState.NEEDS_USER_ACTION and request.sent_on is None:
            is_drop = RemovalChannel.DROP in catalogue.by_id(connection, request.broker_id).channels
            channel = RemovalChannel.DROP if is_drop else RemovalChannel.WEB_FORM
            facts = rules_sending.sent_facts(Law(request.law), Ask(request.ask), now, channel=channel.value)
            row |= {"to_state": RemovalState.SENT.value, "action": "sent", **facts}
        else:
            row |= {"to_state": RemovalState.IN_PROGRESS.value, "next_at": now}
        moves.apply(connection, moves.frame_of([row]), now=now, actor=actor)
        return RemovalState(row["to_state"])


CALLBACK = "removal status callback"


def _named(keyring: Keyring, purpose: str, request: str, token: str) -> UUID | None:
    """The request that an address names, when its token is ours."""
    try:
        request_id = UUID(request)
    except ValueError:
        return None
    known = hmac.compare_digest(token.encode(), token_of(keyring, purpose, request_id).encode())
    return request_id if known else None


def status_called(db: Engine, keyring: Keyring, request: str, token: str) -> bool:
    """A business says that a status changed. That is not signed, so the next run asks for the status itself; what the
    call says is not read. False when the address is not one of ours."""
    request_id = _named(keyring, CALLBACK, request, token)
    if request_id is None:
        return False
    table = removal_requests.c
    with db.begin() as connection:
        connection.execute(
            sa.update(removal_requests)
            .where(table.id == request_id, table.channel == "drp", table.outside_id.is_not(None))
            .values(next_at=sa.func.least(table.next_at, sa.func.now()))
        )
    return True


def names_a_form(keyring: Keyring, request: str, token: str) -> bool:
    """True for a valid 'done' link."""
    return _named(keyring, DONE, request, token) is not None


def done_by_link(db: Engine, keyring: Keyring, request: str, token: str, *, now: datetime) -> RemovalState | None:
    """Like `form_done`, but for the signed address that the product's app posts to. None when the signature is not
    ours."""
    request_id = _named(keyring, DONE, request, token)
    return form_done(db, request_id, actor="subscriber", now=now) if request_id else None


def person_read(db: Engine, reply_id: UUID, meaning: ReplyClass, *, actor: str, now: datetime) -> RemovalState:
    """Record an operator's classification of a reply, and move its request accordingly. Returns the new state.

    Raises:
        PermanentError: there is no such reply, or its request is about to be sent, so that no reply moves it.
    """
    with db.begin() as connection:
        reply = connection.execute(sa.select(removal_replies).where(removal_replies.c.id == reply_id)).one_or_none()
        if reply is None:
            raise PermanentError(f"there is no reply {reply_id}.")
        request = requests.get(connection, reply.request_id)
        state = RemovalState(request.state)
        to, reason = intake.where_to(Reading(reply_class=meaning, rule="a person"), link=False)
        if state in BEFORE_THE_BROKER and is_news(state, meaning):
            raise PermanentError(
                f"removal request {request.id} is {state}: no answer moves it. Say it again once the request is sent, "
                f"or withdraw it with `kordant-jobs removals cancel {request.id}`."
            )
        replies.settle(connection, reply_id, meaning.value)
        if meaning in {ReplyClass.BOUNCED, ReplyClass.CONTACT_MOVED}:
            intake.note_dead(connection, request, meaning, now=now)
        if to is None or not may_move(state, to):
            return state
        row = {
            "id": str(request.id), "from_state": state.value, "to_state": to.value, "reason": reason,
            "action": intake.action_after(to), "answered": True, "broker_says": meaning.value,
            "next_at": intake.next_check(to, now), "evidence": json.dumps({"reply_id": str(reply_id)}),
        }  # fmt: skip
        moves.apply(connection, moves.frame_of([row]), now=now, actor=actor)
        return to


def broker_answered(db: Engine, request_id: UUID, meaning: ReplyClass, *, actor: str, now: datetime) -> RemovalState:
    """The broker answered the subscriber and not us: what is asked on its form is answered there, by phone or by post.
    The state that the request is in then.

    Raises:
        PermanentError: there is no such request, or this answer leads nowhere from where it stands.
    """
    with db.begin() as connection:
        request = requests.get(connection, request_id)
        state = RemovalState(request.state)
        to, reason = intake.where_to(Reading(reply_class=meaning, rule="a person"), link=False)
        if to is None or not may_move(state, to):
            raise PermanentError(f"removal request {request_id} is {state}: the answer {meaning} moves it nowhere.")
        row = {
            "id": str(request_id), "from_state": state.value, "to_state": to.value, "reason": reason, "answered": True,
            "broker_says": meaning.value, "next_at": intake.next_check(to, now),
            "evidence": '{"heard_by": "subscriber"}',
        }  # fmt: skip
        moves.apply(connection, moves.frame_of([row]), now=now, actor=actor)
        return to


def _asked_by(db: Engine, keyring: Keyring, request_id: UUID) -> tuple[requests.Story, Profile | None, Locale]:
    """A request with what happened, what its subscriber gave, and the subscriber's language."""
    with db.connect() as connection:
        story = requests.story(connection, request_id)
        plan = connection.execute(
            sa.select(subscriptions.c.locale).where(subscriptions.c.id == story.request.subscription_id)
        ).one()
        keys = keyring.load_keys(connection, [story.request.subscriber_id])
        person = profiles.load(connection, keys, [story.request.subscriber_id]).get(story.request.subscriber_id)
    return story, person, Locale(plan.locale)


def own_request(db: Engine, keyring: Keyring, request_id: UUID, *, today: date) -> str:
    """The request in the subscriber's own name, for brokers that take none from an agent.

    Raises:
        PermanentError: there is no such request, or its subscriber gave no details.
    """
    story, person, language = _asked_by(db, keyring, request_id)
    if person is None:
        raise PermanentError(f"removal request {request_id} has no details to name: `kordant-jobs removals permit`.")
    return letters.write_own_request(
        broker=story.broker.name,
        wanted=sending.wanted_of(story.broker),
        given=person.details,
        law=Law(story.request.law),
        ask=Ask(story.request.ask),
        language=language,
        today=today,
    )


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """A drafted complaint. `check_first` is the authority's address where no list confirms it; `if_unanswered`: the
    broker would have answered the subscriber, and only they know."""

    text: str = field(repr=False)
    check_first: str | None
    if_unanswered: bool


COMPLAINED_ABOUT = frozenset({RemovalState.OVERDUE, RemovalState.ESCALATED, RemovalState.RELISTED})
_SAID = {RemovalState.COMPLETED: "done", RemovalState.NO_MATCH: "none"}
"""Answers that a listing contradicts."""


def complaint(db: Engine, keyring: Keyring, request_id: UUID) -> Complaint:
    """The complaint about one request, in the subscriber's language, with what happened in order.

    Raises:
        PermanentError: there is no such request, it was never sent, the broker did what it has to, or its law names no
            regulator.
    """
    story, person, language = _asked_by(db, keyring, request_id)
    request, law = story.request, Law(story.request.law)
    if request.sent_on is None or person is None:
        raise PermanentError(f"removal request {request_id} was not sent: there is nothing to complain about.")
    if RemovalState(request.state) not in COMPLAINED_ABOUT:
        raise PermanentError(f"removal request {request_id} is {request.state}: there is nothing to complain about.")
    authority = authority_of(law, person.country, person.state)
    if authority is None:
        raise PermanentError(f"removal request {request_id} is based on no law that an authority watches over.")
    words = wording(language)
    is_own = request.channel == RemovalChannel.WEB_FORM
    moved = [one for one in story.events if one.from_state != one.to_state]
    is_extended = any(one.to_state == RemovalState.EXTENDED for one in moved)
    is_listed = request.check_says == CheckVerdict.LISTED
    text = letters.write_complaint(
        {
            "regulator": f"{authority.name} ({authority.website})",
            "broker": story.broker.name,
            "sent_on": words.day(request.sent_on),
            "answer_by": words.day(request.extended_by_on if is_extended else request.answer_by_on),
            "ask": request.ask,
            "ground": CLOCKS[law].ground,
            "own": is_own,
            "listed": is_listed,
            "says": next((_SAID[one.to_state] for one in reversed(moved) if one.to_state in _SAID), ""),
            "checked_on": request.checked_at and words.day(request.checked_at.date()),
            "reminded": request.reminders > 0,
            "timeline": [
                f"{words.day(one.at.date())}: {said}"
                for one in moved
                if (said := letters.happened(words, RemovalState(one.from_state), RemovalState(one.to_state)))
            ],
            "name": person.details.get("name", ""),
        },
        language=language,
    )
    return Complaint(
        text=text, check_first=authority.website if authority.to_check else None, if_unanswered=is_own and not is_listed
    )
