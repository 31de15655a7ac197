"""Load, ask, save: outside sources within one scan, each at its own rate, all of them within one budget of time.

What is not answered stays unknown with its reason, and is asked by a later scan. No transaction is open while a
source is asked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.catalog import SOURCE_RATES, PartyRate, rate_of_rpm
from kordant_jobs.domain.breaches import Breach
from kordant_jobs.domain.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind, sha1_hex
from kordant_jobs.domain.payloads import DarkwatchScan
from kordant_jobs.domain.requests import Priority
from kordant_jobs.engine.queue.enqueue import enqueue
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan.rules.asking import RECHECK_AFTER, retry_delay_s, same_breach, source_verdict
from kordant_jobs.ports import Answer, ExposureSource, Finding, Question
from kordant_jobs.store import breach_lookups, scans, source_checks, source_states
from kordant_jobs.store.arrivals import Merge
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.store.source_checks import Found, Want
from kordant_jobs.store.source_states import TERMS_TTL, Admission

BATCH = 50
"""Questions between two looks at the rate and at the clock."""

PAGE = 1000
"""Questions that are loaded at once: finding them looks at everybody, so it must not be done for each batch."""

LATER = timedelta(seconds=30)
"""The least pause between two scans that only finish what sources left."""
MOST_LATER = 10_000
"""Subscriptions that one request takes; of more, the others come with the next."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What waiting goes by; tests give another one."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What asking one source gave. `left` items wait for a later scan, of which `next_at` is the earliest."""

    source: Source
    asked: int = 0
    clean: int = 0
    exposed: int = 0
    unknown: int = 0
    new_exposures: int = 0
    left: int = 0
    next_at: datetime | None = None
    left_subscriptions: tuple[UUID, ...] = ()
    why: UnknownReason | None = None
    wait_s: float = 0.0
    """How long until the source's rate or circuit breaker lets a question through."""


def _now(connection: Connection) -> datetime:
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def told_off(sources: Sources, *, db: Engine) -> list[str]:
    """What is to be said of sources that are off: each once, until it is on."""
    said = []
    with db.begin() as connection:
        for source in sources.on:
            source_states.tell_off_once(connection, source, off=False)
        for source, why in sources.off.items():
            if source_states.tell_off_once(connection, source, off=True):
                said.append(f"{source} is off ({why}); it is not part of any verdict.")
    return said


def ask_sources(
    scope: scans.Scope,
    sources: Sources,
    *,
    db: Engine,
    keyring: Keyring,
    budget_s: float,
    clock: Clock | None = None,
) -> list[Asked]:
    """Ask every source that is on about the items of `scope` that await an answer, beside each other. Safe to repeat:
    who has an answer is not asked again before it is stale."""
    if not sources.on:
        return []
    clock = clock or Clock()

    def ask(one: ExposureSource) -> Asked:
        return _ask_one(scope, one, db=db, keyring=keyring, budget_s=budget_s, clock=clock)

    with ThreadPoolExecutor(max_workers=len(sources.on), thread_name_prefix="source") as threads:
        return list(threads.map(ask, sources.on.values()))


def want_of(connection: Connection, source: ExposureSource, now: datetime) -> Want:
    """Whom a source is asked about: the kinds that it takes, unanswered or answered before there was news."""
    stale = now - RECHECK_AFTER[source.source]
    if source.source is Source.HIBP:
        newest = breach_lookups.newest_at(connection)
        stale = max(stale, newest) if newest is not None else stale
    kinds = frozenset(kind for kind in IdentifierKind if source.requests_for(kind))
    return Want(source=source.source, kinds=kinds, stale_before=stale)


def under_its_terms(source: ExposureSource, *, db: Engine) -> tuple[ExposureSource, tuple[PartyRate, ...]]:
    """The source as its key's plan allows it to be asked, and how often; the plan is looked at once a day.

    Raises:
        SourceUnavailable: it is a source with a plan, and it never told.
    """
    with db.begin() as connection:
        state = source_states.state_of(connection, source.source)
        now = _now(connection)
        closed = state.open_until is not None and state.open_until > now
        fresh = state.terms_at is not None and now - state.terms_at < TERMS_TTL
    terms = state.terms
    if not fresh and not closed:
        try:
            terms = source.terms()
        except SourceUnavailable:
            if terms is None:
                raise
        else:
            if terms is not None:
                with db.begin() as connection:
                    source_states.keep_terms(connection, source.source, terms, now=now)
    if terms is None:
        return source, SOURCE_RATES[source.source]
    return source.under(terms), (rate_of_rpm(terms.requests_per_minute),)


def _ask_one(
    scope: scans.Scope, source: ExposureSource, *, db: Engine, keyring: Keyring, budget_s: float, clock: Clock
) -> Asked:
    ends = clock.monotonic() + budget_s
    result = Asked(source=source.source)
    try:
        source, rates = under_its_terms(source, db=db)
    except SourceUnavailable as error:
        _note_failure(source, error, db=db)
        return _with_left(replace(result, why=UnknownReason.UNAVAILABLE), scope, source, db=db)
    waiting: list[Question] = []
    while clock.monotonic() < ends:
        waiting = waiting or _page(scope, source, db=db, keyring=keyring)
        if not waiting:
            wait_s = _hiccup_s(scope, source, db=db)
        else:
            chosen, admission = _admitted(source, waiting[:BATCH], rates, db=db)
            wait_s = None if chosen else admission.wait_s
            result = replace(result, why=None if chosen else admission.reason, wait_s=admission.wait_s)
            if chosen:
                answers = source.ask(chosen)
                result = _add(result, answers, _save(source, chosen, answers, db=db, keyring=keyring))
                del waiting[: len(chosen)]
                continue
        if wait_s is None or clock.monotonic() + wait_s >= ends:
            break
        clock.sleep(wait_s)
    return _with_left(result, scope, source, db=db)


def _note_failure(source: ExposureSource, error: SourceUnavailable, *, db: Engine) -> None:
    failed = Answer(
        item_id=UUID(int=0),
        verdict=Verdict.UNKNOWN,
        reason=UnknownReason.UNAVAILABLE,
        retry_after_s=error.retry_after_s,
    )
    with db.begin() as connection:
        source_states.report(connection, source.source, [failed], now=_now(connection))


def _page(scope: scans.Scope, source: ExposureSource, *, db: Engine, keyring: Keyring) -> list[Question]:
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = _now(connection)
        return source_checks.due(connection, want_of(connection, source, now), keyring, now=now, limit=PAGE)


def _admitted(
    source: ExposureSource, questions: Sequence[Question], rates: Sequence[PartyRate], *, db: Engine
) -> tuple[list[Question], Admission]:
    """The questions for whose requests there are tokens. A question that costs more than ever are there at once is let
    through when the bucket is full, and overdraws it."""
    costs = [source.requests_for(question.kind) for question in questions]
    with db.begin() as connection:
        now = _now(connection)
        admission = source_states.admit(connection, source.source, sum(costs), rates=rates, now=now)
    chosen: list[Question] = []
    spent = 0
    for question, cost in zip(questions, costs, strict=True):
        if admission.granted <= 0 or (chosen and spent + cost > admission.granted):
            break
        chosen.append(question)
        spent += cost
    if spent > admission.granted:
        with db.begin() as connection:
            source_states.overdraw(connection, source.source, spent - admission.granted, rates=rates)
    return chosen, admission


def _hiccup_s(scope: scans.Scope, source: ExposureSource, *, db: Engine) -> float | None:
    """How long until a failed question may be asked again; None when nothing waits."""
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = _now(connection)
        left = source_checks.left(connection, want_of(connection, source, now), most=1)
        return None if left.next_at is None else max(0.05, (left.next_at - now).total_seconds())


def _save(
    source: ExposureSource, questions: Sequence[Question], answers: Sequence[Answer], *, db: Engine, keyring: Keyring
) -> int:
    """Write what a batch was answered. A breach that could not be described yet is asked for again soon."""
    item_ids = [answer.item_id for answer in answers]
    with db.begin() as connection:
        pushed = source_checks.hints_of(connection, source.source, item_ids)
    found = [(answer.item_id, finding) for answer in answers for finding in answer.findings]
    found += [
        (item_id, Finding(reference=one))
        for item_id, references in pushed.items()
        for one in references
        if (item_id, one) not in {(item, finding.reference) for item, finding in found}
    ]
    names = resolve(source, [finding for _, finding in found], db=db)
    unresolved = {item_id for item_id, finding in found if finding.reference not in names}
    written = [
        Found(
            item_id=item_id,
            breach_name=names[finding.reference],
            reference=finding.reference,
            data_classes=finding.breach.data_classes if finding.breach else (),
        )
        for item_id, finding in found
        if finding.reference in names
    ]
    with db.begin() as connection:
        now = _now(connection)
        new = source_checks.save_findings(connection, source.source, written, now=now)
        attempts = source_checks.attempts_of(connection, source.source, item_ids)
        kept = [_kept(answer, attempts.get(answer.item_id, 0), unresolved) for answer in answers]
        source_checks.save_answers(connection, source.source, kept, now=now)
        source_checks.drop_hints(connection, source.source, [(one.item_id, one.reference) for one in written])
        if source.source is Source.HIBP:
            source_checks.keep_range_indexes(connection, range_indexes(questions, keyring))
        source_states.report(connection, source.source, answers, now=now)
    return new


def _kept(answer: Answer, failed_before: int, unresolved: set[UUID]) -> tuple[Answer, timedelta | None]:
    if answer.item_id in unresolved:
        unknown = Answer(item_id=answer.item_id, verdict=Verdict.UNKNOWN, reason=UnknownReason.UNREADABLE)
        return unknown, breach_lookups.NEGATIVE_TTL
    if answer.reason is None:
        return answer, None
    return answer, timedelta(seconds=retry_delay_s(answer.reason, failed_before + 1, answer.retry_after_s))


def range_indexes(questions: Sequence[Question], keyring: Keyring) -> dict[UUID, bytes]:
    """By which keyed hash a range notification finds each e-mail address."""
    return {
        one.item_id: keyring.range_index(sha1_hex(one.canonical))
        for one in questions
        if one.kind is IdentifierKind.EMAIL
    }


def resolve(source: ExposureSource, findings: Sequence[Finding], *, db: Engine) -> dict[str, str]:
    """What we call the breaches that a source names, by its own keys. Those it could not describe are left out."""
    told = {one.reference: one.breach for one in findings}
    if not told:
        return {}
    with db.begin() as connection:
        names = _known_names(connection, source.source, told)
    for reference in [one for one in told if one not in names and told[one] is None]:
        told[reference] = _described(source, reference, db=db)
    new = {
        reference: _named(source.source, reference, breach)
        for reference, breach in told.items()
        if reference not in names and breach is not None
    }
    with db.begin() as connection:
        again = _known_names(connection, source.source, {one: told[one] for one in new})
        breach_lookups.save(connection, [breach for one, breach in new.items() if one not in again])
    return names | {one: breach.name for one, breach in new.items()} | again


def _named(source: Source, reference: str, breach: Breach) -> Breach:
    return replace(breach, name=reference if source is Source.HIBP else f"{source}:{reference}")


def _known_names(connection: Connection, source: Source, told: dict[str, Breach | None]) -> dict[str, str]:
    """Those that are breaches of ours: HIBP's by name, others by the name we gave them, or by being the same as one of
    HIBP's."""
    ours = {one: one if source is Source.HIBP else f"{source}:{one}" for one in told}
    there = breach_lookups.known(connection, ours.values())
    names = {reference: name for reference, name in ours.items() if name in there}
    if source is Source.HIBP:
        return names
    rest = {one: breach or Breach(name=one, title=one) for one, breach in told.items() if one not in names}
    domains = {breach.domain.lower() for breach in rest.values() if breach.domain}
    similar = breach_lookups.alike(connection, list(rest), domains)
    for reference, breach in rest.items():
        if (name := same_breach(replace(breach, name=reference), similar)) is not None:
            names[reference] = name
    return names


def _described(source: ExposureSource, reference: str, *, db: Engine) -> Breach | None:
    """What the source tells of one of its breaches, asked by one process at a time."""
    with db.begin() as connection:
        lease = breach_lookups.may_look_up(connection, source.source, reference, now=_now(connection))
    if lease is None:
        return None
    found: bool | None = None
    try:
        breach = source.describe(reference)
        found = breach is not None
    except SourceUnavailable:
        breach = None
    finally:
        with db.begin() as connection:
            breach_lookups.looked_up(connection, source.source, reference, lease, found=found)
    return breach


def ask_later(asked: Sequence[Asked], *, db: Engine) -> UUID | None:
    """Queue a scan of those whose questions are left, for when the first may be asked; None when none is.

    Scans that leave the same people behind queue one request.
    """
    left = [one for one in asked if one.left and one.next_at is not None]
    ids = sorted({one for result in left for one in result.left_subscriptions})[:MOST_LATER]
    if not ids:
        return None
    with db.begin() as connection:
        now = _now(connection)
        run_at = max(now + LATER, min(one.next_at for one in left if one.next_at is not None))
        key = hashlib.sha256(b"".join(one.bytes for one in ids)).hexdigest()
        return enqueue(
            connection,
            DarkwatchScan(subscription_ids=tuple(ids)),
            requested_by="darkwatch_scan.sources",
            priority=Priority.LOW,
            run_at=run_at,
            merge=Merge(key=f"sources:{key}"),
        )


def _add(result: Asked, answers: Sequence[Answer], new: int) -> Asked:
    verdicts = [answer.verdict for answer in answers]
    reasons = [answer.reason for answer in answers if answer.reason is not None]
    return replace(
        result,
        asked=result.asked + len(answers),
        clean=result.clean + verdicts.count(Verdict.CLEAN),
        exposed=result.exposed + verdicts.count(Verdict.EXPOSED),
        unknown=result.unknown + verdicts.count(Verdict.UNKNOWN),
        new_exposures=result.new_exposures + new,
        why=reasons[-1] if reasons else None,
    )


def _with_left(result: Asked, scope: scans.Scope, source: ExposureSource, *, db: Engine) -> Asked:
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = _now(connection)
        left = source_checks.left(connection, want_of(connection, source, now))
        state = source_states.state_of(connection, source.source)
    rated = now + timedelta(seconds=result.wait_s)
    moments = [moment for moment in (left.next_at, state.open_until, rated) if moment is not None]
    return replace(
        result, left=left.items, next_at=max(moments, default=None), left_subscriptions=left.subscription_ids
    )


def save_verdicts(connection: Connection, sources: Sources, *, until: datetime) -> None:
    """Write a verdict a subscription and source, for who can be asked about there; `scans.choose` was called."""
    for source in sources.on.values():
        want = want_of(connection, source, until)
        standing = source_checks.standing(connection, want, until=until)
        verdicts = [
            source_verdict(exposures=exposures, unknown={reason: unanswered} if unanswered else {})
            for exposures, unanswered, reason in standing.select("exposures", "unanswered", "reason").iter_rows()
        ]
        frame = standing.with_columns(
            pl.Series("verdict", [verdict for verdict, _ in verdicts], dtype=pl.String),
            pl.Series("reason", [reason for _, reason in verdicts], dtype=pl.String),
        )
        scans.save_verdicts(connection, frame, source=source.source, checked_on=until.date(), until=until)
