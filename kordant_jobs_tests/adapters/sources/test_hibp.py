"""Have I Been Pwned by its contract: the test accounts, the range search, what changes and what never does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from kordant_jobs.adapters.sources import hibp
from kordant_jobs.adapters.sources.hibp import Hibp
from kordant_jobs.domain.darkwatch.exposures import UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind, sha1_hex
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.lab.fakes.sources.hibp import ACCOUNTS, TEST_DOMAIN, TEST_KEY, FakeHibp, breach
from kordant_jobs_tests.adapters.sources.providers import REAL, about

SHOWN = {
    "account-exists": {"Adobe"},
    "multiple-breaches": {"Adobe", "Gawker", "Stratfor"},
    "not-active-and-active-breach": {"Adobe"},
    "not-active-breach": set(),
    "opt-out": set(),
    "opt-out-breach": set(),
    "paste-sensitive-breach": set(),
    "permanent-opt-out": set(),
    "sensitive-and-other-breaches": 2,
    "sensitive-breach": set(),
    "spam-list-only": 1,
    "spam-list-and-others": 2,
    "stealer-log": 1,
    "subscription-free-and-other-breaches": 2,
    "subscription-free-breach": 1,
    "unverified-breach": 1,
}


def _at(url: str, **more: Any) -> Hibp:
    return Hibp(SecretStr(TEST_KEY), base_url=f"{url}/api/v3", **more)


def test_the_fake_has_exactly_the_accounts_of_the_service() -> None:
    assert set(ACCOUNTS) == set(SHOWN)


@pytest.mark.parametrize("alias", SHOWN)
def test_a_test_account_answers_as_the_service_does(alias: str) -> None:
    with FakeHibp().server() as server:
        source = Hibp(SecretStr(TEST_KEY)) if REAL else _at(server.url, pastes=False)
        [answer] = source.ask([about(f"{alias}@{TEST_DOMAIN}")])
    found = {finding.reference for finding in answer.findings if not finding.reference.startswith("Paste-")}
    expected = SHOWN[alias]
    assert len(found) == expected if isinstance(expected, int) else found == expected
    assert answer.verdict is (Verdict.EXPOSED if answer.findings else Verdict.CLEAN)


def test_a_paste_is_a_finding_without_its_title() -> None:
    with FakeHibp().server() as server:
        [answer] = _at(server.url).ask([about(f"paste-sensitive-breach@{TEST_DOMAIN}")])
    [finding] = answer.findings
    assert finding.breach is not None
    assert (finding.reference[:6], finding.breach.title) == ("Paste-", "Paste on Pastebin")


def test_the_range_search_tells_six_digits_and_finds_the_same() -> None:
    fake = FakeHibp(accounts={"ann@example.com": ("Adobe", "Gawker", "AdultFriendFinder")})
    with fake.server() as server:
        whole = _at(server.url).ask([about("ann@example.com"), about("bob@example.com")])
        server.log.clear()
        ranged = _at(server.url, use_range=True).ask([about("ann@example.com"), about("bob@example.com")])
    assert [answer.verdict for answer in ranged] == [answer.verdict for answer in whole]
    assert {one.reference for one in ranged[0].findings} == {one.reference for one in whole[0].findings}
    assert all(re.fullmatch(r"/api/v3/breachedaccount/range/[0-9A-F]{6}", asked.target) for asked in server.log)
    told = " ".join([*(a.target for a in server.log), *(str(a.headers) for a in server.log)])
    assert "ann" not in told
    assert sha1_hex("ann@example.com")[6:] not in told


def test_a_range_that_the_plan_has_not_is_unknown() -> None:
    with FakeHibp(includes_k_anonymity=False).server() as server:
        [answer] = _at(server.url, use_range=True).ask([about("ann@example.com")])
    assert answer.reason is UnknownReason.FORBIDDEN


def test_the_name_stays_when_the_title_changes_and_a_retired_breach_shows_no_more() -> None:
    fake = FakeHibp()
    with fake.server() as server:
        source, question = _at(server.url, pastes=False), about(f"account-exists@{TEST_DOMAIN}")
        fake.rename("Adobe", "Adobe (2013)")
        [renamed] = source.ask([question])
        fake.retire("Adobe")
        [retired] = source.ask([question])
    assert [finding.reference for finding in renamed.findings] == ["Adobe"]
    assert renamed.findings[0].breach is not None
    assert renamed.findings[0].breach.title == "Adobe (2013)"
    assert retired.verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    ("key", "reason"),
    [(None, UnknownReason.KEY_REFUSED), ("no key", UnknownReason.KEY_REFUSED)],
)
def test_a_key_that_is_refused_is_unknown(key: str | None, reason: UnknownReason) -> None:
    with FakeHibp().server() as server:
        source = Hibp(SecretStr(key) if key else None, base_url=f"{server.url}/api/v3")
        [answer] = source.ask([about("ann@example.com")])
    assert (answer.verdict, answer.reason) == (Verdict.UNKNOWN, reason)


def test_the_rate_limit_says_when_to_come_again() -> None:
    with FakeHibp(allowance=2).server() as server:
        answers = [_at(server.url).ask([about("ann@example.com")])[0] for _ in range(2)]
    assert [answer.verdict for answer in answers] == [Verdict.CLEAN, Verdict.UNKNOWN]
    assert (answers[1].reason, answers[1].retry_after_s) == (UnknownReason.RATE_LIMITED, 2)


def test_the_plan_gives_the_rate() -> None:
    with FakeHibp(rpm=100, includes_k_anonymity=False).server() as server:
        plan = _at(server.url).plan()
    assert (plan.rpm, plan.includes_k_anonymity) == (100, False)


def test_the_latest_breach_and_one_by_name_need_no_key() -> None:
    fake = FakeHibp()
    fake.breaches["New"] = breach("New", AddedDate="2026-11-20T10:00:00Z", Unheard={"of": 1})
    with fake.server() as server:
        source = Hibp(None, base_url=f"{server.url}/api/v3")
        latest = source.latest_breach()
        assert (latest.name, latest.added_at) == ("New", datetime(2026, 11, 20, 10, tzinfo=UTC))
        assert latest.extra == {"Unheard": {"of": 1}}
        assert source.describe("Adobe") is not None
        assert source.describe("Nope") is None
    with pytest.raises(SourceUnavailable, match="sources check"):
        source.latest_breach()


def test_a_domain_is_asked_as_one_and_must_be_verified() -> None:
    fake = FakeHibp(verified_domains={"ours.example": {"ann": ["Adobe"], "bob": ["Adobe", "Gawker"]}})
    with fake.server() as server:
        ours, theirs = _at(server.url).ask([about(name, IdentifierKind.DOMAIN) for name in ("ours.example", "x.com")])
    assert [finding.reference for finding in ours.findings] == ["Adobe", "Gawker"]
    assert theirs.reason is UnknownReason.FORBIDDEN


@pytest.mark.parametrize("k_anonymity", [False, True])
def test_stealer_logs_are_asked_for_verified_domains_where_the_plan_has_them(k_anonymity: bool) -> None:
    fake = FakeHibp(
        stealer_logs={"ann@ours.example": ["netflix.com"]},
        verified_domains={"ours.example": {}},
        includes_k_anonymity=k_anonymity,
    )
    with fake.server() as server:
        source = _at(server.url)
        source = source.under(source.terms())
        questions = [about(name) for name in ("ann@ours.example", "bob@ours.example", "ann@theirs.example")]
        ann, bob, other = source.ask(questions)
        told = [one.target for one in server.log]
    assert [finding.reference for finding in ann.findings] == [hibp.STEALER_LOGS]
    assert (bob.verdict, other.verdict) == (Verdict.CLEAN, Verdict.CLEAN)
    assert [source.cost(one) - source.requests_for(one.kind) for one in questions] == [1, 1, 0]
    asked = [target for target in told if "stealerlogs" in target]
    assert len(asked) == 2
    assert any("ann" in target for target in asked) is not k_anonymity, "by range, only the domain is told"


def test_a_plan_without_stealer_logs_asks_for_none() -> None:
    with FakeHibp(verified_domains={"ours.example": {}}).server() as server:
        source = _at(server.url)
        source.under(source.terms()).ask([about("ann@ours.example")])
        assert not [one for one in server.log if "stealerlogs" in one.target or "subscribeddomains" in one.target]
