"""XposedOrNot and LeakCheck by their contracts."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from kordant_jobs.adapters.sources.leakcheck import LeakCheck
from kordant_jobs.adapters.sources.xposedornot import XposedOrNot
from kordant_jobs.domain.darkwatch.exposures import UnknownReason, Verdict
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.lab.fakes.sources.others import FakeLeakCheck, FakeXposedOrNot
from kordant_jobs.lab.fakes.sources.server import FakeServer, Reply
from kordant_jobs_tests.adapters.sources.providers import about


@pytest.mark.parametrize("status", [200, 404])
def test_xposedornot_says_nothing_in_two_ways(status: int) -> None:
    with FakeXposedOrNot(not_found_status=status).server() as server:
        [answer] = XposedOrNot(server.url).ask([about("nobody@example.com")])
    assert answer.verdict is Verdict.CLEAN


def test_xposedornot_tells_of_a_breach_by_its_id() -> None:
    with FakeXposedOrNot().server() as server:
        source = XposedOrNot(server.url)
        tesco = source.describe("Tesco")
        assert tesco is not None
        assert (tesco.domain, tesco.data_classes) == ("tesco.com", ("Email addresses", "Passwords"))
        assert source.describe("Nope") is None


@pytest.mark.parametrize(
    "body",
    [
        {"breaches": [], "status": "success"},
        {"breaches": [["Tesco"]], "email": "someone.else@example.com", "status": "success"},
        {"Error": "Internal"},
        {"status": "success"},
    ],
)
def test_xposedornot_is_clean_only_by_its_own_word(body: object) -> None:
    with FakeServer(lambda _: Reply(body=body)) as server:
        [answer] = XposedOrNot(server.url).ask([about("ann@example.com")])
    assert answer.reason is UnknownReason.UNREADABLE


def test_leakcheck_is_never_given_an_address() -> None:
    fake = FakeLeakCheck()
    with fake.server() as server:
        for key in (None, SecretStr(fake.key)):
            LeakCheck(key, base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert len(server.log) == 2
    assert not any("found" in asked.target or "%40" in asked.target for asked in server.log)


def test_leakcheck_pro_keeps_no_password_and_speaks_of_data_in_our_words() -> None:
    fake = FakeLeakCheck()
    with fake.server() as server:
        [answer] = LeakCheck(SecretStr(fake.key), base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert fake.password not in repr(answer)
    adobe = next(finding.breach for finding in answer.findings if finding.reference == "Adobe.com")
    assert adobe is not None
    assert adobe.data_classes == ("Email addresses", "Names", "Passwords")
    assert (adobe.domain, str(adobe.breached_on)) == ("adobe.com", "2013-10-01")


def test_leakcheck_takes_phones_only_with_a_key() -> None:
    assert LeakCheck().requests_for(IdentifierKind.PHONE) == 0
    assert LeakCheck(SecretStr("k")).requests_for(IdentifierKind.PHONE) == 1


def test_a_wrong_key_of_leakcheck_is_unknown() -> None:
    with FakeLeakCheck().server() as server:
        [answer] = LeakCheck(SecretStr("wrong"), base_url=f"{server.url}/api").ask([about("found@example.com")])
    assert (answer.verdict, answer.reason) == (Verdict.UNKNOWN, UnknownReason.BAD_REQUEST)
