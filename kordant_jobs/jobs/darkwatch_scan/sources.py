"""Load, ask, save: outside sources within one scan, each at its own rate, all of them within one time budget.

An item without an answer stays unknown, with the reason, and a later scan asks again. No transaction is open while a
source is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine

from kordant_jobs import tracing
from kordant_jobs.adapters.sources.registry import Sources
from kordant_jobs.catalog import SOURCE_RATES
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind, sha1_hex
from kordant_jobs.engine import PartyRate, rate_of_rpm
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan.asked import Asked, want_of
from kordant_jobs.jobs.darkwatch_scan.drops import now_of
from kordant_jobs.jobs.darkwatch_scan.naming import resolve
from kordant_jobs.jobs.darkwatch_scan.rules.asking import retry_delay_s
from kordant_jobs.ports import Answer, ExposureSource, Finding, Question
from kordant_jobs.store.darkwatch import breach_lookups, scans, source_checks, source_states
from kordant_jobs.store.darkwatch.source_checks import Found
from kordant_jobs.store.darkwatch.source_states import TERMS_TTL, Admission
from kordant_jobs.store.people.keyring import Keyring

BATCH = 50
"""Questions between two checks of the rate and of the clock."""

PAGE = 1000
"""Questions that are loaded at once: finding them reads all subscriptions, which is too slow for each batch."""


CHECK_AGAIN_S = 1.0
"""Seconds between two checks for an answer that another scan is waiting for."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The clock used for waiting; tests pass another one."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def report_unconfigured(sources: Sources, *, db: Engine) -> list[str]:
    """Report sources that are not configured: each once, until it is enabled."""
    said = []
    with db.begin() as connection:
        for source in sources.on:
            source_states.report_off_once(connection, source, off=False)
        for source, why in sources.off.items():
            if source_states.report_off_once(connection, source, off=True):
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
    """Ask every enabled source about the items of `scope` without an answer, all sources concurrently. Safe to repeat:
    an item with an answer is not asked about again before the answer is stale."""
    if not sources.on:
        return []
    clock = clock or Clock()

    def ask(one: ExposureSource) -> Asked:
        return _ask_one(scope, one, db=db, keyring=keyring, budget_s=budget_s, clock=clock)

    with ThreadPoolExecutor(max_workers=len(sources.on), thread_name_prefix="source") as threads:
        return list(threads.map(tracing.carried(ask), sources.on.values()))


def under_its_terms(source: ExposureSource, *, db: Engine) -> tuple[ExposureSource, tuple[PartyRate, ...]]:
    """The source with the limits of its key's plan, and its rates; the plan is fetched once a day.

    Raises:
        SourceUnavailable: the source has a plan and never reported it.
    """
    with db.begin() as connection:
        state = source_states.state_of(connection, source.source)
        now = now_of(connection)
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
    return source.under(terms), (rate_of_rpm(terms.requests_per_minute, terms.burst),)


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
    loaded_at, waiting = datetime.min.replace(tzinfo=UTC), list[Question]()
    while clock.monotonic() < ends:
        if not waiting:
            loaded_at, waiting = _page(scope, source, db=db, keyring=keyring)
        if not waiting:
            wait_s = _hiccup_s(scope, source, db=db)
        else:
            free, chosen, admission, lease_id = _admitted(source, waiting[:BATCH], rates, loaded_at=loaded_at, db=db)
            waiting[:BATCH] = free[len(chosen) :]
            if not free:
                continue  # another scan asks them
            wait_s = admission.wait_s
            result = replace(result, why=None if chosen else admission.reason, wait_s=admission.wait_s)
            if lease_id:
                answers = source.ask(chosen)
                new = save(source, chosen, answers, lease_id, db=db, keyring=keyring)
                result = result.with_answers(answers, new)
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
        source_states.report(connection, source.source, [failed], now=now_of(connection))


def _page(
    scope: scans.Scope, source: ExposureSource, *, db: Engine, keyring: Keyring
) -> tuple[datetime, list[Question]]:
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = now_of(connection)
        return now, source_checks.due(connection, want_of(connection, source, now), keyring, now=now, limit=PAGE)


def _admitted(
    source: ExposureSource,
    questions: Sequence[Question],
    rates: Sequence[PartyRate],
    *,
    loaded_at: datetime,
    db: Engine,
) -> tuple[list[Question], list[Question], Admission, UUID | None]:
    """Returns the questions that no other scan has claimed; the first of them for whose requests there are tokens, now
    claimed by us; the admission; and the lease for them (None: there are none).

    A question that needs more tokens than the bucket holds is admitted when the bucket is full, and overdraws it.
    """
    with db.begin() as connection:
        now = now_of(connection)
        source_states.state_of(connection, source.source, lock=True)  # two scans choose one after the other
        free = source_checks.unclaimed(connection, source.source, questions, loaded_at=loaded_at, now=now)
        if not free:
            return [], [], Admission(granted=0), None
        costs = [source.cost(question) for question in free]
        admission = source_states.admit(connection, source.source, sum(costs), rates=rates, now=now)
        chosen: list[Question] = []
        spent = 0
        for question, cost in zip(free, costs, strict=True):
            if admission.granted <= 0 or (chosen and spent + cost > admission.granted):
                break
            chosen.append(question)
            spent += cost
        if spent > admission.granted:
            source_states.overdraw(connection, source.source, spent - admission.granted, rates=rates)
        lease_id = source_checks.claim(connection, source.source, chosen, now=now) if chosen else None
    return free, chosen, admission, lease_id


def _hiccup_s(scope: scans.Scope, source: ExposureSource, *, db: Engine) -> float | None:
    """Seconds until a failed question may be asked again; None when no question waits."""
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = now_of(connection)
        left = source_checks.left(connection, want_of(connection, source, now), most=1)
        if left.next_at is None:
            return None
        return CHECK_AGAIN_S if left.claimed else max(0.05, (left.next_at - now).total_seconds())


def save(
    source: ExposureSource,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    lease_id: UUID,
    *,
    db: Engine,
    keyring: Keyring,
) -> int:
    """Write the answers of a batch. Returns the number of new exposures. A breach that could not be described is asked
    for again soon."""
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
        now = now_of(connection)
        new = source_checks.save_findings(connection, source.source, written, now=now)
        attempts = source_checks.attempts_of(connection, source.source, item_ids)
        kept = [_kept(answer, attempts.get(answer.item_id, 0), unresolved) for answer in answers]
        source_checks.save_answers(connection, source.source, kept, lease_id=lease_id, now=now)
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
    """The keyed hash by which a range notification finds each e-mail address, by item."""
    return {
        one.item_id: keyring.range_index(sha1_hex(one.canonical))
        for one in questions
        if one.kind is IdentifierKind.EMAIL
    }


def _with_left(result: Asked, scope: scans.Scope, source: ExposureSource, *, db: Engine) -> Asked:
    with db.begin() as connection:
        scans.choose(connection, scope)
        now = now_of(connection)
        left = source_checks.left(connection, want_of(connection, source, now))
        state = source_states.state_of(connection, source.source)
    rated = now + timedelta(seconds=result.wait_s)
    moments = [moment for moment in (left.next_at, state.open_until, rated) if moment is not None]
    return replace(
        result, left=left.items, next_at=max(moments, default=None), left_subscriptions=left.subscription_ids
    )
