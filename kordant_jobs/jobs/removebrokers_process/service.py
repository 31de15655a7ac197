"""Load, decide, save: takes removal requests a step further, a chunk of brokers at a time.

Replies first (`intake`), then for each chunk: what came over the Data Rights Protocol, confirmation links, our own
checks, the decisions (`rules`), and the messages to send (`sending`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.domain.removals.brokers import RemovalChannel, places_of
from kordant_jobs.domain.removals.clocks import Ask, Law
from kordant_jobs.domain.removals.replies import CheckVerdict
from kordant_jobs.domain.removals.states import RemovalState, may_move
from kordant_jobs.engine import Progress
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.removebrokers_process import intake, rules, rules_sending, sending
from kordant_jobs.jobs.removebrokers_process.intake import MailboxSummary
from kordant_jobs.jobs.removebrokers_process.outside import Outside
from kordant_jobs.ports import RescanAnswer, RescanQuestion, RescanSource, RightsAgent, RightsError, RightsStatus
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.removals import catalogue, due, links, moves, profiles, replies, requests, rights
from kordant_jobs.store.removals.tables import brokers, removal_requests

JOB = "removebrokers_process"
CHUNKS_MOST = 16
CHUNK_LEAST = 50
"""Requests and messages that are worth a chunk of their own: each has its process and its statements."""
POLLS_TOGETHER = 100
CHECKS_MOST = 500
"""Our own checks in one chunk of a run; what is left is checked by the next run."""


@dataclass(frozen=True, kw_only=True)
class RemovalPlan:
    """Brokers with work, shared out so that no two chunks have the same broker."""

    chunks: tuple[tuple[UUID, ...], ...]
    total: int
    mailbox: MailboxSummary


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The result of one chunk."""

    due: int = 0
    decided: int = 0
    moved: int = 0
    sent: int = 0
    put_off: int = 0
    failed: int = 0
    possible_copies: int = 0
    checked: int = 0
    links: int = 0
    polled: int = 0
    problems: tuple[str, ...] = ()

    def __add__(self, other: Carried) -> Carried:
        return Carried(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def plan(*, db: Engine, keyring: Keyring, outside: Outside, now: Callable[[], datetime]) -> RemovalPlan:
    """Process the replies of brokers, then divide the brokers with due requests into chunks, with the busiest in
    different ones."""
    taken = intake.MailboxSummary()
    if outside.inbox is not None:
        taken = intake.process_mailbox(outside.inbox, db=db, keyring=keyring, now=now)
    with db.connect() as connection:
        work = due.brokers_with_work(connection, now())
    total = sum(number for _, number in work)
    chunks: list[list[UUID]] = [[] for _ in range(min(CHUNKS_MOST, len(work), ceil(total / CHUNK_LEAST)))]
    for place, (broker_id, _) in enumerate(work):
        chunks[place % len(chunks)].append(broker_id)
    return RemovalPlan(chunks=tuple(map(tuple, chunks)), total=total, mailbox=taken)


def carry(
    broker_ids: Sequence[UUID],
    *,
    db: Engine,
    keyring: Keyring,
    outside: Outside,
    now: datetime,
    progress: Progress | None = None,
) -> Carried:
    """Carry out the next step of every due request to these brokers. Safe to repeat: a step that was carried out is not
    due any more."""
    polled = _poll(broker_ids, db=db, keyring=keyring, outside=outside, now=now)
    followed = _follow(broker_ids, db=db, keyring=keyring, outside=outside, now=now)
    checked = _check(broker_ids, db=db, keyring=keyring, rescan=outside.rescan, now=now)
    found, moved = decide_due_requests(broker_ids, db=db, now=now, agent=outside.rights is not None)
    if progress is not None:
        progress.advance(found, "decided")
    sent = sending.send_waiting(broker_ids, db=db, keyring=keyring, outside=outside, now=now)
    return Carried(
        due=found,
        decided=found,
        moved=moved,
        sent=sent.sent,
        put_off=sent.put_off,
        failed=sent.failed,
        possible_copies=sent.copies,
        checked=checked,
        links=followed,
        polled=polled,
        problems=(sent.problem,) if sent.problem else (),
    )


def decide_due_requests(
    broker_ids: Sequence[UUID], *, db: Engine, now: datetime, agent: bool = False
) -> tuple[int, int]:
    """Decide the next step of every due request to these brokers, and record it. Each round is one transaction; a step
    that has another one at once (bounced → another channel) gets a further round. Returns the number of steps decided,
    and of those recorded."""
    found = written = 0
    for _ in range(STEPS_MOST):
        with db.begin() as connection:
            works = due.ways(connection, broker_ids, agent=agent)
            frame = due.load(connection, broker_ids, now, works)
            if frame.is_empty():
                break
            found += frame.height
            decided = rules.decide(frame, now).rename({"state": "from_state"})
            written += moves.apply(
                connection,
                decided,
                now=now,
                actor=JOB,
                ways={one: (due.best(open_), open_.get(RemovalChannel.EMAIL)) for one, open_ in works.items()},
                brokers=broker_ids,
            )
        if not (decided["next_at"] <= now).any():
            break
    return found, written


STEPS_MOST = 4
"""Decisions that one request may take at once; after that it waits for the next run."""


def _poll(broker_ids: Sequence[UUID], *, db: Engine, keyring: Keyring, outside: Outside, now: datetime) -> int:
    """Ask for the status of due requests of the Data Rights Protocol. A status that can't be read changes nothing; the
    clock goes on. `POLLS_TOGETHER` statuses are written in a transaction; a killed run asks for its last ones again."""
    if outside.rights is None:
        return 0
    with db.connect() as connection:
        waiting = rights.polled(connection, broker_ids, now)
        withdrawn = rights.revocable(connection, broker_ids, now)
        if not waiting and not withdrawn:
            return 0
        ways = due.ways(connection, broker_ids, agent=True)
        named = {broker: open_[RemovalChannel.DRP] for broker, open_ in ways.items() if RemovalChannel.DRP in open_}
        known = rights.businesses(connection, list(named.values()))
    tokens = rights.Tokens(db, keyring, outside.rights)
    businesses = {broker: known[name] for broker, name in named.items() if name in known}
    for request in withdrawn:
        if request.broker_id in businesses:
            _revoke(businesses[request.broker_id], request, db=db, tokens=tokens, now=now)
    asked = [one for one in waiting if one.broker_id in businesses]
    for start in range(0, len(asked), POLLS_TOGETHER):
        statuses = {}
        for request in asked[start : start + POLLS_TOGETHER]:
            business = businesses[request.broker_id]
            with suppress(RightsError, SourceUnavailable):
                statuses[request.id] = tokens.call(business, _status_of(business, request.outside_id))
        with db.begin() as connection:
            take_statuses(connection, keyring, statuses, now=now)
    return len(waiting) + len(withdrawn)


def _status_of(business: Mapping[str, Any], outside_id: str) -> Callable[[RightsAgent, str], RightsStatus]:
    return lambda agent, token: agent.status(business, token, outside_id)


def _revoke(business: Mapping[str, Any], request: Any, *, db: Engine, tokens: rights.Tokens, now: datetime) -> None:
    """Notify the business that the subscriber withdrew. If it does not answer, this is repeated tomorrow."""
    again_at = None
    reason = "the consumer withdrew the request"
    try:
        tokens.call(business, lambda agent, token: agent.revoke(business, token, request.outside_id, reason))
    except SourceUnavailable:
        again_at = now + rules.POLL_EVERY
    except RightsError:
        pass  # it is at its end there
    with db.begin() as connection:
        rights.revoked(connection, request.id, again_at=again_at)


def take_statuses(
    connection: sa.Connection, keyring: Keyring, statuses: Mapping[UUID, RightsStatus], *, now: datetime
) -> int:
    """Apply the statuses that businesses returned, by request. Returns the number of requests whose state changed."""
    rows = []
    for request in requests.locked(connection, list(statuses)):
        status = statuses[request.id]
        links.keep_verification(connection, keyring, request, rules_sending.verification_page(status))
        if (row := _moved_by(status, request, now)) is not None:
            rows.append(row)
    return moves.apply(connection, moves.frame_of(rows), now=now, actor="drp")


def _moved_by(status: RightsStatus, request: Any, now: datetime) -> dict[str, Any] | None:
    """The move that follows from a status, if any. That a late business is still at it stops no complaint."""
    to, reason = rules_sending.of_rights(status, answer_by_on=request.answer_by_on)
    state = RemovalState(request.state)
    until = None
    if to is RemovalState.EXTENDED:
        until = rules_sending.extended_to(status, Law(request.law), Ask(request.ask), request.sent_on)
        if until is None or until <= request.answer_by_on or until < now.date():
            to, reason, until = rules_sending.of_rights(status)[0], f"drp_{status.state}", None
    stays = to is state and (until is None or until == request.extended_by_on)
    if to is None or stays or (to is not state and not may_move(state, to)):
        return None
    if state in _LATE and status.state in rules_sending.RUNNING and until is None:
        return None
    return {
        "id": str(request.id), "from_state": state.value, "to_state": None if to is state else to.value,
        "reason": reason, "action": intake.action_after(to), "answered": True,
        "broker_says": f"drp_{status.state}"[:60],
        "next_at": intake.next_check(to, now), "extended_by_on": until,
        "evidence": json.dumps({"drp_status": status.state, "drp_reason": status.reason}),
    }  # fmt: skip


_LATE = frozenset({RemovalState.OVERDUE, RemovalState.ESCALATED})


def _follow(broker_ids: Sequence[UUID], *, db: Engine, keyring: Keyring, outside: Outside, now: datetime) -> int:
    """Follow confirmation links, each once: a link is taken before it is opened, so a killed run never opens it twice.
    One that did not work is the subscriber's to open."""
    if outside.web is None:
        return 0
    with db.begin() as connection:
        waiting = replies.waiting_links(connection, keyring, broker_ids)
        replies.take_links(connection, [row.id for row, _ in waiting])
        domains = catalogue.domains_of(connection, {row.broker_id for row, _ in waiting})
    for row, link in waiting:
        outcome = outside.web.follow(link, domains[row.broker_id])
        with db.begin() as connection:
            state = RemovalState(requests.get(connection, row.request_id).state)
            to = RemovalState.IN_PROGRESS if outcome.done else RemovalState.NEEDS_USER_ACTION
            move = {
                "id": str(row.request_id), "from_state": state.value, "action": "answer", "next_at": now,
                "reason": "link_followed" if outcome.done else "confirmation_link",
                "evidence": json.dumps({"reply_id": str(row.id), "code": outcome.code}),
            }  # fmt: skip
            if may_move(state, to):
                move |= {"to_state": to.value, "action": intake.action_after(to), "next_at": intake.next_check(to, now)}
            moves.apply(connection, moves.frame_of([move]), now=now, actor=JOB)
    return len(waiting)


def _check(
    broker_ids: Sequence[UUID], *, db: Engine, keyring: Keyring, rescan: RescanSource | None, now: datetime
) -> int:
    """Look ourselves whether due requests' people are still listed, on each site that the broker runs."""
    if rescan is None:
        return 0
    table = removal_requests.c
    states = [one.value for one in rules.CHECKED_STATES]
    with db.connect() as connection:
        owner = sa.func.coalesce(brokers.c.handled_by, brokers.c.id)
        sites: dict[UUID, list[Any]] = {}
        query = sa.select(owner.label("owner"), brokers.c.key, brokers.c.facts)
        for row in connection.execute(query.where(owner.in_(broker_ids), brokers.c.has_search)):
            sites.setdefault(row.owner, []).append(row)
        waiting = connection.execute(
            sa.select(removal_requests)
            .where(table.broker_id.in_(list(sites)), table.next_at <= now, table.state.in_(states))
            .order_by(table.next_at)
            .limit(CHECKS_MOST)
        ).all()
        keys = keyring.load_keys(connection, list({row.subscriber_id for row in waiting}))
        people = profiles.load(connection, keys, list({row.subscriber_id for row in waiting}))
    rows = []
    for request in waiting:
        if (person := people.get(request.subscriber_id)) is None:
            continue
        details = places_of(person.details, year=now.year)
        answers = [
            rescan.check(RescanQuestion(site=site.key, recipe=site.facts["recipe"]["search"], person=details))
            for site in sites[request.broker_id]
        ]
        verdict = over_all(answers)
        rows.append(
            {"request_id": request.id, "verdict": verdict.verdict.value,
             "reason": verdict.reason, "source": ", ".join(site.key for site in sites[request.broker_id])}
        )  # fmt: skip
    with db.begin() as connection:
        requests.write_checks(connection, rows, now=now)
    return len(rows)


def over_all(answers: Sequence[RescanAnswer]) -> RescanAnswer:
    """One answer of several sites: listed on one is listed; *not listed* only when every one of them says so.

    >>> no = RescanAnswer(verdict=CheckVerdict.NOT_LISTED)
    >>> unread = RescanAnswer(verdict=CheckVerdict.UNKNOWN, reason="robots")
    >>> over_all([no, no]).verdict.value, over_all([no, unread]).verdict.value
    ('not_listed', 'unknown')
    """
    for wanted in (CheckVerdict.LISTED, CheckVerdict.UNKNOWN):
        if found := next((one for one in answers if one.verdict is wanted), None):
            return found
    return answers[0]
