"""Every source keeps the port: clean, exposed, in order, and what it is told stays out of texts and logs."""

from __future__ import annotations

import logging

import pytest

from kordant_jobs.domain.darkwatch.exposures import Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.lab.fakes.sources.hibp import FakeHibp
from kordant_jobs_tests.adapters.sources.providers import NAMES, REAL, about, provider, source_at

KEYED = {"hibp_range", "leakcheck_pro"}
names = pytest.mark.parametrize("name", [name for name in NAMES if not (REAL and name in KEYED)])


@names
def test_an_address_in_a_breach_is_exposed_and_one_in_none_is_clean(name: str) -> None:
    with provider(name) as case:
        asked = [about(case.clean), about(case.found), about(case.clean)]
        answers = case.source.ask(asked)
    assert [answer.item_id for answer in answers] == [question.item_id for question in asked]
    assert [answer.verdict for answer in answers] == [Verdict.CLEAN, Verdict.EXPOSED, Verdict.CLEAN]
    references = [finding.reference for finding in answers[1].findings]
    assert all(references)
    assert len(set(references)) == len(references)


@names
def test_what_it_cannot_be_asked_about_is_unknown_and_costs_nothing(name: str) -> None:
    with provider(name) as case:
        kinds = [kind for kind in IdentifierKind if not case.source.requests_for(kind)]
        answers = case.source.ask([about("x", kind) for kind in kinds])
    assert {answer.verdict for answer in answers} <= {Verdict.UNKNOWN}
    assert case.source.requests_for(IdentifierKind.EMAIL)


@names
def test_an_identifier_stands_in_no_log_and_in_no_text_of_a_value(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with provider(name) as case:
        question = about(case.found)
        answers = case.source.ask([question])
    assert case.found.partition("@")[0] not in caplog.text
    assert case.found not in repr(question)
    assert case.found not in repr(answers)


@names
@pytest.mark.skipif(REAL, reason="a real service is not to be asked such things")
def test_an_identifier_with_marks_of_an_address_asks_nothing_else(name: str) -> None:
    """A slash, a question mark, a hash or dots in an identifier must not lead to another page."""
    fake = FakeHibp()
    with fake.server() as server:
        source_at(name, server.url).ask([about("a/../b?truncateResponse=1#x%2f@example.com")])
    for asked in server.log:
        assert "/../" not in asked.target
        assert "#" not in asked.target
        assert asked.target.count("?") <= 1


def test_a_source_that_is_gone_is_unknown_in_time() -> None:
    with FakeHibp().server() as server:
        url = server.url
    for name in NAMES:
        [answer] = source_at(name, url).ask([about("ann@example.com")])
        assert answer.verdict is Verdict.UNKNOWN
