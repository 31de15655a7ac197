"""One rate and one circuit breaker a source, whoever asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from kordant_jobs.catalog import SOURCE_RATES
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.engine.jobs import PartyRate, rate_of_rpm
from kordant_jobs.ports import Answer, SourceTerms
from kordant_jobs.store.darkwatch import source_states
from kordant_jobs.store.darkwatch.source_states import OPEN_AFTER

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FREE = (PartyRate(per_s=1000, burst=1000),)


def _answers(*reasons: UnknownReason | None, retry_after_s: float | None = None) -> list[Answer]:
    return [
        Answer(
            item_id=uuid4(),
            verdict=Verdict.UNKNOWN if reason else Verdict.CLEAN,
            reason=reason,
            retry_after_s=retry_after_s,
        )
        for reason in reasons
    ]


def _admit(db: Engine, at: datetime, rates: tuple[PartyRate, ...] = FREE) -> source_states.Admission:
    with db.begin() as connection:
        return source_states.admit(connection, Source.HIBP, 10, rates=rates, now=at)


def _report(db: Engine, at: datetime, *answers: Answer) -> None:
    with db.begin() as connection:
        source_states.report(connection, Source.HIBP, answers, now=at)


@given(st.integers(1, 100_000), st.floats(0, 600))
def test_no_minute_sees_more_than_the_plan_allows(rpm: int, start_s: float) -> None:
    rate = rate_of_rpm(rpm)
    assert rate.burst + rate.per_s * 60 <= max(rpm, 2) + 1e-6


def test_processes_that_ask_at_once_share_one_bucket(db: Engine) -> None:
    rates = (PartyRate(per_s=1, burst=7),)
    with ThreadPoolExecutor(8) as threads:
        granted = list(threads.map(lambda _: _admit(db, NOW, rates).granted, range(16)))
    assert sum(granted) == 7


def test_every_bucket_of_a_source_must_have_a_token(db: Engine) -> None:
    rates = SOURCE_RATES[Source.XPOSEDORNOT]
    moments = [NOW + timedelta(seconds=s) for s in range(0, 86_400, 60)]
    granted = [sum(_admit(db, at, rates).granted for at in moments[n : n + 60]) for n in range(0, 120, 60)]
    assert granted[0] <= 25
    assert all(hour <= 25 for hour in granted)


@pytest.mark.parametrize("reason", [UnknownReason.UNAVAILABLE, UnknownReason.TIMED_OUT, UnknownReason.KEY_REFUSED])
def test_a_source_that_keeps_failing_is_left_alone_and_tried_by_one_question(db: Engine, reason: UnknownReason) -> None:
    _report(db, NOW, *_answers(*[reason] * OPEN_AFTER))
    assert _admit(db, NOW).reason is UnknownReason.CIRCUIT_OPEN
    later = NOW + timedelta(seconds=31)
    with ThreadPoolExecutor(4) as threads:
        granted = [one.granted for one in threads.map(lambda _: _admit(db, later), range(4))]
    assert sorted(granted) == [0, 0, 0, 1], "one question is let through"
    _report(db, later, *_answers(reason))
    assert _admit(db, later + timedelta(seconds=59)).granted == 0
    _report(db, later, *_answers(None))
    assert _admit(db, later).granted == 10


@pytest.mark.parametrize("reason", [UnknownReason.FORBIDDEN, UnknownReason.BAD_REQUEST])
def test_what_says_something_of_the_question_opens_nothing(db: Engine, reason: UnknownReason) -> None:
    _report(db, NOW, *_answers(*[reason] * 20))
    assert _admit(db, NOW).granted == 10


def test_retry_after_pauses_everybody_for_just_so_long(db: Engine) -> None:
    _report(db, NOW, *_answers(UnknownReason.RATE_LIMITED, retry_after_s=7))
    held = _admit(db, NOW + timedelta(seconds=6))
    assert (held.granted, held.reason, held.wait_s) == (0, UnknownReason.RATE_LIMITED, 1)
    assert _admit(db, NOW + timedelta(seconds=7)).granted == 10


def test_an_operator_may_have_it_asked_at_once(db: Engine) -> None:
    _report(db, NOW, *_answers(*[UnknownReason.UNAVAILABLE] * 9))
    with db.begin() as connection:
        source_states.close(connection, Source.HIBP)
        source_states.keep_terms(connection, Source.HIBP, SourceTerms(requests_per_minute=50), now=NOW)
        state = source_states.state_of(connection, Source.HIBP)
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.source_states")).scalar_one() == 1
    assert (state.failures, state.terms) == (0, SourceTerms(requests_per_minute=50))
    assert _admit(db, NOW).granted == 10
