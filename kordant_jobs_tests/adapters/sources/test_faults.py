"""Whatever a source does to us: never clean, never an error, and over in time."""

from __future__ import annotations

import time

import pytest

from kordant_jobs.adapters.sources.http import HttpLimits
from kordant_jobs.domain.darkwatch.exposures import UnknownReason, Verdict
from kordant_jobs.lab.fakes.sources.faults import RETRY_AFTER_S, Fault, FaultyServer
from kordant_jobs.lab.fakes.sources.hibp import TEST_DOMAIN, FakeHibp
from kordant_jobs_tests.adapters.sources.providers import NAMES, PATIENT, QUICK, about, source_at

WHY = {
    Fault.ERROR_500: UnknownReason.UNAVAILABLE,
    Fault.BUSY_503_PAGE: UnknownReason.UNAVAILABLE,
    Fault.LIMITED: UnknownReason.RATE_LIMITED,
    Fault.LIMITED_WITH_RETRY_AFTER: UnknownReason.RATE_LIMITED,
    Fault.SILENCE: UnknownReason.TIMED_OUT,
    Fault.TRUNCATED: UnknownReason.UNREACHABLE,
    Fault.CUT_JSON: UnknownReason.UNREADABLE,
    Fault.WRONG_TYPE: UnknownReason.UNREADABLE,
    Fault.EMPTY: UnknownReason.UNREADABLE,
    Fault.NULL: UnknownReason.UNREADABLE,
    Fault.PAGE: UnknownReason.UNREADABLE,
    Fault.PAGE_404: UnknownReason.UNREADABLE,
    Fault.REDIRECT: UnknownReason.REDIRECTED,
    Fault.RESET: UnknownReason.UNREACHABLE,
    Fault.NOT_HTTP: UnknownReason.UNREACHABLE,
    Fault.BAD_GZIP: UnknownReason.UNREADABLE,
    Fault.DEEP: UnknownReason.UNREADABLE,
    Fault.SLOW_HEAD: UnknownReason.TIMED_OUT,
    Fault.SLOW_BODY: UnknownReason.TIMED_OUT,
    Fault.ENDLESS: UnknownReason.TOO_LARGE,
}
IN_TIME_S = QUICK.total_s + 5.0
"""Five seconds for a busy machine; the slow faults would never end."""
NEVER_ENDS = {Fault.SILENCE, Fault.SLOW_HEAD, Fault.SLOW_BODY}


def limits_for(fault: Fault) -> HttpLimits:
    return QUICK if fault in NEVER_ENDS else PATIENT


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_fails_is_unknown_with_the_reason_and_in_time(name: str, fault: Fault) -> None:
    with FaultyServer(fault) as server:
        source = source_at(name, server.url, limits_for(fault))
        began = time.monotonic()
        answers = source.ask([about("ann@example.com"), about("bob@example.com")])
        took_s = time.monotonic() - began
    assert [(answer.verdict, answer.reason) for answer in answers] == [(Verdict.UNKNOWN, WHY[fault])] * 2
    assert took_s < IN_TIME_S
    after = RETRY_AFTER_S if fault is Fault.LIMITED_WITH_RETRY_AFTER else None
    assert {answer.retry_after_s for answer in answers} == {after}


def test_one_failed_answer_leaves_the_rest_of_the_batch_alone() -> None:
    fake = FakeHibp(hiccups=1)
    with fake.server() as server:
        answers = source_at("hibp", server.url).ask([about(f"account-exists@{TEST_DOMAIN}") for _ in range(5)])
    verdicts = [answer.verdict for answer in answers]
    assert sorted(verdicts) == [Verdict.EXPOSED] * 4 + [Verdict.UNKNOWN]


def test_a_redirect_is_never_followed() -> None:
    with FakeHibp().server() as elsewhere, FaultyServer(Fault.REDIRECT) as server:
        source_at("hibp", server.url, QUICK).ask([about("ann@example.com")])
        assert (server.asked, elsewhere.log) == (1, [])
